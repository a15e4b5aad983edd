"""Files of points as they are read: JSON, tables of text, numpy arrays. All of them untrusted and bounded.

Each reader gives a `PointList`: what the file says, entry by entry, not yet checked against a body.
"""

from __future__ import annotations

import csv
import io
import json
import re
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from backend.points.entries import MOST_POINTS, bad, check_count

MOST_BYTES = 64 << 20
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d{1,18}")
_COLUMNS = ("name", "x", "y", "z", "space", "vertex", "face", "a", "b", "c", "depth", "joint", "landmark")
_LAYOUTS = "name,x,y,z or name,vertex or name,face,a,b,c,depth or name,joint"
_LONGEST_NAME = 200
_DAMAGED = (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError,
            KeyError, TypeError, SyntaxError, MemoryError, tokenize.TokenError)  # fmt: skip


@dataclass
class PointList:
    """What a file says, before it is checked against a body."""

    name: str
    """The set's."""
    entries: list[tuple[str, object]]
    """Where each entry stands, and what it says, in order; see `entries.read_entry`."""
    body: str | None = None
    """The body that numbers and rest positions belong to, if the file says so."""
    edges: list = field(default_factory=list)
    """Pairs of points, as the file says them."""


def read_file(path: Path) -> PointList:
    """What the file says, by its ending. JobError("bad_points") for a file that cannot be read."""
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise bad(f"{path.name} is not a kind of file that points are read from: give {_kinds()}.")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise bad(f"{path.name} has {-(-size >> 20)} MiB: give a file of at most {MOST_BYTES >> 20} MiB.")
        return reader(path)
    except OSError as e:
        raise bad(f"{path.name} cannot be read ({e.strerror or 'it is damaged'}): check the file.") from e


def is_number(text: str) -> bool:
    """Whether the text is a number (NaN and infinity too, which are refused later, as numbers)."""
    return _NUMBER.fullmatch(text) is not None


def _kinds() -> str:
    *most, last = READERS
    return f"{', '.join(most)} or {last}"


def _text(path: Path) -> str:
    data = path.read_bytes()
    # Windows programs save "Unicode text" as UTF-16.
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as e:
        raise bad(f"{path.name} is not a text in UTF-8: save it as UTF-8.") from e


def _read_json(path: Path) -> PointList:
    try:
        said = json.loads(_text(path))
    except json.JSONDecodeError as e:
        raise bad(
            f"{path.name} is not JSON at line {e.lineno}, column {e.colno}: {e.msg}; correct it there."
        ) from e
    except (ValueError, RecursionError) as e:
        raise bad(f"{path.name} is not JSON that a list of points can be in: write a list of objects.") from e
    name, body, edges = path.stem, None, []
    if isinstance(said, dict):
        name, body, edges = said.get("name", name), said.get("body"), said.get("edges") or []
        said = said.get("points")
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
            raise bad(f"{path.name} has a name that is not a short text: give a text or leave it out.")
        if body is not None and not isinstance(body, str):
            raise bad(
                f"{path.name} has a body that is not a text: give open, smplx, smplh or smpl, or leave it out."
            )
        if not isinstance(edges, list):
            raise bad(f"{path.name} has edges that are not a list: write [[0, 1], …], or leave them out.")
    if not isinstance(said, list):
        raise bad(f'{path.name} holds no list of points: write a list of objects, or {{"points": [ … ]}}.')
    check_count(len(said), path.name)
    entries = [(f"Entry {i} of {path.name}", entry) for i, entry in enumerate(said)]
    return PointList(name, entries, body, edges)


def _read_csv(path: Path) -> PointList:
    text = _text(path)
    head = text.split("\n", 1)[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count))
    entries: list[tuple[str, object]] = []
    try:
        header = [c.strip().lower() for c in next(rows, [])]
        _check_header(header, path)
        for cells in rows:
            if not any(c.strip() for c in cells):
                continue
            where = f"Line {rows.line_num} of {path.name}"
            if len(cells) > len(header):
                raise bad(
                    f"{where} has {len(cells)} cells, but there are {len(header)} columns: remove the others."
                )
            entries.append((where, _row(dict(zip(header, cells, strict=False)), where)))
            if len(entries) > MOST_POINTS:
                check_count(len(entries), path.name)
    except csv.Error as e:
        raise bad(f"{path.name} is not a table at line {rows.line_num} ({e}): correct it there.") from e
    return PointList(path.stem, entries)


def _check_header(header: list[str], path: Path) -> None:
    known = [c for c in header if c in _COLUMNS]
    if len(set(known)) < len(known):
        raise bad(f"{path.name} has a column twice: give each column once.")
    groups = (("x", "y", "z"), ("vertex",), ("face", "a", "b", "c"), ("joint",), ("landmark",))
    if not any(set(group) <= set(known) for group in groups):
        raise bad(f"{path.name} does not name its columns in the first line: write {_LAYOUTS} there.")


def _row(cells: dict[str, str], where: str) -> dict[str, object]:
    """A row of a table as the object that a JSON file would say."""
    filled = {c: t.strip() for c, t in cells.items() if c in _COLUMNS and t.strip()}
    said: dict[str, object] = {c: t for c, t in filled.items() if c in ("name", "space", "joint", "landmark")}
    for kind, columns in (("position", "xyz"), ("barycentric", "abc")):
        there = [c for c in columns if c in filled]
        if there:
            if len(there) < 3:
                missing = ", ".join(c for c in columns if c not in filled)
                raise bad(f"{where} has no number for {missing}: give {', '.join(columns)}.")
            said[kind] = [_float(filled[c], where) for c in columns]
    for column in ("vertex", "face"):
        if column in filled:
            if not _WHOLE.fullmatch(filled[column]):
                raise bad(f"{where} has '{filled[column][:40]}' as its {column}: give a whole number.")
            said[column] = int(filled[column])
    if "depth" in filled:
        said["depth"] = _float(filled["depth"], where)
    return said


def _float(text: str, where: str) -> float:
    if not is_number(text):
        raise bad(f"{where} has '{text[:40]}' in place of a number: give numbers with a decimal point.")
    return float(text)


def _read_txt(path: Path) -> PointList:
    entries: list[tuple[str, object]] = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if words:
            where = f"Line {number} of {path.name}"
            entries.append((where, numbers_entry(words, where)))
    check_count(len(entries), path.name)
    return PointList(path.stem, entries)


def numbers_entry(words: Sequence[str], where: str) -> dict[str, object]:
    """x, y, z and perhaps a name, as words, as the object that a JSON file would say."""
    if len(words) < 3 or not all(is_number(w) for w in words[:3]):
        raise bad(f"{where} is not three numbers: write x, y and z in metres.")
    return {"position": [float(w) for w in words[:3]], "name": " ".join(words[3:])}


def _read_npy(path: Path) -> PointList:
    try:
        with path.open("rb") as file:
            positions = _array(file, path.name)
    except _DAMAGED as e:
        raise bad(f"{path.name} is damaged or holds no plain numbers: save a (P, 3) array of floats.") from e
    return _from_arrays(path, positions, None)


def _read_npz(path: Path) -> PointList:
    try:
        with zipfile.ZipFile(path) as z:
            names = [i.filename.removesuffix(".npy") for i in z.infolist() if i.filename.endswith(".npy")]
            key = next(
                (n for n in ("points", "positions") if n in names), names[0] if len(names) == 1 else None
            )
            if key is None:
                raise bad(f"{path.name} holds no array called points: save the (P, 3) array under that name.")
            with z.open(f"{key}.npy") as file:
                positions = _array(file, path.name)
            labels = None
            if "names" in names:
                with z.open("names.npy") as file:
                    labels = _array(file, path.name, len(positions))
    except _DAMAGED as e:
        raise bad(f"{path.name} is damaged or holds no plain numbers: save a (P, 3) array of floats.") from e
    return _from_arrays(path, positions, labels)


def _array(file, name: str, labels_of: int | None = None) -> np.ndarray:
    """The (P, 3) numbers of an open .npy file, or the `labels_of` texts. The header is checked before a byte is
    unpacked."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    size = " x ".join(str(n) for n in shape)
    if labels_of is not None:
        if shape != (labels_of,) or dtype.kind != "U" or dtype.itemsize > 4 * _LONGEST_NAME:
            raise bad(f"{name} has names that are not one short text a point: save {labels_of} texts.")
    elif len(shape) != 2 or shape[1] != 3 or dtype.kind not in "iuf":
        raise bad(f"{name} holds an array of {dtype} of the size {size[:40]}: save a (P, 3) array of floats.")
    else:
        check_count(shape[0], name)
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _from_arrays(path: Path, positions: np.ndarray, labels: np.ndarray | None) -> PointList:
    rows = positions.astype(np.float64).tolist()
    names = [None] * len(rows) if labels is None else labels.tolist()
    return PointList(
        path.stem,
        [
            (f"Row {i} of {path.name}", {"position": row, "name": name})
            for i, (row, name) in enumerate(zip(rows, names, strict=True))
        ],
    )


READERS = {
    ".json": _read_json,
    ".csv": _read_csv,
    ".txt": _read_txt,
    ".npy": _read_npy,
    ".npz": _read_npz,
}
"""The readers by the file's ending."""

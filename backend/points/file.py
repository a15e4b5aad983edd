"""Points as a user asks for them: by the name of a set, by names, by coordinates, or in a file; and written down."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from backend.body.landmarks import LANDMARK_NAMES
from backend.body.model import Body, CanonicalPoints
from backend.body.places import joint_points, landmark_points, named_points, nearest_name
from backend.body.pointsets import SET_NAMES, PointSet, join_sets, make_set, named_set
from backend.body.skeleton import JOINT, JOINT_NAMES
from backend.errors import JobError
from backend.points.entries import Entry, bad, check_count, read_entry, set_from_entries
from backend.points.tables import READERS, is_number, numbers_entry, read_file

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


def parse_points(text: str, body: Body, own: Mapping[str, PointSet] | None = None) -> PointSet:
    """The points that `text` asks for.

    A set by name (of `own` first, then `backend.body.pointsets`); joints and landmarks by name, separated by commas
    (a name that both have is the joint); coordinates "x,y,z;x,y,z;…" in metres in the localizer's own space; a
    file (.json, .csv, .txt, .npy, .npz, see `read_points`); or several of these joined with "+".
    JobError("bad_points", one sentence) for anything else.
    """
    own = own or {}
    text = text.strip()
    found = _one(text, body, own)
    if found is None:
        parts = [part.strip() for part in text.split("+")]
        sets = [_one(part, body, own) for part in parts]
        for part, made in zip(parts, sets, strict=True):
            if made is None:
                raise _unknown(part, own)
        check_count(sum(len(s) for s in sets), f"'{_short(text)}'")
        found = join_sets(sets, "+".join(s.name for s in sets))
    return found


def read_points(path: Path, body: Body) -> PointSet:
    """The points of a file; JobError("bad_points") names the entry that is wrong.

    .json: a list of objects {"name", and one of "position": [x, y, z] (with "space": "body" a place in the rest
    pose, else in the localizer's own space), "vertex": i, "face": f with "barycentric": [a, b, c] and "depth": metres
    below the skin, "joint": name, "landmark": name}, or {"name", "body", "points": [...], "edges": [[i, j] or
    [name, name]]}, where "body" says whose numbers and rest pose these are. .csv: the same by columns, named in the
    first line. .txt: x y z [name] a line. .npy, .npz: a (P, 3) array (npz: called points; `names` beside it).
    """
    said = read_file(path)
    check_count(len(said.entries), path.name)
    entries = [read_entry(e, where, i, body, said.body) for i, (where, e) in enumerate(said.entries)]
    return set_from_entries(entries, body, said.name, _edges(said.edges, entries, path.name))


def write_points(path: Path, points: PointSet, body: Body) -> None:
    """Write a set of `body` as the JSON that `read_points` reads: joints and landmarks by name, all others by
    position, to the last digit of their float32. JobError("bad_points") when the file cannot be written."""
    by_place = {}
    # A joint and a landmark may be one place: the joint's name is the older one.
    with contextlib.suppress(JobError):
        by_place |= _places(landmark_points(body, LANDMARK_NAMES), "landmark", LANDMARK_NAMES)
    by_place |= _places(joint_points(body, JOINT_NAMES), "joint", JOINT_NAMES)
    lines = []
    for i, label in enumerate(points.labels):
        said: dict[str, object] = {"name": label}
        if not points.raw[i] and (named := by_place.get(_key(points.points, i))):
            said[named[0]] = named[1]
        else:
            # The shortest decimal that gives this float32 again.
            said["position"] = [float(str(c)) for c in points.points.positions[i]]
            if not points.raw[i]:
                said["space"] = "body"
        lines.append(json.dumps(said, ensure_ascii=False))
    name, whose = json.dumps(points.name, ensure_ascii=False), json.dumps(body.name)
    listed = ",\n  ".join(lines)
    edges = json.dumps(points.edges.tolist())
    whole = f'{{"name": {name}, "body": {whose},\n "points": [\n  {listed}\n ],\n "edges": {edges}}}\n'
    try:
        path.write_text(whole, encoding="utf-8")
    except OSError as e:
        raise bad(f"{path} cannot be written ({e.strerror}): choose another place.") from e


def _places(points: CanonicalPoints, kind: str, names: Sequence[str]) -> dict[bytes, tuple[str, str]]:
    return {_key(points, i): (kind, name) for i, name in enumerate(names)}


def _key(points: CanonicalPoints, i: int) -> bytes:
    return points.positions[i].tobytes() + np.round(points.weights[i], 6).tobytes()


def _one(text: str, body: Body, own: Mapping[str, PointSet]) -> PointSet | None:
    """What a text without "+" between parts asks for, or None if it is nothing we know."""
    if text in own:
        return own[text]
    if (found := named_set(body, text)) is not None:
        return found
    points = [re.split(r"[,\s]+", part.strip(" ,\t")) for part in text.split(";") if part.strip()]
    if points and all(is_number(word) for words in points for word in words):
        return _coordinates(points, body)
    names = [name.strip() for name in text.split(",")]
    if all(name in JOINT or name in LANDMARK_NAMES for name in names):
        check_count(len(names), "The list")
        return make_set("points", names, named_points(body, names))
    path = _as_path(text)
    return None if path is None else read_points(path, body)


def _coordinates(points: list[list[str]], body: Body) -> PointSet:
    check_count(len(points), "The list")
    entries = []
    for i, words in enumerate(points):
        where = f"Point {i + 1}"
        if len(words) != 3:
            count = "1 number" if len(words) == 1 else f"{len(words)} numbers"
            raise bad(f"{where} has {count}: write x,y,z in metres, and ; between points.")
        entries.append(read_entry(numbers_entry(words, where), where, i, body))
    return set_from_entries(entries, body, "points")


def _as_path(text: str) -> Path | None:
    """The file that `text` names, or None if it does not look like one."""
    try:
        path = Path(text).expanduser()
        if path.is_file():
            return path
        folder = path.is_dir()
    except (OSError, ValueError, RuntimeError):
        # Too long, a zero byte, an unknown home.
        path, folder = Path("?"), False
    looks = text.lower().endswith(tuple(READERS)) or _DRIVE.match(text) or "/" in text or "\\" in text
    if looks and "+" not in text:
        what = "is a folder" if folder else "is not there"
        raise bad(f"The file '{_short(text)}' {what}: give a file of points, or the name of a set.")
    return None


def _unknown(text: str, own: Mapping[str, PointSet]) -> JobError:
    """The refusal of a text that nothing could be made of."""
    sets = [*own, *(n for n in SET_NAMES if n not in own)]
    listed = ", ".join(sets)
    if not text:
        return bad(f"No points were named: give a set ({listed}), names, x,y,z;x,y,z or a file.")
    names = [*sets, *JOINT_NAMES, *LANDMARK_NAMES]
    words = [w.strip() for w in re.split(r"[,;]", text)]
    if sum(map(is_number, words)) * 2 >= len(words):
        wrong = next((w for w in words if not is_number(w)), text)
        return bad(f"'{_short(wrong)}' is not a number: write x,y,z in metres, and ; between points.")
    wrong = next((w for w in words if w not in names), text)
    return bad(
        f"'{_short(wrong)}' is no set, joint, landmark or file of points{nearest_name(wrong, names)}: give a set "
        f"({listed}), names, x,y,z;x,y,z or a file."
    )


def _edges(said: Sequence[object], entries: Sequence[Entry], name: str) -> list[tuple[int, int]]:
    row: dict[object, int] = {}
    for i, entry in enumerate(entries):
        row.setdefault(entry.label, i)
    edges = []
    for k, pair in enumerate(said):
        if not isinstance(pair, list) or len(pair) != 2:
            raise bad(f"Edge {k} of {name} is not a pair: write [0, 1] or two names.")
        ends = []
        for end in pair:
            at = row.get(end) if isinstance(end, str) else end
            if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at < len(entries):
                raise bad(f"Edge {k} of {name} joins a point that is not there: give rows from 0 to "
                          f"{len(entries) - 1} or names of points.")  # fmt: skip
            ends.append(at)
        edges.append((ends[0], ends[1]))
    return edges


def _short(text: str) -> str:
    shown = text if text.isprintable() else repr(text)[1:-1]
    return shown if len(shown) <= 60 else f"{shown[:57]}…"

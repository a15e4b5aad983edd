"""Boxes of people that the user knows already: a table in a CSV file, one row a person."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import JobError

COLUMNS = ("file", "x", "y", "width", "height")


@dataclass(frozen=True)
class BoxRow:
    """One row of the table: one person in one picture."""

    line: int
    """Its number in the file, from 1."""
    file: str
    """The picture as the row names it, with / in place of a backslash."""
    box: np.ndarray
    """(4,) x, y, w, h pixels."""


class BoxTable:
    """The rows of a file, to be taken out by the names of pictures."""

    def __init__(self, path: Path, rows: Sequence[BoxRow], names: Sequence[str] | None) -> None:
        """`names`: of all pictures that there are; None where they are not known yet (the frames of a movie).

        Raises JobError("bad_boxes") when no row names any of them.
        """
        self.path = path
        self._rows: dict[str, list[BoxRow]] = {}
        bases = Counter(_base(name) for name in names or ())
        by_base = {_base(name): name for name in names or () if bases[_base(name)] == 1}
        known = None if names is None else set(names)
        for row in rows:
            name = row.file
            if known is None:
                name = _base(name)
            elif name not in known:
                name = by_base.get(_base(name), name)
            self._rows.setdefault(name, []).append(row)
        if known is not None and not known & self._rows.keys():
            text = (
                f"No row of {path.name} names a picture that is there (line {rows[0].line}: {rows[0].file})"
            )
            raise JobError("bad_boxes", f"{text}: write file names as seen from the given folder.")
        self._taken: set[str] = set()
        self._without: list[str] = []

    def take(self, name: str) -> list[np.ndarray]:
        """Boxes of the people in that picture, in the order of the file."""
        self._taken.add(name)
        if name not in self._rows:
            self._without.append(name)
        return [row.box for row in self._rows.get(name, ())]

    @property
    def notices(self) -> list[str]:
        """Sentences on what did not fit together, complete when every picture has been asked for."""
        out = []
        if left := [row for name, rows in self._rows.items() if name not in self._taken for row in rows]:
            first = min(left, key=lambda row: row.line)
            out.append(f"{len(left)} row(s) of {self.path.name} name no picture that was read "
                       f"(first: line {first.line}, {first.file}).")  # fmt: skip
        if self._without:
            out.append(f"{len(self._without)} picture(s) are not in {self.path.name} and got an empty row "
                       f"(first: {self._without[0]}).")  # fmt: skip
        return out


def read_boxes(path: Path, names: Sequence[str] | None) -> BoxTable:
    """A table with a header that names COLUMNS in any order; other columns are ignored, as are empty lines.

    Comma, semicolon or tab. A row belongs to the picture of that relative path, else to the only one with that
    base name. Raises JobError("bad_boxes") that names the line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_rows(path.name, file))
    except OSError as error:
        raise JobError("bad_boxes", f"{path} cannot be opened: {error.strerror or error}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        text = f"{path.name} is not a CSV file in UTF-8: save the table as one."
        raise JobError("bad_boxes", text) from error
    if not rows:
        raise JobError("bad_boxes", f"{path.name} holds no boxes: write a row per person below its header.")
    return BoxTable(path, rows, names)


def _rows(name: str, file) -> Iterator[BoxRow]:
    header = file.readline()
    delimiter = max(",;\t", key=header.count)
    columns = [c.strip().casefold() for c in next(csv.reader([header], delimiter=delimiter), [])]
    if missing := [c for c in COLUMNS if c not in columns]:
        text = f"{name} has no column '{missing[0]}': its first line must name {', '.join(COLUMNS)}."
        raise JobError("bad_boxes", text)
    place = [columns.index(c) for c in COLUMNS]
    table = csv.reader(file, delimiter=delimiter)
    for cells in table:
        if not any(cell.strip() for cell in cells):
            continue
        line = table.line_num + 1
        if len(cells) <= max(place):
            raise JobError(
                "bad_boxes", f"Line {line} of {name} has {len(cells)} columns, not {len(columns)}."
            )
        picture = cells[place[0]].strip().replace("\\", "/").removeprefix("./")
        box = [_number(name, line, c, cells[k]) for c, k in zip(COLUMNS[1:], place[1:], strict=True)]
        yield BoxRow(line, picture, np.array(box))


def _number(name: str, line: int, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > 1e7:
        raise JobError(
            "bad_boxes", f"Line {line} of {name}: '{column}' must be in pixels, not '{cell.strip()}'."
        )
    if column in ("width", "height") and value <= 0:
        raise JobError("bad_boxes", f"Line {line} of {name}: '{column}' must be above 0, not {cell.strip()}.")
    return value


def _base(name: str) -> str:
    return name.rpartition("/")[2]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Named canonical points and their JSON file, in the layout that the backend reads and writes too. No bpy.

A file is `{"name", "body", "points": [entry, ...], "edges": [[i, j], ...]}` or a bare list of entries. An entry is
`{"name", and one of "face" with "barycentric" and "depth", "vertex", "joint", "landmark", "position"}`; a position
with `"space": "body"` lies in the rest pose of the mean body (SMPL-X axes, metres), else in the localizer's own space.
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..shared.whole import write_text

MOST_POINTS = 10_000
"""More empties than this bring Blender to a halt."""
MOST_BYTES = 16 << 20
ABOVE_SKIN, DEEPEST = 0.1, 0.5
"""Metres that a point may lie above the skin, and below it at most."""
KINDS = ("surface", "joint", "landmark", "position", "own")
_PLACES = ("position", "vertex", "face", "joint", "landmark")
_REACH = 3.0
_SIDES = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))


class PointError(ValueError):
    """Points cannot be read or made. The message is one sentence that says what to do."""


@dataclass(frozen=True)
class Place:
    """One named canonical point."""

    name: str
    """What the user calls it."""
    kind: str = "surface"
    """How the other fields say where it is: "surface", "joint", "landmark", "position", or "own" for a position in the
    localizer's own space, which cannot be shown."""
    face: int = 0
    """Of a surface point: the triangle of the body's mesh."""
    barycentric: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Of a surface point: shares of the triangle's corners, which sum to 1."""
    depth: float = 0.0
    """Of a surface point: metres below the skin, negative above it."""
    where: str = ""
    """Of a joint or landmark: its name."""
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of a position: metres, SMPL-X axes, in the rest pose of the mean body, or in the localizer's own space."""

    def entry(self) -> dict[str, object]:
        """As it stands in a file, and in a `points` message."""
        said: dict[str, object] = {"name": self.name}
        if self.kind == "surface":
            return said | {"face": self.face, "barycentric": list(self.barycentric), "depth": self.depth}
        if self.kind in ("joint", "landmark"):
            return said | {self.kind: self.where}
        said["position"] = list(self.position)
        return said | ({"space": "body"} if self.kind == "position" else {})


@dataclass(frozen=True)
class PointFile:
    """What a file of points says."""

    name: str
    """Of the set of points."""
    body: str | None
    """The body that the numbers of vertices and triangles belong to; None when the file does not say."""
    places: list[Place]
    """The points, in the file's order, no name twice."""
    edges: list
    """Pairs of points that are joined by a line where points are drawn, as they stand in the file."""


def write_points(path: Path, name: str, body: str, places: Sequence[Place], edges: Sequence = ()) -> None:
    """Write a file of points, one a line; whole or not at all. Raises PointError."""
    lines = ",\n  ".join(json.dumps(place.entry(), ensure_ascii=False) for place in places)
    whole = (
        f'{{"name": {json.dumps(name, ensure_ascii=False)}, "body": {json.dumps(body)},\n "points": [\n  {lines}\n ],\n'
        f' "edges": {json.dumps([list(edge) for edge in edges])}}}\n'
    )
    try:
        write_text(path, whole)
    except OSError as error:
        raise PointError(
            f"{path} cannot be written ({error.strerror}); choose a folder that can be written to."
        ) from error


def read_points(
    path: Path, body: str, faces: np.ndarray, joints: Sequence[str], landmarks: Sequence[str]
) -> PointFile:
    """The points of a .json file, checked against the body at hand: its name, `faces` (F, 3), and the names of its
    joints and landmarks. Raises PointError that names the entry which is wrong."""
    said = _read_json(path)
    name, made_for, edges = path.stem, None, []
    if isinstance(said, dict):
        name, made_for, edges, said = (
            said.get("name", name), said.get("body"), said.get("edges") or [], said.get("points"),
        )  # fmt: skip
    if not isinstance(said, list) or not isinstance(name, str) or not isinstance(edges, list):
        raise PointError(
            f'{path.name} holds no list of points: write a list of objects, or {{"points": [ … ]}}.'
        )
    if not 0 < len(said) <= MOST_POINTS:
        raise PointError(f"{path.name} holds {len(said)} points: give between 1 and {MOST_POINTS}.")
    places = []
    for i, entry in enumerate(said):
        where = f"Entry {i} of {path.name}"
        if not isinstance(entry, dict):
            raise PointError(f"{where} is not an object: give a name and one of {', '.join(_PLACES)}.")
        place = _read_entry(entry, where, i, faces, joints, landmarks)
        if place.kind in ("surface", "position") and made_for not in (None, body):
            raise PointError(
                f"{where} belongs to the body '{made_for}', but this person has the body '{body}': import the clip "
                "with that body, or give joints or landmarks."
            )
        places.append(place)
    return PointFile(name, made_for, unique_names(places), edges)


def unique_names(places: Iterable[Place], taken: Iterable[str] = ()) -> list[Place]:
    """The same places, a repeated name with the first free suffix _2, _3 …"""
    used, out = set(taken), []
    for place in places:
        out.append(replace(place, name=free_name(place.name, used)))
        used.add(out[-1].name)
    return out


def free_name(name: str, used: Iterable[str]) -> str:
    """`name`, or with the first suffix _2, _3 … that is not `used` yet."""
    used, number, free = set(used), 1, name
    while free in used:
        number += 1
        free = f"{name}_{number}"
    return free


def mirrored_name(name: str) -> str:
    """The name on the other side: left_knee -> right_knee, LKNE -> RKNE, elbow.L -> elbow.R; a name without a side
    gets "_mirrored"."""
    for one, other in _SIDES:
        for side, opposite in ((one, other), (other, one)):
            if side in name:
                return name.replace(side, opposite, 1)
    if match := re.fullmatch(r"(?P<head>.*[._ -])(?P<side>[lrLR])(?P<tail>[._ -]?\d*)", name):
        return match["head"] + _other_letter(match["side"]) + match["tail"]
    # Marker sets of motion capture: LKNE and RKNE.
    if re.fullmatch(r"[LR][A-Z0-9]{2,}", name):
        return _other_letter(name[0]) + name[1:]
    return name.removesuffix("_mirrored") if name.endswith("_mirrored") else f"{name}_mirrored"


def _other_letter(letter: str) -> str:
    return {"l": "r", "r": "l", "L": "R", "R": "L"}[letter]


def _read_json(path: Path) -> object:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PointError(f"{path.name} is larger than {MOST_BYTES >> 20} MiB: give a smaller file.")
        return json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise PointError(f"{path} cannot be read ({error.strerror}): check the file.") from error
    except json.JSONDecodeError as error:
        raise PointError(
            f"{path.name} is not JSON at line {error.lineno}, column {error.colno}: {error.msg}; correct it there."
        ) from error
    except (ValueError, RecursionError) as error:
        raise PointError(f"{path.name} is not JSON in UTF-8: save it as such.") from error


def _read_entry(entry: dict, where: str, number: int, faces: np.ndarray, joints, landmarks) -> Place:
    kinds = [kind for kind in _PLACES if entry.get(kind) is not None]
    if len(kinds) != 1:
        raise PointError(
            f"{where} must say where it is in exactly one way: give one of {', '.join(_PLACES)}."
        )
    kind, value = kinds[0], entry[kinds[0]]
    name = _name(entry.get("name"), where, number)
    if kind in ("joint", "landmark"):
        if value not in (joints if kind == "joint" else landmarks):
            raise PointError(
                f"{where} names {value!r}, which is not a {kind} of this body: give the name of one."
            )
        return Place(name, kind, where=value)
    if kind == "position":
        position = _three(value, where)
        if max(map(abs, position)) > _REACH:
            raise PointError(f"{where} lies beyond {_REACH:g} m, where no body is: give metres.")
        return Place(name, "position" if entry.get("space") == "body" else "own", position=position)
    count = int(faces.max()) + 1 if kind == "vertex" else len(faces)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
        raise PointError(f"{where} has the {kind} {value!r}, but this body's go from 0 to {count - 1}.")
    if kind == "vertex":
        face, corner = (int(i[0]) for i in np.nonzero(faces == value))
        return Place(name, face=face, barycentric=tuple(float(k == corner) for k in range(3)))
    share = _three(entry.get("barycentric"), where)
    if min(share) < -1e-6 or abs(sum(share) - 1) > 1e-3:
        raise PointError(
            f"{where} has barycentric coordinates that are not three shares from 0 to 1 that sum to 1."
        )
    depth = _number(entry.get("depth") or 0.0, where)
    if not -ABOVE_SKIN <= depth <= DEEPEST:
        raise PointError(f"{where} has the depth {depth:g} m: give between {-ABOVE_SKIN:g} and {DEEPEST:g}.")
    return Place(name, face=value, barycentric=share, depth=depth)


def _name(name: object, where: str, number: int) -> str:
    if name is None or name == "":
        return f"point_{number:04d}"
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name.strip()) <= 60:
        raise PointError(
            f"{where} has a name that is not a short printable text: give at most 60 characters."
        )
    return name.strip()


def _three(value: object, where: str) -> tuple[float, float, float]:
    if not isinstance(value, list) or len(value) != 3:
        raise PointError(f"{where} needs three numbers, not {value!r:.40}.")
    x, y, z = (_number(v, where) for v in value)
    return x, y, z


def _number(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise PointError(f"{where} has {value!r:.40} where a number is due: correct it.")
    return float(value)

"""One entry of a list of points, as a JSON object or a row of a table says it, checked; and entries made points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from backend.body.landmarks import LANDMARK_NAMES
from backend.body.model import Body, CanonicalPoints
from backend.body.places import joint_points, landmark_points, nearest_name, surface_points, vertex_points
from backend.body.points import canonical_points, stack
from backend.body.pointsets import PointSet, make_set
from backend.body.skeleton import JOINT
from backend.errors import JobError

MOST_POINTS = 100_000
"""Points of one set."""
REACH = 3.0
"""Metres from the pelvis' neighbourhood (the origin) beyond which a coordinate cannot be meant in metres."""
_KINDS = ("position", "vertex", "face", "joint", "landmark")
_LONGEST_NAME = 200


def bad(text: str) -> JobError:
    """The refusal of points: one sentence that says what is wrong and what to do."""
    return JobError("bad_points", text)


@dataclass(frozen=True)
class Entry:
    """One checked point."""

    where: str
    """For a sentence about it: "Entry 3 of arms.json"."""
    label: str
    """Its name."""
    kind: str
    """position, own (a position in the localizer's space), vertex, face, joint or landmark."""
    value: tuple[float, float, float] | int | str
    """Three metres, the number of a vertex or face, or the name of a joint or landmark."""
    barycentric: tuple[float, float, float] = (1.0, 0.0, 0.0)
    """Where on a face: the shares of its three corners, which sum to 1."""
    depth: float = 0.0
    """Metres below a face."""


def read_entry(said: object, where: str, number: int, body: Body, made_for: str | None = None) -> Entry:
    """Check what one entry says. `number`: its place in the list, for a default name; `made_for`: the name of the
    body that the list belongs to, if it says so. JobError("bad_points") names `where` and what to do."""
    if not isinstance(said, Mapping):
        raise bad(f"{where} is not an object: write {{\"name\": …, \"position\": [x, y, z]}} or one of "
                  "vertex, face, joint, landmark.")  # fmt: skip
    kinds = [k for k in _KINDS if said.get(k) is not None]
    if len(kinds) != 1:
        found = f"has {' and '.join(kinds)}" if kinds else "does not say where it is"
        raise bad(f"{where} {found}: give exactly one of {', '.join(_KINDS)}.")
    kind = kinds[0]
    label, value = _label(said.get("name"), where, number), said[kind]
    if kind != "face":
        for extra in ("barycentric", "depth"):
            if said.get(extra) is not None:
                raise bad(f"{where} has a {extra} without a face: give the face too, or leave it out.")
    if kind == "joint":
        return Entry(where, label, kind, _known(value, JOINT, kind, where))
    if kind == "landmark":
        return Entry(where, label, kind, _known(value, LANDMARK_NAMES, kind, where))
    space = said.get("space", "own")
    if kind == "position" and space in ("own", None):
        return Entry(where, label, "own", _place(_three(value, kind, where), where))
    if kind == "position" and space != "body":
        raise bad(f"{where} has the space {_short(space)}: write own or body.")
    if made_for is not None and made_for != body.name:
        what = "body position" if kind == "position" else f"{kind} number"
        raise bad(f"{where} gives a {what} of the body '{_short(made_for, False)}', but the '{body.name}' body is "
                  "loaded: load that body, or give joints or landmarks.")  # fmt: skip
    if kind == "position":
        return Entry(where, label, kind, _place(_three(value, kind, where), where))
    count = len(body.v_template if kind == "vertex" else body.faces)
    index = _index(value, count, kind, where, body)
    if kind == "vertex":
        return Entry(where, label, kind, index)
    if said.get("barycentric") is None:
        raise bad(
            f'{where} has a face but no barycentric coordinates: add "barycentric": [a, b, c] that sum to 1.'
        )
    share = _three(said["barycentric"], "barycentric", where)
    depth = said.get("depth")
    depth = 0.0 if depth is None else _number(depth, "depth", where)
    return Entry(where, label, kind, index, share, depth)


def set_from_entries(
    entries: Sequence[Entry], body: Body, name: str, edges: Sequence[tuple[int, int]] = ()
) -> PointSet:
    """The checked entries as a set, in their order. JobError("bad_points") when there are none or too many, or for a
    depth that comes out on the other side."""
    check_count(len(entries), name)
    groups: dict[str, list[int]] = {}
    for i, entry in enumerate(entries):
        groups.setdefault("position" if entry.kind == "own" else entry.kind, []).append(i)
    parts = [_points([entries[i] for i in rows], kind, body) for kind, rows in groups.items()]
    order = np.argsort(np.concatenate([np.array(rows) for rows in groups.values()]))
    points = parts[0] if len(parts) == 1 else stack(parts).take(order)
    raw = np.array([e.kind == "own" for e in entries])
    return make_set(name, [e.label for e in entries], points, edges, raw)


def _points(entries: list[Entry], kind: str, body: Body) -> CanonicalPoints:
    values = [e.value for e in entries]
    if kind == "position":
        return canonical_points(body, np.array(values))
    if kind == "vertex":
        return vertex_points(body, values)
    if kind == "joint":
        return joint_points(body, values)
    if kind == "landmark":
        return landmark_points(body, values)
    share, depth = np.array([e.barycentric for e in entries]), np.array([e.depth for e in entries])
    return surface_points(body, values, share, depth, names=[e.where for e in entries])


def check_count(count: int, name: str) -> None:
    """JobError("bad_points") for no points or more than 100,000."""
    if count == 0:
        raise bad(f"{name} holds no points: put at least one in.")
    if count > MOST_POINTS:
        raise bad(f"{name} holds {count} points: give at most {MOST_POINTS}.")


def _place(values: Sequence[float], where: str) -> tuple[float, float, float]:
    """Three finite coordinates within reach. JobError("bad_points") for any that cannot be metres on a body."""
    for v in values:
        if abs(v) > REACH:
            raise bad(f"{where} has the coordinate {v:g}, but a body ends within {REACH:g} m: give metres.")
    return tuple(values)


def _three(value: object, kind: str, where: str) -> tuple[float, float, float]:
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        count = f"{len(value)} numbers" if isinstance(value, (list, tuple)) else _short(value)
        raise bad(f"{where} has {count} as its {kind}: give three numbers.")
    return tuple(_number(v, kind, where) for v in value)


def _number(value: object, kind: str, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise bad(f"{where} has {_short(value)} in its {kind}: give a number.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise bad(f"{where} has {_short(value)} in its {kind}: give a finite number.")
    return number


def _index(value: object, count: int, kind: str, where: str, body: Body) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad(f"{where} has {_short(value)} as its {kind}: give a whole number.")
    if not 0 <= value < count:
        raise bad(f"{where} has the {kind} {_short(value)}, but the '{body.name}' body has {count}: give a number "
                  f"from 0 to {count - 1}.")  # fmt: skip
    return value


def _known(value: object, known, kind: str, where: str) -> str:
    if not isinstance(value, str) or value not in known:
        hint = nearest_name(value, known) if isinstance(value, str) else ""
        raise bad(f"{where} has {_short(value)}{hint}, which is not a {kind}: give the name of one.")
    return value


def _label(name: object, where: str, number: int) -> str:
    if name is None or name == "":
        return f"point_{number:04d}"
    if not isinstance(name, str) or len(name) > _LONGEST_NAME or not name.isprintable() or not name.strip():
        raise bad(
            f"{where} has the name {_short(name)}: give a text of at most {_LONGEST_NAME} printable characters."
        )
    return name.strip()


def _short(value: object, quote: bool = True) -> str:
    """A value as it may stand in a sentence."""
    try:
        text = repr(value) if quote else str(value)
    except ValueError:
        # An integer of thousands of digits.
        text = "a huge number"
    return text if len(text) <= 60 else text[:57] + "…"

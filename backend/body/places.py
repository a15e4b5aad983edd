"""Canonical points by where they are: at a vertex, on or under a triangle, at a joint, at a landmark."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from backend.body.landmarks import LANDMARK_NAMES, body_landmarks
from backend.body.model import Body, CanonicalPoints
from backend.body.points import canonical_points, combine, joint_place, on_triangles, stack
from backend.body.skeleton import JOINT
from backend.body.surface import surface_of
from backend.errors import JobError

ABOVE_SKIN = 0.1
"""Metres that a point may lie above the skin (a negative depth): a marker on clothes, not a place in the room."""
_ROW = {name: i for i, name in enumerate(LANDMARK_NAMES)}


def vertex_points(body: Body, rows: Sequence[int] | np.ndarray) -> CanonicalPoints:
    """The vertices `rows` (P,). JobError("bad_points") for a number that is not a vertex."""
    return body.vertices_as_points(_numbers(rows, len(body.v_template), "vertex", "vertices", body))


def surface_points(
    body: Body,
    faces: Sequence[int] | np.ndarray,
    barycentric: np.ndarray,
    depth: float | np.ndarray = 0.0,
    names: Sequence[str] | None = None,
) -> CanonicalPoints:
    """Points on the triangles `faces` (P,) at `barycentric` (P, 3), which sum to 1, pushed `depth` metres (one
    value or (P,)) along the inward normal, smoothly interpolated between the corners.

    At depth 0 a point is exactly the combination of its corners in rest pose, shape and expression; posed, its
    skinning is the combination of theirs. Above the skin (down to -0.1 m) it keeps that triangle as its carrier.
    JobError("bad_points"): a triangle that is not there, coordinates that do not sum to 1 or point outside the
    triangle, a depth at which the point would come out on the other side. `names`: what to call the points then.
    """
    rows = _numbers(faces, len(body.faces), "triangle", "triangles", body)
    call = _caller(names)
    share = np.asarray(barycentric, np.float64).reshape(-1, 3)
    deep = np.broadcast_to(np.asarray(depth, np.float64), rows.shape)
    if len(share) != len(rows):
        raise JobError("bad_points", f"{len(rows)} triangles need {len(rows)} x 3 barycentric coordinates.")
    # Written so that a NaN is refused too.
    wrong = ~((np.abs(share.sum(1) - 1) < 1e-3) & (share >= -1e-6).all(1))
    if wrong.any():
        i = int(wrong.argmax())
        raise JobError(
            "bad_points",
            f"{call(i)} has the barycentric coordinates {_list(share[i])}: give three numbers from 0 to 1 that "
            "sum to 1.",
        )
    share = np.maximum(share, 0)
    share /= share.sum(1, keepdims=True)
    surface = surface_of(body)
    L = on_triangles(body, rows, share)
    skin = (surface.corners[rows] * share[..., None]).sum(1)
    if not deep.any():
        return combine(body, L, skin)
    inward = -surface.normals_at(rows, share)
    inward /= np.maximum(np.linalg.norm(inward, axis=1, keepdims=True), 1e-12)
    _check_depths(surface, skin, inward, deep, call)
    positions = skin + deep[:, None] * inward
    under = np.flatnonzero(deep > 0)
    above = np.flatnonzero(deep <= 0)
    parts = [combine(body, L[above], positions[above]), canonical_points(body, positions[under])]
    return stack(parts).take(np.argsort(np.concatenate([above, under])))


def _check_depths(surface, skin, inward, depth, call) -> None:
    wrong = ~(depth >= -ABOVE_SKIN)
    if wrong.any():
        i = int(wrong.argmax())
        raise JobError(
            "bad_points",
            f"{call(i)} has the depth {depth[i]:g} m: give metres below the skin, or down to -{ABOVE_SKIN:g} for a "
            "point above it.",
        )
    under = np.flatnonzero(depth > 0)
    # Where the mesh has a hole and is never left, its box ends the way.
    low, high = surface.v.min(0), surface.v.max(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        walls = (np.where(inward[under] > 0, high, low) - skin[under]) / inward[under]
    room = np.minimum(surface.way_out(skin[under], inward[under]), np.nan_to_num(walls, nan=np.inf).min(1))
    through = depth[under] >= room
    if through.any():
        k = int(through.argmax())
        most = np.floor(1e4 * max(room[k] - 1e-4, 0)) / 1e4
        advice = f"give at most {most:g}" if most > 0 else "give 0"
        raise JobError(
            "bad_points",
            f"{call(int(under[k]))} has the depth {depth[under[k]]:g} m and would come out on the other side: "
            f"{advice} there.",
        )


def joint_points(body: Body, names: Sequence[str]) -> CanonicalPoints:
    """The centres of the joints `names` (SMPL-X's names). JobError("bad_points") for an unknown one."""
    return _by_name(names, JOINT, "joint", lambda name: joint_place(body, name))


def landmark_points(body: Body, names: Sequence[str]) -> CanonicalPoints:
    """The landmarks `names` (BlazePose's names). JobError("bad_points") for an unknown one."""
    return _by_name(names, LANDMARK_NAMES, "landmark", lambda name: landmarks(body).take([_ROW[name]]))


def landmarks(body: Body) -> CanonicalPoints:
    """The 33 landmarks. JobError("bad_points") for a body on which their rules find nothing."""
    try:
        return body_landmarks(body)[0]
    except (ValueError, IndexError) as e:
        raise JobError(
            "bad_points",
            "The landmarks cannot be found on this body: ask for its joints (smplx_55) or vertices.",
        ) from e


def named_points(body: Body, names: Sequence[str]) -> CanonicalPoints:
    """Joints and landmarks by name; a name that both have (left_hip) is the joint."""

    def find(name: str) -> CanonicalPoints:
        return joint_place(body, name) if name in JOINT else landmarks(body).take([_ROW[name]])

    return _by_name(names, (*JOINT, *LANDMARK_NAMES), "joint or landmark", find)


def nearest_name(name: str, known: Iterable[str]) -> str:
    """ " (did you mean 'left_elbow'?)", or nothing when no known name is like it."""
    close = difflib.get_close_matches(name[:100], list(known), 1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _by_name(
    names: Sequence[str], known: Iterable[str], kind: str, find: Callable[[str], CanonicalPoints]
) -> CanonicalPoints:
    if not names:
        raise JobError("bad_points", f"No {kind} was named: give at least one.")
    different = list(dict.fromkeys(names))
    for name in different:
        if name not in known:
            raise JobError(
                "bad_points",
                f"There is no {kind} called '{name[:60]}'{nearest_name(name, known)}: give {kind} names.",
            )
    row = {name: i for i, name in enumerate(different)}
    return stack([find(name) for name in different]).take([row[name] for name in names])


def _numbers(rows, count: int, kind: str, kinds: str, body: Body) -> np.ndarray:
    rows = np.asarray(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or len(rows) == 0:
        raise JobError("bad_points", f"Give the {kinds} as a list of whole numbers.")
    wrong = (rows < 0) | (rows >= count)
    if wrong.any():
        raise JobError(
            "bad_points",
            f"There is no {kind} {rows[wrong.argmax()]} on the {body.name} body: it has {count} {kinds}, numbered "
            f"from 0 to {count - 1}.",
        )
    return rows.astype(np.int64)


def _caller(names: Sequence[str] | None) -> Callable[[int], str]:
    return (lambda i: f"Point {i}") if names is None else (lambda i: names[i])


def _list(values: np.ndarray) -> str:
    return ", ".join(f"{v:g}" for v in values)

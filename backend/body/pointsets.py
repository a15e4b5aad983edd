"""Named sets of canonical points: the skeletons that people ask for by name, and even spreads over the body.

A set is places with labels and the edges that join them in a drawing. Order and edges of `coco_17` are those of
COCO's keypoints, those of `landmarks_33` BlazePose's.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from backend.body.inside import NoInsideError
from backend.body.landmarks import LANDMARK_NAMES
from backend.body.model import Body, CanonicalPoints
from backend.body.places import joint_points, landmarks
from backend.body.points import stack
from backend.body.skeleton import JOINT_NAMES, PARENTS
from backend.body.spread import even_inside, even_surface
from backend.errors import JobError

SET_NAMES: tuple[str, ...] = ("smplx_55", "coco_17", "landmarks_33", "surface_N", "volume_N")
"""What `named_set` knows; N stands for a number of points, from 1 to the body's number of vertices."""


@dataclass(frozen=True, eq=False)
class PointSet:
    """P places of a body, by name. ValueError when the parts do not fit together."""

    name: str
    """Of the set."""
    labels: tuple[str, ...]
    """P names."""
    points: CanonicalPoints
    """The places."""
    edges: np.ndarray
    """(E, 2) int32 rows to join when drawn."""
    raw: np.ndarray
    """(P,) bool, True where `points.positions` is meant in the localizer's own canonical space, which need not be the
    body's rest pose."""

    def __post_init__(self) -> None:
        P = len(self.points)
        if len(self.labels) != P or self.raw.shape != (P,) or self.raw.dtype != bool:
            raise ValueError(f"{P} points need {P} labels and {P} marks of their space")
        if self.edges.ndim != 2 or self.edges.shape[1] != 2:
            raise ValueError("edges must be of shape (E, 2)")
        if len(self.edges) and not 0 <= self.edges.min() <= self.edges.max() < P:
            raise ValueError("edges join points that are not there")

    def __len__(self) -> int:
        return len(self.labels)


def make_set(
    name: str, labels: Sequence[str], points: CanonicalPoints, edges=(), raw: bool | np.ndarray = False
) -> PointSet:
    """A set from loose parts: labels are made unique, `edges` are pairs of rows, `raw` may be one value for all."""
    pairs = np.asarray(edges, np.int32).reshape(-1, 2)
    marks = np.broadcast_to(np.asarray(raw, bool), (len(points),)).copy()
    return PointSet(name, unique_labels(labels), points, pairs, marks)


def join_sets(sets: Sequence[PointSet], name: str) -> PointSet:
    """Several sets of one body as one, in order; a label that is there already gets a suffix."""
    starts = np.cumsum([0, *(len(s) for s in sets)])
    edges = [s.edges + start for s, start in zip(sets, starts, strict=False)]
    labels = [label for s in sets for label in s.labels]
    raw = np.concatenate([s.raw for s in sets])
    return make_set(name, labels, stack([s.points for s in sets]), np.concatenate(edges), raw)


def unique_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """The labels, a repeated one with the first free suffix _2, _3 …"""
    taken, out, last = set(labels), [], {}
    seen: set[str] = set()
    for label in labels:
        free = label
        if label in seen:
            k = last.get(label, 1)
            while free in taken:
                k += 1
                free = f"{label}_{k}"
            last[label] = k
            taken.add(free)
        seen.add(label)
        out.append(free)
    return tuple(out)


_COCO_ORDER = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
)
_COCO = tuple(_COCO_ORDER.split())
_COCO_EDGES = (
    "15-13 13-11 16-14 14-12 11-12 5-11 6-12 5-6 5-7 6-8 7-9 8-10 1-2 0-1 0-2 1-3 2-4 3-5 4-6"
)  # fmt: skip
_LANDMARK_EDGES = (
    "0-1 1-2 2-3 3-7 0-4 4-5 5-6 6-8 9-10 11-12 11-13 13-15 15-17 15-19 15-21 17-19 12-14 14-16 16-18 16-20 "
    "16-22 18-20 11-23 12-24 23-24 23-25 24-26 25-27 26-28 27-29 28-30 29-31 30-32 27-31 28-32"
)
_SPREAD = re.compile(r"(surface|volume)_(\d{1,9})")
_KEPT = 8
"""So many sets are remembered for each body; the largest hold tens of megabytes."""
_cache: WeakKeyDictionary[Body, OrderedDict[str, PointSet]] = WeakKeyDictionary()


def named_set(body: Body, name: str) -> PointSet | None:
    """The set `name` on `body`, or None for a name that is not ours.

    JobError("bad_points") for what this body cannot give (more points than vertices, say). The same object
    is given again for the same body and name.
    """
    kept = _cache.setdefault(body, OrderedDict())
    if name not in kept:
        made = _make(body, name)
        if made is None:
            return None
        kept[name] = made
        while len(kept) > _KEPT:
            kept.popitem(last=False)
    kept.move_to_end(name)
    return kept[name]


def _make(body: Body, name: str) -> PointSet | None:
    if name == "smplx_55":
        edges = [(p, j) for j, p in enumerate(PARENTS) if p >= 0]
        return make_set(name, JOINT_NAMES, joint_points(body, JOINT_NAMES), edges)
    if name == "landmarks_33":
        return make_set(name, LANDMARK_NAMES, landmarks(body), _pairs(_LANDMARK_EDGES))
    if name == "coco_17":
        rows = [LANDMARK_NAMES.index(label) for label in _COCO]
        return make_set(name, _COCO, landmarks(body).take(rows), _pairs(_COCO_EDGES))
    if found := _SPREAD.fullmatch(name):
        return _spread_set(body, found[1], int(found[2]))
    return None


def _pairs(text: str) -> list[list[str]]:
    return [pair.split("-") for pair in text.split()]


def _spread_set(body: Body, kind: str, count: int) -> PointSet:
    most = len(body.v_template)
    if not 1 <= count <= most:
        raise JobError(
            "bad_points", f"'{kind}_{count}' cannot be made: ask for {kind}_1 to {kind}_{most} on this body."
        )
    try:
        points = (even_surface if kind == "surface" else even_inside)(body, count)
    except NoInsideError as e:
        raise JobError(
            "bad_points", f"'{kind}_{count}' cannot be made on this body, because {e}: use surface_{count}."
        ) from e
    return make_set(f"{kind}_{count}", [f"{kind}_{i:04d}" for i in range(count)], points)

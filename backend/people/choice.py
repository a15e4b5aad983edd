"""Which people of a clip are to be followed: pointed out by the user in one of its frames."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from backend.errors import JobError

MOST = 32
"""People in a choice."""
MIN_OVERLAP = 0.3
"""Least intersection over union of somebody's box with a chosen one."""
NEAR = 0.35
"""A chosen point may lie so far from somebody's bones, as a part of the distance from the hips to the farthest limb."""
# Limbs and feet as pairs of BlazePose's landmarks.
BONES = np.array(
    [(11, 12), (23, 24), (11, 13), (13, 15), (12, 14), (14, 16), (23, 25), (25, 27), (24, 26), (26, 28), (15, 19),
     (16, 20), (27, 31), (28, 32)]
)  # fmt: skip
_HOW = "write it as FRAME:x,y with more points after semicolons, such as 12:140,300;260,310"


@dataclass(frozen=True)
class PeopleChoice:
    """People in one frame of a clip, either by boxes around them or by points on them."""

    frame: int
    """Its index, from 0."""
    boxes: tuple[tuple[float, ...], ...] = ()
    """x, y, w, h pixels, around each person."""
    points: tuple[tuple[float, ...], ...] = ()
    """x, y pixels, on each person."""

    def __len__(self) -> int:
        return len(self.boxes) or len(self.points)

    @classmethod
    def from_dict(cls, given: object) -> PeopleChoice:
        """From a JSON object with `frame`, and `boxes` or `points`. Raises JobError("bad_options")."""
        if not isinstance(given, Mapping) or set(given) - {"frame", "boxes", "points"}:
            raise _wrong("must be an object with 'frame', and 'boxes' or 'points'")
        frame, boxes, points = given.get("frame"), given.get("boxes", ()), given.get("points", ())
        if not isinstance(frame, int) or isinstance(frame, bool) or not 0 <= frame < 1 << 31:
            raise _wrong("needs the number of a frame, counted from 0, as 'frame'")
        if bool(boxes) == bool(points):
            raise _wrong("needs at least one person, either as 'boxes' or as 'points'")
        choice = cls(frame, _rows(boxes, 4), _rows(points, 2))
        if len(choice) > MOST:
            raise _wrong(f"may name at most {MOST} people")
        if any(w <= 0 or h <= 0 for *_, w, h in choice.boxes):
            raise _wrong("has a box without an area")
        return choice

    @classmethod
    def from_text(cls, text: str) -> PeopleChoice:
        """From FRAME:x,y;x,y as on the command line. Raises JobError("bad_options")."""
        frame, colon, rest = text.partition(":")
        pairs = [re.split(r"\s*,\s*", part.strip()) for part in rest.split(";") if part.strip()]
        try:
            points = [[float(v) for v in pair] for pair in pairs]
            if not colon or not points:
                raise ValueError
            return cls.from_dict({"frame": int(frame), "points": points})
        except (ValueError, JobError):
            raise JobError("bad_options", f"The choice of people '{text}' cannot be read: {_HOW}.") from None

    def match(self, people: Mapping[int, np.ndarray]) -> list[int | None]:
        """Who is meant: `people` are the landmarks (33, 2), pixels, of everybody in the frame by their track; -> the
        track of each chosen person, None for one who is not there. Nobody is taken twice."""
        ids = list(people)
        cost = np.array([[self._cost(i, people[track]) for track in ids] for i in range(len(self))])
        out: list[int | None] = [None] * len(self)
        cost = cost.reshape(len(self), len(ids))
        while cost.size and (best := np.unravel_index(np.argmin(cost), cost.shape)) and cost[best] < 1:
            out[best[0]] = ids[best[1]]
            cost[best[0], :], cost[:, best[1]] = np.inf, np.inf
        return out

    def _cost(self, i: int, points: np.ndarray) -> float:
        """0 for a perfect match, from 1 on none."""
        if self.boxes:
            low, high = points.min(0), points.max(0)
            return (1 - overlap(np.array(self.boxes[i]), np.concatenate([low, high - low]))) / (
                1 - MIN_OVERLAP
            )
        reach = np.linalg.norm(points - points[[23, 24]].mean(0), axis=1).max()
        return distance_to_body(np.array(self.points[i]), points) / max(NEAR * reach, 1e-6)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (4,) x, y, w, h."""
    shared = np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2])
    area = float(np.prod(np.maximum(shared, 0)))
    return area / max(float(a[2] * a[3] + b[2] * b[3]) - area, 1e-9)


def distance_to_body(place: np.ndarray, points: np.ndarray) -> float:
    """Pixels from a place (2,) to the bones between landmarks (33, 2): limbs, head, and strokes through the trunk."""
    neck, hips = points[[11, 12]].mean(0), points[[23, 24]].mean(0)
    starts = np.concatenate([points[BONES[:, 0]], points[[11, 12]], [neck, neck]])
    ends = np.concatenate([points[BONES[:, 1]], points[[23, 24]], [hips, points[:11].mean(0)]])
    way = ends - starts
    share = ((place - starts) * way).sum(1) / np.maximum((way**2).sum(1), 1e-9)
    nearest = starts + np.clip(share, 0, 1)[:, None] * way
    return float(np.linalg.norm(place - nearest, axis=1).min())


def _rows(given: object, width: int) -> tuple[tuple[float, ...], ...]:
    """Rows of `width` finite numbers."""
    if not isinstance(given, (list, tuple)):
        raise _wrong("needs lists of numbers")
    rows = []
    for row in given:
        good = isinstance(row, (list, tuple)) and len(row) == width
        if not good or not all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in row):
            raise _wrong(f"needs {width} numbers for each person")
        if not all(math.isfinite(v) and abs(v) < 1e6 for v in row):
            raise _wrong("has a place that lies outside every picture")
        rows.append(tuple(float(v) for v in row))
    return tuple(rows)


def _wrong(what: str) -> JobError:
    return JobError("bad_options", f"The option 'people' {what}: choose the people anew.")

"""Where are the people in a picture? Boxes of one network (`persons`), and which way up each is of another (`upright`).

The whole picture is looked at first; people far away are sought in square tiles, overlapping, of the picture's shorter
side and of half its larger one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from backend.camera.turned import Roi
from backend.nets.hands import ONE, Hands
from backend.people.persons import OVERLAP, SURE, PersonBoxes, one_each, shared, within
from backend.people.upright import Axis, AxisFinder
from backend.people.window import tiles, whole_window

# Chosen on rendered crowds (`bench.people`, seeds 100 and 101): a box alone is right in 9 of 10 cases from 0.4 on, one
# in which an axis is seen too from 0.3 on.
_BOX_BONUS, _AXIS_BONUS = 0.1, 0.2
"""What is added to the score of a box, and for an axis that is seen beyond doubt."""
_SMALL, _SMALL_MORE = 0.09, 0.15
"""People smaller than this part of the picture's larger side must be surer by so much: poles, bags and lamps pass as
people when they are a few pixels large."""
_SAME_PLACE, _SAME_SIZE = 0.2, 1.5
"""Two finds are one person when the hips are nearer than this, in sizes of the person, and the sizes differ
by less than this factor."""
_PART_OF = 0.5
"""Share of a box from a tile that may lie in a box of the whole picture, or hold of it."""
_MIN_PICTURE = 8
"""Pixels: nobody can be seen in a smaller picture."""


@dataclass(frozen=True)
class Detection:
    """One person."""

    box: np.ndarray
    """(4,) x, y, w, h pixels around the whole person, inside the picture."""
    score: float
    """0..1, how sure it is that this is a person."""
    roi: Roi
    """The square for the landmark network."""
    hips: np.ndarray
    """(2,) pixels, the middle between the hips."""
    shoulders: np.ndarray
    """(2,) pixels, the middle between the shoulders."""
    seen: np.ndarray
    """(4,) x0, y0, x1, y1 pixels around what is seen of the person."""

    @property
    def radius(self) -> float:
        """Pixels from the hips to the circle around the whole person."""
        return self.roi.size / 2.5


class PersonDetector:
    """Finds people in pictures, several pictures at a time."""

    def __init__(
        self,
        device: str | torch.device = "cpu",
        threshold: float = 0.5,
        engine: str = "auto",
        hands: Hands = ONE,
    ) -> None:
        """`threshold`: least score (0..1) of a person who is reported; `engine`: see `nets.engine`; `hands`: who look
        into the windows."""
        self.threshold = threshold
        self._boxes = PersonBoxes(device, engine, hands, threshold - _BOX_BONUS - _AXIS_BONUS)
        self._axes = AxisFinder(device, engine, hands)

    def detect(
        self,
        images: Sequence[np.ndarray],
        far: bool | None = None,
        parts: Sequence[int] = (1, 2),
        enough: int | None = None,
    ) -> list[list[Detection]]:
        """People in each of `images` ((H, W, 3) uint8 RGB, sizes may differ), best first.

        `far`: also search in tiles for small people; None: only in pictures where nobody else is found.
        `parts`: sizes of the tiles, see `window.tiles` (2 and 6 windows for 16:9).
        `enough`: no tiles for a picture in which the first look finds so many people.
        ValueError for a picture of another shape or type.
        """
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(f"A picture must be (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}.")
        seen = [i for i, image in enumerate(images) if min(image.shape[:2]) >= _MIN_PICTURE]
        boxes = dict(
            zip(seen, self._boxes.find([(images[i], whole_window(images[i])) for i in seen]), strict=True)
        )
        people = self._people(images, boxes)
        more = {}
        for i in seen:
            if enough is not None and len(people[i]) >= enough:
                continue
            if far or (far is None and not people[i]):
                tiled = self._boxes.find([(images[i], t) for t in tiles(images[i], parts)])
                # What the first look saw stays as it is: a tile only adds.
                more[i] = _added(boxes[i], np.concatenate([np.zeros((0, 5)), *tiled]))
        for i, new in self._people(images, more).items():
            people[i] = _apart(people[i], new)
        return [people.get(i, []) for i in range(len(images))]

    def _people(
        self, images: Sequence[np.ndarray], boxes: dict[int, np.ndarray]
    ) -> dict[int, list[Detection]]:
        rows = [(i, box) for i, some in boxes.items() for box in some]
        axes = self._axes.find([(images[i], box) for i, box in rows])
        out: dict[int, list[Detection]] = {i: [] for i in boxes}
        for (i, box), axis in zip(rows, axes, strict=True):
            score = float(min(box[4] + _BOX_BONUS + _AXIS_BONUS * axis.score, 1.0))
            small = max(box[2:4] - box[:2]) < _SMALL * max(images[i].shape[:2])
            if score >= self.threshold + small * _SMALL_MORE:
                out[i].append(_detection(axis, score, box[:4], images[i]))
        return {i: _apart(some) for i, some in out.items()}


def _apart(known: Sequence[Detection], new: Sequence[Detection] = ()) -> list[Detection]:
    """All who are not the same as somebody surer, or as somebody `known`, best first."""
    out: list[Detection] = []
    for d in (*_by_score(known), *_by_score(new)):
        if not any(_same(d, other) for other in out):
            out.append(d)
    return _by_score(out)


def _by_score(people: Sequence[Detection]) -> list[Detection]:
    return sorted(people, key=lambda d: -d.score)


def _same(a: Detection, b: Detection) -> bool:
    size = max(a.radius, b.radius)
    # Which way up somebody is may be seen in two ways.
    return bool(
        np.linalg.norm(a.hips - b.hips) < _SAME_PLACE * size and size < _SAME_SIZE * min(a.radius, b.radius)
    )


def _added(known: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Those of `boxes`, (n, 5) from tiles, who are not among the `known`, best first: a tile shows somebody large only
    in part, so what lies half in somebody known is that person, unless it is sure."""
    new = one_each(boxes)
    if len(new) and len(known):
        shares = np.maximum(within(new, known).max(1), within(known, new).max(0))
        new = new[(shares < _PART_OF) | ((new[:, 4] >= SURE) & (shared(new, known).max(1) < OVERLAP))]
    return new


def _detection(axis: Axis, score: float, seen: np.ndarray, image: np.ndarray) -> Detection:
    """Box: a rectangle along the body's axis, as long as the circle is wide, 0.6 as broad, laid upright."""
    roi = Roi.from_axis(axis.hips, axis.top)
    r, c, s = axis.radius, abs(np.cos(roi.angle)), abs(np.sin(roi.angle))
    half = np.array([0.6 * r * c + r * s, 0.6 * r * s + r * c])
    limit = np.array(image.shape[1::-1], float)
    low, high = np.clip(axis.hips - half, 0, limit), np.clip(axis.hips + half, 0, limit)
    return Detection(np.concatenate([low, high - low]), score, roi, axis.hips, axis.shoulders, seen)

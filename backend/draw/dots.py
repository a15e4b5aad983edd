"""People as dots on the skin and thin bones, coloured by uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from backend.body.model import Body
from backend.draw.colours import colours
from backend.draw.eyes import Eye
from backend.draw.posed import Chunked, Poser
from backend.records import TrackMotion

POINTS = 900
"""Surface points drawn per person."""
_BONE = (245, 245, 245)
_FAR = 20000
"""Pixels: what is drawn beyond would overflow OpenCV's fixed point numbers."""


def surface_sample(body: Body, count: int = POINTS, seed: int = 0) -> np.ndarray:
    """Vertex rows spread over the surface: greedy farthest points of a random subset, (count,) int."""
    rng = np.random.default_rng(seed)
    pool = rng.choice(len(body.v_template), min(len(body.v_template), 6 * count), replace=False)
    places = body.v_template[pool]
    far = np.full(len(pool), np.inf)
    chosen = np.zeros(min(count, len(pool)), int)
    for k in range(1, len(chosen)):
        far = np.minimum(far, np.linalg.norm(places - places[chosen[k - 1]], axis=1))
        chosen[k] = far.argmax()
    return pool[chosen]


class Dots:
    """Draws the `motions` of `body` as each of `eyes` sees them."""

    def __init__(self, body: Body, motions: Sequence[TrackMotion], eyes: Sequence[Eye]) -> None:
        rows = surface_sample(body)
        poser = Poser(body.vertices_as_points(rows), body.to("cpu"))
        self._weights = body.weights[rows]
        self._motions, self._eyes = motions, list(eyes)
        self._chunks = Chunked(motions, poser.pose)
        self._edges = [(int(p), j) for j, p in enumerate(body.parents) if p >= 0 and j < 22]

    def paint(self, canvases: Sequence[np.ndarray], people: Sequence[tuple[int, int]]) -> None:
        """Onto a canvas (H, W, 3) uint8 for each eye. `people`: who is there, as (number of the motion, its row)."""
        for number, row in people:
            chunk, place = self._chunks.of(number, row)
            motion = self._motions[number]
            paint = colours(self._weights @ motion.joint_uncertainty[row])
            for canvas, eye in zip(canvases, self._eyes, strict=True):
                xy, near, _ = eye.seen(chunk[place])
                for i in np.argsort(near):
                    _dot(canvas, xy[i], paint[i])
                bones, *_ = eye.seen(motion.joints[row])
                for a, b in self._edges:
                    if np.isfinite(bones[[a, b]]).all():
                        ends = [tuple(int(v) for v in np.clip(bones[q], -_FAR, _FAR)) for q in (a, b)]
                        cv2.line(canvas, *ends, _BONE, 1, cv2.LINE_AA)


def _dot(canvas: np.ndarray, xy: np.ndarray, colour: np.ndarray) -> None:
    if np.isfinite(xy).all() and np.abs(xy).max() < _FAR:
        centre = round(float(xy[0])), round(float(xy[1]))
        cv2.circle(canvas, centre, 2, colour.tolist(), -1, cv2.LINE_AA)

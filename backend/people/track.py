"""One person through time, and the region in which a person is looked for. Distances are in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.camera.turned import Roi

SHOULDERS, HIPS = (11, 12), (23, 24)
COAST = 5
"""Frames for which a lost person is still looked for at the expected place."""


@dataclass
class Track:
    """One person through time."""

    id: int
    """Its number, given once in a clip."""
    roi: Roi
    """The region in which the person was seen last, or found by the detector."""
    points: np.ndarray | None = None
    """(33, 2) pixels, as they were seen last; None for somebody who was only detected."""
    velocity: np.ndarray | None = None
    """(2,) pixels a frame; None while it is not known."""
    hits: int = 0
    """Frames in which the person was seen."""
    missed: int = 0
    """Frames in a row in which the person was not seen."""
    last: int = -1
    """Index of the frame that `points` are of."""
    confirmed: bool = False
    """Seen often enough to be a person and no slip of the detector."""
    fresh: bool = True
    """The region comes from the detector: the next body may be anywhere near it."""

    @property
    def radius(self) -> float:
        return self.roi.size / 2.5

    def expected(self, index: int) -> np.ndarray:
        """(2,) pixels by which the person is expected to have moved since last seen; damped when long ago."""
        if self.velocity is None:
            return np.zeros(2)
        return self.velocity * min(index - self.last, COAST)

    def anchors(self, index: int) -> np.ndarray:
        """(2, 2) expected middle of the hips and of the shoulders."""
        if self.points is None:
            up = 0.5 * self.radius * np.array([np.sin(self.roi.angle), -np.cos(self.roi.angle)])
            return np.stack([self.roi.center, self.roi.center + up])
        return middles(self.points) + self.expected(index)


@dataclass(frozen=True)
class Aim:
    """Where somebody is looked for in a frame."""

    track: int
    """Number of the person."""
    roi: Roi
    """The region."""
    landmarks: np.ndarray | None
    """(33, 2) pixels, where the landmarks are expected; None for a newcomer, or somebody whom the detector has just
    found again."""


def roi_from_points(points: np.ndarray, aux: np.ndarray | None = None) -> Roi:
    """Region around a body: from BlazePose's alignment points `aux` (2, 2) where given, else from its 33 points.

    The circle about the hips that BlazePose was trained with reaches the farthest landmark.
    """
    hips, shoulders = middles(points)
    reach = float(np.linalg.norm(points - hips, axis=1).max())
    if aux is not None and np.isfinite(aux).all():
        roi = Roi.from_axis(aux[0], aux[1])
        # A circle that leaves out landmarks, or is far too wide, is a slip of the regression.
        return Roi(roi.center, float(np.clip(roi.size, 2.5 * 0.8 * reach, 2.5 * 1.6 * reach)), roi.angle)
    up = shoulders - hips
    length = float(np.linalg.norm(up))
    top = hips + up / length * reach if length > 1e-6 else hips - np.array([0.0, reach])
    return Roi.from_axis(hips, top)


def middles(points: np.ndarray) -> np.ndarray:
    """(2, 2): middle of the hips, middle of the shoulders."""
    return np.stack([points[list(HIPS)].mean(0), points[list(SHOULDERS)].mean(0)])

"""One person through time, and the region in which a person is looked for. Distances are in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.camera.turned import Roi

SHOULDERS, HIPS = (11, 12), (23, 24)
_LEGS = range(25, 33)
_TRUNKS = 1.8
"""From the hips to the circle around somebody who stands, in lengths of the trunk."""
FURTHEST_S = 0.5
"""Nobody is expected to go on as before for longer."""
COURSE_S = 0.25
"""Seconds: half of what is known of the way that a person has taken for some time was seen since then."""
LOST_WAY_S = 0.5
"""Nobody who is lost is expected to go on for longer."""
COAST_S = 5 / 30
"""Seconds for which a lost person is still looked for at the expected place."""
MOMENT_S = 1 / 30
"""Seconds: half of what is known of a person's velocity was seen since then, and somebody seen for so long is no slip
of the detector."""
SLACK_S = 2e-3
"""Files round the times of frames: so much less than a span of seconds counts as that span."""


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
    """(2,) pixels a second; None while it is not known."""
    course: np.ndarray | None = None
    """(2,) pixels a second, of the last half second or so: what a meeting with somebody does not change."""
    since_s: float = np.nan
    """When the person was seen first, seconds; NaN for somebody who was only detected."""
    last_s: float = np.nan
    """Seconds of the frame that `points` are of."""
    lost_s: float = 0.0
    """Seconds for which the person has not been seen, up to the end of the last frame; 0: was seen in it."""
    confirmed: bool = False
    """Seen often enough to be a person and no slip of the detector."""
    looks: np.ndarray | None = None
    """(LOOKS, 4) what the person looks like, see `people.looks`; None while nothing is known."""
    tries: int = 0
    """How often a newcomer was looked at again, in the region that the look before said."""
    found: int = 1
    """How often the detector has found this person apart from others, counted up to 2."""
    unseen: int = 0
    """How often running the detector saw nobody here."""
    unfound: int = 0
    """How often running the detector saw nobody here but somebody else who is followed."""
    fresh: bool = True
    """The region comes from the detector: the next body may be anywhere near it."""

    @property
    def radius(self) -> float:
        return self.roi.size / 2.5

    def expected(self, time_s: float) -> np.ndarray:
        """(2,) pixels by which the person is expected to have moved since last seen; of a lost one, damped when that
        is long ago."""
        since = time_s - self.last_s
        if self.lost_s and self.course is not None:
            return self.course * min(since, LOST_WAY_S)
        return np.zeros(2) if self.velocity is None else self.velocity * min(since, FURTHEST_S)

    def anchors(self, time_s: float) -> np.ndarray:
        """(2, 2) expected middle of the hips and of the shoulders at this time."""
        if self.points is None:
            up = 0.5 * self.radius * np.array([np.sin(self.roi.angle), -np.cos(self.roi.angle)])
            return np.stack([self.roi.center, self.roi.center + up])
        return middles(self.points) + self.expected(time_s)


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


def whole_region(roi: Roi, points: np.ndarray, size: np.ndarray) -> Roi:
    """`roi` of a body `points` (33, 2), made large enough for legs that lie outside a picture of `size` (2,): where
    they are is guessed then, within the region, so that it would shrink from frame to frame."""
    legs = points[_LEGS]
    if ((legs > 0) & (legs < size)).all(-1).mean() >= 0.5:
        return roi
    hips, shoulders = middles(points)
    return Roi(roi.center, max(roi.size, 2.5 * _TRUNKS * float(np.linalg.norm(shoulders - hips))), roi.angle)


def middles(points: np.ndarray) -> np.ndarray:
    """(2, 2): middle of the hips, middle of the shoulders."""
    return np.stack([points[list(HIPS)].mean(0), points[list(SHOULDERS)].mean(0)])


def blended(known: np.ndarray | None, new: np.ndarray, ages: float) -> np.ndarray:
    """A velocity after another one was seen; half of the known one is forgotten in each of the `ages` since."""
    old = 0.5**ages
    return new if known is None else old * known + (1 - old) * new

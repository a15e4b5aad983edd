"""Which way is up: the camera's tilt, read off the people who stand and walk in front of it.

Nothing else in a clip of unknown origin says it. People who stand, walk or run are upright on average, each
frame leaning a little this way or that; frames in which the body is folded (sitting, bending, lying) have no say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

CAMERA_UP = np.array([0.0, -1.0, 0.0])
"""Up for a camera held level: against the y axis of camera space."""

ANKLES, PELVIS, NECK = [7, 8], 0, 12
MAX_FOLD_DEG = 30.0
"""Trunk against legs: more than this is not standing."""
MAX_TILT_DEG = 60.0
"""A camera that seems tilted further is more likely a person who is not upright."""
ENOUGH_S = 0.4
"""Seconds of upright people that are needed before we believe them."""
UNSURE_M = 0.12
"""A frame that is less sure than this of the trunk has no say."""


def up_direction(
    joints: Sequence[np.ndarray], uncertainty: Sequence[np.ndarray], frame_s: float
) -> np.ndarray:
    """Unit vector (3,) in camera space that points up; CAMERA_UP when the people do not say.

    `joints`: one (n, 55, 3) per person, camera space, metres; `uncertainty`: one (n, 55) each, metres;
    `frame_s`: seconds a frame lasts.
    """
    spines = [_standing(j, u) for j, u in zip(joints, uncertainty, strict=True)]
    axes = np.concatenate(spines) if spines else np.zeros((0, 3))
    if len(axes) * frame_s < ENOUGH_S:
        return CAMERA_UP.copy()
    up = _geometric_median(axes)
    up /= np.linalg.norm(up)
    tilt = np.rad2deg(np.arccos(np.clip(up @ CAMERA_UP, -1, 1)))
    return up if tilt <= MAX_TILT_DEG else CAMERA_UP.copy()


def _standing(joints: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """Unit vectors (k, 3) from ankles to neck in the frames where the body is straight and well seen."""
    feet = joints[:, ANKLES].mean(1)
    trunk, legs = joints[:, NECK] - joints[:, PELVIS], joints[:, PELVIS] - feet
    size = np.linalg.norm(trunk, axis=1) * np.linalg.norm(legs, axis=1)
    fold = np.rad2deg(np.arccos(np.clip((trunk * legs).sum(1) / np.maximum(size, 1e-9), -1, 1)))
    good = (fold < MAX_FOLD_DEG) & (uncertainty[:, [PELVIS, NECK]].max(1) < UNSURE_M)
    axis = (joints[:, NECK] - feet)[good]
    return axis / np.linalg.norm(axis, axis=1, keepdims=True)


def _geometric_median(points: np.ndarray, steps: int = 30) -> np.ndarray:
    """The point (3,) of least summed distance to `points` (Weiszfeld): a few who lean far do not move it."""
    middle = points.mean(0)
    for _ in range(steps):
        w = 1 / np.maximum(np.linalg.norm(points - middle, axis=1), 1e-3)
        middle = (w[:, None] * points).sum(0) / w.sum()
    return middle

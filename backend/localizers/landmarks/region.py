"""Where our localizer field looks: the square about a person by their landmarks, the same in training and in use."""

from __future__ import annotations

import numpy as np

from backend.camera.pinhole import Roi

SHOULDERS, HIPS = (11, 12), (23, 24)
_CIRCLE = 1.05
"""BlazePose's circle passes a little beyond the outermost landmark."""
_ROOM = 1.3
"""Side of the square, in sides of the landmarks' box: fingertips and the top of the head lie beyond it."""


def landmark_region(xy: np.ndarray) -> Roi:
    """The square by 33 landmarks (33, 2), pixels: upright by the axis hips - shoulders, about the middle of
    everything. Tighter than BlazePose's, which is centred on the hips."""
    hips, top = landmark_axis(xy)
    dx, dy = top - hips
    angle = float(np.arctan2(dx, -dy))
    c, s = np.cos(angle), np.sin(angle)
    R = np.array([[c, s], [-s, c]])
    turned = xy @ R.T
    low, high = turned.min(0), turned.max(0)
    return Roi(R.T @ ((low + high) / 2), max(_ROOM * float((high - low).max()), 2.0), angle)


def landmark_axis(xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(2,) middle of the hips and (2,) top of BlazePose's circle, pixels, by which people are followed."""
    hips, shoulders = xy[list(HIPS)].mean(0), xy[list(SHOULDERS)].mean(0)
    axis = shoulders - hips
    length = np.linalg.norm(axis)
    axis = axis / length if length > 1e-6 else np.array([0.0, -1.0])
    radius = _CIRCLE * np.linalg.norm(xy - hips, axis=1).max()
    return hips, hips + axis * radius

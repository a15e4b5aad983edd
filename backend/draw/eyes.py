"""From where the overlay looks at people: with the camera that took the clip, and from its right side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from backend.camera.pinhole import Camera
from backend.records import TrackMotion
from blender_addon.shared.axes import CAMERA_TO_SMPL, level_rotation

NEAREST = 0.05
"""Metres before the camera: what is nearer is not drawn."""


class Eye(Protocol):
    """One view. Its own axes are those of a camera: x right, y down, z away from the viewer; metres."""

    width: int
    """Pixels."""
    height: int
    """Pixels."""

    def turned(self, directions: np.ndarray) -> np.ndarray:
        """Directions (..., 3) of camera space in the view's own axes."""
        ...

    def seen(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points (..., 3), camera space, metres -> pixels (..., 2), NaN if they cannot be seen; how near (..., 1 less),
        linear on the picture; and the direction in which the viewer looks at them (..., 3), the view's own axes."""
        ...


class CameraEye:
    """The picture's own camera."""

    def __init__(self, camera: Camera) -> None:
        self.camera, self.width, self.height = camera, camera.width, camera.height

    def turned(self, directions: np.ndarray) -> np.ndarray:
        """See `Eye`."""
        return directions

    def seen(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Eye`."""
        depth = points[..., 2]
        depth = np.where(depth > NEAREST, depth, np.float32(np.nan))
        near = 1 / depth
        K = self.camera.K.astype(np.float32)
        xy = (points[..., :2] * near[..., None]) @ K[:2, :2].T + K[:2, 2]
        return xy, near, points / np.linalg.norm(points, axis=-1, keepdims=True)


class SideEye:
    """From the camera's right without perspective, the world level: what is near the camera stands on the left.

    The view shows whoever is longest in the picture, of these the tallest; others may be far behind.
    `width`, `height`: pixels.
    """

    def __init__(self, motions: Sequence[TrackMotion], width: int, height: int) -> None:
        self.width, self.height = width, height
        level = level_rotation(motions[0].up) @ CAMERA_TO_SMPL
        # To the right: away from the camera; away from the viewer: to the camera's left.
        self._turn = -level[[2, 1, 0]]
        shown = max(motions, key=lambda m: (len(m.frames), float(np.median(m.boxes[:, 3]))))
        main = shown.joints[:, :22].reshape(-1, 3)
        main = main[np.isfinite(main).all(-1)] @ self._turn.T
        low, high = np.percentile(main, [1, 99], axis=0) if len(main) else (np.zeros(3), np.zeros(3))
        reach = max(float((high - low)[:2].max()) / 2, 0.5) * 1.25
        self._middle = (low + high) / 2
        self._px_per_m = 0.5 * min(width, height) / reach

    def turned(self, directions: np.ndarray) -> np.ndarray:
        """See `Eye`."""
        return directions @ self._turn.T.astype(np.float32)

    def seen(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `Eye`."""
        own = self.turned(points) - self._middle.astype(np.float32)
        middle = np.float32([self.width / 2, self.height / 2])
        return own[..., :2] * np.float32(self._px_per_m) + middle, -own[..., 2], np.float32([0, 0, 1])

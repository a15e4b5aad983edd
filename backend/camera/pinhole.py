"""The pinhole camera, regions of a picture and the crops that they become."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DEFAULT_FOV_DEG = 55.0
"""Field of view assumed on the larger side when nothing is known of the lens (NLF's own default)."""
_BOX_TO_REGION = 1.25
"""MediaPipe's regions are this much larger than the circle about the hips that holds the person."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion."""

    K: np.ndarray
    """(3, 3) float64, pixels."""
    width: int
    """Of the picture, pixels."""
    height: int
    """Of the picture, pixels."""

    @classmethod
    def from_fov(cls, width: int, height: int, fov_deg: float = DEFAULT_FOV_DEG) -> Camera:
        """Camera whose larger side spans `fov_deg` degrees, principal point ((W-1)/2, (H-1)/2)."""
        f = 0.5 * max(width, height) / np.tan(np.deg2rad(fov_deg) / 2)
        K = np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])
        return cls(K, width, height)

    @classmethod
    def from_focal(cls, width: int, height: int, focal_px: float) -> Camera:
        """Camera with a focal length in pixels and the principal point in the middle."""
        K = np.array([[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1.0]])
        return cls(K, width, height)

    def project(self, points: np.ndarray) -> np.ndarray:
        """`points`: (..., 3) camera space, metres -> (..., 2) pixels. NaN behind the camera."""
        z = np.where(points[..., 2:] > 1e-6, points[..., 2:], np.nan)
        return (points[..., :2] / z) @ self.K[:2, :2].T + self.K[:2, 2]


@dataclass(frozen=True)
class Roi:
    """A square region of a picture around one person."""

    center: np.ndarray
    """(2,) pixels."""
    size: float
    """Side in pixels."""
    angle: float = 0.0
    """Radians, clockwise on the screen: the person's own upright points along (sin angle, -cos angle) in the picture
    and becomes upright in the crop."""

    @classmethod
    def from_axis(cls, hips: np.ndarray, top: np.ndarray, expand: float = 1.25) -> Roi:
        """Region from BlazePose's alignment points: (2,) middle of the hips, (2,) top of the circle.

        The half side is `expand` times their distance, as MediaPipe takes it.
        """
        hips, top = np.asarray(hips, float), np.asarray(top, float)
        dx, dy = top - hips
        return cls(hips, max(2 * expand * float(np.hypot(dx, dy)), 2.0), float(np.arctan2(dx, -dy)))

    @property
    def box(self) -> np.ndarray:
        """(4,) x, y, w, h: the upright rectangle around the turned square."""
        side = self.size * (abs(np.cos(self.angle)) + abs(np.sin(self.angle)))
        return np.array([*(self.center - side / 2), side, side])

    @classmethod
    def around(cls, box: np.ndarray) -> Roi:
        """Upright region about a person whose tight box (x, y, w, h) is all that is known."""
        x, y, w, h = (float(v) for v in box)
        return cls(np.array([x + w / 2, y + h / 2]), max(_BOX_TO_REGION * max(w, h), 2.0))

    @property
    def person(self) -> np.ndarray:
        """(4,) x, y, w, h: the square that a person in this region fills, in height or in width."""
        side = self.size / _BOX_TO_REGION
        return np.array([*(self.center - side / 2), side, side])


@dataclass(frozen=True)
class Crop:
    """A square network input seen by a virtual camera turned towards a person."""

    image: np.ndarray
    """(S, S, 3) uint8 RGB."""
    K: np.ndarray
    """(3, 3) intrinsics of the crop, pixels."""
    R: np.ndarray
    """(3, 3) rotation from the original camera to the crop camera: x_crop = R @ x_camera (same optical centre, so a
    homography maps the pixels)."""

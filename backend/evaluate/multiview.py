"""A 3D reference from several calibrated cameras: robust triangulation of 2D landmarks.

Reads Qualisys calibration files (`.qca.txt`): the transform's rows, times diag(1, -1, -1) from the left, turn
world into camera axes; x, y, z is the camera's place in mm; focal lengths and centres are in 1/64 pixel.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from scipy.signal import savgol_filter


@dataclass(frozen=True)
class CalibratedCamera:
    """A camera whose place and lens are known: x_camera = R x_world + t."""

    R: np.ndarray
    """(3, 3) rotation."""
    t: np.ndarray
    """(3,) metres."""
    K: np.ndarray
    """(3, 3) pixels."""
    distortion: np.ndarray
    """(4,) k1, k2, p1, p2 of OpenCV."""

    def undistort(self, xy: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) -> rays (..., 2) as x/z, y/z."""
        flat = np.ascontiguousarray(xy.reshape(-1, 1, 2), np.float64)
        return cv2.undistortPoints(flat, self.K, self.distortion).reshape(xy.shape)

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World (..., 3) metres -> camera axes."""
        return points @ self.R.T + self.t

    def project(self, points: np.ndarray) -> np.ndarray:
        """World (..., 3) metres -> distorted pixels (..., 2)."""
        flat = np.ascontiguousarray(points.reshape(-1, 3), np.float64)
        rvec = cv2.Rodrigues(self.R)[0]
        return cv2.projectPoints(flat, rvec, self.t, self.K, self.distortion)[0].reshape(
            *points.shape[:-1], 2
        )


def read_qualisys(path: Path) -> list[CalibratedCamera]:
    """All cameras of a Qualisys calibration file, in the file's order."""
    cameras = []
    for c in ElementTree.parse(path).getroot().find("cameras"):
        a, i = c.find("transform").attrib, c.find("intrinsic").attrib
        R = np.array([[float(a[f"r{r}{k}"]) for k in (1, 2, 3)] for r in (1, 2, 3)])
        R = np.diag([1.0, -1.0, -1.0]) @ R
        place = np.array([float(a[k]) for k in "xyz"]) / 1000
        fu, fv, cu, cv = (
            float(i[k]) / 64 for k in ("focalLengthU", "focalLengthV", "centerPointU", "centerPointV")
        )
        names = ("radialDistortion1", "radialDistortion2", "tangentalDistortion1", "tangentalDistortion2")
        K = np.array([[fu, 0, cu], [0, fv, cv], [0, 0, 1.0]])
        cameras.append(CalibratedCamera(R, -R @ place, K, np.array([float(i[k]) for k in names])))
    return cameras


def triangulate(
    cameras: list[CalibratedCamera], points2d: np.ndarray, good_px: float = 15.0
) -> tuple[np.ndarray, np.ndarray]:
    """Robust triangulation, leaving cameras out where they disagree.

    `points2d`: (C, n, J, 2) pixels, NaN where missing -> points (n, J, 3) world metres, and their mean
    reprojection error (n, J) in pixels over the cameras that were kept. A smaller set of cameras replaces a
    larger one only if it halves the error; the search ends with the first set below `good_px`.
    """
    C, n, J, _ = points2d.shape
    rays = np.stack([cam.undistort(p) for cam, p in zip(cameras, points2d, strict=True)])
    P = np.stack([np.c_[cam.R, cam.t] for cam in cameras])
    focal = np.array([cam.K[0, 0] for cam in cameras])
    out, error = np.full((n, J, 3), np.nan), np.full((n, J), np.inf)
    seen_all = np.isfinite(points2d).all(-1)
    for f in range(n):
        for j in range(J):
            seen = [c for c in range(C) if seen_all[c, f, j]]
            size = len(seen) + 1
            for kept in (list(s) for k in range(len(seen), 1, -1) for s in combinations(seen, k)):
                r = rays[kept, f, j]
                A = (r[..., None] * P[kept][:, 2:3] - P[kept][:, :2]).reshape(-1, 4)
                x = np.linalg.svd(A)[2][-1]
                x = x[:3] / x[3]
                y = P[kept][:, :, :3] @ x + P[kept][:, :, 3]
                e = float((np.linalg.norm(y[:, :2] / y[:, 2:] - r, axis=1) * focal[kept]).mean())
                if e < error[f, j] * (0.5 if len(kept) < size else 1.0):
                    out[f, j], error[f, j], size = x, e, len(kept)
                if e < good_px:
                    break
    return out, error


def smooth_reference(points: np.ndarray, window: int = 9) -> np.ndarray:
    """Savitzky-Golay of second order over `window` frames along axis 0; gaps are bridged linearly first."""
    flat = points.reshape(len(points), -1).copy()
    for k in range(flat.shape[1]):
        bad = ~np.isfinite(flat[:, k])
        if bad.any() and not bad.all():
            flat[bad, k] = np.interp(np.flatnonzero(bad), np.flatnonzero(~bad), flat[~bad, k])
    return savgol_filter(flat, min(window, len(points) // 2 * 2 - 1), 2, axis=0).reshape(points.shape)

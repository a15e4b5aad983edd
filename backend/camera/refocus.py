"""Points that were localized under one lens, as if they had been localized under another.

A localizer looks at a person through a virtual camera that is turned towards the region about the person, and says
where points are relative to each other in that camera's axes; the lens has no part in it. Only two things depend on
the lens: how far the virtual camera was turned, and where everything must be to be seen along its pixels' rays. Both
are done again here, so that no picture is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np

from backend.camera.pinhole import Camera

LANDMARKS = 33
HIPS = (23, 24)
CONFIDENT_M = 0.3
"""Points less certain than this have no say in the distance, as in `localizers.field.model`."""
MIXED = 0.5
"""Share by which the localizers *field* and *nlf* move points towards their rays at the end, see `nets.absolute`; the
landmarks localizers do not."""
_NEAR_M = 0.3
_STEPS = 8


class Localized(Protocol):
    """What is read of a `records.TrackChunk`, which lies above this room."""

    points3d: np.ndarray
    """(n, P, 3) camera space, metres."""
    points2d: np.ndarray
    """(n, P, 2) pixels."""
    uncertainty: np.ndarray
    """(n, P) metres."""


Track = TypeVar("Track", bound=Any)
"""A dataclass that is `Localized`."""


def refocused(
    track: Track, old: Camera, new: Camera, lens: Sequence[float] | np.ndarray | None = None
) -> Track:
    """`track`, localized under `old` (a pinhole), as if under `new`.

    `lens`: 4, 5, 8 or 12 coefficients of the distortion (see `camera.lens`), to be taken out: `points2d` are then
    those that `new` would see without distortion, so that everything that follows may take it for a pinhole. Rows of
    NaN stay NaN. Points behind the camera cannot come out. ValueError for another number of coefficients.
    """
    points3d, points2d = track.points3d.astype(np.float64), track.points2d.astype(np.float64)
    if not points3d.shape[1]:
        return track
    before = _rays(points2d, old)
    after, seen = _undistorted(points2d, new, lens)
    turns = _turn(_middle(before)), _turn(_middle(after))
    mix = 0.0 if points3d.shape[1] == LANDMARKS else MIXED
    # In the axes of the camera that was turned to the person, where points were last moved towards their rays.
    local = np.einsum("nij,npj->npi", turns[0], points3d)
    local = _unmixed(local, _through(turns[0], before), mix)
    away = np.einsum("nij,npj->npi", turns[1], _ray3(after))
    rays = away[..., :2] / np.maximum(away[..., 2:], 1e-6)
    relative = local - local.mean(1, keepdims=True)
    weight = _weights(track.uncertainty, landmarks=mix == 0)
    placed = relative + _translation(rays, relative, weight)[:, None]
    onto = np.concatenate([rays * placed[..., 2:], placed[..., 2:]], -1)
    placed = (1 - mix) * placed + mix * onto
    out = np.einsum("nji,npj->npi", turns[1], placed)
    return replace(track, points3d=out.astype(np.float32), points2d=seen.astype(np.float32))


def _rays(pixels: np.ndarray, camera: Camera) -> np.ndarray:
    """(n, P, 2) pixels -> (n, P, 2) x/z, y/z."""
    return (pixels - camera.K[:2, 2]) @ np.linalg.inv(camera.K[:2, :2]).T


def _undistorted(pixels: np.ndarray, camera: Camera, lens) -> tuple[np.ndarray, np.ndarray]:
    """Rays without distortion, and the pixels in which a pinhole would see them."""
    flat = _rays(pixels, camera)
    if lens is None or not len(lens) or not np.any(lens):
        return flat, pixels
    import torch

    from backend.camera.lens import undistort

    coeffs = torch.as_tensor(np.asarray(lens, np.float64))
    straight = undistort(torch.from_numpy(flat), coeffs, _STEPS).numpy()
    return straight, straight @ camera.K[:2, :2].T + camera.K[:2, 2]


def _ray3(rays: np.ndarray) -> np.ndarray:
    return np.concatenate([rays, np.ones_like(rays[..., :1])], -1)


def _middle(rays: np.ndarray) -> np.ndarray:
    """(n, 2) where a localizer's region lies: the landmarks' one about the hips, that of the others about all
    landmarks, which come first among their points. A little off does no harm, it is so before and after."""
    if rays.shape[1] == LANDMARKS:
        return rays[:, HIPS].mean(1)
    marks = rays[:, :LANDMARKS]
    return (marks.min(1) + marks.max(1)) / 2


def _turn(ray: np.ndarray) -> np.ndarray:
    """(n, 2) rays -> (n, 3, 3) smallest turns that bring each onto (0, 0, 1), as in `turned.turned_camera`."""
    x, y, z = np.moveaxis(_ray3(ray) / np.linalg.norm(_ray3(ray), axis=-1, keepdims=True), -1, 0)
    k = 1 / (1 + z)
    rows = [[1 - x * x * k, -x * y * k, -x], [-x * y * k, 1 - y * y * k, -y], [x, y, z]]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _through(turn: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Rays (n, P, 2) in the axes of turned cameras (n, 3, 3)."""
    away = np.einsum("nij,npj->npi", turn, _ray3(rays))
    return away[..., :2] / np.maximum(away[..., 2:], 1e-6)


def _unmixed(points: np.ndarray, rays: np.ndarray, mix: float) -> np.ndarray:
    """Where points (n, P, 3) were before they were moved towards their rays by the share `mix`."""
    flat = (points[..., :2] - mix * rays * points[..., 2:]) / (1 - mix)
    return np.concatenate([flat, points[..., 2:]], -1)


def _weights(sigma: np.ndarray, landmarks: bool) -> np.ndarray:
    """(n, P) of points in the solution for their place, as the localizers weigh them."""
    sigma = sigma.astype(np.float64)
    if landmarks:
        return sigma**-2
    sure = sigma < CONFIDENT_M
    return np.where(sure.any(1, keepdims=True), sure, np.isfinite(sigma)).astype(float)


def _translation(rays: np.ndarray, relative: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(n, 3) that puts `relative` (n, P, 3) onto `rays` (n, P, 2) in the weighted least squares; NaN where all is."""
    ok = np.isfinite(rays).all(-1) & np.isfinite(relative).all(-1) & np.isfinite(weight)
    w = np.where(ok, weight, 0.0)[..., None]
    total = w.sum(1)
    rays, relative = np.where(ok[..., None], rays, 0.0), np.where(ok[..., None], relative, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        b = rays * relative[..., 2:] - relative[..., :2]
        mean, mean_b = (w * rays).sum(1) / total, (w * b).sum(1) / total
        spread = rays - mean[:, None]
        z = -(w * spread * (b - mean_b[:, None])).sum((1, 2)) / (w * spread**2).sum((1, 2))
    # In front of the camera; `relative` is about the middle of the points.
    z = np.maximum(z, _NEAR_M)
    return np.concatenate([mean_b + mean * z[:, None], z[:, None]], -1)

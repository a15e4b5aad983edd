"""Feature tracks as the solvers read them, and small rotations.

Places are measured from the principal point in *small pixels*: the picture's longest side has 640 of them, so that all
thresholds hold for every size of picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.camera.background import SIDE, Background
from backend.camera.pinhole import Camera


@dataclass(frozen=True)
class Sight:
    """What was seen of q features in n frames, m sightings ordered by frame."""

    n: int
    """Frames."""
    q: int
    """Features."""
    frame: np.ndarray
    """(m,) which frame, from 0."""
    feature: np.ndarray
    """(m,) which feature, from 0, rising within a frame."""
    place: np.ndarray
    """(m, 2) small pixels from the principal point."""
    start: np.ndarray
    """(n + 1,) first sighting of each frame."""
    small: float
    """Pixels in a small pixel."""

    @classmethod
    def of(cls, background: Background, camera: Camera) -> Sight:
        """`camera` says where the principal point is."""
        small = max(camera.width, camera.height) / SIDE
        counts = np.asarray(background.counts, int)
        frame = np.repeat(np.arange(len(counts)), counts)
        known, feature = np.unique(background.ids, return_inverse=True)
        order = np.lexsort((feature, frame))
        place = (np.asarray(background.places, float) - camera.K[:2, 2]) / small
        start = np.concatenate([[0], np.cumsum(counts)])
        return cls(len(counts), len(known), frame[order], feature[order], place[order], start, small)

    def of_frame(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Features (c,) of frame `k`, rising, and their places (c, 2)."""
        rows = slice(self.start[k], self.start[k + 1])
        return self.feature[rows], self.place[rows]

    def shared(self, a: int, b: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features (c,) that frames `a` and `b` both show, and their places (c, 2) in each."""
        (fa, pa), (fb, pb) = self.of_frame(a), self.of_frame(b)
        both, ia, ib = np.intersect1d(fa, fb, assume_unique=True, return_indices=True)
        return both, pa[ia], pb[ib]


def rays(place: np.ndarray, focal: float | np.ndarray) -> np.ndarray:
    """(…, 2) places -> (…, 3) unit directions in camera axes; `focal` small pixels, one or one per place."""
    ray = np.concatenate([place / np.asarray(focal)[..., None], np.ones_like(place[..., :1])], -1)
    return ray / np.linalg.norm(ray, axis=-1, keepdims=True)


def turned(vectors: np.ndarray) -> np.ndarray:
    """Rotation vectors (…, 3), radians -> matrices (…, 3, 3)."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    cross = crossed(vectors)
    small = angle < 1e-6
    safe = np.where(small, 1.0, angle)
    first = np.where(small, 1 - angle**2 / 6, np.sin(safe) / safe)
    second = np.where(small, 0.5 - angle**2 / 24, (1 - np.cos(safe)) / safe**2)
    return np.eye(3) + first * cross + second * (cross @ cross)


def vectors(turns: np.ndarray) -> np.ndarray:
    """Inverse of `turned` for angles below pi: matrices (…, 3, 3) -> (…, 3)."""
    twist = np.stack(
        [
            turns[..., 2, 1] - turns[..., 1, 2],
            turns[..., 0, 2] - turns[..., 2, 0],
            turns[..., 1, 0] - turns[..., 0, 1],
        ],
        -1,
    )
    sin = np.linalg.norm(twist, axis=-1, keepdims=True) / 2
    cos = (np.trace(turns, axis1=-2, axis2=-1)[..., None] - 1) / 2
    angle = np.arctan2(sin, cos)
    return twist / 2 * np.where(sin < 1e-9, 1.0, angle / np.maximum(sin, 1e-12))


def crossed(v: np.ndarray) -> np.ndarray:
    """(…, 3) -> (…, 3, 3): the matrix of the cross product with `v`."""
    x, y, z = np.moveaxis(np.asarray(v, float), -1, 0)
    zero = np.zeros_like(x)
    return np.stack(
        [np.stack([zero, -z, y], -1), np.stack([z, zero, -x], -1), np.stack([-y, x, zero], -1)], -2
    )


def nearest_turn(m: np.ndarray) -> np.ndarray:
    """Matrices (…, 3, 3) that are nearly rotations -> rotations."""
    u, _, vt = np.linalg.svd(m)
    sign = np.ones(m.shape[:-1])
    sign[..., 2] = np.linalg.det(u @ vt)
    return (u * sign[..., None, :]) @ vt


def trust(squared: np.ndarray, scale: float) -> np.ndarray:
    """Weights of residuals whose squared length is given: what is far beyond `scale` hardly counts."""
    return 1 / (1 + squared / scale**2) ** 2

"""What the carriers of a place of the rest volume make of values at the vertices, for many places at once.

The rule is that of `backend.body.points.canonical_points` (the nearest triangle on the surface, the walls around it
inside), but the combination itself is never written down: a thousand places cost a twentieth of a second, so that a
map can be turned around by iteration.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from backend.body.surface import Surface, closest_on_triangles

SKIN_DEPTH = 0.02
"""Metres; as in `canonical_points` (a test compares both)."""
_SAMPLE = 0.008
"""Metres between the samples of a triangle: the nearest few samples name the nearest triangle."""
_CANDIDATES = 10
_BLOCK = 32
"""Places whose walls are weighed at once: their arrays stay in the processor's cache."""


class Carriers:
    """The carriers of places in the volume of a rest `surface`."""

    def __init__(self, surface: Surface) -> None:
        self.surface = surface
        samples, self._owner = _samples(surface.corners)
        self._tree = cKDTree(samples)
        # Centred, so that float32 is exact to a hundredth of a millimetre where walls count.
        self._middle = surface.v.mean(0)
        v = (surface.v - self._middle).astype(np.float32)
        n = surface.normals.astype(np.float32)
        self._v, self._n, self._areas = v.T.copy(), n.T.copy(), surface.areas.astype(np.float32)
        self._square, self._height = (v**2).sum(1), (v * n).sum(1)

    def blend(self, p: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What the carriers of each of `p` (P, 3) make of `values` (V, C) at the vertices -> (P, C) float64."""
        near, face, barycentric = self.nearest(p)
        corners = values[self.surface.faces[face]]
        out = np.einsum("pk,pkc->pc", barycentric, corners)
        inside = self.surface.inside(p, near, face, barycentric)
        t = np.clip(np.linalg.norm(near - p, axis=1) / SKIN_DEPTH, 0, 1) * inside
        t = t * t * (3 - 2 * t)
        rows = np.flatnonzero(t)
        values = np.asarray(values, np.float32)
        for i in range(0, len(rows), _BLOCK):
            part = rows[i : i + _BLOCK]
            walled, seen = self._walls(p[part], values)
            share = (t[part] * seen)[:, None]
            out[part] = (1 - share) * out[part] + share * walled
        return out

    def nearest(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `Surface.nearest` and twenty times as fast; of two triangles about as near it may take the other."""
        if len(p) == 0:
            return np.zeros((0, 3)), np.zeros(0, int), np.zeros((0, 3))
        face = self._owner[self._tree.query(p, k=_CANDIDATES)[1]]
        rows = np.repeat(np.arange(len(p)), _CANDIDATES)
        close, barycentric = closest_on_triangles(p[rows], self.surface.corners[face.ravel()])
        square = ((close - p[rows]) ** 2).sum(1).reshape(face.shape)
        best = np.arange(len(p)) * _CANDIDATES + square.argmin(1)
        return close[best], face.ravel()[best], barycentric[best]

    def _walls(self, p: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean of `values` over the walls that face each of `p`, by area / distance^4; (P,) False: none does."""
        q = (p - self._middle).astype(np.float32)
        facing = self._height - q @ self._n
        np.maximum(facing, 0, out=facing)
        square = q @ self._v
        square *= -2
        square += self._square
        square += (q**2).sum(1)[:, None]
        np.maximum(square, 1e-8, out=square)
        # facing / distance is the cosine, so the weight falls with the fifth power.
        facing *= self._areas
        facing /= square * square * np.sqrt(square)
        total = facing.sum(1, dtype=np.float64)
        seen = total > 0
        mean = (facing @ values).astype(np.float64) / np.where(seen, total, 1)[:, None]
        return mean, seen


def _samples(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places spread evenly over the triangles `corners` (F, 3, 3), and the triangle of each."""
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)
    steps = np.clip(np.ceil(longest / _SAMPLE), 1, 8).astype(int)
    places, owner = [], []
    for n in np.unique(steps):
        rows = np.flatnonzero(steps == n)
        i, j = np.divmod(np.arange(n * n), n)
        share = np.stack([i + 1 / 3, j + 1 / 3], 1)[i + j < n] / n
        share = np.concatenate([1 - share.sum(1, keepdims=True), share], 1)
        places.append(np.einsum("sk,fkc->fsc", share, corners[rows]).reshape(-1, 3))
        owner.append(np.repeat(rows, len(share)))
    return np.concatenate(places), np.concatenate(owner)

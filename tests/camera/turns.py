"""Features of a made-up background, seen by a camera whose way is known."""

from __future__ import annotations

import numpy as np

from backend.camera.background import Background, BackgroundFrame
from backend.camera.moving.sight import vectors
from backend.camera.pinhole import Camera

WIDE, HIGH = 1280, 720


def background(turns, focal, places=None, depth=None, noise=0.4, movers=0.0, seed=0, empty=()) -> Background:
    """Features all around at `depth` (least, most) or infinitely far; `movers`: part of them that goes by itself."""
    rng, n, points = np.random.default_rng(seed), len(turns), 3000
    X = rng.normal(size=(points, 3))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    X *= 1e6 if depth is None else np.exp(rng.uniform(*np.log(depth), (points, 1)))
    drift = (rng.random((points, 1)) < movers) * rng.normal(size=(points, 3)) * 0.01
    names, alive, seen = iter(range(10**6)), {}, []
    focal = np.broadcast_to(focal, n)
    for k in range(n):
        at = X + drift * k * np.linalg.norm(X, axis=1, keepdims=True)
        there = (at - (0 if places is None else places[k])) @ turns[k].T
        z = np.where(there[:, 2:] > 0.01, there[:, 2:], np.nan)
        p = focal[k] * there[:, :2] / z + [(WIDE - 1) / 2, (HIGH - 1) / 2]
        inside = ((p > 8) & (p < [WIDE - 8, HIGH - 8])).all(1)
        alive = {j: i for j, i in alive.items() if inside[j] and rng.random() > 0.01}
        for j in rng.permutation(np.flatnonzero(inside))[: 120 - len(alive)]:
            if j not in alive:
                alive[j] = next(names)
        rows = [] if k in empty else sorted((i, j) for j, i in alive.items())
        alive = alive if rows else {}
        there = p[[j for _, j in rows]] + rng.normal(0, noise, (len(rows), 2))
        seen.append(BackgroundFrame(np.array([i for i, _ in rows], np.int32), there.astype(np.float32)))
    return Background.of(range(n), seen)


def off_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n,) degrees between turns."""
    return np.degrees(np.linalg.norm(vectors(a @ b.transpose(0, 2, 1)), axis=1))


def lens(focal: float) -> Camera:
    """A camera for the pictures of `background`."""
    return Camera.from_focal(WIDE, HIGH, focal)

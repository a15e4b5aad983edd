"""How many metres a camera's way has, by the floor: the background shows it in a unit, feet in metres.

A foot that is on the floor is as far below the camera as the floor under it is. What of the background lies in one
level plane below the camera is taken for the floor; whether people stand on it is seen by how alike all frames are, and
by what their resting feet say (`stride`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.motion.ground import weighted_median

# Chosen on rendered people (bench.walking, training performers, seed 100).
SURE = 0.15
"""Largest relative error of a length that is believed."""
TILT = np.cos(np.radians(35))
"""Cosine of the most that the floor is tilted for the camera."""
THICK = 0.03
"""Part of the camera's height by which features of the floor may lie above or below it."""
LEAST, PART = 25, 0.08
"""Fewest features of a floor, and their least part of all."""
TRIES = 400
LEAST_SIGMA, SPREAD = 0.02, 0.12
"""The least that the error of what it says is, and the most that frames may differ."""
HELD_M = (0.25, 3.5)
"""Metres above the floor at which cameras are held."""
APART = 3.0
"""Sigmas by which feet that rest may say something else."""
_ALIKE_S = 0.2


@dataclass(frozen=True)
class Feet:
    """What of one person may rest, n frames."""

    points: np.ndarray
    """(n, q, 3) camera space, metres; NaN where not seen."""
    turns: np.ndarray
    """(n, 3, 3) world -> camera."""
    places: np.ndarray
    """(n, 3) of the camera, in the unknown unit."""
    times: np.ndarray
    """(n,) seconds."""


@dataclass(frozen=True)
class Length:
    """Metres of a unit."""

    metres: float
    """NaN where nothing tells it."""
    sigma: float
    """Relative: 0.1 is ten per cent."""
    up: np.ndarray | None = None
    """(3,) which way is up by the floor that tells it, in the world."""


NOTHING = Length(float("nan"), float("inf"))


def agreed(rests: Length, floor: Length) -> Length:
    """What both say. Who stands on something else than the floor is told by his resting feet alone."""
    if not np.isfinite(floor.metres):
        return rests
    if not np.isfinite(rests.metres) or rests.sigma > 2 * SURE:
        return floor
    off = np.log(floor.metres / rests.metres)
    if abs(off) > APART * np.hypot(rests.sigma, floor.sigma):
        return rests
    a, b = rests.sigma**-2, floor.sigma**-2
    return Length(float(rests.metres * np.exp(off * b / (a + b))), float((a + b) ** -0.5), floor.up)


def by_floor(people: Sequence[Feet], points: np.ndarray) -> Length:
    """`points`: (p, 3) of the background in the world, in the unknown unit."""
    if not people:
        return NOTHING
    turns, places = np.concatenate([p.turns for p in people]), np.concatenate([p.places for p in people])
    plane = level_plane(points, turns[:, 1].mean(0), places)
    if plane is None:
        return NOTHING
    down, depth = plane
    logs, weights = [], []
    for p in people:
        # The two lowest together: the lowest alone is the one that is most wrong.
        low = np.sort(np.einsum("nji,nqj->nqi", p.turns, p.points) @ down, axis=1)[:, -2:].mean(1)
        high = depth - p.places @ down
        ok = np.isfinite(low) & (low > 0.1) & (high > 1e-6)
        if ok.sum() < 5:
            continue
        # The lower foot is on the floor but for jumps, which the median passes over.
        logs.append(np.log(low[ok] / high[ok]))
        size = np.linalg.norm(np.nanmean(p.points[ok], 1), axis=1)
        weights.append(np.gradient(p.times)[ok] / size**2)
    if not logs:
        return NOTHING
    all_logs, all_weights = np.concatenate(logs), np.concatenate(weights)
    middle = weighted_median(all_logs, all_weights)
    spread = 1.48 * weighted_median(np.abs(all_logs - middle), all_weights)
    metres = float(np.exp(middle))
    held = metres * np.median(depth - places @ down)
    if spread > SPREAD or not HELD_M[0] < held < HELD_M[1]:
        return NOTHING
    news = max(sum(float(p.times[-1] - p.times[0]) for p in people) / _ALIKE_S, 1.0)
    return Length(metres, float(np.hypot(LEAST_SIGMA, spread / np.sqrt(news))), -down)


def level_plane(points: np.ndarray, down: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The plane (unit normal that points down, how far it is along that from the origin) that the most of `points`
    (p, 3) are in, of those that are about square to `down` (3,) and below all `places` (n, 3). None without one."""
    down = down / np.linalg.norm(down)
    count = len(points)
    if count < LEAST:
        return None
    rng = np.random.default_rng(14)
    pick = points[rng.integers(0, count, (TRIES, 3))]
    normal = np.cross(pick[:, 1] - pick[:, 0], pick[:, 2] - pick[:, 0])
    length = np.linalg.norm(normal, axis=1)
    ok = length > 1e-9
    normal, pick = normal[ok] / length[ok, None], pick[ok]
    normal *= np.sign(normal @ down)[:, None]
    depth = (normal * pick[:, 0]).sum(1)
    high = depth - (normal @ places.T).max(1)
    ok = (normal @ down > TILT) & (high > 1e-3)
    if not ok.any():
        return None
    normal, depth, high = normal[ok], depth[ok], high[ok]
    inside = (np.abs(normal @ points.T - depth[:, None]) < THICK * high[:, None]).sum(1)
    best = int(inside.argmax())
    n, d, h = normal[best], float(depth[best]), float(high[best])
    for _ in range(4):
        mine = points[np.abs(points @ n - d) < THICK * h]
        if len(mine) < max(LEAST, PART * count):
            return None
        middle = mine.mean(0)
        n = np.linalg.svd(mine - middle, full_matrices=False)[2][2]
        n = n * np.sign(n @ down)
        d = float(n @ middle)
        h = float(d - (places @ n).max())
        if n @ down < TILT or h <= 0:
            return None
    return n, d


__all__ = ["Feet", "Length", "agreed", "by_floor", "level_plane"]

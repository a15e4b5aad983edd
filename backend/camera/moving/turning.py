"""The turn of every frame: key frames first, then each other frame by the features' directions that these gave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.camera.moving import keys as key_frames
from backend.camera.moving.keys import NOISE_PX, Keys
from backend.camera.moving.pairs import LEAST, Steps, flow
from backend.camera.moving.sight import Sight, nearest_turn, rays, trust, turned, vectors

_ROUNDS = 8
_REFRESH = 2
"""How often the directions are taken anew from all frames."""


@dataclass(frozen=True)
class Turning:
    """A camera that only turns and zooms, over n frames."""

    turns: np.ndarray
    """(n, 3, 3) world -> camera; the world is the first frame's camera."""
    zooms: np.ndarray
    """(n,) logarithm of the focal length over the first frame's."""
    known: np.ndarray
    """(n,) bool; elsewhere it is interpolated."""
    sigma: np.ndarray
    """(n,) radians, one sigma about each axis by the frame's own features."""
    focal: float
    """Small pixels, of the first frame."""
    focal_sigma: float
    """Of its logarithm; infinite where it was given."""
    rays: np.ndarray
    """(q, 3) of the features in the world, NaN where unknown."""
    miss: np.ndarray
    """(m,) small pixels between each sighting and where it should be; NaN where unknown."""
    sigma_px: float
    """Small pixels, of one coordinate of the features that agree."""
    agreed: float
    """0..1, part of the sightings that lie within three sigmas of `NOISE_PX`."""


def resected(sight: Sight, steps: Steps, times: np.ndarray, keys: Keys, zoom: bool) -> Turning:
    """Every frame by the directions of the features in `keys`."""
    turns, zooms = _between(sight, steps, keys)
    world = keys.rays
    use = steps.share[sight.feature] >= 0.5
    for again in range(_REFRESH + 1):
        for round_ in range(_ROUNDS):
            scale = 4.0 if again == 0 and round_ < 3 else 1.0
            before = turns
            turns, zooms, count, spread = _improved(sight, keys.focal, world, turns, zooms, use, zoom, scale)
            if scale == 1.0 and np.abs(turns - before).max() < 1e-6:
                break
        if again < _REFRESH:
            world = _directions(sight, keys, turns, zooms, world, use)
    # The first frame is the world.
    known = count >= LEAST
    turns, zooms, sigma = _filled(turns, zooms, known, spread, times)
    turns, world = nearest_turn(turns @ turns[0].T), world @ turns[0].T
    focal, zooms = keys.focal * float(np.exp(zooms[0])), zooms - zooms[0]
    miss = _missed(sight, focal, world, turns, zooms)
    near = miss < 3 * NOISE_PX
    rms = float(np.sqrt((miss[near] ** 2).mean() / 2)) if near.any() else NOISE_PX
    seen = np.isfinite(miss)
    agreed = float(near[seen].mean()) if seen.any() else 0.0
    sigma = sigma * max(rms / NOISE_PX, 0.2)
    return Turning(turns, zooms, known, sigma, focal, keys.focal_sigma, world, miss, rms, agreed)


def _between(sight: Sight, steps: Steps, keys: Keys) -> tuple[np.ndarray, np.ndarray]:
    """All frames by the steps from the key frame before, what is left at the next one spread over the time between."""
    loose = key_frames.chained(steps, keys.focal / steps.focal)
    turns, zooms = np.empty_like(loose), np.empty(sight.n)
    for i, a in enumerate(keys.frames):
        b = keys.frames[i + 1] if i + 1 < len(keys.frames) else sight.n
        here = loose[a:b] @ loose[a].T @ keys.turns[i]
        part = np.zeros(b - a)
        if i + 1 < len(keys.frames):
            part = np.arange(b - a) / (b - a)
            rest = vectors(keys.turns[i + 1] @ (loose[b] @ loose[a].T @ keys.turns[i]).T)
            here = turned(part[:, None] * rest) @ here
        turns[a:b] = here
        after = keys.zooms[min(i + 1, len(keys.zooms) - 1)]
        zooms[a:b] = keys.zooms[i] * (1 - part) + after * part
    return turns, zooms


def _improved(sight: Sight, focal: float, world: np.ndarray, turns: np.ndarray, zooms: np.ndarray, use: np.ndarray,
              zoom: bool, scale: float):  # fmt: skip
    """One step of all frames at once -> turns, zooms, how many features count in each, (n,) sigma of a turn."""
    n = sight.n
    rows = np.flatnonzero(use & np.isfinite(world[sight.feature, 0]))
    frame = sight.frame[rows]
    there = np.einsum("mij,mj->mi", turns[frame], world[sight.feature[rows]])
    ahead = there[:, 2] > 0.05
    f = focal * np.exp(zooms[frame])
    seen = f[:, None] * there[:, :2] / np.maximum(there[:, 2:], 0.05)
    miss = sight.place[rows] - seen
    squared = (miss**2).sum(1) / NOISE_PX**2
    weight = trust(squared, 3.0 * scale) * ahead
    table = flow(seen / f[:, None], 1.0) * f[:, None, None]
    normal, right = np.empty((n, 4, 4)), np.empty((n, 4))
    for i in range(4):
        right[:, i] = np.bincount(frame, (table[:, :, i] * miss).sum(1) * weight, n)
        for j in range(i, 4):
            normal[:, i, j] = normal[:, j, i] = np.bincount(
                frame, (table[:, :, i] * table[:, :, j]).sum(1) * weight, n
            )
    normal += np.eye(4) * 1e-3
    if not zoom:
        normal[:, 3, 3] += 1e12
    step = np.linalg.solve(normal, right[..., None])[..., 0]
    count = np.bincount(frame, weight > 0.25, n)
    step[count < LEAST] = 0
    covariance = np.linalg.inv(normal) * NOISE_PX**2
    spread = np.sqrt(np.maximum(np.trace(covariance[:, :3, :3], axis1=1, axis2=2) / 3, 0))
    return turned(step[:, :3]) @ turns, zooms + step[:, 3], count, spread


def _directions(
    sight: Sight, keys: Keys, turns: np.ndarray, zooms: np.ndarray, world: np.ndarray, use: np.ndarray
):
    """(q, 3) mean directions of all features over all frames, outliers counting less."""
    seen = rays(sight.place, keys.focal * np.exp(zooms[sight.frame]))
    back = np.einsum("mji,mj->mi", turns[sight.frame], seen)
    out = world
    for _ in range(3):
        off = keys.focal * np.linalg.norm(back - out[sight.feature], axis=1)
        weight = np.where(np.isnan(off), 1.0, trust(off**2, 3 * NOISE_PX)) * use
        total = np.stack([np.bincount(sight.feature, back[:, i] * weight, sight.q) for i in range(3)], -1)
        length = np.linalg.norm(total, axis=1, keepdims=True)
        out = np.where(length > 1e-9, total / np.maximum(length, 1e-9), np.nan)
    return out


def _missed(
    sight: Sight, focal: float, world: np.ndarray, turns: np.ndarray, zooms: np.ndarray
) -> np.ndarray:
    there = np.einsum("mij,mj->mi", turns[sight.frame], world[sight.feature])
    f = focal * np.exp(zooms[sight.frame])
    flat = f[:, None] * there[:, :2] / np.maximum(there[:, 2:], 0.05)
    return np.linalg.norm(sight.place - flat, axis=1)


TURN_RATE = 0.3
"""Radians a second by which a turn that nobody saw may differ from the straight way: an unsteady hand's."""


def _filled(turns: np.ndarray, zooms: np.ndarray, known: np.ndarray, sigma: np.ndarray, times: np.ndarray):
    """Frames in which nothing is known, on the straight way between their neighbours."""
    at = np.flatnonzero(known)
    if not len(at):
        n = len(known)
        return np.tile(np.eye(3), (n, 1, 1)), np.zeros(n), TURN_RATE * (times - times[0])
    turns, zooms, sigma = turns.copy(), zooms.copy(), sigma.copy()
    for k in np.flatnonzero(~known):
        after = np.searchsorted(at, k)
        a = at[max(after - 1, 0)]
        b = at[min(after, len(at) - 1)]
        part = 0.0 if a == b else (times[k] - times[a]) / (times[b] - times[a])
        turns[k] = turned(part * vectors(turns[b] @ turns[a].T)) @ turns[a]
        zooms[k] = zooms[a] + part * (zooms[b] - zooms[a])
        gap = min(abs(times[k] - times[a]), abs(times[b] - times[k])) if a != b else abs(times[k] - times[a])
        sigma[k] = np.hypot(max(sigma[a], sigma[b]), TURN_RATE * gap)
    return turns, zooms, sigma

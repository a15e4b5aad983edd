"""Whether a camera stands still: noise and a codec's jitter are no motion."""

from __future__ import annotations

import numpy as np

from backend.camera.moving.sight import Sight
from backend.camera.moving.turning import Turning

# Chosen on generated clips that stand still, with noise and strong compression (bench.camera, seed 100).
STILL_PX = 1.0
"""Small pixels by which the corners of the picture may seem to move: 0.08 degrees at 55 degrees of view."""
_MOST = 0.7
"""Part of a frame's features that must stay where they are."""
_FRAMES = 0.99
"""Part of the frames in which they must."""
_LIFE_S = 0.3
"""Features that were seen for a shorter time say nothing about a slow motion."""


def surely_still(sight: Sight, times: np.ndarray) -> bool:
    """Whether nearly all features stay where they are for all of their lives. False is no answer: then the camera's
    turn must be looked for."""
    seen = np.bincount(sight.feature, minlength=sight.q).astype(float)
    if sight.n < 2 or not len(seen) or (np.diff(sight.start) < 8).any():
        return False
    when = times[sight.frame]
    mean_t = np.bincount(sight.feature, when, sight.q) / seen
    mean = (
        np.stack([np.bincount(sight.feature, sight.place[:, i], sight.q) for i in range(2)], 1)
        / seen[:, None]
    )
    off, dt = sight.place - mean[sight.feature], when - mean_t[sight.feature]
    spread = np.bincount(sight.feature, dt**2, sight.q)
    life = np.sqrt(12 * spread / seen)
    told = (life >= _LIFE_S) | (life >= 0.8 * (times[-1] - times[0]))
    if told.sum() < 8:
        return False
    stays = np.linalg.norm(off, axis=1) < STILL_PX
    rows = told[sight.feature]
    here = np.maximum(np.bincount(sight.frame[rows], minlength=sight.n), 1)
    share = np.bincount(sight.frame[rows], stays[rows], sight.n) / here
    # The most of them together: a hand's tremble shifts all alike, noise each by itself.
    middle = np.array(
        [np.abs(np.median(off[r], 0)).max() if len(off[r]) else 0.0 for r in _by_frame(sight, rows)]
    )
    slope = np.stack([np.bincount(sight.feature, off[:, i] * dt, sight.q) for i in range(2)], 1)
    slope = slope[told] / spread[told, None]
    drift = np.abs(_middle(slope, seen[told])).max() * (times[-1] - times[0])
    return bool(
        (share >= _MOST).mean() >= _FRAMES
        and (here >= 6).mean() >= _FRAMES
        and middle.max() < 0.5 * STILL_PX
        and drift < STILL_PX
    )


def seems_still(turning: Turning, width: float, height: float) -> bool:
    """Whether a solved camera turns and zooms by no more than noise. `width`, `height`: of the picture, small pixels."""
    known = turning.known
    if not known.any():
        return False
    corner = np.array([[x, y] for x in (-0.5, 0.0, 0.5) for y in (-0.5, 0.0, 0.5)]) * [width, height]
    ray = np.concatenate([corner / turning.focal, np.ones((9, 1))], 1)
    there = ray @ turning.turns[known].transpose(0, 2, 1)
    f = turning.focal * np.exp(turning.zooms[known])
    flat = f[:, None, None] * there[..., :2] / np.maximum(there[..., 2:], 0.05)
    away = np.linalg.norm(flat - np.median(flat, 0), axis=-1).max(1)
    return bool(np.percentile(away, 99.5) < STILL_PX)


def _by_frame(sight: Sight, rows: np.ndarray) -> list[np.ndarray]:
    at = np.flatnonzero(rows)
    return np.split(at, np.searchsorted(sight.frame[at], np.arange(1, sight.n)))


def _middle(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(2,) weighted median of each column."""
    out = []
    for column in values.T:
        order = np.argsort(column)
        total = np.cumsum(weight[order])
        out.append(column[order][np.searchsorted(total, total[-1] / 2)])
    return np.array(out)

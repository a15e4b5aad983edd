"""What rests on the floor, from what the temporal network says and how a body moves, with fades in and out."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter1d, minimum_filter1d

FADE_S = 0.05
"""Seconds in which a contact begins and ends."""
SHORTEST_S = 0.08
"""A contact or a break between two that is shorter than this is none."""
SURE = (0.25, 0.5)
"""What the network must say for a contact to begin to count, and to count in full."""
SAID, MOVED, BIAS = 0.95, -1.5, -0.55
"""Log odds of a contact: so much for what the network says (log odds), for the logarithm of the place's speed (m/s, and
5 cm/s beside), and in any case. Chosen on 14 simulated stretches of training performers, seed 501: F1 0.91."""
FAST = (0.9, 1.3)
"""m/s from which on, and beyond which not at all, a place is taken for at rest whatever the network says: there 95 % of
the true contacts move by less than 0.85, as far as the pictures tell."""
STEP_M = 0.35
"""Metres above the floor beyond which a contact is with something else; less may be an error of the localizer, which
is wrong by 10 cm in depth (chosen on `sports2d/demo.mp4`, where somebody stands on a wall)."""
LOW_M, TOUCH_M = 0.45, 0.03
"""Metres: somebody whose pelvis is lower than this does not stand, and what lies so near to the lowest place of the
body touches what that touches. From the proportions of bodies: a pelvis is 0.9 m up in standing, 0.3 m in kneeling."""
_NEAR_M, _SLOW = 0.06, 0.35
"""Without a network, and for `always`: lower than this above the floor and slower (m/s) is at rest."""


def speeds(points: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(n, q, 3) metres, (n,) seconds -> (n, q) m/s; nothing is known to move in a single frame."""
    if len(times) < 2:
        return np.zeros(points.shape[:-1])
    return np.linalg.norm(np.gradient(points, times, axis=0), axis=-1)


def resting(points: np.ndarray, up: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(n, q, 3) places, `up` (3,), (n,) seconds -> (n, q) 0..1 by height and speed alone."""
    height = points @ up
    height = height - np.quantile(height.min(1), 0.1)
    speed = speeds(points, times)
    return 1 / (1 + np.exp(np.maximum((height - _NEAR_M) / 0.015, (speed - _SLOW) / 0.08)))


def judged(said: np.ndarray, points: np.ndarray, times: np.ndarray) -> np.ndarray:
    """What the network says (n, q) of places (n, q, 3) in the light of how fast they turned out to be: (n, q) 0..1."""
    p = np.clip(said, 1e-3, 1 - 1e-3)
    speed = speeds(points, times)
    slow, fast = FAST
    odds = SAID * np.log(p / (1 - p)) + MOVED * np.log(speed + 0.05) + BIAS
    return (1 - np.clip((speed - slow) / (fast - slow), 0, 1)) / (1 + np.exp(-odds))


def grip(
    said: np.ndarray, points: np.ndarray, heights: np.ndarray, times: np.ndarray, lock: str
) -> np.ndarray:
    """How firmly each of `CONTACTS` rests in each frame: (n, 8) 0..1.

    `said`: (n, 8) 0..1; `points`: (n, 8, 3) metres; `heights`: (n, 8) metres above the floor; `times`: (n,) seconds;
    `lock`: as `MocapOptions.foot_lock`. With "off" contacts are told and nothing is held by them.
    """
    low, high = SURE
    out = np.clip((said - low) / (high - low), 0, 1)
    if lock in ("always", "flat"):
        speed = speeds(points, times)
        near = (heights < _NEAR_M) & (speed < 2 * _SLOW)
        out[:, :4] = np.maximum(out[:, :4], near[:, :4])
    if lock == "flat":
        for foot in (slice(0, 2), slice(2, 4)):
            out[:, foot] = out[:, foot].max(1, keepdims=True)
    return faded(out, times)


def faded(weight: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(n, q) 0..1 with breaks and contacts that are too short taken out and ends that rise and fall in `FADE_S`."""
    n = len(weight)
    steps = np.diff(times)
    dt = float(np.median(steps)) if len(steps) else 1 / 30
    k = max(round(SHORTEST_S / dt), 1) | 1
    on = weight > 0.5
    if k > 1 and n > k:
        filled = minimum_filter1d(maximum_filter1d(on.astype(np.uint8), k, axis=0), k, axis=0)
        on = maximum_filter1d(minimum_filter1d(filled, k, axis=0), k, axis=0) > 0
    out = np.zeros_like(weight, dtype=np.float64)
    for j in range(weight.shape[1]):
        for first, last in runs(on[:, j]):
            into = (times[first:last] - times[first] + dt) / (FADE_S + dt)
            away = (times[last - 1] - times[first:last] + dt) / (FADE_S + dt)
            if first == 0:
                into = np.ones_like(into)
            if last == n:
                away = np.ones_like(away)
            out[first:last, j] = np.clip(np.minimum(into, away), 0, 1)
    return out


def lying(heights: np.ndarray, contacts: np.ndarray, pelvis: np.ndarray, times: np.ndarray) -> np.ndarray:
    """How firmly each of q places of the body rests on the floor because nothing else carries it: (n, q) 0..1.

    Whoever's pelvis is near the floor and who stands on no foot lies, sits or kneels on what is lowest.
    `heights`: (n, q) metres above the floor, `contacts`: (n, 8) 0..1, `pelvis`: (n,) its height, `times`: (n,) seconds.
    """
    down = (pelvis < LOW_M) & (contacts[:, :4].max(1) < 0.5)
    lowest = heights < heights.min(1, keepdims=True) + TOUCH_M
    return faded(down[:, None] & lowest, times)


def levels(weight: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """(n, q) metres above the floor of what each contact rests on: that is the floor, unless all of a contact lies
    higher than `STEP_M` above it; `weight`: (n, q) 0..1, `heights`: (n, q) metres."""
    out = np.zeros(heights.shape)
    for j in range(weight.shape[1]):
        for first, last in runs(weight[:, j] > 0):
            middle = float(np.median(heights[first:last, j]))
            out[first:last, j] = middle if middle > STEP_M else 0.0
    return out


def runs(on: np.ndarray) -> list[tuple[int, int]]:
    """(n,) bool -> first row and the one behind the last of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], on.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


__all__ = ["faded", "grip", "judged", "levels", "lying", "resting", "runs", "speeds"]

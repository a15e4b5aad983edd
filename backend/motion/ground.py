"""One floor for everybody in a shot: which way is up, how high the camera is, and how large people are beside it.

Contacts say where the floor is. Each person alone gives a height of the camera that is as wrong as his size is
guessed; together with what sizes people have, the most likely common height decides, and everyone is made smaller or
larger about the camera, which changes nothing in the picture, until his feet are on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.motion.level import CAMERA_UP

SIZE_SPREAD = 0.07
"""One sigma, relative, of how wrong a person's size is guessed from a picture (adults of one population differ by
4 %, and a localizer's guess adds to that)."""
MOST_RESIZED = 1.3
"""Nobody is made larger or smaller by more: whoever then still does not reach the floor stands on something else."""
ENOUGH_S = 0.15
"""Seconds of contact that a person needs to have a say."""
SAME = 0.035, 0.07
"""Two floors are the same up to this angle, radians, and this relative difference of heights and sizes: about one sigma
of what a floor is known to."""
TOLD = 0.14
"""By twice that must people whom others have put on a floor be off it to contradict."""
_SURE_RAD = 0.035
"""What the network's word on gravity is good for at best, however many frames agree: its errors are alike."""


@dataclass(frozen=True)
class Standing:
    """What one person says of the floor."""

    points: np.ndarray
    """(n, q, 3) places that may touch it, camera space, metres."""
    weight: np.ndarray
    """(n, q) 0..1, how surely each rests on it."""
    times: np.ndarray
    """(n,) seconds."""
    size: float
    """How much the person's own guess of size counts: how large he is seen, any unit."""


@dataclass(frozen=True)
class Floor:
    """The floor of a shot."""

    up: np.ndarray
    """(3,) unit vector."""
    height: float
    """Metres that the camera is above it; NaN where nobody touches it."""
    factors: np.ndarray
    """(people,) by which each is resized about the camera."""


def common_up(ups: Sequence[np.ndarray], sigmas: Sequence[np.ndarray]) -> np.ndarray:
    """The way up (3,) that most frames agree on; `ups`: (n, 3) of each person, `sigmas`: (n,) radians."""
    if not ups:
        return CAMERA_UP.copy()
    all_ups, sure = np.concatenate(ups), 1 / np.concatenate(sigmas) ** 2
    ok = np.isfinite(all_ups).all(1) & np.isfinite(sure)
    if not ok.any():
        return CAMERA_UP.copy()
    all_ups, sure = all_ups[ok], sure[ok]
    middle = (sure[:, None] * all_ups).sum(0)
    for _ in range(30):
        middle = middle / np.linalg.norm(middle)
        w = sure / np.maximum(np.linalg.norm(all_ups - middle, axis=1), 0.02)
        middle = (w[:, None] * all_ups).sum(0)
    return middle / np.linalg.norm(middle)


def find_floor(
    people: Sequence[Standing], up: np.ndarray, height: float | None = None, stature: float = 1.0
) -> Floor:
    """The floor under `people`, the first of whom is known to be taller by `stature` if `height` is given."""
    own = [_own_height(p, up) for p in people]
    logs = np.log([h if h is not None and h > 0.05 else np.nan for h in own])
    sure = np.array([p.size if np.isfinite(v) else 0.0 for p, v in zip(people, logs, strict=True)])
    factors = np.ones(len(people))
    if not sure.any():
        return Floor(up, float("nan"), factors if height is None else factors * stature)
    level = _mode(logs, sure)
    near = np.isfinite(logs) & (np.abs(logs - level) < np.log(MOST_RESIZED))
    if height is not None:
        # Of everybody: a wrong lens or a wrong guess of size is so for all. It may be more than is believed of a guess.
        scale = np.log(stature)
        factors[:] = stature
        level = logs[0] + scale if near[0] else level + scale
    factors[near] = np.exp(level - logs[near])
    return Floor(up, float(np.exp(level)), factors)


def on_floor(people: Sequence[Standing], floor: Floor) -> Floor:
    """A known floor, under `people`."""
    own = [_own_height(p, floor.up) for p in people]
    with np.errstate(invalid="ignore"):
        less = np.log([floor.height / h if h is not None and h > 0.05 else np.nan for h in own])
        near = np.abs(less) < np.log(MOST_RESIZED)
    return Floor(floor.up, floor.height, np.where(near, np.exp(np.where(near, less, 0.0)), 1.0))


def alike(a: Floor, b: Floor, angle: float = SAME[0], size: float = SAME[1]) -> bool:
    """Whether two floors under the same people differ by less than `angle`, radians, and, relative, `size`."""
    if np.isfinite(a.height) != np.isfinite(b.height) or a.up @ b.up < np.cos(angle):
        return False
    sizes = np.abs(np.log(a.factors / b.factors)).max(initial=0.0)
    heights = abs(np.log(a.height / b.height)) if np.isfinite(a.height) else 0.0
    return bool(max(sizes, heights) < size)


def _mode(logs: np.ndarray, sure: np.ndarray) -> float:
    """The log height that most agree on, each within `SIZE_SPREAD`: whoever is on a wall does not count."""
    ok = sure > 0
    x, w = logs[ok], sure[ok] / sure[ok].sum()
    at = x[np.argmax([(w * np.exp(-0.5 * ((x - c) / (2 * SIZE_SPREAD)) ** 2)).sum() for c in x])]
    for _ in range(20):
        v = w * np.exp(-0.5 * ((x - at) / (2 * SIZE_SPREAD)) ** 2)
        at = (v * x).sum() / v.sum()
    return float(at)


def _own_height(person: Standing, up: np.ndarray) -> float | None:
    """How high above the floor the camera is, as one person's contacts say it; None without enough of them."""
    steps = np.diff(person.times)
    frame_s = float(np.median(steps)) if len(steps) else 1 / 30
    if person.weight.max(1).sum() * frame_s < ENOUGH_S:
        return None
    low = -(person.points @ up)
    return weighted_median(low.ravel(), person.weight.ravel() ** 2)


def weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """The value that half the weight lies below."""
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])


__all__ = ["Floor", "Standing", "alike", "common_up", "find_floor", "on_floor", "weighted_median"]

"""How long errors last: what stays, what fades and what is new in every frame.

The localizer sees single pictures, so that its error is a matter of the pose: who stands still is seen wrong in the
same way for seconds, who dances in another way a tenth of a second later. Errors are therefore timed by a clock that
goes with the movement (`clock`), not by seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

LAGS = 30
"""Frames over which likeness is measured."""
EDGES = np.geomspace(0.003, 1.0, 16)
"""Of the clock's distances that are looked at together, metres."""
REACHES = np.geomspace(0.01, 1.0, 25)
"""Metres that are tried."""
IDLE_MS = 0.01
"""By which the clock goes on where nobody moves: of 0.01, 0.03, 0.1 and 0.3 m/s this explains the likeness best."""
LIMBS = [11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32]
"""Landmarks whose movement counts."""


def clock(points: np.ndarray, times: np.ndarray, idle: float = IDLE_MS) -> np.ndarray:
    """(n,) metres, rising: how far the limbs of true points (n, P, 3), camera space, have moved about the hips."""
    limbs = points[:, LIMBS]
    limbs = limbs - points[:, [23, 24]].mean(1, keepdims=True)
    steps = np.linalg.norm(np.diff(limbs, axis=0), axis=-1).mean(1) + idle * np.diff(times)
    return np.concatenate([[0.0], np.cumsum(steps)])


@dataclass(frozen=True)
class Lasting:
    """Shares of the variance of a series; the rest is new in every frame."""

    stays: float
    """Share of what is the same throughout a clip."""
    fades: float
    """Share of what is forgotten exponentially."""
    reach_m: float
    """Metres of the clock after which that has fallen to 1 / e."""

    def draw(self, rng: np.random.Generator, clock: np.ndarray, count: int) -> np.ndarray:
        """(n, count) series of unit variance at `clock` (n,), of any spacing."""
        n = len(clock)
        keep = np.exp(-np.diff(clock, prepend=clock[0]) / max(self.reach_m, 1e-6))
        slow = rng.normal(size=(n, count))
        for t in range(1, n):
            slow[t] = keep[t] * slow[t - 1] + np.sqrt(max(1 - keep[t] ** 2, 0)) * slow[t]
        new = max(1 - self.stays - self.fades, 0)
        still = rng.normal(size=(1, count))
        return (np.sqrt(self.stays) * still + np.sqrt(self.fades) * slow
                + np.sqrt(new) * rng.normal(size=(n, count)))  # fmt: skip


def likeness(series: list[np.ndarray], clocks: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How alike series (n_i,) or (n_i, D) are to themselves, about zero, by the clock's distance: distances (k,),
    correlations (k,) and pairs (k,). Rows that are NaN are left out."""
    k = len(EDGES)
    above, below, far, pairs = (np.zeros(k) for _ in range(4))
    for x, c in zip(series, clocks, strict=True):
        x = x.reshape(len(x), -1)
        ok = np.isfinite(x).all(1)
        for lag in range(1, min(LAGS + 1, len(x))):
            both = ok[lag:] & ok[: len(x) - lag]
            a, b, s = x[: len(x) - lag][both], x[lag:][both], (c[lag:] - c[: len(x) - lag])[both]
            into = np.searchsorted(EDGES, s).clip(0, k - 1)
            for total, value in (
                (above, (a * b).sum(1)),
                (below, (a**2 + b**2).sum(1) / 2),
                (far, s),
                (pairs, 1.0),
            ):
                np.add.at(total, into, value)
    some = pairs > 0
    return far[some] / pairs[some], above[some] / np.maximum(below[some], 1e-12), pairs[some]


def lasting(series: list[np.ndarray], clocks: list[np.ndarray]) -> Lasting:
    """The shares that explain best how alike series stay."""
    far, alike, pairs = likeness(series, clocks)
    weight = np.sqrt(pairs / pairs.sum())
    best = None
    for reach in REACHES:
        A = np.stack([np.ones_like(far), np.exp(-far / reach)], 1)
        (stays, fades), off = nnls(A * weight[:, None], alike * weight)
        if best is None or off < best[0]:
            best = off, stays, fades, reach
    _, stays, fades, reach = best
    over = max(stays + fades, 1.0)
    return Lasting(float(stays / over), float(fades / over), float(reach))

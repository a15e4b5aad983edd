"""How long errors last: what stays, what fades and what is new in every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

LAGS = 15
"""Frames over which likeness is measured."""
TAUS = np.geomspace(0.03, 1.0, 25)
"""Seconds that are tried."""


@dataclass(frozen=True)
class Lasting:
    """Shares of the variance of a series; the rest is new in every frame."""

    stays: float
    """Share of what is the same throughout a clip."""
    fades: float
    """Share of what is forgotten exponentially."""
    tau_s: float
    """Seconds in which that falls to 1 / e."""

    def draw(self, rng: np.random.Generator, times: np.ndarray, count: int) -> np.ndarray:
        """(n, count) series of unit variance at `times` (n,), seconds, of any spacing."""
        n = len(times)
        keep = np.exp(-np.diff(times, prepend=times[0]) / max(self.tau_s, 1e-6))
        slow = rng.normal(size=(n, count))
        for t in range(1, n):
            slow[t] = keep[t] * slow[t - 1] + np.sqrt(max(1 - keep[t] ** 2, 0)) * slow[t]
        new = max(1 - self.stays - self.fades, 0)
        still = rng.normal(size=(1, count))
        return (np.sqrt(self.stays) * still + np.sqrt(self.fades) * slow
                + np.sqrt(new) * rng.normal(size=(n, count)))  # fmt: skip


def likeness(series: list[np.ndarray], lags: int = LAGS) -> np.ndarray:
    """(lags + 1,) correlation of series (n_i,) or (n_i, D) with themselves so many frames later, about zero: what is
    constant counts as alike. NaN rows are left out."""
    above, below = np.zeros(lags + 1), np.zeros(lags + 1)
    for x in series:
        for lag in range(min(lags + 1, len(x))):
            a, b = x[: len(x) - lag], x[lag:]
            ok = np.isfinite(a) & np.isfinite(b)
            above[lag] += (a[ok] * b[ok]).sum()
            below[lag] += (a[ok] ** 2 + b[ok] ** 2).sum() / 2
    return above / np.maximum(below, 1e-12)


def lasting(series: list[np.ndarray], rates: list[float]) -> Lasting:
    """The shares that explain how alike series of one rate stay over `LAGS` frames."""
    seen = likeness(series)
    lag_s = np.arange(1, LAGS + 1) / float(np.mean(rates))
    best = None
    for tau in TAUS:
        A = np.stack([np.ones(LAGS), np.exp(-lag_s / tau)], 1)
        (stays, fades), off = nnls(A, seen[1:])
        if best is None or off < best[0]:
            best = off, stays, fades, tau
    _, stays, fades, tau = best
    over = max(stays + fades, 1.0)
    return Lasting(float(stays / over), float(fades / over), float(tau))

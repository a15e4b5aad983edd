"""How many metres a unit of the camera's path has, by people: feet that rest do not move, and bodies do not jerk.

Pictures alone do not tell a small room from a large one; a person in it does. With the right scale a resting foot, seen
from a moving camera, stays at one place of the world.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Chosen on generated walks with noise (tests, other seeds).
_REST = 0.3
"""Least weight of a point that counts as resting."""
_DEPTH = 3.0
"""How much less sure a point is along the line of sight than across it."""
_ALIKE_S = 0.15
"""Seconds for which the errors of a point are alike."""
_JERKY = 2.0
"""m/s^2, one sigma of how a body is accelerated."""
_STEP_S = 0.25
"""Seconds over which accelerations are taken: over less, they are noise."""
_LEAST_M = 0.02
"""Metres, the least that a resting point's place is off."""


@dataclass(frozen=True)
class Scale:
    """Metres of a unit."""

    metres: float
    """NaN where nothing tells it."""
    sigma: float
    """Relative: 0.1 is ten per cent."""
    source: str
    """contacts, motion or nothing."""


def scale_of(turns: np.ndarray, places: np.ndarray, times: np.ndarray, points: np.ndarray, rest: np.ndarray,
             way: np.ndarray | None = None) -> Scale:  # fmt: skip
    """`turns`, `places`: of a path over n frames. `points`: (n, q, 3) camera space, metres, NaN where not seen;
    `rest`: (n, q) 0..1, how surely they rest; `way`: (n, w, 3) points that move smoothly, such as the pelvises."""
    ask = _by_contacts(turns, places, times, points, rest)
    about = _by_motion(turns, places, times, way) if way is not None else (0.0, 0.0)
    for (top, below), source in ((ask, "contacts"), (about, "motion")):
        if below > 0 and (found := top / below) > 0 and (sigma := below**-0.5 / found) < 0.5:
            return Scale(float(found), float(sigma), source)
    return Scale(float("nan"), float("inf"), "nothing")


def _by_contacts(turns, places, times, points, rest) -> tuple[float, float]:
    """Sums over all rests whose ratio is the scale, and the second of which is its precision."""
    world = np.einsum("nji,nqj->nqi", turns, points)
    good = np.isfinite(world).all(-1) & (rest > _REST)
    dt = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    runs = [run for q in range(points.shape[1]) for run in _runs(good[:, q], q)]
    rows = []
    for frames, q in runs:
        x, c, w = world[frames, q], places[frames], rest[frames, q]
        ray = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-6)
        P = (np.eye(3) - (1 - _DEPTH**-2) * ray[:, :, None] * ray[:, None, :]) * w[:, None, None]
        inverse = np.linalg.inv(P.sum(0))
        cm = c - inverse @ np.einsum("nij,nj->i", P, c)
        xm = x - inverse @ np.einsum("nij,nj->i", P, x)
        rows.append((cm, xm, P, min(1.0, dt / _ALIKE_S)))
    if not rows:
        return 0.0, 0.0
    scale, trusted = None, np.ones(len(rows))
    for _ in range(12):
        top = sum(
            t * share * -np.einsum("ni,nij,nj->", c, P, x)
            for t, (c, x, P, share) in zip(trusted, rows, strict=True)
        )
        below = sum(
            t * share * np.einsum("ni,nij,nj->", c, P, c)
            for t, (c, _, P, share) in zip(trusted, rows, strict=True)
        )
        if below <= 1e-12:
            return 0.0, 0.0
        scale = top / below
        # What is left of each rest: a foot that slides, or never rested, counts less.
        left = np.array([np.einsum("ni,nij,nj->", x + scale * c, P, x + scale * c) / max(P[:, 0, 0].sum(), 1e-9)
                         for c, x, P, _ in rows])  # fmt: skip
        usual = max(float(np.median(left)), _LEAST_M**2)
        trusted = 1 / (1 + left / (4 * usual)) ** 2
    noise = max(float((trusted * left).sum() / trusted.sum()), _LEAST_M**2)
    return float(top / noise), float(below / noise)


def _by_motion(turns, places, times, way) -> tuple[float, float]:
    """The same by how bodies are accelerated."""
    if len(times) < 3:
        return 0.0, 0.0
    lag = max(1, round(_STEP_S / max(float(np.median(np.diff(times))), 1e-3)))
    if len(times) <= 2 * lag:
        return 0.0, 0.0
    world = np.einsum("nji,nwj->nwi", turns, way)
    span = (times[2 * lag :] - times[: -2 * lag])[:, None] / 2

    def bent(a):
        return (a[2 * lag :] - 2 * a[lag:-lag] + a[: -2 * lag]) / span**2

    top = below = 0.0
    c = bent(places)
    for w in range(way.shape[1]):
        x = bent(world[:, w])
        good = np.isfinite(x).all(1)
        # Neighbours say the same.
        share = 1 / lag / (1.5 * _JERKY**2 * 3)
        top -= share * float((c[good] * x[good]).sum())
        below += share * float((c[good] ** 2).sum())
    return top, below


def _runs(good: np.ndarray, q: int) -> list[tuple[np.ndarray, int]]:
    """Frames of each unbroken stretch of at least two."""
    at = np.flatnonzero(good)
    parts = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
    return [(part, q) for part in parts if len(part) >= 2]

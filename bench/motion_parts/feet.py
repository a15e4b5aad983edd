"""Soles: their places on the body, and when they rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from backend.body.model import Body, CanonicalPoints

ENDS = (0.15, 0.85)
"""Heel and toes: shares of the sole's vertices from behind."""
DEEP_M = 0.02
"""The sole is what lies less than this above the lowest place of the foot at rest."""
STILL_MS, NEAR_M = 0.25, 0.04
"""What rests is slower, and nearer to the floor. The speed is what the motion file's own contacts and
the real clip are judged by; the height is above what soles of standing people vary by (toes bend, feet roll)."""
SMOOTH_S = 0.03
"""One sigma of the smoothing of places before their speed is taken: motion capture trembles, too."""


@dataclass(eq=False)
class Sole:
    """The skin under both feet, as S canonical points."""

    points: CanonicalPoints
    """The S points."""
    feet: tuple[np.ndarray, np.ndarray]
    """Rows of the left and right sole."""
    parts: tuple[np.ndarray, ...]
    """Rows of left heel, left toes, right heel, right toes."""

    @classmethod
    def of(cls, body: Body) -> Sole:
        v, rows, feet, parts, first = body.v_template, [], [], [], 0
        for ankle, toes in ((7, 10), (8, 11)):
            foot = np.flatnonzero(body.weights[:, [ankle, toes]].sum(1) > 0.6)
            under = foot[v[foot, 1] < v[foot, 1].min() + DEEP_M]
            back, front = np.quantile(v[under, 2], ENDS)
            here = first + np.arange(len(under))
            feet.append(here)
            parts += [here[v[under, 2] < back], here[v[under, 2] > front]]
            rows.append(under)
            first += len(under)
        return cls(body.vertices_as_points(np.concatenate(rows)), tuple(feet), tuple(parts))

    def ends(self, soles: np.ndarray) -> np.ndarray:
        """(n, S, 3) -> (n, 4, 3) middles of the four parts."""
        return np.stack([soles[:, rows].mean(1) for rows in self.parts], 1)


def speeds(places: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(n, ...) m/s of places (n, ..., 3), smoothed a little."""
    if len(times) < 3:
        return np.zeros(places.shape[:-1])
    step = float(np.median(np.diff(times)))
    smooth = gaussian_filter1d(places, SMOOTH_S / step, axis=0, mode="nearest")
    return np.linalg.norm(np.gradient(smooth, times, axis=0), axis=-1)


def stood(sole: Sole, soles: np.ndarray, times: np.ndarray, floor_ok: bool) -> np.ndarray:
    """(n, 4) bool: which parts rest, of true soles (n, S, 3), world (y up). Off the floor only the speed tells."""
    rest = speeds(sole.ends(soles), times) < STILL_MS
    if floor_ok:
        rest &= np.stack([soles[:, rows, 1].min(1) for rows in sole.parts], 1) < NEAR_M
    return rest

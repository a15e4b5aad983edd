"""Turning a smooth map of places around: where must one start to arrive here?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.spatial import cKDTree

Forward = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Places (P, 3) -> their images (P, 3) and the matrices (P, 3, 3) that turn small steps there, to first order."""
GOOD = 1e-6
"""Metres at which a place counts as found."""
_SIMPLE, _NEWTON = 8, 20
_STEP = 0.03
_PROBE = 5e-4
_SEEDS = (0, 5, 15, 40)
"""Which of the nearest known places are tried, in turn, for a goal that the one before did not lead to."""


def invert(forward: Forward, known: np.ndarray, images: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """(P, 3) places whose images are `goals` (P, 3), or come nearest to them of all that was tried.

    `known`: (N, 3) places and their `images` (N, 3): the search starts from the nearest of these.
    """
    goals = np.asarray(goals, np.float64)
    near = cKDTree(images).query(goals, k=[1 + seed for seed in _SEEDS])[1]
    best, error = known[near[:, 0]].copy(), np.full(len(goals), np.inf)
    todo = np.arange(len(goals))
    for seed in range(len(_SEEDS)):
        if not len(todo):
            break
        x, e = _search(forward, known[near[todo, seed]], goals[todo], newton=seed > 0)
        if seed == 0:
            bad = e > GOOD
            again = _search(forward, x[bad], goals[todo[bad]], newton=True)
            keep = again[1] < e[bad]
            x[np.flatnonzero(bad)[keep]], e[np.flatnonzero(bad)[keep]] = again[0][keep], again[1][keep]
        nearer = e < error[todo]
        best[todo[nearer]], error[todo[nearer]] = x[nearer], e[nearer]
        todo = todo[error[todo] > 100 * GOOD]
    return best


def _search(
    forward: Forward, x: np.ndarray, goals: np.ndarray, newton: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest places found from `x` on and their images' distances (P,) from the goals.

    The simple way trusts the matrices, which leave out that other carriers take over on the way; Newton's probes.
    """
    best = x.copy()
    image, turn = forward(x)
    miss = goals - image
    error = np.linalg.norm(miss, axis=1)
    step = np.full(len(x), 1.0)
    for _ in range(_NEWTON if newton else _SIMPLE):
        rows = np.flatnonzero(error > GOOD)
        if not len(rows):
            break
        J = _probe(forward, best[rows], goals[rows] - miss[rows]) if newton else turn[rows]
        move = _solve(J, miss[rows]) * step[rows, None]
        move *= np.minimum(1, _STEP / np.maximum(np.linalg.norm(move, axis=1), 1e-12))[:, None]
        image, new_turn = forward(best[rows] + move)
        new_miss = goals[rows] - image
        new_error = np.linalg.norm(new_miss, axis=1)
        better = new_error < error[rows]
        good = rows[better]
        best[good] += move[better]
        miss[good], error[good], turn[good] = new_miss[better], new_error[better], new_turn[better]
        step[good] = np.minimum(1, 2 * step[good])
        step[rows[~better]] /= 3
    return best, error


def _probe(forward: Forward, x: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(P, 3, 3) derivative of the map by differences."""
    ahead = x[:, None] + _PROBE * np.eye(3)
    images = forward(ahead.reshape(-1, 3))[0].reshape(-1, 3, 3)
    return np.swapaxes(images - image[:, None], 1, 2) / _PROBE


def _solve(J: np.ndarray, miss: np.ndarray) -> np.ndarray:
    """Least-squares steps with a trace of damping, so that a folded place does not throw one off."""
    Jt = np.swapaxes(J, 1, 2)
    H = Jt @ J
    H += 1e-4 * np.trace(H, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
    return np.linalg.solve(H + 1e-9 * np.eye(3), (Jt @ miss[..., None]))[..., 0]

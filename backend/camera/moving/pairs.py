"""From one frame to the next: the turn and the zoom that most of the features obey.

Many pairs of features each say how the camera turned; the turn that most features agree with is refined. What moves by
itself in the background, and people without a box, disagree. To stand still is one of the turns that are tried, and
where it does as well as any it is taken: with a tripod, noise is no motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.camera.moving.sight import Sight, rays, trust, turned

# Chosen on rendered panoramas (bench.camera, seed 100).
AGREE_PX = 1.5
"""Small pixels within which a feature agrees with a turn."""
LEAST = 6
"""Fewest features that say anything."""
_TRIES = 64
_STILL = 0.95
"""Where standing still has this part of the best turn's votes, it wins."""


@dataclass(frozen=True)
class Steps:
    """From each of n frames to the one after, n - 1 of them."""

    turns: np.ndarray
    """(n - 1, 3, 3): directions in one frame's camera -> in the next one's."""
    zooms: np.ndarray
    """(n - 1,) natural logarithm of how much longer the focal length became."""
    known: np.ndarray
    """(n - 1,) bool; elsewhere the camera is said to stand still."""
    share: np.ndarray
    """(q,) 0..1, part of its steps in which a feature agreed; 0 for one that was never seen twice."""
    focal: float
    """Small pixels, with which they were found."""


def steps(sight: Sight, focal: float) -> Steps:
    """How the camera turned. `focal`: small pixels, roughly."""
    n = sight.n
    turns, zooms, known = (
        np.tile(np.eye(3), (max(n - 1, 0), 1, 1)),
        np.zeros(max(n - 1, 0)),
        np.zeros(n, bool)[1:],
    )
    agreed, asked = np.zeros(sight.q), np.zeros(sight.q)
    rng = np.random.default_rng(14)
    for k in range(n - 1):
        both, before, after = sight.shared(k, k + 1)
        if len(both) < LEAST:
            continue
        vector, good = _voted(before, after, focal, rng)
        asked[both] += 1
        if good.sum() < LEAST:
            continue
        turns[k], zooms[k] = _refined(before, after, focal, vector)
        agreed[both] += (
            np.linalg.norm(_moved(before, focal, turns[k], zooms[k]) - after, axis=1) < 2 * AGREE_PX
        )
        known[k] = True
    return Steps(turns, zooms, known, agreed / np.maximum(asked, 1), focal)


def flow(place: np.ndarray, focal: float) -> np.ndarray:
    """(…, 2, 4) small pixels by which a place moves for each radian about x, y, z and for a zoom's logarithm."""
    x, y = np.moveaxis(place / focal, -1, 0)
    one = np.ones_like(x)
    across = np.stack([-x * y, one + x * x, -y, x], -1)
    down = np.stack([-one - y * y, x * y, x, y], -1)
    return focal * np.stack([across, down], -2)


def _voted(before: np.ndarray, after: np.ndarray, focal: float, rng: np.random.Generator):
    """(4,) turn and zoom with the most votes, and who voted for it."""
    count = len(before)
    wanted = after - before
    table = flow(before, focal)
    pick = rng.integers(0, count, (_TRIES, 2))
    pick[:, 1] = (pick[:, 0] + 1 + pick[:, 1] % (count - 1)) % count
    matrix = table[pick].reshape(_TRIES, 4, 4)
    # Two features that nearly coincide say little: held near zero instead of thrown away.
    held = 1e-4 * focal**2 * np.diag([1.0, 1.0, 1.0, 1.0])
    normal = matrix.transpose(0, 2, 1) @ matrix + held
    right = matrix.transpose(0, 2, 1) @ wanted[pick].reshape(_TRIES, 4, 1)
    tries = np.concatenate([np.zeros((1, 4)), np.linalg.solve(normal, right)[..., 0]])
    # Large steps are no longer linear: what is left of that is allowed for.
    allowed = AGREE_PX + 0.04 * np.linalg.norm(wanted, axis=1)
    miss = np.linalg.norm(np.einsum("cij,tj->tci", table, tries) - wanted, axis=-1)
    votes = (miss < allowed).sum(1)
    best = int(votes.argmax())
    if votes[0] >= _STILL * votes[best]:
        best = 0
    return tries[best], miss[best] < allowed


def _refined(
    before: np.ndarray, after: np.ndarray, focal: float, start: np.ndarray
) -> tuple[np.ndarray, float]:
    turn, zoom = turned(start[:3]), float(start[3])
    for scale in (4.0, 2.0, 1.0, 1.0, 1.0, 1.0):
        there = _moved(before, focal, turn, zoom)
        miss = after - there
        weight = trust((miss**2).sum(1), scale)
        table = flow(there, focal * np.exp(zoom)).reshape(-1, 4)
        heavy = table * np.repeat(weight, 2)[:, None]
        step = np.linalg.solve(table.T @ heavy + 1e-3 * np.eye(4), heavy.T @ miss.ravel())
        turn, zoom = turned(step[:3]) @ turn, zoom + float(step[3])
    return turn, zoom


def _moved(place: np.ndarray, focal: float, turn: np.ndarray, zoom: float) -> np.ndarray:
    """Where places go."""
    ray = rays(place, focal) @ turn.T
    return focal * np.exp(zoom) * ray[:, :2] / np.maximum(ray[:, 2:], 1e-3)

"""How many metres a camera's way has: feet that rest stay where they are.

Pictures alone do not tell a small room from a large one; a person in it does. Seen from a moving camera, a foot that
rests stays at one place of the world only if the camera's way is taken as long as it was. Every length that the way may
have is tried, and the one at which the most feet rest for the most of the time is taken; then it is refined by whole
rests, which are longer than what is tried.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.motion.floorplane import SURE, Feet, Length, agreed, by_floor
from backend.motion.take import Take, Way
from backend.records import TrackChunk

# Chosen on generated walks with noise and on rendered people (seeds from 100).
LAG_S = 0.2
"""Seconds over which a foot must stay."""
STAYS_M = 0.03
"""One sigma of how far a resting foot seems to go in that time."""
DEPTH = 6.0
"""How much less sure a place is along the line of sight than across it."""
RANGE = (0.02, 200.0)
"""Metres that a unit may have: background features are about one unit away."""
TRIES = 320
LEAST_GONE_M = 0.1
"""A camera that goes by less in `LAG_S`, in all of its frames, shows by its feet only that it hardly moves."""
_ALIKE_S = 0.2
"""Seconds for which the errors of a place are alike."""
_TRACE = 2 + DEPTH**-2
"""How much an error that is alike in all directions counts, of three."""
_LEAST_M = 0.01
"""Metres, the least that a resting foot's place is off."""
UNTOLD = (
    "The camera goes from place to place, but nobody's feet tell how far: only its turn is taken out, so people's ways "
    "in the world are less sure."
)
_BETTER = 1.15
"""Times as many feet must rest with a camera that goes as with one that only turns."""


def pace(take: Take, seen: Sequence[tuple[TrackChunk, np.ndarray]]) -> None:
    """Give the way of the camera its length, by everybody's feet (n, q, 3) in camera space. Where they do not tell it,
    the camera is said to turn only."""
    way = take.way
    if way is None or way.metres:
        return
    people = []
    for track, points in seen:
        held = take.held(track.frames)
        assert held is not None
        there = np.isfinite(track.points3d).all((1, 2))
        people.append(
            Feet(np.where(there[:, None, None], points, np.nan), held.turns, held.places, track.times)
        )
    found = length_of(people)
    if way.points is not None:
        found = agreed(found, by_floor(people, way.points))
    known = found.sigma < SURE
    take.way = Way(way.turns, way.places * (found.metres if known else 0.0))
    if known:
        take.up = found.up
    else:
        take.said = UNTOLD


def length_of(people: Sequence[Feet]) -> Length:
    """Metres of the unit in which the camera's way is known."""
    pairs = [_pairs(p) for p in people]
    u, v, M = (np.concatenate([p[i] for p in pairs]) if pairs else np.zeros((0, 3)) for i in range(3))
    if len(u) < 8:
        return Length(float("nan"), float("inf"))
    tries = np.concatenate([[0.0], np.geomspace(*RANGE, TRIES)])
    # r = u + s v, squared under M: a parabola in s for each pair.
    a, b, c = (np.einsum("ni,nij,nj->n", x, M, y) for x, y in ((v, v), (u, v), (u, u)))
    votes = np.array([_votes(a, b, c, s).sum() for s in tries])
    best = int(votes[1:].argmax()) + 1
    metres = float(tries[best])
    # Within what the tries are apart.
    for _ in range(20):
        w = _votes(a, b, c, metres) ** 2
        below = float((w * a).sum())
        if below <= 0:
            return Length(float("nan"), float("inf"))
        metres = max(-float((w * b).sum()) / below, RANGE[0])
    if votes[best] < _BETTER * votes[0]:
        return Length(float("nan"), float("inf"))
    return _refined(people, metres)


def _votes(a: np.ndarray, b: np.ndarray, c: np.ndarray, s: float) -> np.ndarray:
    return 1 / (1 + np.maximum(a * s * s + 2 * b * s + c, 0) / STAYS_M**2)


def _pairs(feet: Feet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every point and frame: how far it went in `LAG_S` with a camera that only turns (m, 3), how far the camera
    went (m, 3), and what of it counts (m, 3, 3)."""
    times, world = feet.times, np.einsum("nji,nqj->nqi", feet.turns, feet.points)
    after = np.searchsorted(times, times + LAG_S - 1e-6)
    rows = np.flatnonzero(after < len(times))
    # No lag reaches over a hole.
    rows = rows[times[np.minimum(after, len(times) - 1)][rows] - times[rows] < 1.6 * LAG_S]
    later = after[rows]
    u = world[later] - world[rows]
    v = np.broadcast_to((feet.places[later] - feet.places[rows])[:, None], u.shape)
    M = _across(world[rows])
    ok = np.isfinite(u).all(-1)
    return u[ok], v[ok], M[ok]


def _across(world: np.ndarray) -> np.ndarray:
    """(…, 3) as seen from the camera -> (…, 3, 3): lengths along the line of sight count less."""
    ray = world / np.maximum(np.linalg.norm(world, axis=-1, keepdims=True), 1e-6)
    return np.eye(3) - (1 - DEPTH**-2) * ray[..., :, None] * ray[..., None, :]


def _refined(people: Sequence[Feet], metres: float) -> Length:
    """By whole rests: each has a place of its own, and the length makes all of them small."""
    sigma = float("inf")
    for _ in range(4):
        rows = [row for p in people for row in _rests(p, metres)]
        if not rows:
            return Length(float("nan"), float("inf"))
        trusted = np.ones(len(rows))
        for _ in range(8):
            top = below = 0.0
            for t, (c, x, P, share) in zip(trusted, rows, strict=True):
                top -= t * share * float(np.einsum("ni,nij,nj->", c, P, x))
                below += t * share * float(np.einsum("ni,nij,nj->", c, P, c))
            if below <= 1e-12 or top <= 0:
                return Length(float("nan"), float("inf"))
            found = top / below
            left = np.array([float(np.einsum("ni,nij,nj->", x + found * c, P, x + found * c))
                             / max(float(np.trace(P.sum(0))), 1e-9) for c, x, P, _ in rows]) * _TRACE / 3  # fmt: skip
            usual = max(float(np.median(left)), _LEAST_M**2)
            trusted = 1 / (1 + left / (4 * usual)) ** 2
        noise = max(float((trusted * left).sum() / trusted.sum()), _LEAST_M**2)
        metres, sigma = found, float(np.sqrt(noise / below)) / found
    return Length(metres, sigma)


def _rests(feet: Feet, metres: float) -> list:
    """Stretches in which a point stays, with that length: the camera's way in it and the point's (k, 3) about their
    means, weights (k, 3, 3), and how much of it is news."""
    turned = np.einsum("nji,nqj->nqi", feet.turns, feet.points)
    world = turned + metres * feet.places[:, None]
    n, times = len(feet.times), feet.times
    if n < 3:
        return []
    dt = float(np.median(np.diff(times)))
    ahead = np.minimum(np.searchsorted(times, times + LAG_S / 2 - 1e-6), n - 1)
    behind = np.maximum(np.searchsorted(times, times - LAG_S / 2 + 1e-6) - 1, 0)
    M = _across(turned)
    step = world[ahead] - world[behind]
    span = np.maximum(times[ahead] - times[behind], 1e-6)[:, None] / LAG_S
    off = np.einsum("nqi,nqij,nqj->nq", step, M, step) / (STAYS_M * np.maximum(span, 0.5)) ** 2
    weight = np.nan_to_num(1 / (1 + off) ** 2)
    out = []
    for q in range(world.shape[1]):
        at = np.flatnonzero(weight[:, q] > 0.2)
        for part in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1):
            if len(part) < 3 or times[part[-1]] - times[part[0]] < LAG_S / 2:
                continue
            P = M[part, q] * weight[part, q, None, None]
            inverse = np.linalg.inv(P.sum(0))
            c, x = feet.places[part], turned[part, q]
            c = c - inverse @ np.einsum("nij,nj->i", P, c)
            x = x - inverse @ np.einsum("nij,nj->i", P, x)
            out.append((c, x, P, min(1.0, dt / _ALIKE_S)))
    return out


__all__ = ["Feet", "Length", "length_of", "pace"]

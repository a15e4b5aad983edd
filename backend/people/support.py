"""Who of those who are followed was found by the detector too? Two tracks on one body share one find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from backend.people.persons import shared, within
from backend.people.track import COAST_S, SLACK_S, Track

# Chosen on rendered crowds (`bench.people`, seeds 100 to 102).
_ALIKE = 0.3
"""Least intersection over union of a body's landmarks and of the box that was found of it."""
_COVERED = 0.6
"""Share of somebody's landmarks' box that lies in somebody else's, from which on one may be taken for the other."""
UNFOUND = 2
"""Looks in which the detector sees one person where two are followed, until it is believed."""
UNSEEN = 4
"""Looks after which somebody whom the detector has seen once, and never again, was never there."""


def weigh(tracks: Sequence[Track], finds: np.ndarray, now: float, least: float = 0.0) -> None:
    """Hold those who are followed against what the detector sees at second `now`, boxes (m, 4) x0, y0, x1, y1; bodies
    smaller than `least` pixels are such as it cannot see in this look.

    Where it sees nobody, again and again, but somebody else, the track is hidden by that one, or was never there; so
    was whom it saw only once. These count as lost from here on.
    """
    there = [t for t in tracks if t.points is not None and not t.lost_s]
    if not there:
        return
    bodies = bounds(np.stack([t.points + t.expected(now) for t in there]))
    own, covered = doubtful(bodies, finds)
    sizes = (bodies[:, 2:] - bodies[:, :2]).max(1)
    for t, mine, hidden, size in zip(there, own, covered, sizes, strict=True):
        if not mine and size < least:
            continue
        t.unfound = t.unfound + 1 if hidden else 0
        t.unseen = 0 if mine else t.unseen + 1
        t.found = min(t.found + int(mine), 2)
        never = t.found < 2 and t.unseen >= UNSEEN
        if t.unfound >= UNFOUND or never:
            t.lost_s, t.confirmed = COAST_S + 2 * SLACK_S, t.confirmed and t.found > 1


def bounds(points: np.ndarray) -> np.ndarray:
    """(n, P, 2) pixels -> (n, 4) x0, y0, x1, y1."""
    return np.concatenate([points.min(1), points.max(1)], 1)


def doubtful(bodies: np.ndarray, finds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the tracks with these `bodies` (n, 4) have one of the `finds` (m, 4) for themselves, (n,) bool, and
    which have none and lie in the body of somebody who has one, (n,) bool. Boxes are x0, y0, x1, y1."""
    own = np.zeros(len(bodies), bool)
    if len(bodies) and len(finds):
        alike = shared(bodies, finds)
        rows, columns = linear_sum_assignment(-alike)
        own[rows] = alike[rows, columns] >= _ALIKE
    covered = (within(bodies, bodies) > _COVERED) & own[None, :]
    np.fill_diagonal(covered, False)
    return own, ~own & covered.any(1)


def meeting(bodies: Sequence[np.ndarray]) -> bool:
    """Whether some of these bodies, (4,) each, cover one another."""
    if len(bodies) < 2:
        return False
    a = np.array(bodies)
    covered = within(a, a)
    np.fill_diagonal(covered, 0)
    return bool((covered > _COVERED / 2).any())

"""Points found in the picture, laid over those that the fitted body carries. Arrays in, arrays out.

The body was fitted to what the localizer said of its native points, all of them and all frames together. So it is
steadier, and on real footage mostly nearer to the truth, than the localizer's word on a point in one frame; what
that word adds is how far it differs from the body otherwise than the native points nearby do. This is taken in the axes
of the bone that carries the point, over a moment of time, and weighed against the body by both uncertainties. Where the
localizer saw nothing, the body's word is left. Figures: `python -m bench.added`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

MOMENT_S = 0.13
"""One standard deviation of the moment, seconds: shorter shakes, longer changes little."""
REACH_S = 3 * MOMENT_S
NEARBY_M = 0.2
"""One standard deviation, along the rest pose, of how far a native point's news reaches; chosen by the figures."""


@dataclass(frozen=True, eq=False)
class Carried:
    """P points over n rows of a track."""

    first: int
    """Row of the track at which these rows begin."""
    places: np.ndarray
    """(n, P, 3) metres, camera space, carried by the body."""
    sigma: np.ndarray
    """(n, P) metres, one sigma of the places."""
    turns: np.ndarray
    """(n, 55, 3, 3) rotations of the bones."""
    away: np.ndarray
    """(n, P, 3) metres from these places to the localizer's, in the axes of the bones."""
    sure: np.ndarray
    """(n, P) one over the localizer's variance, 0 where it saw nothing."""

    @property
    def stop(self) -> int:
        return self.first + len(self.places)


def nearby(points: np.ndarray, native: np.ndarray) -> np.ndarray:
    """(P, N) shares, rows sum to 1, of native points (N, 3) around points (P, 3), both of the rest pose."""
    points, native = points.astype(np.float32), native.astype(np.float32)
    square = np.square(points).sum(-1)[:, None] + np.square(native).sum(-1) - 2 * points @ native.T
    # Relative to the nearest, so that a point far from all of them has neighbours too.
    share = np.exp((square.min(1, keepdims=True) - square) / (2 * NEARBY_M**2))
    return share / share.sum(1, keepdims=True)


def in_bones(away: np.ndarray, turns: np.ndarray, bones: np.ndarray) -> np.ndarray:
    """(n, P, 3) in camera space -> in the axes of `bones` (P,), by `turns` (n, 55, 3, 3)."""
    return np.einsum("npji,npj->npi", turns[:, bones], away)


def blended(blocks: Iterable[Carried], times: np.ndarray, bones: np.ndarray) -> Iterator[Carried]:
    """The same blocks with `places` and `sigma` of both words together. `times`: (rows,) seconds of the whole track;
    `bones`: (P,) that carry each point most. Holds no more blocks than a moment needs."""
    held: list[Carried] = []
    at = 0
    for block in blocks:
        held.append(block)
        while at < len(held) and times[held[at].stop - 1] + REACH_S < times[block.stop - 1]:
            yield _blend(held, held[at], times, bones)
            at += 1
            while at < len(held) and times[held[0].stop - 1] < times[held[at].first] - REACH_S:
                held.pop(0)
                at -= 1
    for block in held[at:]:
        yield _blend(held, block, times, bones)


def _blend(held: list[Carried], block: Carried, times: np.ndarray, bones: np.ndarray) -> Carried:
    now = times[block.first : block.stop]
    low = max(held[0].first, int(np.searchsorted(times, now[0] - REACH_S)))
    high = min(held[-1].stop, int(np.searchsorted(times, now[-1] + REACH_S, "right")))
    near = np.exp(-0.5 * np.square((now[:, None] - times[None, low:high]) / MOMENT_S))
    near = np.where(np.abs(now[:, None] - times[None, low:high]) <= REACH_S, near, 0)
    near = (near / near.sum(1, keepdims=True)).astype(np.float32)
    words = [c for c in held if c.stop > low and c.first < high]
    rows = slice(low - words[0].first, high - words[0].first)
    sure = np.concatenate([c.sure for c in words])[rows]
    away = np.concatenate([c.away for c in words])[rows]
    n, P = block.sigma.shape
    found = near @ sure
    # The body's own sureness over the same moment: in single frames it jumps, and points would jump with it.
    body = near @ np.maximum(np.concatenate([c.sigma for c in words])[rows], 1e-4) ** -2
    all_ = found + body
    shift = (near @ (sure[..., None] * away).reshape(len(sure), -1)).reshape(n, P, 3) / all_[..., None]
    seen = near @ (sure > 0).astype(np.float32)
    # Both look at the same picture and err alike, so that variances are mixed and none is lost.
    share = found / all_
    variance = (1 - share) * np.square(block.sigma) + share * seen / np.maximum(found, 1e-12)
    places = block.places + np.einsum("npij,npj->npi", block.turns[:, bones], shift)
    return replace(block, places=places.astype(np.float32), sigma=np.sqrt(variance).astype(np.float32))

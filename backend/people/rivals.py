"""Two who are followed and one body: whose is it? Distances are in sizes of the person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.people.detect import Detection
from backend.people.limits import COLLAPSED, COLLAPSED_NEW, FOREIGN, NEAR_TRACK
from backend.people.looks import same
from backend.people.seen import Seen, likeness
from backend.people.track import Track, middles, roi_from_points


def surprise(t: Track, points: np.ndarray, now: float) -> float:
    """How far a body `points` (33, 2) is from where the track was expected: size and shape count too."""
    if t.points is None:
        step = middles(points) - t.anchors(now)
    else:
        step = points - t.points - t.expected(now)
    return float(np.linalg.norm(step, axis=1).mean() / t.radius)


def somebody_elses(t: Track, seen: Seen, tracks: Sequence[Track], now: float) -> bool:
    """The looks are those of somebody else of `tracks` who is known, and who should be near."""
    if seen.looks is None or t.looks is None:
        return False
    mine = same(t.looks, seen.looks)
    if mine > -FOREIGN:
        return False
    middle = middles(seen.points).mean(0)
    for other in tracks:
        near = np.linalg.norm(other.anchors(now).mean(0) - middle) < 2 * max(t.radius, other.radius)
        known = other is not t and other.looks is not None and near
        if known and same(other.looks, seen.looks) > mine + 2 * FOREIGN:
            return True
    return False


def drop_collapsed(tracks: Sequence[Track], good: dict[int, Seen], now: float) -> None:
    """Of `tracks` that landed on one body, keep the one that was expected there; a newcomer yields. Whoever loses is
    taken out of `good`."""
    for n, b in enumerate(tracks):
        for a in tracks[:n]:
            if a.id not in good or b.id not in good:
                continue
            pa, pb = good[a.id].points, good[b.id].points
            size = max(roi_from_points(pa).size, roi_from_points(pb).size) / 2.5
            limit = COLLAPSED if a.confirmed and b.confirmed else COLLAPSED_NEW
            if np.linalg.norm(pa - pb, axis=1).mean() > limit * size:
                continue
            if a.confirmed != b.confirmed:
                loser = a if b.confirmed else b
            else:
                wrong = [surprise(t, good[t.id].points, now) for t in (a, b)]
                loser = a if wrong[0] > wrong[1] + 0.02 else b
                alike = [likeness(t, good[t.id]) for t in (a, b)]
                if abs(alike[0] - alike[1]) > FOREIGN:
                    loser = a if alike[0] < alike[1] else b
            del good[loser.id]


def near_somebody(d: Detection, tracks: Sequence[Track], now: float) -> bool:
    """A find that may be made of parts of one of `tracks`."""
    parts = np.stack([d.hips, d.shoulders])
    for t in tracks:
        gaps = np.linalg.norm(parts[:, None] - t.anchors(now)[None], axis=-1)
        if gaps.min() < NEAR_TRACK * t.radius:
            return True
    return False

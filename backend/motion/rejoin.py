"""The second pass over the tracks of one shot, with all of it in sight: who was one and the same after all. Pure.

Two tracks on one body become one; two who exchanged their persons at a meeting are exchanged back; a track that went on
with somebody else is cut; and those who were lost and came back are joined, by looks, way, size and time. Where it
could have been otherwise, frames are marked as doubtful.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from backend.motion.chunks import ROWS, whole
from backend.people.looks import LOOKS, body_size, model_of, same
from backend.people.track import middles
from backend.records import TrackChunk

# All of these were set by judgement, and tried once on crowds of `bench.people`, seeds from 100 on.
DOUBLE = 0.25
"""Landmarks nearer than this on the average, in sizes of the person, are one body's."""
DOUBLE_S = 0.2
"""Two tracks that are on one body for so long are one person, there."""
MEET = 0.8
"""Middles of trunks so near, in sizes of the larger person, are a meeting."""
APART_S = 0.5
"""Seconds without either that end a meeting."""
AROUND_S = 2.5
"""Seconds before and after that looks are compared over."""
SWAP, UNSURE = 3.0, 1.5
"""How much likelier, natural logarithm, the other way round must be; and less than what either way leaves a doubt."""
BREAK_S = 0.12
"""A track may have gone on with somebody else where it was lost for longer than this."""
AWAY_S = 12.0
"""Who was away for longer is not joined on."""
BOTH_S = 0.15
"""Nor who was there for longer at the same time."""
JOIN = 1.5
"""Least of looks, way and size together, natural logarithm, to be joined."""
MOST_LOOKS = 5.0
"""Nobody is joined on for the looks alone who would have had to fly: clothes are often alike."""
DOUBT_S = 0.3
"""Seconds that are marked after a doubtful join."""


def rejoined(tracks: Sequence[TrackChunk]) -> list[TrackChunk]:
    """The people of one shot: `tracks` as of `person_tracks`, whose numbers stay those of their first parts. Rows of
    short gaps are made anew."""
    if not tracks:
        return []
    known = {int(f): float(t) for track in tracks for f, t in zip(track.frames, track.times, strict=True)}
    at = np.array(sorted(known))
    when = np.array([known[int(f)] for f in at])
    some = [taken(t, np.flatnonzero(np.isfinite(t.points2d).all((1, 2)))) for t in tracks]
    some = [t for t in some if len(t.frames)]
    some = _without_doubles(some)
    some = _exchanged_back(some)
    some = _joined_on([part for t in some for part in _cut(t)])
    return [whole([t], lambda frames: np.interp(frames, at, when)) for t in some]


def linked(shots: Sequence[Sequence[TrackChunk]]) -> list[tuple[int, int, int, float]]:
    """Who is who across shots, by looks alone, as proposals: (shot, track, person, certainty 0.5..1), persons from 1.
    In one shot nobody is two tracks."""
    people: list[np.ndarray] = []
    out = []
    for shot, tracks in enumerate(shots):
        models = [model_of(t.looks) for t in tracks]
        score = np.array([[same(m, p) for p in people] for m in models]).reshape(len(models), len(people))
        taken_by: dict[int, tuple[int, float]] = {}
        left = score.copy()
        while left.size and left.max() > JOIN:
            i, j = np.unravel_index(int(left.argmax()), left.shape)
            rest = np.delete(score[i], j)
            second = max(0.0, float(rest.max(initial=0.0)))
            taken_by[int(i)] = int(j), float(1 / (1 + np.exp(-(score[i, j] - second))))
            left[i], left[:, j] = -np.inf, -np.inf
        for i, (t, model) in enumerate(zip(tracks, models, strict=True)):
            if i in taken_by:
                person, sure = taken_by[i]
            else:
                people.append(model)
                best = float(score[i].max(initial=-9.0)) if score.size else -9.0
                person, sure = len(people) - 1, float(1 / (1 + np.exp(min(best - JOIN, 0.0))))
            out.append((shot, t.track, person + 1, sure))
    return out


def taken(track: TrackChunk, rows: np.ndarray) -> TrackChunk:
    """Some rows of a track."""
    return TrackChunk(track.track, *(getattr(track, name)[rows] for name in ROWS))


def together(a: TrackChunk, b: TrackChunk) -> TrackChunk:
    """Rows of both in the order of time, under the number of `a`; where both have a frame, that of `a`."""
    b = taken(b, np.flatnonzero(~np.isin(b.frames, a.frames)))
    order = np.argsort(np.concatenate([a.frames, b.frames]), kind="stable")
    return TrackChunk(a.track, *(np.concatenate([getattr(a, n), getattr(b, n)])[order] for n in ROWS))


def _common(a: TrackChunk, b: TrackChunk) -> tuple[np.ndarray, np.ndarray]:
    _, i, j = np.intersect1d(a.frames, b.frames, return_indices=True)
    return i, j


def _sizes(t: TrackChunk, rows: np.ndarray) -> np.ndarray:
    return np.array([body_size(t.points2d[r, :33]) for r in rows])


def _step(times: np.ndarray) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 1 / 30


def _without_doubles(tracks: list[TrackChunk]) -> list[TrackChunk]:
    """No body twice: the track that lasts longer keeps it."""
    tracks = sorted(tracks, key=lambda t: (-len(t.frames), t.track))
    out: list[TrackChunk] = []
    for t in tracks:
        for k, other in enumerate(out):
            i, j = _common(other, t)
            if not len(i):
                continue
            size = np.maximum(_sizes(other, i), _sizes(t, j))
            gap = np.linalg.norm(other.points2d[i, :33] - t.points2d[j, :33], axis=-1).mean(1) / size
            double = gap < DOUBLE
            if double.sum() * _step(other.times) < DOUBLE_S:
                continue
            alone = np.ones(len(t.frames), bool)
            alone[j[double]] = False
            rest = taken(t, np.flatnonzero(alone))
            if double.mean() > 0.6 and len(rest.frames):
                # One person all along: what is left fills the other's holes.
                i, j = _common(other, rest)
                out[k] = together(other, rest) if len(j) < 0.3 * len(rest.frames) else other
                rest = taken(rest, np.arange(0))
            t = rest
            if not len(t.frames):
                break
        if len(t.frames):
            out.append(t)
    return sorted(out, key=lambda t: t.track)


def _window(t: TrackChunk, start: float, end: float) -> np.ndarray:
    return model_of(t.looks[(t.times >= start) & (t.times <= end)]) if len(t.times) else np.zeros((LOOKS, 4))


def _meetings(a: TrackChunk, b: TrackChunk) -> list[tuple[float, float]]:
    """Seconds from which and to which two are near each other; one that is lost stays where it was seen last."""
    times = np.unique(np.concatenate([a.times, b.times]))
    times = times[(times >= max(a.times[0], b.times[0])) & (times <= min(a.times[-1], b.times[-1]))]
    if not len(times):
        return []
    rows = [np.clip(np.searchsorted(t.times, times + 1e-6) - 1, 0, len(t.times) - 1) for t in (a, b)]
    places = [
        np.stack([middles(t.points2d[r, :33]).mean(0) for r in row])
        for t, row in zip((a, b), rows, strict=True)
    ]
    size = np.maximum(_sizes(a, rows[0]), _sizes(b, rows[1]))
    near = times[np.linalg.norm(places[0] - places[1], axis=1) < MEET * size]
    if not len(near):
        return []
    parts = np.split(near, np.flatnonzero(np.diff(near) > APART_S) + 1)
    return [(float(p[0]), float(p[-1])) for p in parts]


def _exchanged_back(tracks: list[TrackChunk]) -> list[TrackChunk]:
    """Those who exchanged their persons at a meeting, exchanged back."""
    tracks = [replace(t, doubt=t.doubt.copy()) for t in tracks]
    for x, y in combinations(range(len(tracks)), 2):
        for start, end in _meetings(tracks[x], tracks[y]):
            a, b = tracks[x], tracks[y]
            before = [_window(t, start - AROUND_S, start - 1e-6) for t in (a, b)]
            after = [_window(t, end + 1e-6, end + AROUND_S) for t in (a, b)]
            keep = same(before[0], after[0]) + same(before[1], after[1])
            cross = same(before[0], after[1]) + same(before[1], after[0])
            # Of two who look alike, looks cannot say which is which: only the way can, and it was asked before.
            told = same(*before) < -UNSURE
            if told and cross - keep > SWAP:
                tracks[x], tracks[y] = _swapped(a, b, _moment(a, b, before, start, end))
            elif (not told or abs(cross - keep) < UNSURE) and min(
                m[:, 3].sum() for m in (*before, *after)
            ) > 0:
                for t in (tracks[x], tracks[y]):
                    t.doubt[(t.times >= start) & (t.times <= end)] = 1
    return tracks


def _moment(a: TrackChunk, b: TrackChunk, before: list[np.ndarray], start: float, end: float) -> float:
    """When the two changed places: so that most looks, frame by frame, fit who was before."""
    cuts = np.linspace(start, end, 9)
    votes = []
    for t, mine, other in ((a, *before), (b, before[1], before[0])):
        rows = np.flatnonzero((t.times >= start) & (t.times <= end))
        votes += [
            (t.times[r], np.clip(same(mine, t.looks[r]) - same(other, t.looks[r]), -3, 3)) for r in rows
        ]
    if not votes:
        return (start + end) / 2
    at, fit = np.array(votes).T
    return float(
        max(cuts, key=lambda c: (fit[at < c].sum() - fit[at >= c].sum(), -abs(c - (start + end) / 2)))
    )


def _swapped(a: TrackChunk, b: TrackChunk, at: float) -> tuple[TrackChunk, TrackChunk]:
    parts = [
        (taken(t, np.flatnonzero(t.times < at)), taken(t, np.flatnonzero(t.times >= at))) for t in (a, b)
    ]
    return together(parts[0][0], parts[1][1]), together(parts[1][0], parts[0][1])


def _cut(track: TrackChunk) -> list[TrackChunk]:
    """A track, cut where it was lost and went on with somebody who looks otherwise."""
    edges = np.flatnonzero(np.diff(track.times) > BREAK_S) + 1
    for edge in edges:
        at = track.times[edge]
        old, new = _window(track, at - 2 * AROUND_S, at - 1e-6), _window(track, at, at + AROUND_S)
        if same(old, new) < -SWAP:
            rows = np.arange(len(track.frames))
            return [taken(track, rows[:edge]), *_cut(taken(track, rows[edge:]))]
    return [track]


def _joined_on(parts: list[TrackChunk]) -> list[TrackChunk]:
    """Those who were lost and came back, likeliest first."""
    parts = sorted(parts, key=lambda t: (float(t.times[0]), t.track))
    while True:
        scores = {(x, y): s for x, a in enumerate(parts) for y, b in enumerate(parts)
                  if x != y and (s := _continues(a, b)) > JOIN}  # fmt: skip
        if not scores:
            break
        (x, y), best = max(scores.items(), key=lambda item: (item[1], -item[0][0], -item[0][1]))
        rivals = [s for (i, j), s in scores.items() if (i == x) != (j == y)]
        later = replace(parts[y], doubt=parts[y].doubt.copy())
        if best - max(rivals, default=JOIN - UNSURE) < UNSURE:
            later.doubt[later.times <= later.times[0] + DOUBT_S] = 1
        parts[x] = together(_until(parts[x], later), later)
        del parts[y]
    numbers: set[int] = set()
    free = max((t.track for t in parts), default=0) + 1
    out = []
    for t in parts:
        if t.track in numbers:
            # The later part of a track that was cut.
            t, free = replace(t, track=free), free + 1
        numbers.add(t.track)
        out.append(t)
    return sorted(out, key=lambda t: t.track)


def _continues(a: TrackChunk, b: TrackChunk) -> float:
    """How much likelier `b` is the person of `a`, lost and back, than somebody else; natural logarithm."""
    # Who is about to be lost may be seen for a moment where the other one begins already.
    if b.times[0] <= a.times[0] or a.times[-1] - b.times[0] > BOTH_S or b.times[-1] <= a.times[-1]:
        return -np.inf
    a = _until(a, b)
    gap = float(b.times[0] - a.times[-1])
    if gap > AWAY_S:
        return -np.inf
    looks = same(
        _window(a, a.times[-1] - 2 * AROUND_S, np.inf), _window(b, -np.inf, b.times[0] + 2 * AROUND_S)
    )
    sizes = [float(np.median(_sizes(t, rows))) for t, rows in ((a, np.arange(len(a.frames))[-5:]),
                                                              (b, np.arange(len(b.frames))[:5]))]  # fmt: skip
    size = max(sizes)
    ends = [_end(a, -1), _end(b, 0)]
    # Each goes on, or went before, for a while.
    ahead = min(gap, 1.0) / 2
    off = np.linalg.norm(ends[0][0] + ends[0][1] * ahead - (ends[1][0] - ends[1][1] * ahead)) / size
    sigma = 0.3 + 0.8 * gap
    way = 1.0 - 0.5 * (off / sigma) ** 2 - np.log(sigma / 0.3) / 2
    grown = np.log(sizes[1] / sizes[0])
    kept = -0.5 * (grown / (0.15 + 0.1 * min(gap, 3.0))) ** 2
    return float(min(looks, MOST_LOOKS) + max(way, -9.0) + max(kept, -5.0))


def _until(a: TrackChunk, b: TrackChunk) -> TrackChunk:
    """`a` up to where `b` begins."""
    return a if a.times[-1] < b.times[0] else taken(a, np.flatnonzero(a.times < b.times[0]))


def _end(t: TrackChunk, which: int) -> tuple[np.ndarray, np.ndarray]:
    """Middle of the trunk (2,) and its velocity (2,) pixels a second at the first (0) or last (-1) row."""
    near = np.abs(t.times - t.times[which]) <= 0.35
    rows = np.flatnonzero(near)
    at = np.stack([middles(t.points2d[r, :33]).mean(0) for r in rows])
    if len(rows) < 3:
        return at[which], np.zeros(2)
    times = t.times[rows]
    speed = np.polyfit(times - times[which], at, 1)[0]
    return at[which], speed

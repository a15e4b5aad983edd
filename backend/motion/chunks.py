"""From frames to chunks, and from chunks to one track for each person, whose short gaps are to be bridged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np

from backend.camera.pinhole import Camera
from backend.fit.solver.timing import is_hole
from backend.records import LOOKS, Chunk, Features, Localization, TrackChunk
from blender_addon.shared.frames import Frame

ROWS = tuple(f.name for f in fields(TrackChunk) if f.name != "track")
"""The arrays of a TrackChunk."""


class Pending:
    """Localizations not yet handed over as a chunk; `last`: index of the newest frame seen."""

    def __init__(self, first: int) -> None:
        self.first, self.last = first, first - 1
        self._rows: dict[int, list[tuple]] = defaultdict(list)
        self._features: dict[int, list[dict]] = defaultdict(list)

    @property
    def size(self) -> int:
        return self.last + 1 - self.first

    def add(
        self, track: int, frame: Frame, seen: Localization, i: int, looks: np.ndarray | None = None
    ) -> None:
        """Row `i` of `seen` is the person of `track` in `frame`; `looks` (LOOKS, 4), see `people.looks`."""
        points2d = seen.points2d[i]
        low, high = np.nanmin(points2d, 0), np.nanmax(points2d, 0)
        box = np.concatenate([low, high - low]).astype(np.float32)
        looks = np.zeros((LOOKS, 4), np.float16) if looks is None else looks
        row = (
            frame.index,
            frame.time_s,
            box,
            seen.points3d[i],
            points2d,
            seen.uncertainty[i],
            seen.score[i],
            looks,
        )
        self._rows[track].append(row)
        if seen.features is not None:
            self._features[track].append({name: rows[i] for name, rows in seen.features.items()})

    def take_features(self, ghosts: Collection[int]) -> Features | None:
        """What the localizer keeps of the next chunk's people, but for `ghosts`, if it keeps anything. To be taken
        before that chunk."""
        kept, self._features = self._features, defaultdict(list)
        kept = {t: rows for t, rows in sorted(kept.items()) if t not in ghosts}
        if not kept:
            return None
        frames = {t: np.array([row[0] for row in self._rows[t]], np.int32) for t in kept}
        arrays = {t: {n: np.stack([r[n] for r in rows]) for n in rows[0]} for t, rows in kept.items()}
        return Features(self.first, self.last, frames, arrays)

    def take(
        self, camera: Camera, ghosts: Collection[int], memory: Mapping[str, np.ndarray], **noted: Any
    ) -> Chunk:
        """All that was added since the last call, but for `ghosts`, tracks that turned out to be nobody. `memory`: what
        is known now; `noted`: further fields of the chunk."""
        kinds = (np.int32, np.float64, *[np.float32] * 5, np.float16)
        tracks = [
            TrackChunk(
                track,
                *(
                    np.array(column, kind)
                    for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)
                ),
            )
            for track, rows in sorted(self._rows.items())
            if track not in ghosts
        ]
        chunk = Chunk(
            self.first,
            self.last,
            camera.width,
            camera.height,
            tracks,
            dict(memory),
            focal_px=float(camera.K[0, 0]),
            **noted,
        )
        self.first, self._rows = self.last + 1, defaultdict(list)
        return chunk


SHORTEST_S = 0.25
"""Somebody seen for less than this is not worth a body."""


def frame_times(chunks: Sequence[Chunk]) -> Callable[[np.ndarray], np.ndarray]:
    """When frames are, by what was seen in them: indices -> seconds. Frames in which nobody was seen lie evenly between
    those of which it is known, and beyond them go on at the same rate, thirty a second where nothing is known."""
    known = {}
    for chunk in chunks:
        known.update(
            zip(range(chunk.first, chunk.first + len(chunk.times)), chunk.times.tolist(), strict=True)
        )
        for t in chunk.tracks:
            known.update(zip(t.frames.tolist(), t.times.tolist(), strict=True))
    at = np.array(sorted(known))
    when = np.array([known[i] for i in at])
    rate = float(np.median(np.diff(at) / np.diff(when))) if len(at) > 1 else 30.0

    def seconds(frames: np.ndarray) -> np.ndarray:
        if not len(at):
            return np.asarray(frames) / rate
        beyond = frames - np.clip(frames, at[0], at[-1])
        return np.interp(frames, at, when) + beyond / rate

    return seconds


def stretches(times: np.ndarray) -> list[slice]:
    """`times` (n,) of a person's frames, seconds, cut where nothing is known for longer than `LONGEST_GAP_S`: rows of
    each stretch, in order. Nothing ties what lies on both sides of such a hole."""
    if not len(times):
        return []
    edges = [0, *(np.flatnonzero(is_hole(np.diff(times))) + 1).tolist(), len(times)]
    return [slice(a, b) for a, b in pairwise(edges)]


def person_tracks(chunks: Sequence[Chunk], ghosts: Collection[int] = ()) -> list[TrackChunk]:
    """One TrackChunk per person over the whole clip; short ones dropped.

    Frames in which somebody was not seen for up to `LONGEST_GAP_S` are rows of NaN, their boxes interpolated. Those of
    longer absences are left out: `frames` has a hole there, and so has `times` (see `stretches`). What was seen between
    two holes for less than `SHORTEST_S` is left out too, unless there is nothing else. `ghosts`: ids to leave out. When
    all tracks are short, the longest is kept.
    """
    rows: dict[int, list[TrackChunk]] = {}
    for chunk in chunks:
        for t in chunk.tracks:
            rows.setdefault(t.track, []).append(t)
    when = frame_times(chunks)
    tracks = [whole(parts, when) for track, parts in sorted(rows.items()) if track not in ghosts]
    long = [t for t in tracks if _seconds(t.times) >= SHORTEST_S]
    return long or sorted(tracks, key=lambda t: -len(t.frames))[:1]


def _seconds(times: np.ndarray) -> float:
    """For how long somebody was followed, without holes."""
    return sum(float(times[s][-1] - times[s][0]) for s in stretches(times))


def whole(parts: Sequence[TrackChunk], when: Callable[[np.ndarray], np.ndarray]) -> TrackChunk:
    """All that was seen of one person, with rows for short gaps and none for long ones."""
    seen = _joined(parts)
    # Pictures far apart in time lie side by side all the same: a hole is one where frames lack, too.
    holes = is_hole(np.diff(seen.times)) & (np.diff(seen.frames) > 1)
    pieces = np.split(np.arange(len(seen.frames)), np.flatnonzero(holes) + 1)
    long = [p for p in pieces if seen.times[p[-1]] - seen.times[p[0]] >= SHORTEST_S]
    return _joined([_gapless(_taken(seen, piece), when) for piece in long or pieces])


def _gapless(seen: TrackChunk, when: Callable[[np.ndarray], np.ndarray]) -> TrackChunk:
    """A row for each frame from the first to the last, NaN where the person was not seen."""
    frames = np.arange(seen.frames[0], seen.frames[-1] + 1, dtype=np.int32)
    if len(frames) == len(seen.frames):
        return seen
    row = seen.frames - frames[0]

    def spread(values: np.ndarray) -> np.ndarray:
        nothing = np.nan if values.dtype.kind == "f" else 0
        out = np.full((len(frames), *values.shape[1:]), nothing, values.dtype)
        out[row] = values
        return out

    boxes = [np.interp(frames, seen.frames, column) for column in seen.boxes.T]
    times = when(frames)
    times[row] = seen.times
    return TrackChunk(seen.track, frames, times, np.stack(boxes, 1).astype(seen.boxes.dtype), spread(seen.points3d),
                      spread(seen.points2d), spread(seen.uncertainty), np.nan_to_num(spread(seen.score)),
                      np.nan_to_num(spread(seen.looks)), spread(seen.doubt), spread(seen.source))  # fmt: skip


def _joined(parts: Sequence[TrackChunk]) -> TrackChunk:
    """Parts of one track, in the order of time, as one."""
    columns = ([getattr(p, name) for p in parts] for name in ROWS)
    return TrackChunk(parts[0].track, *(np.concatenate(c) for c in columns))


def _taken(track: TrackChunk, rows: np.ndarray) -> TrackChunk:
    return TrackChunk(track.track, *(getattr(track, name)[rows] for name in ROWS))

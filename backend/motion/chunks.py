"""From frames to chunks, and from chunks to one gapless track for each person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from backend.camera.pinhole import Camera
from backend.records import Chunk, Features, Localization, TrackChunk
from blender_addon.shared.frames import Frame


class Pending:
    """Localizations not yet handed over as a chunk; `last`: index of the newest frame seen."""

    def __init__(self, first: int) -> None:
        self.first, self.last = first, first - 1
        self._rows: dict[int, list[tuple]] = defaultdict(list)
        self._features: dict[int, list[dict]] = defaultdict(list)

    @property
    def size(self) -> int:
        return self.last + 1 - self.first

    def add(self, track: int, frame: Frame, seen: Localization, i: int) -> None:
        """Row `i` of `seen` is the person of `track` in `frame`."""
        points2d = seen.points2d[i]
        low, high = np.nanmin(points2d, 0), np.nanmax(points2d, 0)
        box = np.concatenate([low, high - low]).astype(np.float32)
        row = (frame.index, frame.time_s, box, seen.points3d[i], points2d, seen.uncertainty[i], seen.score[i])
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

    def take(self, camera: Camera, ghosts: Collection[int], memory: Mapping[str, np.ndarray]) -> Chunk:
        """All that was added since the last call, but for `ghosts`, tracks that turned out to be nobody. `memory`: what
        the tracker knows now."""
        kinds = (np.int32, np.float64, *[np.float32] * 5)
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
        chunk = Chunk(self.first, self.last, camera.width, camera.height, tracks, dict(memory))
        self.first, self._rows = self.last + 1, defaultdict(list)
        return chunk


SHORTEST_S = 0.25
"""Somebody seen for less than this is not worth a body."""


def person_tracks(chunks: Sequence[Chunk], ghosts: Collection[int] = ()) -> list[TrackChunk]:
    """One gapless TrackChunk per person over the whole clip, NaN where not seen; short ones dropped.

    `ghosts`: ids to leave out. Times and boxes in the gaps are interpolated. When all tracks are short, the longest
    is kept.
    """
    rows: dict[int, list[TrackChunk]] = {}
    for chunk in chunks:
        for t in chunk.tracks:
            rows.setdefault(t.track, []).append(t)
    tracks = [_gapless(track, parts) for track, parts in sorted(rows.items()) if track not in ghosts]
    long = [t for t in tracks if t.times[-1] - t.times[0] >= SHORTEST_S]
    return long or sorted(tracks, key=lambda t: -len(t.frames))[:1]


def _gapless(track: int, parts: Sequence[TrackChunk]) -> TrackChunk:
    seen = np.concatenate([p.frames for p in parts])
    frames = np.arange(seen[0], seen[-1] + 1, dtype=np.int32)
    row = seen - seen[0]

    def spread(name: str) -> np.ndarray:
        values = np.concatenate([getattr(p, name) for p in parts])
        out = np.full((len(frames), *values.shape[1:]), np.nan, values.dtype)
        out[row] = values
        return out

    def bridged(name: str) -> np.ndarray:
        out = spread(name).reshape(len(frames), -1)
        columns = [np.interp(frames, seen, out[row, k]) for k in range(out.shape[1])]
        return np.stack(columns, 1).astype(out.dtype)

    score = np.nan_to_num(spread("score"))
    return TrackChunk(track, frames, bridged("times")[:, 0], bridged("boxes"), spread("points3d"),
                      spread("points2d"), spread("uncertainty"), score)  # fmt: skip

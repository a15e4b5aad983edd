"""A finished job's people, looked at again: the localizer's word on other points, from the features that were kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from backend.body.pointsets import PointSet
from backend.jobs.features import load_features
from backend.jobs.folder import JobFolder
from backend.localizers.contract import Localizer, Recalls

BATCH = 8
"""People-frames that are looked at together."""


@dataclass(frozen=True, eq=False)
class Look:
    """One frame of a person, as the job kept it."""

    frame: int
    """Index of the frame in the clip."""
    features: Mapping[str, np.ndarray]
    """What the localizer kept of the person in this frame: one row of `Localization.features`."""
    native: np.ndarray
    """(N, 3) metres, camera space: what the localizer said of its native points then."""


class Recaller:
    """What `localizer` says of `points` in the frames of the job in `folder`. `lacking`: whether features of someone
    who was seen were missing or damaged; known when all was read."""

    def __init__(self, folder: JobFolder, localizer: Localizer, points: PointSet) -> None:
        assert isinstance(localizer, Recalls)
        self.localizer, self.lacking = localizer, False
        self._recall, self._folder = localizer.recall, folder
        self._prepared = localizer.prepare(points)
        self._count = len(points)

    def track(self, track: int) -> Iterator[Look]:
        """Of one person, in the order of frames."""
        for number in self._folder.numbers():
            chunk = self._folder.load_chunk(number)
            if chunk is None:
                self.lacking = True
                continue
            for part in chunk.tracks:
                if part.track == track:
                    yield from self._chunk(number, track, part.frames, part.points3d)

    def _chunk(self, number: int, track: int, frames: np.ndarray, native: np.ndarray) -> Iterator[Look]:
        kept = load_features(self._folder, number, track)
        if kept is None or not np.array_equal(kept[0], frames):
            self.lacking = True
            return
        for i, frame in enumerate(frames):
            yield Look(int(frame), {name: rows[i] for name, rows in kept[1].items()}, native[i])

    def find(self, looks: list[Look]) -> tuple[np.ndarray, np.ndarray]:
        """(n, P, 3) metres, camera space, and (n, P) metres, one sigma; NaN where the features are of no use."""
        places = np.full((len(looks), self._count, 3), np.nan, np.float32)
        sigma = np.full((len(looks), self._count), np.nan, np.float32)
        for i in range(0, len(looks), BATCH):
            some = looks[i : i + BATCH]
            try:
                rows = {name: np.stack([look.features[name] for look in some]) for name in some[0].features}
                seen = self._recall(rows, self._prepared)
            except (KeyError, ValueError, TypeError, RuntimeError):
                self.lacking = True
                continue
            places[i : i + BATCH], sigma[i : i + BATCH] = seen.points3d, seen.uncertainty
        return places, sigma

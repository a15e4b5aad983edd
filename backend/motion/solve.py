"""From everybody's tracks to their motions: bodies, the common floor, and feet that stay where they stand.

The whole end of a job. It looks at no picture, so that it can be done again with other options in seconds.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from backend.motion.assemble import Clip, assemble, stand_upright
from backend.records import TrackChunk, TrackMotion


def solve(clip: Clip, tracks: Sequence[TrackChunk]) -> Generator[int, None, list[TrackMotion]]:
    """The final motions of those of `tracks` that are people, by `clip.options`.

    Yields, several times a second, how many of all tracks' frames are done, which rises to their number.
    """
    motions: list[TrackMotion] = []
    before = 0
    for track in tracks:
        steps = assemble(clip, track)
        while True:
            try:
                done = next(steps)
            except StopIteration as end:
                if end.value is not None:
                    motions.append(end.value)
                break
            yield before + done
        before += len(track.frames)
    return list(stand_upright(motions)) if motions else motions


__all__ = ["solve"]

"""What a tracker knows between two frames, as arrays for an npz file, and back; also from releases that counted frames.

One row per track, NaN where nothing is known. Places are in pixels, times in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from backend.camera.turned import Roi
from backend.people.track import MOMENT_S, Track
from backend.records import LOOKS

Seconds = Callable[[np.ndarray], np.ndarray]
"""Indices of frames -> when they are, seconds."""


def from_tracks(tracks: Sequence[Track]) -> dict[str, np.ndarray]:
    """Arrays by name."""
    nothing = np.full((33, 2), np.nan), np.full(2, np.nan)
    points = [nothing[0] if t.points is None else t.points for t in tracks]
    unknown = np.full((LOOKS, 4), np.nan)
    velocity = [nothing[1] if t.velocity is None else t.velocity for t in tracks]
    course = [nothing[1] if t.course is None else t.course for t in tracks]
    return {
        "counts": np.array([[t.id, t.confirmed, t.fresh] for t in tracks], np.int64).reshape(-1, 3),
        "seconds": np.array([[t.since_s, t.last_s, t.lost_s] for t in tracks], float).reshape(-1, 3),
        "regions": np.array([[*t.roi.center, t.roi.size, t.roi.angle] for t in tracks]).reshape(-1, 4),
        "points": np.array(points, float).reshape(-1, 33, 2),
        "velocity": np.array(velocity, float).reshape(-1, 2),
        "course": np.array(course, float).reshape(-1, 2),
        "found": np.array([[t.found, t.unseen, t.unfound, t.tries] for t in tracks], np.int64).reshape(-1, 4),
        "looks": np.array([unknown if t.looks is None else t.looks for t in tracks], float).reshape(
            -1, LOOKS, 4
        ),
    }


def to_tracks(memory: Mapping[str, np.ndarray]) -> list[Track]:
    """Inverse of `from_tracks`."""
    names = ("counts", "seconds", "regions", "points", "velocity")
    out = []
    for counts, seconds, region, points, velocity in zip(*(memory[n] for n in names), strict=True):
        track = Track(int(counts[0]), Roi(np.array(region[:2], float), float(region[2]), float(region[3])))
        track.confirmed, track.fresh = bool(counts[1]), bool(counts[2])
        track.since_s, track.last_s, track.lost_s = (float(s) for s in seconds)
        track.points = None if np.isnan(points).any() else np.array(points, float)
        track.velocity = None if np.isnan(velocity).any() else np.array(velocity, float)
        out.append(track)
    # Older releases knew nobody's looks, and nobody's course.
    for track, looks in zip(out, memory.get("looks", ()), strict=False):
        track.looks = None if np.isnan(looks).any() else np.array(looks, float)
    for track, course in zip(out, memory.get("course", memory["velocity"]), strict=True):
        track.course = None if np.isnan(course).any() else np.array(course, float)
    for track, counts in zip(out, memory.get("found", np.tile([2, 0, 0, 0], (len(out), 1))), strict=True):
        track.found, track.unseen, track.unfound, track.tries = (int(n) for n in counts)
    return out


def in_seconds(memory: Mapping[str, np.ndarray], seconds: Seconds | None = None) -> dict[str, np.ndarray]:
    """`memory` as it is, or that of a release which counted frames, in seconds. `seconds`: when frames are; thirty of
    them make a second where that is not said."""
    memory = dict(memory)
    if "seconds" in memory:
        return memory
    when = seconds or (lambda frames: frames * MOMENT_S)
    look, looks, next_id, index = (int(v) for v in memory["clock"])
    # Columns of then: id, hits, missed, last, confirmed, fresh.
    old = np.asarray(memory["counts"], float).reshape(-1, 6)
    now, before = when(np.array([index, index - 1], float))
    last = np.where(old[:, 3] < 0, np.nan, when(old[:, 3]))
    memory["clock"] = np.array([looks, next_id, index], np.int64)
    memory["times"] = np.array([now, now - before, np.nan if look < 0 else when(np.array([float(look)]))[0]])
    memory["counts"] = old[:, [0, 4, 5]].astype(np.int64)
    memory["seconds"] = np.stack([last, last, now - when(index - old[:, 2])], 1)
    memory["velocity"] = np.asarray(memory["velocity"], float) / (now - before)
    return memory

"""The user's corrections of who is who, carried out on finished tracks one after the other, without a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from backend.errors import JobError
from backend.motion.chunks import frame_times, whole
from backend.motion.rejoin import taken, together
from backend.people.edits import Edit
from backend.records import Chunk, TrackChunk


@dataclass(frozen=True)
class Corrected:
    """What the corrections made of the tracks."""

    tracks: list[TrackChunk]
    """In the order of their numbers."""
    names: dict[int, str]
    """Track -> name."""
    links: dict[int, int]
    """Track -> an earlier track of the same person."""
    excluded: list[TrackChunk] = field(default_factory=list)
    """Who was excluded, as they were then."""


def apply_edits(tracks: Sequence[TrackChunk], edits: Sequence[Edit], shots: Sequence[int] = ()) -> Corrected:
    """`tracks` as the user sees them, corrected by `edits` in their order. `shots`: first frames of the shots. Raises
    JobError("bad_options") when one does not fit."""
    left = {t.track: t for t in tracks}
    when = frame_times([Chunk(0, 0, 1, 1, list(tracks))]) if tracks else None
    names: dict[int, str] = {}
    links: dict[int, int] = {}
    excluded: list[TrackChunk] = []
    highest = max(left, default=0)
    for edit in edits:
        for number in edit.tracks:
            if number not in left:
                known = ", ".join(str(t) for t in sorted(left)) or "none"
                raise JobError("bad_options", f"There is no person {number} to {edit.op} (there are: {known}): take "
                               "that correction back.")  # fmt: skip
        first = edit.tracks[0]
        match edit.op:
            case "exclude":
                excluded.append(left.pop(first))
            case "merge":
                _check_one_shot(edit, [left[t] for t in edit.tracks], shots)
                left[first] = _merged(left[first], left.pop(edit.tracks[1]), when)
            case "split":
                before, after = _parted(edit, left[first])
                highest += 1
                left[first], left[highest] = (
                    whole([before], when),
                    whole([replace(after, track=highest)], when),
                )
            case "swap":
                a, b = (left[t] for t in edit.tracks)
                _check_one_shot(edit, [a, b], shots)
                (a1, a2), (b1, b2) = _parted(edit, a, both=False), _parted(edit, b, both=False)
                for number, parts in ((a.track, (a1, b2)), (b.track, (b1, a2))):
                    made = together(replace(parts[0], track=number), parts[1])
                    if not len(made.frames):
                        raise JobError("bad_options", f"Nothing would be left of person {number} after the swap from "
                                       f"frame {edit.frame} on: choose a later frame.")  # fmt: skip
                    left[number] = whole([made], when)
            case "rename":
                names[first] = edit.name
            case "same":
                early, late = sorted(edit.tracks, key=lambda t: int(left[t].frames[0]))
                links[late] = links.get(early, early)
    there = set(left)
    return Corrected(
        [left[t] for t in sorted(left)],
        {t: n for t, n in names.items() if t in there},
        {a: b for a, b in links.items() if a in there and b in there},
        excluded,
    )


def _seen(track: TrackChunk) -> TrackChunk:
    """Without the rows of gaps."""
    return taken(track, np.flatnonzero(np.isfinite(track.points2d).all((1, 2))))


def _merged(a: TrackChunk, b: TrackChunk, when: Callable[[np.ndarray], np.ndarray]) -> TrackChunk:
    """Where both have a frame the surer one counts."""
    a, b = _seen(a), _seen(b)
    _, i, j = np.intersect1d(a.frames, b.frames, return_indices=True)
    better = b.uncertainty[j].mean(1) < a.uncertainty[i].mean(1)
    keep = np.setdiff1d(np.arange(len(a.frames)), i[better])
    return whole([together(taken(a, keep), b)], when)


def _parted(edit: Edit, track: TrackChunk, both: bool = True) -> tuple[TrackChunk, TrackChunk]:
    """Rows before and from the frame of `edit` on."""
    seen = _seen(track)
    late = seen.frames >= edit.frame
    if both and (late.all() or not late.any()):
        raise JobError("bad_options", f"Person {track.track} is seen from frame {seen.frames[0]} to {seen.frames[-1]} "
                       f"only and cannot be split at frame {edit.frame}: choose a frame between.")  # fmt: skip
    return taken(seen, np.flatnonzero(~late)), taken(seen, np.flatnonzero(late))


def _check_one_shot(edit: Edit, tracks: Sequence[TrackChunk], shots: Sequence[int]) -> None:
    where = {int(np.searchsorted(shots, t.frames[0], "right")) for t in tracks}
    if len(where) > 1:
        raise JobError("bad_options", f"People {edit.tracks[0]} and {edit.tracks[1]} are in different shots: say that "
                       "they are the same person instead.")  # fmt: skip


__all__ = ["Corrected", "apply_edits"]

"""The user's corrections of who is who: applied to finished tracks one after the other, without a look at a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from backend.errors import JobError
from backend.motion.chunks import frame_times, whole
from backend.people.rejoin import taken, together
from backend.records import Chunk, TrackChunk

MOST = 1000
"""Corrections of one job."""
LONGEST_NAME = 60
KINDS = {
    "exclude": ("track",),
    "merge": ("tracks",),
    "split": ("track", "frame"),
    "swap": ("tracks", "frame"),
    "rename": ("track", "name"),
    "same": ("tracks",),
}
"""What each correction needs to be told."""


@dataclass(frozen=True)
class Edit:
    """One correction."""

    op: str
    """One of `KINDS`."""
    tracks: tuple[int, ...]
    """One track, or two."""
    frame: int | None = None
    """From which frame of the clip on, counted from 0."""
    name: str = ""
    """The person's new name."""

    def to_dict(self) -> dict[str, object]:
        """As `check_edits` takes it."""
        out: dict[str, object] = {"op": self.op}
        out |= {"tracks": list(self.tracks)} if "tracks" in KINDS[self.op] else {"track": self.tracks[0]}
        if self.frame is not None:
            out["frame"] = self.frame
        return out | ({"name": self.name} if self.op == "rename" else {})


@dataclass(frozen=True)
class Corrected:
    """What the corrections made of the tracks."""

    tracks: list[TrackChunk]
    """In the order of their numbers."""
    names: dict[int, str]
    """Track -> name."""
    links: dict[int, int]
    """Track -> an earlier track of the same person."""


def check_edits(given: object) -> tuple[Edit, ...]:
    """From JSON: objects with `op`, and `track` or `tracks`, `frame`, `name` as in `KINDS`. Raises
    JobError("bad_options")."""
    if not isinstance(given, (list, tuple)) or len(given) > MOST:
        raise JobError("bad_options", f"The option 'edits' must be a list of at most {MOST} corrections.")
    return tuple(_checked(one) for one in given)


def _checked(one: object) -> Edit:
    if isinstance(one, Edit):
        return one
    needs = KINDS.get(str(one.get("op"))) if isinstance(one, Mapping) else None
    if needs is None or set(one) != {"op", *needs}:
        raise JobError("bad_options", f"The correction {_short(one)} cannot be read: give 'op' ({', '.join(KINDS)}) "
                       "and what it needs.")  # fmt: skip
    tracks = one["tracks"] if "tracks" in needs else [one["track"]]
    right = isinstance(tracks, (list, tuple)) and len(tracks) == (2 if "tracks" in needs else 1)
    if not right or not all(_whole(t, 1) for t in tracks) or len(set(tracks)) != len(tracks):
        raise JobError("bad_options", f"The correction {_short(one)} needs the numbers of "
                       f"{'two different people' if 'tracks' in needs else 'one person'}.")  # fmt: skip
    if "frame" in needs and not _whole(one["frame"], 0):
        raise JobError("bad_options", f"The correction {_short(one)} needs a frame, counted from 0.")
    name = one.get("name", "")
    if not isinstance(name, str) or len(name) > LONGEST_NAME or ("name" in needs and not name.strip()):
        raise JobError(
            "bad_options", f"The correction {_short(one)} needs a name of 1 to {LONGEST_NAME} letters."
        )
    return Edit(str(one["op"]), tuple(tracks), one.get("frame"), name.strip())


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value < 1 << 31


def _short(one: object) -> str:
    text = str(one)
    return text if len(text) < 80 else text[:77] + "..."


def apply_edits(tracks: Sequence[TrackChunk], edits: Sequence[Edit], shots: Sequence[int] = ()) -> Corrected:
    """`tracks` as the user sees them, corrected by `edits` in their order. `shots`: first frames of the shots. Raises
    JobError("bad_options") when one does not fit."""
    left = {t.track: t for t in tracks}
    when = frame_times([Chunk(0, 0, 1, 1, list(tracks))]) if tracks else None
    names: dict[int, str] = {}
    links: dict[int, int] = {}
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
                del left[first]
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
    gone = set(left)
    return Corrected(
        [left[t] for t in sorted(left)],
        {t: n for t, n in names.items() if t in gone},
        {a: b for a, b in links.items() if a in gone and b in gone},
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


def edits_from_text(given: Sequence[str]) -> tuple[Edit, ...]:
    """From `merge=1,3`, `split=1@57`, `swap=1,2@40`, `exclude=4`, `name=1:Anna`, `same=1,5` as on the command line.
    Raises JobError("bad_options")."""
    out = []
    for text in given:
        op, _, rest = text.partition("=")
        op = {"name": "rename"}.get(op.strip(), op.strip())
        try:
            made: dict[str, object] = {"op": op}
            if op == "rename":
                number, _, made["name"] = rest.partition(":")
                made["track"] = int(number)
            else:
                numbers, _, frame = rest.partition("@")
                tracks = [int(n) for n in numbers.split(",")]
                made |= {"tracks": tracks} if "tracks" in KINDS.get(op, ()) else {"track": tracks[0]}
                made |= {"frame": int(frame)} if frame else {}
            out.append(_checked(made))
        except ValueError:
            raise JobError("bad_options", f"The correction '{text}' cannot be read: write merge=1,3, split=1@57, "
                           "swap=1,2@40, exclude=4, name=1:Anna or same=1,5.") from None  # fmt: skip
    return tuple(out)


__all__ = ["Corrected", "Edit", "apply_edits", "check_edits", "edits_from_text"]

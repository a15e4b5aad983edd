"""The user's corrections of who is who, as they are written down; `motion.corrections` carries them out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backend.errors import JobError

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


__all__ = ["Edit", "check_edits", "edits_from_text"]

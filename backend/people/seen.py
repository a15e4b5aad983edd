"""What was seen in a region of a frame, as the tracker is told it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.people.looks import same
from backend.people.track import Track


@dataclass
class Seen:
    """What was seen in a region, as `PeopleTracker.update` was given it."""

    points: np.ndarray
    """(33, 2) pixels, BlazePose's order."""
    score: float
    """0..1."""
    aux: np.ndarray | None
    """(2, 2) pixels, BlazePose's alignment points 33 and 34, where known."""
    looks: np.ndarray | None = None
    """(LOOKS, 4), see `people.looks`, where known."""


def likeness(t: Track, seen: Seen) -> float:
    """See `looks.same`."""
    return 0.0 if t.looks is None or seen.looks is None else same(t.looks, seen.looks)


def unfollowed(count: int, frame: int, most: int) -> str:
    """What the user is told of people who are seen in a frame when as many as may be are followed already."""
    people = f"{count} more people are seen" if count > 1 else "1 more person is seen"
    return f"{people} in frame {frame} but not followed, as the smallest: raise Max People (--max-people) above {most}."

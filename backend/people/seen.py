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

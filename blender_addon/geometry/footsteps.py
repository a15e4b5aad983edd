# SPDX-License-Identifier: GPL-3.0-or-later
"""When feet come down on the floor and leave it, from contacts over time. No bpy."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..shared.motion import CONTACTS

RESTS = 0.5
"""A foot rests when its heel or its toes have at least this contact."""
SHORTEST_S = 0.06
"""Shorter rests and flights are noise and no steps: a sprinter at full speed is on the ground for 0.09 s."""
SIDES = ("left", "right")


@dataclass(frozen=True)
class Footstep:
    """A foot that comes down or leaves the floor."""

    row: int
    """The first row of the motion in which it rests, or does not rest any more."""
    side: str
    """left or right."""
    down: bool
    """Whether it comes down."""


def footsteps(contacts: np.ndarray, frames: np.ndarray, times: np.ndarray) -> list[Footstep]:
    """In the order of time. `contacts`: (n, 8) 0..1, see `motion.CONTACTS`; `frames`: (n,) numbers of the clip's
    frames; `times`: (n,) seconds. What was so when somebody comes into view, or back after a gap, is no step."""
    found = []
    for side in SIDES:
        columns = [CONTACTS.index(f"{side}_{part}") for part in ("heel", "toes")]
        rests = np.asarray(contacts)[:, columns].max(1) >= RESTS
        for rows in _pieces(frames):
            found += [
                Footstep(row, side, down) for row, down in _changes(rests[rows], times[rows], rows.start)
            ]
    return sorted(found, key=lambda step: (step.row, step.side))


def _pieces(frames: np.ndarray) -> Iterator[slice]:
    """The stretches of rows without a gap."""
    bounds = [0, *(np.flatnonzero(np.diff(frames) > 1) + 1).tolist(), len(frames)]
    for first, end in pairwise(bounds):
        if end > first:
            yield slice(first, end)


def _changes(rests: np.ndarray, times: np.ndarray, first: int) -> Iterator[tuple[int, bool]]:
    """(row, rests from there on) of the changes between stretches that are long enough."""
    bounds = [0, *(np.flatnonzero(np.diff(rests.astype(np.int8))) + 1).tolist(), len(rests)]
    now = None
    for begin, end in pairwise(bounds):
        # A stretch lasts to the first row of the next one; what the clip cuts off may have been longer.
        cut = begin == 0 or end == len(rests)
        if not cut and times[end] - times[begin] < SHORTEST_S:
            continue
        if now is not None and bool(rests[begin]) != now:
            yield first + begin, bool(rests[begin])
        now = bool(rests[begin])

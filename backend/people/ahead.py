"""Several frames at once: where nobody can be mistaken, people are looked for in the next frames with this one.

One after another the frames of a single person keep a single core busy. So the regions of the next few frames are
guessed from how everybody moves, and all are looked at side by side. What was seen counts only if the region was nearly
the one that would have been chosen with the frames before it known; otherwise the frame is looked at again. How many
frames are tried depends on the people alone, and not on the machine, so the result is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.people.follow import PeopleTracker
from backend.people.track import Aim
from blender_addon.shared.frames import Frame

# Chosen on tests/data/demo.mp4, so that 1 of 101 frames there is looked at in vain (at 0.03 for all of NEAR it was
# every third), and joints end no further from those of single frames than two engines put them; judged on the clips of
# `bench.accuracy` and four small ones.
MOST = 4
"""Frames at once."""
STEP = 0.2
"""Way of a person in all these frames together, in sizes of the person, that a guess may span."""
APART = 1.5
"""Two people nearer to one another than this, in sizes of the larger one, may be mistaken."""
NEAR = np.array([0.08, 0.05, 0.05, 0.12])
"""How far a guess may be from what it stands for: mean distance of the landmarks and distance of the regions' middles,
in sizes of the person; ratio of the sizes; radians of the turn."""


def apart(tracker: PeopleTracker, frame: Frame) -> bool:
    """Whether nobody can be mistaken from `frame`, the next one, on, by what is known now."""
    people, at = tracker.followed, frame.time_s
    if not tracker.all_seen:
        return False
    for n, t in enumerate(people):
        if not t.confirmed or t.fresh or t.points is None or t.velocity is None:
            return False
        for other in people[:n]:
            gap = np.linalg.norm(t.anchors(at).mean(0) - other.anchors(at).mean(0))
            if gap < APART * max(t.radius, other.radius):
                return False
    return True


def frames_ahead(tracker: PeopleTracker, frames: Sequence[Frame]) -> int:
    """How many of `frames`, the next ones, may be looked at at once, by what is known now; 1 to `MOST`."""
    if not apart(tracker, frames[0]):
        return 1
    people = tracker.followed
    speed = max(float(np.linalg.norm(t.velocity)) / t.radius for t in people if t.velocity is not None)
    near = sum(speed * (frame.time_s - people[0].last_s) <= STEP for frame in frames)
    return max(1, min(MOST, near, tracker.until_look(frames)))


def agree(guess: Sequence[Aim], chosen: Sequence[Aim]) -> bool:
    """Whether what was seen where it was guessed to be stands for what is to be looked at."""
    if [a.track for a in guess] != [a.track for a in chosen]:
        return False
    return all(_near(a, b) for a, b in zip(guess, chosen, strict=True))


def _near(a: Aim, b: Aim) -> bool:
    if a.landmarks is None or b.landmarks is None:
        return False
    radius = b.roi.size / 2.5
    turn = (a.roi.angle - b.roi.angle + np.pi) % (2 * np.pi) - np.pi
    off = [
        np.linalg.norm(a.landmarks - b.landmarks, axis=1).mean() / radius,
        np.linalg.norm(a.roi.center - b.roi.center) / radius,
        abs(np.log(a.roi.size / b.roi.size)),
        abs(turn),
    ]
    return bool((np.array(off) < NEAR).all())

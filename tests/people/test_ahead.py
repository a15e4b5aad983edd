"""Frames looked at side by side: how many, and when what was seen counts."""

from __future__ import annotations

import numpy as np
import pytest

from backend.camera.turned import Roi
from backend.people.ahead import MOST, agree, frames_ahead
from backend.people.follow import REDETECT_S, PeopleTracker
from backend.people.track import Aim
from blender_addon.shared.frames import Frame

PICTURE = np.zeros((1000, 2000, 3), np.uint8)

POSE = np.random.default_rng(0).uniform(-80, 80, (33, 2))
POSE[[11, 12]], POSE[[23, 24]] = [[-20, -60], [20, -60]], [[-15, 0], [15, 0]]


def coming(first: int, fps: float = 30.0, most: int = 8) -> list[Frame]:
    """The next frames of a clip."""
    return [Frame(k, k / fps, PICTURE) for k in range(first, first + most)]


def followed(*paths, frames: int = 12, people: int = 4, fps: float = 30.0) -> PeopleTracker:
    """A tracker that has seen people (start, step) walk for so many frames; the detector is never asked."""
    tracker = PeopleTracker(None, people)
    for start, _ in paths:
        tracker._begin(Found(np.array(start, float)))
    tracker._look_s, tracker._looks = 0, 9
    for index, frame in enumerate(coming(0, fps, frames)):
        tracker._look_s = frame.time_s
        for (track, _), (start, step) in zip(tracker.rois(frame), paths, strict=True):
            tracker.update(track, POSE + np.array(start) + index * np.array(step), 1.0)
        tracker.settle()
    return tracker


class Found:
    """What the tracker wants to know of a find."""

    def __init__(self, middle: np.ndarray) -> None:
        self.roi = Roi(middle, 250.0, 0.0)


def test_somebody_who_walks_evenly_is_looked_for_in_several_frames():
    tracker = followed(((500, 500), (2, 0)))
    assert frames_ahead(tracker, coming(12)) == MOST
    assert frames_ahead(followed(((500, 500), (12, 0))), coming(12)) < MOST
    assert frames_ahead(followed(((500, 500), (40, 0))), coming(12)) == 1


def test_nobody_a_newcomer_and_two_who_meet_are_looked_at_frame_by_frame():
    assert frames_ahead(PeopleTracker(None), coming(0)) == 1
    assert frames_ahead(followed(((500, 500), (2, 0)), frames=1), coming(1)) == 1
    one = (500, 500), (2, 0)
    far, near = followed(one, ((1200, 500), (2, 0))), followed(one, ((560, 500), (2, 0)))
    assert frames_ahead(far, coming(12)) == MOST and frames_ahead(near, coming(12)) == 1


def test_the_next_look_of_the_detector_comes_first_of_its_frames():
    tracker = followed(((500, 500), (2, 0)))
    look = 11 + round(30 * REDETECT_S)
    assert frames_ahead(tracker, coming(look - 2)) == 2
    assert tracker.must_look(*coming(look, most=1)) and not tracker.must_look(*coming(look - 1, most=1))
    # With a look in the first of them the frames behind it are free again.
    tracker = followed(((500, 500), (2, 0)), frames=look)
    tracker._look_s = 11 / 30
    assert frames_ahead(tracker, coming(look)) == MOST
    # Where nobody else is wanted there are no looks.
    alone = followed(((500, 500), (2, 0)), frames=look - 2, people=1)
    assert frames_ahead(alone, coming(look - 2)) == MOST


def test_somebody_who_is_lost_stops_it():
    tracker = followed(((500, 500), (2, 0)))
    tracker.rois(*coming(12, most=1))
    tracker.settle()
    assert frames_ahead(tracker, coming(13)) == 1


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({}, True),
        ({"center": (101.0, 100)}, True),
        ({"center": (110.0, 100)}, False),
        ({"size": 258.0}, True),
        ({"size": 270.0}, False),
        ({"angle": 0.1}, True),
        ({"angle": 0.2}, False),
        ({"angle": 2 * np.pi - 0.1}, True),
        ({"landmarks": POSE + 5}, True),
        ({"landmarks": POSE + 9}, False),
        ({"landmarks": None}, False),
        ({"track": 2}, False),
    ],
)
def test_what_was_seen_near_enough_counts(change, counts):
    def aim(track=1, center=(100.0, 100.0), size=250.0, angle=0.0, landmarks=POSE) -> Aim:
        return Aim(track, Roi(np.array(center), size, angle), landmarks)

    assert agree([aim(**change)], [aim()]) is counts
    assert not agree([aim(**change)], [aim(), aim(track=3)])


def test_aims_change_nothing():
    tracker = followed(((500, 500), (2, 0)))
    before = tracker.memory()
    frames = coming(12)
    (
        tracker.aims(frames[0]),
        tracker.aims(frames[3]),
        frames_ahead(tracker, frames),
        tracker.until_look(frames),
    )
    for name, array in tracker.memory().items():
        np.testing.assert_array_equal(array, before[name])

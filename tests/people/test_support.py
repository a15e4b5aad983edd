"""Two tracks and one find: one of them is hidden, or was never there."""

import numpy as np

from backend.camera.turned import Roi
from backend.people.follow import PeopleTracker
from backend.people.support import UNSEEN, doubtful, meeting, weigh
from backend.people.track import Track

from .test_follow import Stage, figure, play


def test_the_find_goes_to_whom_it_fits_best():
    adult, legs, far = [0, 0, 100, 300], [15, 140, 85, 290], [300, 0, 400, 300]
    bodies = np.array([legs, adult, far], float)
    own, covered = doubtful(bodies, np.array([[0, 0, 100, 310]], float))
    assert own.tolist() == [False, True, False]
    # The one far away has no find either, but nobody is in front of it.
    assert covered.tolist() == [True, False, False]
    own, covered = doubtful(bodies, bodies)
    assert own.all() and not covered.any()
    assert not doubtful(bodies, np.zeros((0, 4)))[1].any()


def test_people_meet_when_they_cover_one_another():
    a = np.array([0, 0, 100, 300.0])
    half, aside = np.array([50, 0, 50, 0]), np.array([90, 0, 90, 0])
    assert meeting([a, a + half])
    assert not meeting([a, a + aside]) and not meeting([a])


def followed(found: int, frames: int = 60) -> tuple[PeopleTracker, list[set[int]]]:
    """Somebody, and legs of the same body that a second track answers with; the detector sees these apart in its first
    `found` looks. -> the tracker, and who counts in each frame."""
    stage = Stage()
    tracker = PeopleTracker(stage)
    man, legs = figure(300, size=100), figure(302, 440, size=55)
    seen = []
    for k in range(frames):
        people = {"man": man, "legs": legs} if stage.looks < found else {"man": man}
        seen.append(set(play(tracker, stage, k, people, {1: man, 2: legs})))
    return tracker, seen


def test_a_second_track_on_one_body_is_a_ghost():
    tracker, seen = followed(1)
    assert seen[0] == {1, 2} and seen[-1] == {1}
    assert tracker.ghosts == {2}


def test_somebody_who_was_found_apart_before_is_only_hidden():
    tracker, seen = followed(3)
    assert seen[-1] == {1} and not tracker.ghosts
    assert tracker.people == {1, 2}


def test_two_whom_the_detector_tells_apart_stay_two():
    tracker, seen = followed(10**6)
    assert seen[-1] == {1, 2} and not tracker.ghosts


def test_whom_the_detector_has_seen_once_and_never_again_was_never_there():
    """A pole that was taken for somebody: the landmark network goes on to see a body in it."""
    stage = Stage()
    tracker = PeopleTracker(stage)
    man, pole = figure(300, size=100), figure(700, size=40)
    for k in range(130):
        seen = play(
            tracker, stage, k, {"man": man, "pole": pole} if k == 0 else {"man": man}, {1: man, 2: pole}
        )
        if k == 20:
            assert set(seen) == {1, 2}
    assert set(seen) == {1} and tracker.ghosts == {2}


def test_whom_a_look_cannot_see_is_not_held_against_it():
    """Somebody small, found in a tile, while the looks that follow are of the whole picture only."""

    def looks(least: float) -> Track:
        small = Track(1, Roi(np.array([200.0, 200.0]), 60.0, 0.0), points=figure(200, 200, size=24))
        small.confirmed = True
        for k in range(UNSEEN):
            weigh([small], np.zeros((0, 4)), 0.1 * k, least)
        return small

    assert looks(least=80).confirmed and not looks(least=80).lost_s
    assert not looks(least=0).confirmed and looks(least=0).lost_s

"""Following chosen people only, in staged encounters with exact figures."""

import numpy as np
import pytest

from backend.errors import JobError
from backend.people.choice import PeopleChoice, distance_to_body, overlap
from backend.people.chosen import ChosenTracker

from .test_follow import Stage, at, figure, play


def on(points) -> tuple[float, float]:
    """A place on somebody's trunk."""
    return tuple(points[[11, 12, 23, 24]].mean(0))


def around(points) -> tuple[float, ...]:
    low, high = points.min(0), points.max(0)
    return (*low, *(high - low))


def test_up_to_the_frame_everybody_counts_and_then_the_chosen_one_alone():
    stage = Stage()
    people = {"a": figure(150), "b": figure(600), "c": figure(1100)}
    tracker = ChosenTracker(stage, PeopleChoice(3, points=(on(people["b"]),)), 1)
    for k in range(3):
        assert set(play(tracker, stage, k, people)) == {1, 2, 3} and tracker.undecided
    for k in range(3, 40):
        seen = play(tracker, stage, k, people)
        assert len(seen) == 1 and not tracker.undecided
        np.testing.assert_array_equal(*seen.values(), people["b"])
    (track,) = seen
    assert tracker.ghosts >= {1, 2, 3} - {track} and track not in tracker.ghosts
    # Those far away are not even looked at, also when the detector sees them again.
    for k in range(40, 70):
        assert len(tracker.rois(at(k))) == 1
        tracker.update(track, people["b"], 0.9)


def test_a_chosen_one_who_is_hidden_at_once_is_no_ghost():
    stage = Stage()
    a = figure(400)
    tracker = ChosenTracker(stage, PeopleChoice(0, points=(on(a),)), 4)
    play(tracker, stage, 0, {"a": a})
    play(tracker, stage, 1, {})
    assert set(play(tracker, stage, 2, {"a": a})) == {1} and not tracker.ghosts


@pytest.mark.parametrize("wanted", ["a", "b"])
def test_who_is_chosen_stays_it_through_a_meeting_with_somebody_else(wanted):
    """They are far apart when one is chosen, pass each other, and the one behind is hidden for a while."""
    stage = Stage()
    sizes = {"a": 100, "b": 80}
    where = {"a": lambda k: 300 + 8.0 * k, "b": lambda k: 780 - 8.0 * k}
    first = {name: figure(where[name](2), size=sizes[name]) for name in sizes}
    tracker = ChosenTracker(stage, PeopleChoice(2, boxes=(around(first[wanted]),)), 1)
    counted = set()
    for k in range(60):
        hidden = abs(where["a"](k) - where["b"](k)) < 40
        people = {n: figure(where[n](k), size=sizes[n]) for n in sizes if n == "a" or not hidden}
        seen = play(tracker, stage, k, people)
        if k >= 2:
            counted |= set(seen)
            for points in seen.values():
                # Never the other one's body.
                assert (np.ptp(points[:, 1]) > 170) == (wanted == "a"), f"frame {k}"
    assert len(counted) == 1 and set(seen) == counted


def test_newcomers_are_nobody_and_the_chosen_one_comes_back():
    stage = Stage()
    a = figure(200)
    tracker = ChosenTracker(stage, PeopleChoice(0, points=(on(a),)), 4)
    ids = set()
    for k in range(60):
        people = ({"a": a} if not 10 < k < 25 else {}) | (
            {"b": figure(420), "c": figure(900)} if k > 5 else {}
        )
        seen = play(tracker, stage, k, people)
        ids |= set(seen)
        for points in seen.values():
            np.testing.assert_array_equal(points, a)
    assert ids == {1} == set(seen)


def test_it_goes_on_the_same_from_what_was_kept():
    people = {"a": figure(150), "b": figure(600), "c": figure(760)}
    choice = PeopleChoice(4, points=(on(people["b"]),))
    for kept_at in (2, 8):
        stage = Stage()
        first = ChosenTracker(stage, choice, 2)
        for k in range(kept_at):
            play(first, stage, k, people)
        second = ChosenTracker(stage, choice, 2)
        second.recall(first.memory())
        assert second.undecided == (kept_at == 2)
        for k in range(kept_at, 30):
            seen = [play(t, stage, k, people) for t in (first, second)]
            assert seen[0].keys() == seen[1].keys()
        assert len(seen[0]) == 1 and first.memory().keys() == second.memory().keys()
        for name, array in first.memory().items():
            np.testing.assert_array_equal(second.memory()[name], array)


def test_a_chosen_box_is_looked_at_even_if_the_detector_sees_nobody_there():
    stage = Stage()
    a, hidden = figure(200), figure(800)
    tracker = ChosenTracker(stage, PeopleChoice(2, boxes=(around(hidden),)), 4)
    for k in range(2):
        play(tracker, stage, k, {"a": a})
    stage.people = {"a": a}
    for i, roi in tracker.rois(at(2)):
        tracker.update(i, hidden if roi.center[0] > 500 else a, 0.9)
    assert len(tracker.settle()) == 1
    seen = play(tracker, stage, 3, {"a": a, "b": hidden})
    np.testing.assert_array_equal(*seen.values(), hidden)


def test_nobody_there_and_a_frame_that_never_comes_are_sentences():
    stage = Stage()
    a = figure(200)
    tracker = ChosenTracker(stage, PeopleChoice(1, points=((900.0, 100.0),)), 4)
    play(tracker, stage, 0, {"a": a})
    with pytest.raises(JobError, match=r"^Nobody of the people chosen in frame 1 .*\.$"):
        play(tracker, stage, 1, {"a": a})
    late = ChosenTracker(stage, PeopleChoice(9, points=(on(a),)), 4)
    play(late, stage, 0, {"a": a})
    with pytest.raises(
        JobError, match=r"^People were chosen in frame 9, but the clip ends after 1 frames .*\.$"
    ):
        late.check_end(1)
    some = ChosenTracker(stage, PeopleChoice(0, points=(on(a), (900.0, 100.0))), 4)
    play(some, stage, 0, {"a": a})
    (said,) = some.notices
    assert said.startswith("Person 2 of the 2 chosen was not found in frame 0")
    some.check_end(1)


def test_of_two_who_overlap_the_one_under_the_click_is_meant():
    front, behind = figure(400, size=120), figure(470, size=110)
    people = {7: front, 8: behind}
    for points, track in ((front, 7), (behind, 8)):
        for joint in (0, 15, 25, 27):
            assert PeopleChoice(0, points=(tuple(points[joint]),)).match(people) == [track]
        assert PeopleChoice(0, boxes=(around(points),)).match(people) == [track]
    both = PeopleChoice(0, boxes=(around(behind), around(front)))
    assert both.match(people) == [8, 7] and both.match({}) == [None, None]


def test_overlap_and_distance():
    assert overlap(np.array([0, 0, 10, 10]), np.array([5, 0, 10, 10])) == pytest.approx(1 / 3)
    assert overlap(np.array([0, 0, 10, 10]), np.array([20, 0, 10, 10])) == 0
    body = figure(400)
    assert distance_to_body(body[25], body) == pytest.approx(0)
    assert distance_to_body(body[:11].mean(0) - (0, 50), body) == pytest.approx(50)

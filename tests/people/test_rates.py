"""The same scene at 6, 15, 30, 60 and 240 frames a second is followed alike: waiting is counted in seconds."""

from __future__ import annotations

import numpy as np
import pytest

from backend.people.ahead import frames_ahead
from backend.people.choice import PeopleChoice
from backend.people.chosen import ChosenTracker
from backend.people.follow import FORGET_S, PeopleTracker

from .test_chosen import on
from .test_follow import Stage, at, figure, play

RATES = (6.0, 15.0, 30.0, 60.0, 240.0)
EACH = [*RATES[:-1], pytest.param(240.0, marks=pytest.mark.slow)]


def watch(tracker, stage, scene, seconds, fps, first=0.0):
    """`scene(t)`: who is on stage; -> {time: ids that count}."""
    steps = range(round(first * fps), round(seconds * fps))
    return {k / fps: set(play(tracker, stage, k, scene(k / fps), fps=fps)) for k in steps}


@pytest.mark.parametrize("fps", EACH)
@pytest.mark.parametrize(("away_s", "same"), [(0.5, True), (FORGET_S - 0.5, True), (FORGET_S + 1.0, False)])
def test_an_absence_is_short_or_long_in_seconds(fps, away_s, same):
    stage = Stage()
    tracker = PeopleTracker(stage, 4)
    seen = watch(tracker, stage, lambda t: {} if 0.99 < t < 1 + away_s else {"a": figure(500)}, 6, fps)
    assert set().union(*seen.values()) == ({1} if same else {1, 2})
    back = min(t for t, ids in seen.items() if ids and t > 1.1)
    assert 1 + away_s - 1e-6 <= back <= 1 + away_s + max(0.25, 2 / fps)


@pytest.mark.parametrize("fps", EACH)
def test_somebody_who_runs_stays_the_same(fps):
    """Two sizes of the person a second, and the other way again."""
    stage = Stage()
    tracker = PeopleTracker(stage, 4)
    seen = watch(tracker, stage, lambda t: {"a": figure(640 + 400 * np.cos(t))}, 6, fps)
    assert all(ids == {1} for ids in seen.values()) and not tracker.ghosts


@pytest.mark.parametrize("fps", EACH)
def test_somebody_hidden_while_walking_is_expected_where_the_way_leads(fps):
    """For a moment, without the detector's help, at a place that others must not be taken for."""
    stage = Stage()
    tracker = PeopleTracker(stage, 4)
    watch(tracker, stage, lambda t: {"a": figure(200 + 150 * t)}, 2, fps)
    (walker,) = tracker.followed
    assert 100 < walker.velocity[0] < 151
    expected = walker.anchors(2 + 0.1)[0, 0]
    assert expected == pytest.approx(200 + 150 * 2.1, abs=8)


A, B = figure(300), figure(900)
SCENES = {
    "calm": lambda t: {"a": A, "b": B},
    "lost": lambda t: {"a": A} if 1 <= t < 2 else {"a": A, "b": B},
    "empty": lambda t: {},
}


@pytest.mark.slow
def test_the_detector_is_asked_no_more_often_at_60_than_at_30_frames_a_second():
    looks = {}
    for fps in RATES:
        for name, scene in SCENES.items():
            stage = Stage()
            watch(PeopleTracker(stage, 4), stage, scene, 4, fps)
            looks[name, fps] = stage.looks
    for name in SCENES:
        assert looks[name, 60.0] <= looks[name, 30.0] + 2, looks
        assert looks[name, 240.0] <= looks[name, 30.0] + 2, looks
    # One every REDETECT_S, and a few more in the beginning.
    assert 10 <= looks["calm", 30.0] <= 16 and looks["calm", 6.0] > 6
    # One every LOST_S, as far as there are frames.
    assert looks["empty", 30.0] == 40 and looks["empty", 6.0] == 24


@pytest.mark.parametrize("fps", EACH)
def test_a_flash_is_a_ghost_however_many_frames_it_lasts(fps):
    stage = Stage()
    tracker = PeopleTracker(stage, 4)
    flash = lambda t: {"flash": figure(900)} if t < 0.02 else {}  # noqa: E731
    for k in range(round(fps)):
        people = {"a": figure(300)} | flash(k / fps)
        play(tracker, stage, k, people, None if flash(k / fps) else {2: figure(100, 100, 30)}, fps)
    assert tracker.ghosts == {2} and tracker.people == {1}


@pytest.mark.parametrize("fps", (30.0, 60.0))
def test_a_newcomer_is_noticed_within_half_a_second(fps):
    stage = Stage()
    tracker = PeopleTracker(stage, 4)
    people = lambda t: {"a": figure(300)} | ({"b": figure(900)} if t > 2 else {})  # noqa: E731
    seen = watch(tracker, stage, people, 3, fps)
    assert 2 < min(t for t, ids in seen.items() if 2 in ids) < 2.5


@pytest.mark.parametrize("fps", EACH)
@pytest.mark.parametrize("pause_s", [0.55, 1.4, 2.5])
def test_what_is_kept_in_the_middle_of_an_absence_goes_on_the_same(fps, pause_s):
    scene = lambda t: {} if 0.5 < t < 2 else {"a": figure(500 + 30 * t), "b": figure(900)}  # noqa: E731
    stage = Stage()
    whole = PeopleTracker(stage, 4)
    watch(whole, stage, scene, pause_s, fps)
    again = PeopleTracker(stage, 4)
    again.recall(whole.memory())
    first, second = (watch(t, stage, scene, 4, fps, pause_s) for t in (whole, again))
    assert first == second and set().union(*first.values()) == {1, 2}
    for name, array in whole.memory().items():
        np.testing.assert_array_equal(again.memory()[name], array)


def test_what_an_earlier_release_kept_goes_on():
    """It counted frames, and said nothing of times."""
    fps, middle = 60.0, 40
    stage = Stage()
    scene = lambda t: {"b": figure(900)} | ({} if 0.6 < t < 0.8 else {"a": figure(300 + 60 * t)})  # noqa: E731
    new = PeopleTracker(stage, 4)
    watch(new, stage, scene, middle / fps, fps)
    known = new.memory()
    frames = lambda s: np.round(s * fps).astype(np.int64)  # noqa: E731
    look, lost, last = (
        frames(known["times"][2]),
        frames(known["seconds"][:, 2]),
        frames(known["seconds"][:, 1]),
    )
    number, confirmed, fresh = known["counts"].T
    old = known | {
        "clock": np.array([look, *known["clock"]]),
        "counts": np.stack([number, last - lost, lost, last, confirmed, fresh], 1),
        "velocity": known["velocity"] / fps,
    }
    del old["times"], old["seconds"]
    resumed = PeopleTracker(stage, 4)
    resumed.recall(old, lambda index: np.asarray(index) / fps)
    assert lost.max() > 0
    for name, array in resumed.memory().items():
        if name == "seconds":
            # When somebody was seen first is only asked before he is confirmed.
            array, known[name] = array[:, 1:], known[name][:, 1:]
        np.testing.assert_allclose(array, known[name], atol=1e-6, err_msg=name)
    first, second = (watch(t, stage, scene, 2, fps, middle / fps) for t in (new, resumed))
    assert first == second and set(first[119 / fps]) == {1, 2}
    chosen = ChosenTracker(stage, PeopleChoice(0, points=(on(figure(900)),)), 4)
    chosen.recall(old | {"chosen": np.array([2])})
    assert not chosen.undecided and chosen.followed


def test_frames_of_any_rate_go_together_as_far_as_the_way_is_short():
    """By their own times, also where these are uneven."""
    for fps, count in ((6.0, 4), (30.0, 4), (240.0, 4)):
        stage = Stage()
        tracker = PeopleTracker(stage, 1)
        watch(tracker, stage, lambda t: {"a": figure(500 + 20 * t)}, 2, fps)
        frames = [at(round(2 * fps) + k, fps) for k in range(6)]
        assert frames_ahead(tracker, frames) == count
        assert frames_ahead(tracker, [*frames[:2], at(10_000, fps)]) == 2

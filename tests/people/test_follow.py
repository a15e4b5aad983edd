"""Identities: on real frames with the real networks, and in staged encounters with exact figures."""

import numpy as np
import pytest

from backend.camera.pinhole import Camera
from backend.camera.turned import Roi, crop_to_image, extract
from backend.nets.blazepose import BlazePose
from backend.people.detect import Detection, PersonDetector
from backend.people.follow import FORGET_S, PeopleTracker
from backend.people.track import COAST_S, roi_from_points, whole_region
from blender_addon.shared.frames import Frame

from .pictures import frames

EMPTY = np.zeros((720, 1280, 3), np.uint8)


def at(index, fps=30.0):
    """An empty frame of a clip of so many frames a second."""
    return Frame(index, index / fps, EMPTY)


def follow(tracker, pictures, net, start=0):
    """The real loop; -> {frame: {id: points (33, 2)}} of what counts."""
    out = {}
    for index, image in enumerate(pictures, start):
        camera = Camera.from_fov(image.shape[1], image.shape[0])
        rois = tracker.rois(Frame(index, index / 60, image))
        seen = {}
        if rois:
            crops = [extract(image, camera, roi) for _, roi in rois]
            result = net.run(np.stack([c.image for c in crops]))
            for n, ((i, _), crop) in enumerate(zip(rois, crops, strict=True)):
                points = crop_to_image(crop, camera, result.points_crop[n, :35, :2])
                tracker.update(i, points[:33], result.score[n], points[33:])
                seen[i] = points[:33]
        out[index] = {i: seen[i] for i in tracker.settle()}
    return out


@pytest.fixture(scope="module")
def detector():
    return PersonDetector()


@pytest.fixture(scope="module")
def net():
    return BlazePose("lite")


@pytest.mark.slow
def test_one_man_is_one_id(detector, net):
    tracker = PeopleTracker(detector, 4)
    seen = follow(tracker, frames("demo.mp4", 14), net)
    man = [i for i, p in seen[0].items() if abs(p[[23, 24]].mean(0)[0] - 440) < 60]
    assert len(man) == 1
    assert all(man[0] in s for s in seen.values())
    assert man[0] in tracker.people


@pytest.mark.slow
def test_two_people_stay_who_they_are(detector, net):
    """She stands on the right, he moves on the left and comes near her; at most two."""
    tracker = PeopleTracker(detector, 2)
    seen = follow(tracker, frames("two_people.mp4", 40), net)
    assert set().union(*seen.values()) == {1, 2}
    assert sum(len(s) for s in seen.values()) >= 76
    hips = {i: [s[i][[23, 24]].mean(0)[0] for s in seen.values() if i in s] for i in (1, 2)}
    right, left = sorted((1, 2), key=lambda i: -np.median(hips[i]))
    assert np.ptp(hips[right]) < 40  # she hardly moves
    assert max(hips[left]) < min(hips[right])


@pytest.mark.slow
def test_resume_goes_on_with_the_same_ids(detector, net):
    pictures = frames("two_people.mp4", 8)
    first = PeopleTracker(detector, 2)
    seen = follow(first, pictures[:4], net)
    second = PeopleTracker(detector, 2)
    second.recall(first.memory())
    whole, resumed = (follow(t, pictures[4:], net, start=4) for t in (first, second))
    assert seen[3] and whole.keys() == resumed.keys()
    for index, people in whole.items():
        assert people.keys() == resumed[index].keys()
        for i, points in people.items():
            np.testing.assert_array_equal(resumed[index][i], points)
    assert first.memory().keys() == second.memory().keys()
    for name, array in first.memory().items():
        np.testing.assert_array_equal(second.memory()[name], array)


@pytest.mark.slow
def test_nobody_is_nobody(detector, net):
    tracker = PeopleTracker(detector)
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3)).astype(np.uint8)
    assert all(not s for s in follow(tracker, [noise] * 3, net).values())


# Staged: figures whose place is exact, so that every decision of the tracker can be told.


def figure(x, y=400.0, size=100.0, lean=0.0):
    """(33, 2): a standing figure, hips at (x, y), reach `size`."""
    shape = np.zeros((33, 2))
    shape[:11] = [0, -0.9]
    shape[[11, 12]] = [[0.15, -0.5], [-0.15, -0.5]]
    shape[13:23] = np.stack([np.tile([0.25, -0.25], 5), np.repeat(np.linspace(-0.2, 0.05, 5), 2)], 1)
    shape[[23, 24]] = [[0.1, 0], [-0.1, 0]]
    shape[25:33] = np.stack([np.tile([0.12, -0.12], 4), np.repeat([0.5, 0.9, 0.95, 1.0], 2)], 1)
    turn = np.array([[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]])
    return shape * size @ turn.T + [x, y]


def find(points, score=0.95):
    hips, shoulders = points[[23, 24]].mean(0), points[[11, 12]].mean(0)
    seen = np.concatenate([points.min(0), points.max(0)])
    return Detection(np.zeros(4), score, roi_from_points(points), hips, shoulders, seen)


class Stage:
    """Stands in for the detector: sees the figures that are on stage now."""

    def __init__(self):
        self.people, self.looks = {}, 0

    def detect(self, images, far=None, parts=(), enough=None):
        self.looks += 1
        return [[find(p) for p in self.people.values()]]


def play(tracker, stage, index, people, answer=None, fps=30.0):
    """One frame: each region answers with the figure nearest to it, or as `answer` says; -> what counts."""
    stage.people = people
    given = {}
    for i, roi in tracker.rois(at(index, fps)):
        near = sorted(people.values(), key=lambda p: np.linalg.norm(p[[23, 24]].mean(0) - roi.center))
        points = (answer or {}).get(i, near[0] if near else figure(*roi.center))
        tracker.update(i, points, 0.9 if near else 0.1)
        given[i] = points
    return {i: given[i] for i in tracker.settle()}


def test_ids_through_a_meeting():
    """Two pass each other; for a while both regions see the man in front only. No one swaps."""
    stage = Stage()
    tracker = PeopleTracker(stage, 4)
    for k in range(60):
        a, b = 300 + 8.0 * k, 780 - 8.0 * k
        hidden = abs(a - b) < 40
        people = {"a": figure(a)} if hidden else {"a": figure(a), "b": figure(b, size=80)}
        seen = play(tracker, stage, k, people)
        for i, p in seen.items():
            size = np.ptp(p[:, 1])
            assert (i == 1) == (size > 170), f"frame {k}"
    assert set(seen) == {1, 2} and not tracker.ghosts


def test_a_short_absence_keeps_the_id_and_a_long_one_does_not():
    for gap, same in ((round(30 * COAST_S) + 10, True), (round(30 * FORGET_S) + 20, False)):
        stage = Stage()
        tracker = PeopleTracker(stage, 4)
        for k in range(5):
            play(tracker, stage, k, {"a": figure(500)})
        for k in range(5, 5 + gap):
            assert play(tracker, stage, k, {}) == {}
        for k in range(5 + gap, 20 + gap):
            seen = play(tracker, stage, k, {"a": figure(520)})
        assert set(seen) == ({1} if same else {2})


def test_newcomers_are_noticed_and_max_people_holds():
    stage = Stage()
    tracker = PeopleTracker(stage, 2)
    for k in range(30):
        people = (
            {"a": figure(200)}
            | ({"b": figure(600)} if k > 7 else {})
            | ({"c": figure(1000)} if k > 15 else {})
        )
        seen = play(tracker, stage, k, people)
    assert set(seen) == {1, 2}
    assert stage.looks < 8  # full house: no more looks


def test_the_largest_come_first_when_there_are_too_many():
    stage = Stage()
    tracker = PeopleTracker(stage, 1)
    seen = play(tracker, stage, 0, {"small": figure(200, size=40), "large": figure(700, size=150)})
    assert np.ptp(seen[1][:, 1]) > 200


def test_a_flash_is_a_ghost():
    """Seen once, gone the next frame: never a person."""
    stage = Stage()
    tracker = PeopleTracker(stage, 4)
    play(tracker, stage, 0, {"a": figure(300), "flash": figure(900)})
    for k in range(1, 4):
        seen = play(tracker, stage, k, {"a": figure(300)}, {2: figure(100, 100, 30)})
    assert tracker.ghosts == {2} and tracker.people == {1} and set(seen) == {1}


def test_two_tracks_on_one_body_become_one():
    stage = Stage()
    tracker = PeopleTracker(stage, 4)
    body = {"a": figure(300)}
    stage.people = {"a": figure(300), "part": figure(410, size=90)}
    tracker.rois(at(0))
    for i in (1, 2):
        tracker.update(i, figure(300), 0.99)
    assert tracker.settle() == {1}
    for k in range(1, 30):
        seen = play(tracker, stage, k, body)
    assert set(seen) == {1} and tracker.people == {1}


def test_a_jump_to_somebody_else_does_not_count():
    stage = Stage()
    tracker = PeopleTracker(stage, 4)
    for k in range(4):
        play(tracker, stage, k, {"a": figure(300)})
    seen = play(tracker, stage, 4, {"a": figure(300)}, {1: figure(480, 300)})
    assert seen == {}
    assert set(play(tracker, stage, 5, {"a": figure(300)})) == {1}


def test_outside_unsure_or_broken_points_do_not_count():
    stage = Stage()
    tracker = PeopleTracker(stage, 4)
    for k in range(3):
        play(tracker, stage, k, {"a": figure(300)})
    stage.people = {"a": figure(300)}
    broken = figure(300)
    broken[4] = np.nan
    for k, (points, score) in enumerate([(figure(300), 0.2), (broken, 0.9), (figure(-300), 0.9)], 3):
        tracker.rois(at(k))
        tracker.update(1, points, score)
        assert tracker.settle() == set()
    assert set(play(tracker, stage, 6, {"a": figure(300)})) == {1}


def test_region_encloses_the_body_and_follows_its_lean():
    for lean in (0.0, 0.7, -1.5, 3.0):
        points = figure(500, lean=lean)
        roi = roi_from_points(points)
        assert np.cos(roi.angle - lean) > 0.999
        local = (points - roi.center) @ np.array(
            [[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]]
        )
        assert (np.abs(local) < roi.size / 2).all() and roi.size < 2.6 * 101
    hips = points[[23, 24]].mean(0)
    by_aux = roi_from_points(points, np.stack([hips, hips - np.array([0, 100])]))
    assert by_aux.angle == pytest.approx(0, abs=1e-9) and by_aux.size == pytest.approx(250, rel=0.05)
    assert isinstance(roi_from_points(np.full((33, 2), 7.0)), Roi)  # all in one place: still a region


def test_more_people_than_may_be_followed_are_told_of_once_and_the_largest_are_followed():
    stage = Stage()
    stage.people = {n: figure(150 + 200 * n, size=60 + 20 * n) for n in range(5)}
    tracker = PeopleTracker(stage, 2)
    for index in range(4):
        followed = dict(tracker.rois(at(index)))
        for i, roi in followed.items():
            tracker.update(i, stage.people[round((roi.center[0] - 150) / 200)], 0.9)
        tracker.settle()
    assert sorted(round((r.center[0] - 150) / 200) for r in followed.values()) == [3, 4]
    (told,) = tracker.take_notices()
    assert told.startswith("3 more people are seen in frame 0") and "above 2" in told


def test_the_region_of_somebody_whose_legs_are_out_of_the_picture_does_not_shrink():
    """Legs outside are guessed within the region: where they are squeezed into it, it is as large as the trunk says."""
    size = np.array([700.0, 540.0])
    squeezed = figure(300, 480, size=250)
    squeezed[25:33] = squeezed[23] + [0, 90]
    roi = whole_region(roi_from_points(squeezed), squeezed, size)
    assert roi.size > 2.5 * 0.85 * 250
    # Of somebody who is seen whole it stays what the landmarks say.
    whole = figure(300, 300, size=200)
    told = roi_from_points(whole)
    assert whole_region(told, whole, size) is told


def test_the_nearest_takes_the_place_of_the_smallest_when_there_are_too_many():
    """Two may be followed; a third one, who is larger than both, comes in: the smallest is given up, and not again."""
    stage = Stage()
    tracker = PeopleTracker(stage, 2)
    for k in range(120):
        people = {"small": figure(200, size=60), "middle": figure(500, size=100)}
        people |= {"large": figure(900, size=160)} if k > 20 else {}
        seen = play(tracker, stage, k, people)
        if k == 20:
            assert set(seen) == {1, 2}
    assert sorted(round(float(np.ptp(p[:, 1]))) for p in seen.values()) == [190, 304]
    assert not tracker.ghosts and len(tracker.take_notices()) == 1

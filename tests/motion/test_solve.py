"""The end of a job: people of whom everything is known come out standing on one floor, with feet that stay.

Their localizations are wrong by 12 mm, alike for a fifth of a second, and as if they were a little too large or small.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from motion.actor import (
    CAMERA,
    HEIGHT,
    UP,
    act,
    body,
    clip_of,
    jump,
    march,
    seen,
    soles_of,
    solved,
    squat,
    stand,
    without,
)

from backend.fit.camerafitter import Done
from backend.fit.solver.batchlast import exp
from backend.fit.track import exhaust
from backend.motion import solve as end
from backend.motion.chunks import person_tracks
from backend.motion.ground import Floor
from backend.motion.resize import stature
from backend.motion.solve import solve
from backend.records import Chunk, TrackChunk, TrackMotion

pytestmark = pytest.mark.slow

TIMES = np.arange(72) / 30
SCRIPTS = {"march": march, "squat": squat, "jump": jump}
ON_THE_FLOOR_M = 0.03


def heights(motion: TrackMotion) -> np.ndarray:
    return soles_of(motion) @ motion.up + motion.floor


def slide(motion: TrackMotion, planted: np.ndarray) -> float:
    """Metres a frame of planted soles."""
    steps = np.linalg.norm(np.diff(soles_of(motion), axis=0), axis=-1)
    return float(steps[planted[1:] & planted[:-1]].mean())


@pytest.fixture(scope="module")
def takes():
    """Script and foot lock -> motion; each solved once."""
    kept: dict[tuple[str, str], TrackMotion] = {}

    def take(script: str, lock: str = "auto") -> TrackMotion:
        if (script, lock) not in kept:
            (kept[script, lock],) = solved([seen(act(SCRIPTS[script], TIMES), size=1.06)], foot_lock=lock)
        return kept[script, lock]

    return take


@pytest.mark.parametrize("script", SCRIPTS)
def test_planted_feet_are_on_the_floor(takes, script):
    motion, actor = takes(script), act(SCRIPTS[script], TIMES)
    assert np.abs(heights(motion)[actor.planted]).max() < ON_THE_FLOOR_M
    assert heights(motion).min() > -ON_THE_FLOOR_M
    # The tilt is what the network says of it.
    assert np.rad2deg(np.arccos(motion.up @ UP)) < 15
    np.testing.assert_array_equal(motion.frames, np.arange(72))


@pytest.mark.parametrize("script", SCRIPTS)
def test_locked_feet_slide_less(takes, script):
    planted = act(SCRIPTS[script], TIMES).planted
    locked, free = (slide(takes(script, lock), planted) for lock in ("auto", "off"))
    assert locked < 0.35 * free
    assert locked < 0.0015


def test_feet_in_the_air_are_not_held_down(takes):
    marched, actor = takes("march"), act(march, TIMES)
    lifted = ~actor.planted
    assert marched.contacts[:, :4][lifted].mean() < 0.15
    assert marched.contacts[:, :4][actor.planted].mean() > 0.7
    assert np.percentile(heights(marched)[lifted], 95) > 0.15
    flight = (TIMES > 1.08) & (TIMES < 1.28)
    assert (heights(takes("jump"))[flight] > 0.04).all()
    assert (takes("jump").contacts[flight] == 0).all()


def test_contacts_are_told_when_nothing_is_held(takes):
    np.testing.assert_allclose(takes("march", "off").contacts, takes("march").contacts, atol=0.2)


@pytest.fixture(scope="module")
def squatting():
    return seen(act(squat, TIMES), size=1.06)


def test_raw_data_are_every_frame_as_it_was_fitted(squatting):
    clip = clip_of([squatting], smooth=0, floor=False)
    arrays = (getattr(squatting, f) for f in ("points3d", "points2d", "uncertainty", "times"))
    state = exhaust(clip.fitter.alone(clip.fitter.observations(*arrays), Done(len(TIMES), True, 3, 2)))
    (motion,) = exhaust(solve(clip.take(), [squatting]))
    (standing,) = solved([squatting], smooth=0)
    for m in (motion, standing):
        turned = exp(torch.from_numpy(m.pose).permute(1, 2, 0))
        np.testing.assert_allclose(turned.numpy(), state.rotations.numpy(), atol=1e-4)
    np.testing.assert_allclose(motion.joints[:, 0], state.root.T.numpy(), atol=1e-5)
    # What stands on a floor is only larger or smaller about the camera.
    np.testing.assert_allclose(np.cross(standing.joints[:, 0], motion.joints[:, 0]), 0, atol=1e-3)
    assert np.isfinite(standing.floor).all() and standing.contacts.max() > 0.9


def test_without_a_floor_there_is_none(squatting):
    (motion,) = solved([squatting], floor=False)
    assert np.isnan(motion.floor).all()
    assert (motion.contacts == 0).all()
    assert np.linalg.norm(motion.up) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("height", [1.60, 1.90])
def test_a_height_makes_a_person_of_that_stature(takes, height):
    (motion,) = solved([seen(act(jump, TIMES), size=1.06)], height=height)
    assert stature(body(), motion.betas) == pytest.approx(height, abs=0.03)
    assert np.abs(heights(motion)[act(jump, TIMES).planted]).max() < ON_THE_FLOOR_M
    usual = takes("jump")
    ratio = height / stature(body(), usual.betas)
    way = [m.joints[-8:, 0].mean(0) - m.joints[:8, 0].mean(0) for m in (motion, usual)]
    assert np.linalg.norm(way[0]) / np.linalg.norm(way[1]) == pytest.approx(ratio, rel=0.03)
    assert float(motion.floor[0] / usual.floor[0]) == pytest.approx(ratio, rel=0.03)


def test_two_people_stand_on_one_floor():
    actors = [act(march, TIMES, x=-0.8), act(squat, TIMES, x=0.8, betas=(-0.6, 0.3))]
    tracks = [
        seen(a, number=k + 1, size=s) for k, (a, s) in enumerate(zip(actors, (1.06, 0.95), strict=True))
    ]
    motions = solved(tracks)
    assert [m.track for m in motions] == [1, 2]
    assert len({float(m.floor[0]) for m in motions}) == 1
    np.testing.assert_array_equal(motions[0].up, motions[1].up)
    for motion, actor in zip(motions, actors, strict=True):
        assert np.abs(heights(motion)[actor.planted]).max() < ON_THE_FLOOR_M
    # As they were seen, one would stand a hand's breadth above the other.
    apart = [m.joints[:, 0].mean(0) for m in motions]
    true = [a.joints[:, 0].mean(0) for a in actors]
    assert np.linalg.norm(apart[0] - apart[1]) / np.linalg.norm(true[0] - true[1]) == pytest.approx(
        1, abs=0.12
    )


def parts(track: TrackChunk, rows: np.ndarray) -> TrackChunk:
    values = {f.name: getattr(track, f.name)[rows] for f in fields(track) if f.name != "track"}
    return replace(track, **values)


def test_nothing_is_tied_over_a_long_gap():
    """Seen for a second, gone for two, seen again 1.2 m further on, having turned nothing."""
    times = np.arange(120) / 30
    here, there = act(squat, times), act(march, times, x=1.2)
    before, after = parts(seen(here), np.arange(30)), parts(seen(there), np.arange(90, 120))
    chunks = [Chunk(0, 59, CAMERA.width, CAMERA.height, [before]),
              Chunk(60, 119, CAMERA.width, CAMERA.height, [after])]  # fmt: skip
    (track,) = person_tracks(chunks)
    (motion,) = solved([track])
    np.testing.assert_array_equal(motion.frames, [*range(30), *range(90, 120)])
    assert (motion.bridged == 0).all()
    planted = np.concatenate([here.planted[:30], there.planted[90:]])
    assert np.abs(heights(motion)[planted]).max() < ON_THE_FLOOR_M
    # Speed at both edges is that of the person, not of the way over the hole.
    step = np.linalg.norm(np.diff(motion.joints[:, 0], axis=0), axis=1)
    assert step[29] > 0.9
    assert step[np.r_[20:29, 30:39]].max() < 0.04
    # The first part comes out as it does alone, but for the shape and the floor, which are common.
    (alone,) = solved([before])
    fold = [np.linalg.norm(m.pose[:30, 1:22] - alone.pose[:, 1:22], axis=-1) for m in (motion,)]
    assert np.rad2deg(fold[0][25:].mean()) < 4


def test_a_short_gap_is_bridged():
    actor = act(squat, TIMES)
    gone = (TIMES > 0.6) & (TIMES < 0.95)
    (motion,) = solved([without(seen(actor), gone)])
    (whole,) = solved([seen(actor)])
    np.testing.assert_array_equal(motion.bridged, gone)
    assert all(
        np.isfinite(getattr(motion, f.name)).all() for f in fields(motion) if f.name not in ("track", "final")
    )
    off = motion.joints[:, :22] - whole.joints[:, :22]
    assert np.linalg.norm(off, axis=-1)[gone].mean() < 0.12
    assert np.linalg.norm(off - off[:, :1], axis=-1)[gone].mean() < 0.07
    # The knees are bent all the way.
    assert motion.pose[gone][:, [4, 5], 0].min() > 0.5 * actor_bend(gone)


def actor_bend(rows: np.ndarray) -> float:
    return float(2 * squat(TIMES)[0][rows].min())


def test_who_stands_still_stands_still():
    (motion,) = solved([seen(act(stand, TIMES))])
    jerk = np.linalg.norm(np.diff(motion.joints[:, :22], n=3, axis=0), axis=-1).mean() * 30**3
    assert jerk < 40
    assert np.abs(heights(motion)).max() < ON_THE_FLOOR_M


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_frames_are_a_motion_too(n):
    (motion,) = solved([parts(seen(act(stand, TIMES)), np.arange(n))])
    assert motion.pose.shape == (n, 55, 3)
    assert all(np.isfinite(getattr(motion, f)).all() for f in ("pose", "trans", "joints", "up", "contacts"))


def test_it_says_how_much_is_done(squatting):
    told = list(solve(clip_of([squatting]).take(), [squatting]))
    assert told == sorted(told) and told[-1] == len(TIMES) and len(told) > 8


@pytest.mark.parametrize("rule", [True, False])
def test_whoever_lies_rests_on_what_is_lowest(monkeypatch, rule):
    """On a floor that others have shown, 8 cm below where he was seen; no foot of his is said to rest."""
    floor = Floor(UP, HEIGHT + 0.08, np.ones(1))
    monkeypatch.setattr(end, "find_floor", lambda *_: floor)
    monkeypatch.setattr(end, "told_contacts", lambda person, *_: np.zeros((len(person.track.times), 8)))
    if not rule:
        monkeypatch.setattr(end, "lying", lambda heights, *_: np.zeros(heights.shape))
    (motion,) = solved([seen(act(stand, TIMES, lies=True))])
    lowest = np.median((soles_of(motion, None) @ motion.up + motion.floor).min(1))
    assert abs(lowest) < 0.03 if rule else lowest > 0.05

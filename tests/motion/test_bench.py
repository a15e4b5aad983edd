"""The bench that judges motion: its true clips stand on the floor, and it tells what is right from what is broken."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.body.load import load_body
from backend.body.native import native_points
from backend.localizers.field.localizer import SURFACE
from bench.motion import ERRORS
from bench.motion_parts.capture import Capture
from bench.motion_parts.clips import takes
from bench.motion_parts.contest import rows
from bench.motion_parts.contestants import filtered, raw, savitzky_golay
from bench.motion_parts.errors import ErrorModel
from bench.motion_parts.feet import Sole
from bench.motion_parts.lasting import Lasting, lasting
from bench.motion_parts.measures import compared, true_world

pytestmark = pytest.mark.slow

FRAMES = 60
LEG = 0.8


@pytest.fixture(scope="module")
def motion_file(tmp_path_factory) -> Path:
    """A file like the motion file: somebody of the held-out performers bends the knees and stands up again."""
    bend = 0.5 * (1 - np.cos(np.linspace(0, 4 * np.pi, FRAMES))) * 0.5
    pose = np.zeros((FRAMES, 22, 3), np.float16)
    for hip, knee, ankle in ((1, 4, 7), (2, 5, 8)):
        pose[:, hip, 0], pose[:, knee, 0], pose[:, ankle, 0] = -bend, 2 * bend, -bend
    place = np.zeros((FRAMES, 3), np.float32)
    place[:, 1] = 0.9 - LEG * (1 - np.cos(bend))
    file = tmp_path_factory.mktemp("motion") / "motion.npz"
    np.savez(file, poses=pose.reshape(FRAMES, 66), trans=place, offsets=np.array([0, FRAMES]), names=["06_99"],
             source=["mb"], description=["walk"], leg=np.array([LEG]), floor=np.array([0.05]),
             floor_ok=np.array([True]), contacts=np.ones((FRAMES, 4), bool), bad=np.zeros(FRAMES, bool))  # fmt: skip
    return file


@pytest.fixture(scope="module")
def body():
    return load_body()


@pytest.fixture(scope="module")
def take(motion_file, body):
    points = native_points(body, SURFACE)
    return next(takes(Capture(motion_file), body, points, ErrorModel.load(ERRORS), 0, 1))


def _truth(take):
    actor = take.actors[0]
    return actor, true_world(actor, np.arange(len(take.times)))


def _judge(take, body, world, said=None):
    actor, true = _truth(take)
    said = actor.contacts if said is None else said
    return compared(world, true, actor.contacts, said, take.times, take.floor_ok, Sole.of(body))


def test_who_stands_in_a_true_clip_stands_on_the_floor(take, body):
    actor, _ = _truth(take)
    assert actor.contacts.mean() > 0.9
    lowest = actor.soles[..., 1].min(1)
    assert np.abs(np.median(lowest)) < 0.005
    assert np.abs(lowest).max() < 0.03


def test_everybody_is_in_the_picture_where_the_localizer_says(take):
    track = take.actors[0].track
    assert (track.points2d > -50).all()
    assert (track.points2d < [take.camera.width + 50, take.camera.height + 50]).all()
    assert track.points3d[..., 2].min() > 1


def test_the_truth_against_itself_is_perfect(take, body):
    found = _judge(take, body, _truth(take)[1])
    assert found["contact_f1"] == 1
    assert found["jerk_ratio"] == pytest.approx(1)
    for name in (
        "mpjpe_mm",
        "world_mpjpe_mm",
        "root_path_cm",
        "acceleration_ms2",
        "knee_bend_deg",
        "trunk_lean_deg",
    ):
        assert found[name] == pytest.approx(0, abs=1e-3), name
    assert found["slide_mm"] < 2


def test_what_is_broken_is_found(take, body):
    _, true = _truth(take)
    up = np.array([0, 0.1, 0])
    lifted = replace(true, soles=true.soles + up, joints=true.joints + up)
    assert _judge(take, body, lifted)["float_cm"] == pytest.approx(10, abs=1.5)
    sunk = replace(true, soles=true.soles - up)
    assert _judge(take, body, sunk)["in_floor_share"] == 1
    way = np.arange(len(take.times))[:, None, None] * [0.01, 0, 0]
    slid = replace(true, soles=true.soles + way, joints=true.joints + way)
    found = _judge(take, body, slid)
    assert found["slide_mm"] == pytest.approx(10, abs=1.5)
    assert found["worst_drift_cm"] > 20
    assert found["root_path_cm"] > 5
    noise = np.random.default_rng(0).normal(0, 0.01, true.joints.shape)
    assert _judge(take, body, replace(true, joints=true.joints + noise))["jerk_ratio"] > 5
    assert _judge(take, body, true, ~take.actors[0].contacts)["contact_f1"] < 0.1


def test_a_filter_with_a_foot_lock_is_better_than_nothing(take, body):
    points = native_points(body, SURFACE)
    fits = raw(body, points, take.chunk(), fov_deg=take.fov_deg)
    sole = Sole.of(body)
    (alone,) = rows(take, fits, body, sole)
    (rival,) = rows(take, filtered(fits, savitzky_golay(0.4), body, sole), body, sole)
    assert rival["slide_mm"] < 0.5 * alone["slide_mm"]
    assert rival["jerk_ratio"] < 0.5 * alone["jerk_ratio"]
    assert rival["mpjpe_mm"] < 1.1 * alone["mpjpe_mm"]


def test_errors_last_as_long_as_they_are_told_to():
    rng, moved = np.random.default_rng(0), np.arange(90) * 0.02
    series = [Lasting(0.3, 0.5, 0.1).draw(rng, moved, 1)[:, 0] for _ in range(600)]
    assert np.mean([x**2 for x in series]) == pytest.approx(1, abs=0.1)
    again = lasting(series, [moved] * len(series))
    assert (again.stays, again.fades, again.reach_m) == pytest.approx((0.3, 0.5, 0.1), abs=0.1)

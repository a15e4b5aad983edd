"""A body in a world in which the camera turns and moves: the same motion as in front of a camera that stands still."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from actor import CAMERA, act, clip_of, seen
from scipy.spatial.transform import Rotation

from backend.fit.track import exhaust
from backend.motion.solve import solve
from backend.motion.take import Way
from backend.records import TrackChunk, TrackMotion

pytestmark = pytest.mark.slow

TIMES = np.arange(45) / 30


def stepping(times: np.ndarray):
    """Legs, height and way of somebody who steps to the side."""
    legs = np.stack([0.35 * np.clip(np.sin(2 * np.pi * times / 1.2), 0, None),
                     0.35 * np.clip(-np.sin(2 * np.pi * times / 1.2), 0, None)], 1)  # fmt: skip
    return legs, 0 * times, 0.4 * times


def ways(times: np.ndarray, walks: bool) -> Way:
    """A camera that pans by 40 degrees and shakes; one that `walks` moves by a metre, too."""
    share = (times - times[0]) / np.ptp(times)
    turn = np.stack([0.03 * np.sin(9 * times), -0.7 * share, 0.02 * np.sin(7 * times)], 1)
    turn -= turn[0]
    place = np.stack([0.8 * share, 0.05 * np.sin(5 * times), 0.6 * share], 1) * walks
    return Way(Rotation.from_rotvec(turn).as_matrix(), place - place[0])


def filmed(track: TrackChunk, way: Way) -> TrackChunk:
    """`track` as the moving camera sees it: what a still one at the origin localized, turned into its space."""
    apart = track.points3d - way.places[:, None]
    there = np.einsum("nij,nqj->nqi", way.turns, apart).astype(np.float32)
    rays = (
        np.concatenate([track.points2d, np.ones_like(track.points2d[..., :1])], -1)
        @ np.linalg.inv(CAMERA.K).T
    )
    rays = rays * track.points3d[..., 2:] - way.places[:, None]
    return replace(track, points3d=there, points2d=CAMERA.project(np.einsum("nij,nqj->nqi", way.turns, rays)).astype(
        np.float32))  # fmt: skip


def motion_of(track: TrackChunk, way: Way | None) -> TrackMotion:
    clip = clip_of([track])
    take = clip.take(way=way)
    (motion,) = exhaust(solve(take, [track]))
    motion.scale = take.scale
    return motion


@pytest.fixture(scope="module")
def still() -> TrackMotion:
    return motion_of(seen(act(stepping, TIMES)), None)


@pytest.mark.parametrize("walks", [False, True])
def test_the_motion_is_that_before_a_camera_that_stands_still(still, walks):
    way = ways(TIMES, walks)
    motion = motion_of(filmed(seen(act(stepping, TIMES)), way), way)
    off = np.linalg.norm(motion.joints[:, :22] - still.joints[:, :22], axis=-1)
    # Not nothing: what is seen badly, the depth, is another direction in every frame.
    assert off.mean() < 0.035 and off.max() < 0.15
    assert np.rad2deg(np.arccos(np.clip(motion.up @ still.up, -1, 1))) < 1.5
    way_off = (motion.joints[-1, 0] - motion.joints[0, 0]) - (still.joints[-1, 0] - still.joints[0, 0])
    assert np.linalg.norm(way_off) < (0.12 if walks else 0.06)


def test_without_the_cameras_way_the_pan_becomes_motion(still):
    """Or the test above could not fail."""
    motion = motion_of(filmed(seen(act(stepping, TIMES)), ways(TIMES, False)), None)
    assert np.linalg.norm(motion.joints[:, 0] - still.joints[:, 0], axis=-1).max() > 0.5

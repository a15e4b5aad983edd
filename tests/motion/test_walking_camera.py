"""A camera that walks past somebody, from what was noted of the film to the shot: its way in metres, and his."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from actor import AWAY, CAMERA, HEIGHT, WORLD_TO_CAMERA, act, body, march, points, seen
from test_moving import filmed

from backend.camera.background import Background, BackgroundFrame
from backend.camera.moving.sight import turned
from backend.fit.track import exhaust
from backend.motion.assemble import Clip
from backend.motion.finish import Finished, finish
from backend.motion.stride import UNTOLD, pace
from backend.motion.take import Way
from backend.options import MocapOptions
from backend.records import Chunk

TIMES = np.arange(45) / 30
PLACES = np.stack([0.9 * TIMES, 0.03 * np.sin(12 * TIMES), 0.4 * TIMES], 1)
TURNS = turned(np.stack([0.02 * np.sin(4 * TIMES), -0.15 * TIMES, 0.01 * np.sin(6 * TIMES)], 1))
WAY = Way(TURNS, PLACES)


def surroundings() -> Background:
    """Features of the floor and of what stands on it, as the camera sees them."""
    rng = np.random.default_rng(6)
    floor = rng.uniform([-4, 0, -5], [5, 0, 3], (400, 3))
    things = rng.uniform([-5, 0, -7], [6, 2.5, 0], (400, 3))
    world = (np.concatenate([floor, things]) - [0, HEIGHT, AWAY]) @ WORLD_TO_CAMERA.T
    frames = []
    for turn, place in zip(TURNS, PLACES, strict=True):
        there = (world - place) @ turn.T
        flat = CAMERA.project(np.where(there[:, 2:] > 0.5, there, [0, 0, 1e-3]))
        at = np.flatnonzero((there[:, 2] > 0.5) & ((flat > 8) & (flat < 992)).all(1))
        noisy = flat[at] + rng.normal(0, 0.5, (len(at), 2))
        frames.append(BackgroundFrame(at.astype(np.int32), noisy.astype(np.float32)))
    return Background.of(range(len(TIMES)), frames)


@pytest.fixture(scope="module")
def found() -> Finished:
    track = filmed(seen(act(march, TIMES)), WAY)
    clip = Clip(body(), points(), MocapOptions(focal_px=float(CAMERA.K[0, 0])))
    clip.add(Chunk(0, len(TIMES) - 1, CAMERA.width, CAMERA.height, [track], times=TIMES,
                   background=surroundings().to_arrays()))  # fmt: skip
    return exhaust(finish(clip, set()))


def test_the_camera_gets_its_way_in_metres(found):
    (shot,) = found.shots
    assert shot.moving and not shot.note
    assert np.linalg.norm(turned(shot.turns.astype(float)) - TURNS, axis=(1, 2)).max() < 0.01
    length = np.linalg.norm(np.diff(PLACES, axis=0), axis=1).sum()
    assert np.linalg.norm(shot.places - PLACES, axis=1).max() < 0.06 * length


def test_the_walk_is_not_his(found):
    (motion,) = found.motions
    true = act(march, TIMES).joints[:, 0]
    off = (motion.joints[:, 0] - motion.joints[0, 0]) - (true - true[0])
    # He is seen with 12 mm of error in each point; the camera went 1.5 m.
    assert np.linalg.norm(off, axis=1).max() < 0.15


def test_where_nobody_tells_its_length_it_turns_only_and_that_is_said():
    """Somebody who flies along with the camera, over no floor."""
    track = seen(act(march, TIMES))
    take = SimpleNamespace(way=Way(TURNS, PLACES / 3, metres=False), said="", up=None)
    take.held = lambda frames: take.way
    soles = np.einsum(
        "nij,nqj->nqi", TURNS, act(march, TIMES).soles[:1] + 0.4 * np.sin(5 * TIMES)[:, None, None]
    )
    pace(take, [(track, soles)])
    assert take.said == UNTOLD
    assert take.way.metres and not take.way.places.any()

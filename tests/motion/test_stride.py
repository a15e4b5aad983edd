"""How many metres a camera's way has: by feet that rest, by the floor, and by both."""

from __future__ import annotations

import numpy as np
import pytest

from backend.camera.moving.sight import turned
from backend.motion.floorplane import Feet, Length, agreed, by_floor, level_plane
from backend.motion.stride import length_of

N, UNIT = 90, 4.0
TIMES = np.arange(N) / 30
EYES = 1.5


def walker(speed: float = 1.0) -> np.ndarray:
    """(n, 4, 3) heels and toes of somebody who walks to the right, four metres ahead; y is down."""
    out = np.empty((N, 4, 3))
    for k in range(2):
        cycle = speed * TIMES / 1.2 + 0.5 * k
        share = np.clip((cycle % 1 - 0.6) / 0.4, 0, 1)
        x = (np.floor(cycle) + share * share * (3 - 2 * share) - 0.5 * k) * 1.2
        for q, toe in enumerate((0.0, 0.18)):
            out[:, 2 * k + q] = np.stack(
                [x + toe, EYES - 0.1 * np.sin(np.pi * share), np.full(N, 4.0 + 0.2 * k)], 1
            )
    return out


def feet(way: np.ndarray, world: np.ndarray, noise: float = 0.01) -> Feet:
    """Seen by a camera that goes by `way` (n, 3) metres and trembles."""
    turns = turned(0.02 * np.sin(TIMES[:, None] * [5, 3, 7]))
    there = np.einsum("nij,nqj->nqi", turns, world - way[:, None])
    return Feet(there + np.random.default_rng(3).normal(0, noise, there.shape), turns, way / UNIT, TIMES)


def floor(slope: float = 0.0) -> np.ndarray:
    """(p, 3) things on the floor and beside it, in the unit."""
    rng = np.random.default_rng(4)
    on = rng.uniform([-3, EYES, 2], [5, EYES, 9], (80, 3)) + rng.normal(0, 0.01, (80, 3))
    on[:, 1] += slope * on[:, 2]
    return np.concatenate([on, rng.uniform([-3, -2, 2], [5, EYES, 9], (120, 3))]) / UNIT


SIDE = np.stack([TIMES, 0.02 * np.sin(11 * TIMES), 0 * TIMES], 1)


@pytest.mark.parametrize("speed", [0.0, 0.9, -0.8])
def test_feet_that_rest_tell_how_long_the_way_is(speed):
    found = length_of([feet(SIDE, walker(speed))])
    assert found.sigma < 0.1
    assert found.metres == pytest.approx(UNIT, rel=0.05)


def test_nobody_who_rests_says_nothing():
    """Somebody on wheels, who goes as the camera does."""
    world = walker(0.0) + (SIDE * [1, 0, 0])[:, None]
    world[:, :, 0] += 0.3 * np.sin(2 * np.pi * TIMES)[:, None]
    assert not length_of([feet(SIDE, world)]).sigma < 0.15


def test_the_floor_tells_it_and_which_way_is_up():
    found = by_floor([feet(SIDE, walker())], floor())
    assert found.sigma < 0.05
    assert found.metres == pytest.approx(UNIT, rel=0.03)
    assert np.degrees(np.arccos(-found.up[1])) < 1.0


def test_a_background_without_a_floor_says_nothing():
    scattered = np.random.default_rng(5).uniform([-3, -2, 2], [5, EYES, 9], (150, 3)) / UNIT
    assert level_plane(scattered, np.array([0, 1.0, 0]), SIDE / UNIT) is None
    assert not np.isfinite(by_floor([feet(SIDE, walker())], scattered).metres)


def test_who_stands_on_something_else_is_told_by_his_feet():
    rests, other = Length(4.0, 0.03), Length(6.0, 0.02)
    assert agreed(rests, other) is rests
    both = agreed(rests, Length(4.1, 0.02))
    assert 4.0 < both.metres < 4.1 and both.sigma < 0.02
    assert agreed(Length(float("nan"), float("inf")), other) is other

"""The arithmetic of laying the localizer's word over the body's."""

import weakref
from itertools import pairwise

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from backend.recall.blend import REACH_S, Carried, blended, in_bones, nearby

N, P = 90, 3
NAMES = ("places", "sigma", "turns", "away", "sure")
BONES = np.array([0, 7, 7])


@pytest.fixture
def track():
    """Times, and one block in which bones turn and the localizer always says the same of each in its own axes."""
    rng = np.random.default_rng(0)
    times = np.arange(N) / 30
    angles = np.linspace(0, 3, N)[:, None, None] * rng.normal(size=(1, 55, 3))
    turns = Rotation.from_rotvec(angles.reshape(-1, 3)).as_matrix().reshape(N, 55, 3, 3).astype(np.float32)
    places = rng.normal(size=(N, P, 3)).astype(np.float32)
    away = np.broadcast_to(np.float32([0.02, -0.01, 0.03]), (N, P, 3)).copy()
    sigma = np.full((N, P), 0.04, np.float32)
    return times, Carried(0, places, sigma, turns, away, np.full((N, P), 0.02**-2, np.float32))


def cut(block: Carried, sizes) -> list[Carried]:
    edges = np.cumsum([0, *sizes])
    pairs = pairwise(edges)
    return [Carried(int(a), *(getattr(block, n)[a:b] for n in NAMES)) for a, b in pairs]


def test_words_are_weighed_by_both_uncertainties_in_the_axes_of_the_bone(track):
    times, block = track
    (out,) = blended([block], times, BONES)
    there = in_bones(out.places - block.places, block.turns, BONES)
    share = 0.02**-2 / (0.02**-2 + 0.04**-2)
    np.testing.assert_allclose(there, share * block.away, atol=1e-6)
    np.testing.assert_allclose(out.sigma, np.sqrt((1 - share) * 0.04**2 + share * 0.02**2), rtol=1e-4)


@pytest.mark.parametrize("sizes", [[1] * N, [7, 40, 3, 40], [45, 45], [1, 88, 1]])
def test_blocks_are_the_whole(track, sizes):
    times, block = track
    rng = np.random.default_rng(1)
    block.away[:] += rng.normal(0, 0.01, block.away.shape)
    block.sure[20:50] = 0
    (whole,) = blended([block], times, BONES)
    parts = list(blended(iter(cut(block, sizes)), times, BONES))
    assert [p.first for p in parts] == np.cumsum([0, *sizes])[:-1].tolist()
    np.testing.assert_allclose(np.concatenate([p.places for p in parts]), whole.places, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([p.sigma for p in parts]), whole.sigma, atol=1e-6)


def test_few_blocks_are_held(track):
    times, block = track
    read = []

    def feed():
        for first in range(N):
            part = Carried(first, *(getattr(block, n)[first : first + 1].copy() for n in NAMES))
            read.append(weakref.ref(part))
            yield part
            del part

    ahead, alive = [], []
    for out in blended(feed(), times, BONES):
        ahead.append(len(read) - 1 - out.first)
        alive.append(sum(r() is not None for r in read))
    assert max(ahead) <= round(REACH_S * 30) + 2 and max(alive) <= 2 * max(ahead) + 4


def test_noise_of_single_frames_does_not_shake_the_point(track):
    times, block = track
    rng = np.random.default_rng(2)
    block.places[:] = 0
    block.turns[:] = np.eye(3)
    block.away[:] = rng.normal(0, 0.02, block.away.shape)
    block.sigma[:] = rng.uniform(0.02, 0.06, block.sigma.shape)
    (out,) = blended([block], times, BONES)
    shake = [np.linalg.norm(np.diff(x, 2, axis=0), axis=-1).mean() for x in (out.places, block.away)]
    assert shake[0] < 0.03 * shake[1]
    # Nor does a body that is sure of itself in one frame and not in the next.
    block.away[:] = 0.03
    (out,) = blended([block], times, BONES)
    assert np.linalg.norm(np.diff(out.places, 2, axis=0), axis=-1).mean() < 5e-4


def test_in_a_gap_the_body_is_left_alone(track):
    times, block = track
    block.sure[30:70], block.away[30:70] = 0, 0
    (out,) = blended([block], times, BONES)
    inside = np.abs(times - times[50]) < times[20] - REACH_S - 1 / 30
    assert inside.sum() > 5
    np.testing.assert_array_equal(out.places[inside], block.places[inside])
    np.testing.assert_allclose(out.sigma[inside], 0.04, rtol=1e-6)
    moved = np.linalg.norm(out.places - block.places, axis=-1)
    assert (moved[:20] > 0.02).all() and (np.diff(moved[25:45], axis=0) < 1e-6).all()


def test_neighbours_on_the_body_have_the_say():
    native = np.array([[0, 0, 0], [0.1, 0, 0], [1, 0, 0]], np.float32)
    share = nearby(np.array([[0.05, 0, 0], [50, 0, 0]], np.float32), native)
    np.testing.assert_allclose(share.sum(1), 1, rtol=1e-5)
    assert share[0, 0] == pytest.approx(share[0, 1], rel=1e-4) and share[0, 2] < 1e-4
    assert share[1, 2] > 0.99  # far from all: the nearest

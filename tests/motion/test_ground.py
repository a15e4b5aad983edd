"""One floor for a shot: which way is up, how high the camera is, and people who are resized onto it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.body.landmarks import body_landmarks
from backend.body.load import load_body
from backend.camera.pinhole import Camera
from backend.fit.camerafitter import Fitter
from backend.motion.ground import MOST_RESIZED, Standing, common_up, find_floor, weighted_median
from backend.motion.level import CAMERA_UP
from backend.motion.resize import resized, stature

UP = np.array([0.1, -0.95, -0.25]) / np.linalg.norm([0.1, -0.95, -0.25])
TIMES = np.arange(60) / 30


def standing(camera_height: float, factor: float = 1.0, contact: float = 1.0, size: float = 1.0) -> Standing:
    """Someone who walks on a floor so far below the camera, and is taken for `factor` as large as he is."""
    rng = np.random.default_rng(int(1000 * camera_height))
    side = np.cross(UP, [0, 0, 1.0])
    side /= np.linalg.norm(side)
    front = np.cross(side, UP)
    x = 4 * front + rng.normal(0, 0.4, (60, 4, 1)) * side + rng.normal(0, 0.4, (60, 4, 1)) * front
    x = x - camera_height * UP + rng.normal(0, 0.005, (60, 4, 1)) * UP
    return Standing(factor * x, np.full((60, 4), contact), TIMES, size)


def test_up_is_what_most_agree_on():
    rng = np.random.default_rng(1)
    ups = UP + rng.normal(0, 0.03, (300, 3))
    ups[:90] = rng.normal(size=(90, 3))
    ups /= np.linalg.norm(ups, axis=1, keepdims=True)
    ups[5] = np.nan
    found = common_up([ups[:150], ups[150:]], [np.full(150, 0.1), np.full(150, 0.1)])
    assert np.rad2deg(np.arccos(found @ UP)) < 1.5
    assert np.linalg.norm(found) == pytest.approx(1)
    # Who is unsure has little say.
    wrong = np.tile(CAMERA_UP, (900, 1))
    found = common_up([ups, wrong], [np.full(300, 0.05), np.full(900, 0.8)])
    assert np.rad2deg(np.arccos(found @ UP)) < 1.5
    np.testing.assert_array_equal(common_up([], []), CAMERA_UP)
    np.testing.assert_array_equal(common_up([ups * np.nan], [np.full(300, 0.1)]), CAMERA_UP)


def test_people_of_wrong_sizes_come_to_one_floor():
    people = [standing(1.6, 1.08), standing(1.6, 0.95), standing(1.6, 1.0)]
    floor = find_floor(people, UP)
    assert floor.height == pytest.approx(1.6, rel=0.06)
    for p, f in zip(people, floor.factors, strict=True):
        heights = f * p.points @ UP + floor.height
        assert abs(np.median(heights)) < 0.01
    assert floor.factors[0] < floor.factors[2] < floor.factors[1]


def test_the_one_who_is_seen_most_decides_between_two():
    big = find_floor([standing(1.6, 1.1, size=9), standing(1.6, 1.0, size=1)], UP)
    small = find_floor([standing(1.6, 1.1, size=1), standing(1.6, 1.0, size=9)], UP)
    assert big.height > 1.6 * 1.05 > small.height


def test_someone_on_a_wall_neither_pulls_nor_is_resized():
    """0.8 m higher than those on the floor."""
    people = [standing(1.6, size=2), standing(1.6, 1.04), standing(0.8)]
    floor = find_floor(people, UP)
    assert floor.height == pytest.approx(1.6, abs=0.05)
    assert floor.factors[2] == 1
    heights = people[2].points @ UP + floor.height
    assert np.median(heights) == pytest.approx(0.8, abs=0.06)
    assert (np.abs(np.log(floor.factors)) < np.log(MOST_RESIZED)).all()


def test_nobody_in_contact_leaves_the_floor_unknown():
    people = [standing(1.6, contact=0.0), standing(1.5, contact=0.0)]
    floor = find_floor(people, UP)
    assert np.isnan(floor.height)
    np.testing.assert_array_equal(floor.factors, [1, 1])
    # A touch of three frames is not enough.
    people[0].weight[:3] = 1
    assert np.isnan(find_floor(people, UP).height)
    one = find_floor([people[0], standing(1.4)], UP)
    assert one.height == pytest.approx(1.4, abs=0.02) and one.factors[0] == 1


def test_the_height_of_a_person_sets_the_scale():
    people = [standing(1.6), standing(1.6, 0.97)]
    floor = find_floor(people, UP, height=1.87, stature=1.1)
    assert floor.height == pytest.approx(1.6 * 1.1, abs=0.01)
    np.testing.assert_allclose(floor.factors, [1.1, 1.1 / 0.97], atol=0.01)


@pytest.mark.parametrize("stature", [0.7, 1.1, 1.4])
def test_a_known_height_is_kept_however_wrong_the_guess(stature):
    """A child, or a lens that is far off; also of somebody who stands on a wall, or touches nothing."""
    (factor,) = find_floor([standing(1.6)], UP, height=1.2, stature=stature).factors
    assert factor == pytest.approx(stature, rel=0.01)
    two = find_floor([standing(1.6, size=3), standing(1.6, 1.05)], UP, height=1.2, stature=stature)
    np.testing.assert_allclose(two.factors, [stature, stature / 1.05], rtol=0.02)
    wall = find_floor([standing(0.8), standing(1.6, size=3)], UP, height=1.2, stature=stature)
    assert wall.factors[0] == pytest.approx(stature)
    assert wall.height == pytest.approx(1.6 * stature, rel=0.02)
    none = find_floor([standing(1.6, contact=0)], UP, height=1.2, stature=stature)
    assert none.factors[0] == stature and np.isnan(none.height)


def test_the_weighted_median_has_half_the_weight_on_each_side():
    assert weighted_median(np.array([3.0, 1, 2]), np.array([1.0, 1, 1])) == 2
    assert weighted_median(np.array([3.0, 1, 2]), np.array([9.0, 1, 1])) == 3
    assert weighted_median(np.array([1.0, 100]), np.array([1.0, 0])) == 1


@pytest.fixture(scope="module")
def fitted():
    body, camera = load_body(), Camera.from_fov(1000, 1000)
    points = body_landmarks(body)[0]
    fitter = Fitter(body, points, camera)
    n = 4
    state = fitter.model.rest_state(n)
    state.rotations[0] = torch.diag(torch.tensor([1.0, -1, -1]))[..., None]
    coefs = torch.zeros(fitter.model.coefs, 1)
    coefs[0], coefs[1] = 0.5, -0.4
    state = state.shaped(coefs)
    state.root[:] = torch.tensor([[0.3], [0.1], [4.0]]) + 0.1 * torch.arange(n)
    x = fitter.places(points, state)
    obs = fitter.observations(x, camera.project(x), np.full(x.shape[:2], 0.02), np.arange(n) / 30)
    return fitter, points, state, obs


@pytest.mark.parametrize("factor", [0.9, 1.07, 1.2])
def test_who_is_resized_stays_in_the_picture(fitted, factor):
    fitter, points, state, obs = fitted
    new, seen = resized(fitter, state, obs, factor)
    size = np.diff(np.percentile(fitter.camera.project(fitter.places(points, state))[0, :, 1], [0, 100]))[0]
    before, after = (fitter.camera.project(fitter.places(points, s)) for s in (state, new))
    assert np.linalg.norm(after - before, axis=-1).max() < 0.03 * size
    bones = []
    for s in (state, new):
        J = fitter.model.chain(s)[2][..., 0]
        bones.append(np.linalg.norm((J[1:22] - J[fitter.model.parent[1:22]]).numpy(), axis=1))
    long = bones[0] > 0.15
    np.testing.assert_allclose(bones[1][long] / bones[0][long], factor, rtol=0.03)
    np.testing.assert_allclose(new.root.numpy(), factor * state.root.numpy(), rtol=0.01)
    np.testing.assert_allclose(seen.targets.numpy(), factor * obs.targets.numpy(), rtol=0.01, atol=1e-3)
    tall = [stature(fitter.body, s.coefs[:, 0].numpy()) for s in (state, new)]
    assert tall[1] / tall[0] == pytest.approx(factor, rel=0.02)


def test_a_factor_of_one_changes_nothing(fitted):
    fitter, _, state, obs = fitted
    assert resized(fitter, state, obs, 1.0) == (state, obs)


def test_stature_is_from_the_soles_to_the_top(fitted):
    body = fitted[0].body
    height = np.ptp(body.v_template[:, 1])
    assert stature(body, np.zeros(10)) == pytest.approx(height)

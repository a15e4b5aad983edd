"""A person who was away for long is one person with one shape, but nothing ties the time before to the time after."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.body.landmarks import body_landmarks
from backend.fit import sketch
from backend.fit.bodyfitter import BodyFitter, FitOptions
from backend.fit.solver import batchlast as bl
from backend.fit.solver import timing
from backend.fit.solver.skin import State

pytestmark = pytest.mark.slow

HOLE = 20
AWAY_S = 3.0


@pytest.fixture(scope="module")
def parted(long_truth, camera):
    """40 noisy frames: after the first 20 the person is away, comes back elsewhere and turned round."""
    rng, exact = np.random.default_rng(1), long_truth.points3d[:40]
    points = exact + rng.normal(0, 0.03, exact.shape).astype(np.float32)
    points[HOLE:, :, 0] = -points[HOLE:, :, 0]
    points[HOLE:] += np.float32([1.5, 0, 0.8])
    times = np.arange(40) / 30 + np.where(np.arange(40) < HOLE, 0, AWAY_S)
    return points, camera.project(points), np.full(points.shape[:2], 0.03), times, long_truth.betas


def test_the_pieces_are_what_each_is_alone(fitter, parted):
    *seen, betas = parted
    whole = fitter.fit(*seen, betas=betas)
    for rows in (slice(0, HOLE), slice(HOLE, None)):
        alone = fitter.fit(*(a[rows] for a in seen), betas=betas)
        np.testing.assert_allclose(whole.joints[rows], alone.joints, atol=2e-3)
    # The same frames without a hole pull at each other.
    points3d, points2d, sigma, *_ = parted
    close = fitter.fit(points3d, points2d, sigma, np.arange(40) / 30, betas=betas)
    assert np.abs(close.joints - whole.joints)[HOLE - 1 : HOLE + 1, :22].max() > 0.05


def test_one_shape_comes_of_both_pieces(fitter, parted):
    *seen, _ = parted
    whole = fitter.fit(*seen)
    assert whole.betas.shape == (fitter.body.n_betas,) and np.isfinite(whole.pose).all()
    first = fitter.fit(*(a[:HOLE] for a in seen))
    assert not np.array_equal(first.betas, whole.betas)


def test_points_of_any_origin_are_parted_alike(body, parted):
    points, _, sigma, times, betas = parted
    solver, options = BodyFitter(body, body_landmarks(body)[0]), FitOptions(smooth=1.0)
    whole = solver.fit(points, sigma, times=times, betas=betas, options=options)
    for rows in (slice(0, HOLE), slice(HOLE, None)):
        part = solver.fit(points[rows], sigma[rows], times=times[rows], betas=betas, options=options)
        # How lively the motion is, is learnt from all of it: that changes little everywhere, and no end is pulled.
        assert np.abs(whole.joints[rows] - part.joints)[:, :22].max(-1).mean() < 0.01
        assert np.abs(whole.joints[rows] - part.joints)[[0, -1], 0].max() < 0.02
    close = solver.fit(points, sigma, times=np.arange(40) / 30, betas=betas, options=options)
    assert np.abs(close.joints - whole.joints)[HOLE - 1 : HOLE + 1, :22].max() > 0.05


def test_second_differences_over_a_hole_weigh_nothing():
    times = torch.tensor([0, 0.1, 0.2, 0.7, 0.8, 1.4, 1.5, 1.6], dtype=torch.float64)
    weight = timing.weights(times, torch.tensor([2.0]))[:, 0]
    assert (weight > 0).tolist() == [True, True, True, False, False, True]


def made_state(roots) -> State:
    roots = torch.as_tensor(np.asarray(roots, np.float32))
    n = len(roots)
    angles = torch.zeros(55, 3, n)
    angles[:, 0] = roots
    place = torch.stack([roots, torch.zeros(n), torch.zeros(n)])
    return State(bl.exp(angles), place, torch.zeros(10, n), torch.zeros(n))


def test_what_lies_between_goes_by_the_times_and_never_over_a_hole():
    seen = torch.tensor([True, False, False, True, False, False, True])
    state = made_state([0, 9, 9, 1, 9, 9, 3])
    found = timing.bridge(state, seen, np.array([0, 0.1, 0.15, 0.4, 0.5, 1.2, 1.3]))
    np.testing.assert_allclose(found.root[0], [0, 0.25, 0.375, 1, 1, 3, 3], atol=1e-6)
    turned = bl.log(found.rotations)[7, 0]
    np.testing.assert_allclose(turned, [0, 0.25, 0.375, 1, 1, 3, 3], atol=1e-5)
    # Nobody is left behind where nothing was seen on the one side.
    ends = timing.bridge(state, seen.flip(0).roll(1), np.arange(7) / 30)
    assert np.isfinite(ends.root).all()


@pytest.mark.parametrize("fps", [30, 60, 240])
def test_how_lively_a_motion_is_does_not_hang_on_the_rate(fps):
    """White acceleration of known strength: what is learnt of it is that strength."""
    rng = np.random.default_rng(0)
    n, strength = 4 * fps, 5.0
    speed = np.cumsum(rng.normal(0, np.sqrt(strength / fps), (3, n)), 1)
    noise = 0.02
    place = np.cumsum(speed, 1) / fps + rng.normal(0, noise, (3, n))
    state = made_state(np.zeros(n))
    state = State(state.rotations, torch.as_tensor(place, dtype=torch.float32), state.coefs, state.log_scale)
    joints = torch.arange(22)
    density = timing.densities(joints, 1.0, (25.0, 25.0, 25.0), state.root)
    variance = torch.full((n, len(density)), noise**2)
    times = torch.arange(n, dtype=torch.float64) / fps
    learnt = timing.learnt_densities(state, joints, variance, times, density)
    assert 0.5 * strength < float(learnt[-1]) < 2 * strength
    # A hole in which much happens teaches nothing.
    jumped = State(
        state.rotations, state.root + (torch.arange(n) >= n // 2) * 2.0, state.coefs, state.log_scale
    )
    away = times + (torch.arange(n) >= n // 2) * 2.0
    parted = timing.learnt_densities(jumped, joints, variance, away, density)
    assert float(parted[-1]) == pytest.approx(float(learnt[-1]), rel=0.3)


def test_a_first_motion_does_not_fly_over_the_hole(fitter, parted):
    *seen, betas = parted
    first = sketch.sketch(fitter, *seen, betas=betas)
    final = fitter.fit(*seen, betas=betas)
    # Of noisy frames each by itself: what flies would be 0.8 m off.
    assert np.linalg.norm(first.joints - final.joints, axis=-1)[:, 0].max() < 0.35

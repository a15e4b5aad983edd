"""The fit on a walk of known pose: exact input, noise, outliers, gaps, silence, and the shape of a person."""

from __future__ import annotations

import numpy as np
import pytest

from backend.body.landmarks import body_landmarks
from backend.fit import track
from backend.fit.camerafitter import BODY_JOINTS, Fitter
from backend.fit.solver.prior import pose_prior

SIGMA = 0.03


def error_mm(a: np.ndarray, b: np.ndarray) -> float:
    return 1000 * float(np.linalg.norm(a - b, axis=-1).mean())


@pytest.mark.slow
def test_exact_points_give_the_pose_back(fitter, truth):
    sigma = np.full(truth.points3d.shape[:2], 0.002)
    fit = fitter.fit(truth.points3d, truth.points2d, sigma, truth.times, smooth=0.01)
    main = [1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21]
    assert error_mm(fit.joints[:, main], truth.joints[:, main]) < 12


@pytest.mark.slow
def test_known_shape_makes_it_exact(fitter, truth):
    sigma = np.full(truth.points3d.shape[:2], 0.002)
    fit = fitter.fit(truth.points3d, truth.points2d, sigma, truth.times, smooth=0.01, betas=truth.betas)
    shown = [1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21]
    assert error_mm(fit.joints[:, shown], truth.joints[:, shown]) < 3
    # No landmark shows spine, neck and collars: there the prior has a say.
    assert error_mm(fit.joints[:, :BODY_JOINTS], truth.joints[:, :BODY_JOINTS]) < 8
    np.testing.assert_array_equal(fit.betas[:3], truth.betas[:3])


@pytest.mark.slow
def test_noise_is_averaged_over_time(fitter, truth):
    rng = np.random.default_rng(0)
    noisy = truth.points3d + rng.normal(0, SIGMA, truth.points3d.shape)
    sigma = np.full(truth.points3d.shape[:2], SIGMA)
    tied = fitter.fit(noisy, truth.points2d, sigma, truth.times)
    alone = fitter.fit(noisy, truth.points2d, sigma, truth.times, smooth=0)
    jitter = lambda x: np.abs(np.diff(x - truth.joints, 2, axis=0)).mean()  # noqa: E731
    assert jitter(tied.joints) < 0.5 * jitter(alone.joints)
    assert error_mm(tied.joints[:, :22], truth.joints[:, :22]) < error_mm(noisy, truth.points3d)


@pytest.mark.slow
def test_outliers_lose_their_say(fitter, truth):
    spoilt, flat = truth.points3d.copy(), truth.points2d.copy()
    spoilt[::3, 15] += [0.8, -0.6, 0.3]
    flat[::3, 15] += 250
    sigma = np.full(truth.points3d.shape[:2], 0.02)
    fit = fitter.fit(spoilt, flat, sigma, truth.times)
    assert error_mm(fit.joints[:, 20], truth.joints[:, 20]) < 40


@pytest.mark.slow
def test_many_points_on_one_body_do_not_make_it_surer(fitter, truth):
    """A field gives hundreds of points whose errors are alike: the same landmark ten times is no news."""
    few = body_landmarks(fitter.body)[0]
    rows = np.repeat(np.arange(33), 10)
    many = Fitter(fitter.body, few.take(rows), fitter.camera)
    rng = np.random.default_rng(1)
    noisy = truth.points3d[:4] + rng.normal(0, SIGMA, truth.points3d[:4].shape)
    sigma = np.full(noisy.shape[:2], SIGMA)
    one = fitter.fit(noisy, truth.points2d[:4], sigma, truth.times[:4])
    ten = many.fit(noisy[:, rows], truth.points2d[:4, rows], sigma[:, rows], truth.times[:4])
    np.testing.assert_allclose(ten.joint_uncertainty[:, :22], one.joint_uncertainty[:, :22], rtol=0.15)


@pytest.mark.slow
def test_missing_points_and_frames_are_bridged_and_said_to_be_uncertain(fitter, truth):
    p3, p2, sigma = truth.points3d.copy(), truth.points2d.copy(), np.full(truth.points3d.shape[:2], 0.01)
    p3[10:13], p2[10:13], sigma[10:13] = np.nan, np.nan, np.nan
    p3[:, 25], p2[:, 25] = np.nan, np.nan
    fit = fitter.fit(p3, p2, sigma, truth.times)
    assert np.isfinite(fit.pose).all() and np.isfinite(fit.trans).all()
    assert error_mm(fit.joints[11, :BODY_JOINTS], truth.joints[11, :BODY_JOINTS]) < 60
    seen, unseen = fit.joint_uncertainty[5, :22].mean(), fit.joint_uncertainty[11, :22].mean()
    assert unseen > 3 * seen


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3])
def test_very_short_tracks(fitter, truth, n):
    sigma = np.full((n, 33), 0.02)
    fit = fitter.fit(truth.points3d[:n], truth.points2d[:n], sigma, truth.times[:n])
    assert fit.pose.shape == (n, 55, 3)
    assert error_mm(fit.joints[:, :22], truth.joints[:n, :22]) < 60


def test_no_frames_are_refused(fitter):
    with pytest.raises(ValueError, match="no frames"):
        fitter.fit(np.zeros((0, 33, 3)), np.zeros((0, 33, 2)), np.zeros((0, 33)), np.zeros(0))


@pytest.mark.slow
def test_nothing_seen_at_all_gives_the_mean_pose(fitter):
    nan = np.full((4, 33, 3), np.nan)
    fit = fitter.fit(nan, nan[..., :2], nan[..., 0], np.arange(4) / 30)
    assert np.isfinite(fit.pose).all()
    prior = pose_prior()
    np.testing.assert_allclose(fit.pose[:, 1:22], np.broadcast_to(prior.mean[1:22], (4, 21, 3)), atol=0.1)


@pytest.mark.slow
def test_limbs_that_nobody_sees_stay_within_their_range(fitter, truth):
    """Shins pointed the wrong way by the localizer do not break the knees; wrists without hands do not spin."""
    p3, sigma = truth.points3d.copy(), np.full(truth.points3d.shape[:2], 0.03)
    forward = np.array([0, np.cos(1.1), -np.sin(1.1)])  # towards the camera, which the person faces
    for knee, *below in ((25, 27, 29, 31), (26, 28, 30, 32)):
        shin = np.linalg.norm(p3[:, below[0]] - p3[:, knee], axis=1, keepdims=True)
        p3[:, below] += (p3[:, knee] + shin * forward - p3[:, below[0]])[:, None]
    p3[:, 17:23], sigma[:, 17:23] = np.nan, np.nan
    flat = np.full_like(truth.points2d, np.nan)
    fit = fitter.fit(p3, flat, sigma, truth.times)
    assert fit.pose[:, [4, 5], 0].min() > -0.25
    assert np.abs(fit.pose[:, [20, 21]]).max() < 0.5


@pytest.mark.slow
def test_any_canonical_point_is_answered(fitter, body, truth):
    sigma = np.full(truth.points3d.shape[:2], 0.005)
    data = (truth.points3d, truth.points2d, sigma, truth.times)
    fit = fitter.fit(*data, betas=truth.betas)
    points = body_landmarks(body)[0].take([0, 15])
    where, spread = fitter.points(points, fit.state, fitter.observations(*data))
    assert error_mm(where, truth.points3d[:, [0, 15]]) < 15
    assert spread.shape == (len(truth.times), 2) and (spread > 0).all() and spread.max() < 0.1


@pytest.mark.slow
def test_long_tracks_are_stitched_without_a_seam(fitter, long_truth, monkeypatch):
    truth = long_truth
    sigma = np.full(truth.points3d.shape[:2], 0.02)
    data = (truth.points3d, truth.points2d, sigma, truth.times)
    whole = fitter.fit(*data, betas=truth.betas)
    monkeypatch.setattr(track, "WINDOW", 30)
    monkeypatch.setattr(track, "OVERLAP", 10)
    pieces = fitter.fit(*data, betas=truth.betas)
    assert error_mm(pieces.joints, whole.joints) < 4

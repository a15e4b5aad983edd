"""The figures of a localizer field: nothing wrong gives zero, known errors give themselves."""

from __future__ import annotations

import numpy as np
import pytest

from backend.errors import JobError
from backend.evaluate.certainty import NOMINAL, calibrate, certainty_figures
from backend.evaluate.field import KnownSet, RealSet, judge_known, judge_real, limb_figures

LIMBS = [11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]


@pytest.fixture
def real() -> RealSet:
    rng = np.random.default_rng(0)
    R = np.linalg.qr(rng.normal(size=(6, 3, 3)))[0]
    R *= np.linalg.det(R)[:, None, None]
    every = rng.normal(0, 0.4, (6, 33, 3)) + np.array([0, 0, 3.0])
    images = np.zeros((6, 256, 256, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(6)
    return RealSet(
        images, np.tile(np.eye(3), (6, 1, 1)), R, np.array([0, 0, 0, 1, 2, 2]), every[:, LIMBS], every
    )


@pytest.mark.slow
def test_truth_has_no_error_and_axes_are_the_cameras(real):
    asked = []

    def predict(images, K, points):
        asked.append(len(images))
        rows = images[:, 0, 0, 0]
        assert points.shape == (33, 3)
        return (
            np.einsum("nij,npj->npi", real.R[rows], real.rival[rows]),
            np.zeros((len(images), 33, 2)),
            np.zeros((len(images), 33)),
        )

    figures = judge_real(real, predict, batch=4)
    assert asked == [4, 2]
    assert max(figures.values()) < 1e-6
    unturned = judge_real(real, lambda i, K, p: (real.rival[i[:, 0, 0, 0]], None, None), batch=6)
    assert unturned["pa_mpjpe"] < 1e-6
    assert unturned["mpjpe"] > 100


def test_mean_is_over_cameras_not_frames(real):
    moved = real.rival.copy()
    moved[3, 11] += [0.12, 0, 0]  # the one frame of the second camera
    figures = limb_figures(moved, real)
    assert figures["mpjpe_cam2"] == pytest.approx(10)
    assert figures["mpjpe"] == pytest.approx(10 / 3)


def test_files(real, tmp_path):
    real.save(tmp_path / "a.npz")
    again = RealSet.load(tmp_path / "a.npz")
    assert np.array_equal(again.truth, real.truth)
    np.savez(tmp_path / "b.npz", x=np.zeros(2))
    for name in ("b.npz", "c.npz"):
        with pytest.raises(JobError, match="make it again"):
            RealSet.load(tmp_path / name)


def test_known_people():
    rng = np.random.default_rng(0)
    points3d = rng.normal(0, 0.4, (5, 30, 3)) + np.array([0, 0, 4.0])
    points2d = rng.uniform(0, 255, (5, 30, 2))
    points2d[0, 0] = [-500, 20]  # out of the picture: no pixels are asked of it
    inner = np.arange(30) >= 20
    images = np.zeros((5, 256, 256, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(5)
    data = KnownSet(
        images, np.tile(np.eye(3), (5, 1, 1)), rng.normal(size=(30, 3)), points3d, points2d, inner
    )

    sigma = rng.uniform(0.01, 0.1, (5, 30))

    def predict(images, K, points, scale=1.0, shift=0.0):
        rows = images[:, 0, 0, 0]
        found2d = points2d[rows] + 3 * shift
        found2d[rows == 0, 0] = 0
        return points3d[rows] * scale + shift, found2d, sigma[rows]

    exact = judge_known(data, predict, batch=2)
    assert (exact.pop("within_1"), exact.pop("within_2")) == (1, 1)
    assert exact.pop("spearman") == 0
    assert max(exact.values()) < 1e-6
    moved = judge_known(data, lambda *a: predict(*a, shift=1.0))
    assert moved["pve"] < 1e-6
    assert moved["pixels"] == pytest.approx(3 * 2**0.5)
    assert moved["distance_share"] > 0.2
    grown = judge_known(data, lambda *a: predict(*a, scale=1.1))
    assert grown["pve"] > 20
    assert grown["pa_pve"] < 1e-6
    assert grown["inner"] > 20


def test_certainty_is_held_against_errors():
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.02, 0.2, (50, 40))
    error = rng.normal(size=(50, 40, 3)) * sigma[..., None]
    figures = certainty_figures(error, sigma)
    assert figures["within_1"] == pytest.approx(NOMINAL[1], abs=0.02)
    assert figures["within_2"] == pytest.approx(NOMINAL[2], abs=0.01)
    assert figures["spearman"] > 0.5
    assert abs(certainty_figures(error, rng.permutation(sigma.ravel()).reshape(50, 40))["spearman"]) < 0.1
    assert certainty_figures(error, sigma / 3)["within_1"] < 0.3


@pytest.mark.parametrize(("factor", "offset"), [(3.0, 0.0), (0.5, 0.02), (0.0, 0.05)])
def test_calibration_finds_what_was_wrong(factor, offset):
    rng = np.random.default_rng(1)
    raw = rng.uniform(0.01, 0.1, 20_000)
    sigma = factor * raw + offset
    error = rng.normal(size=(20_000, 3)) * sigma[:, None]
    found = calibrate(error, raw)
    assert np.allclose(found[0] * raw + found[1], sigma, rtol=0.12)
    assert certainty_figures(error, found[0] * raw + found[1])["within_1"] == pytest.approx(
        NOMINAL[1], abs=0.02
    )
    with pytest.raises(ValueError, match="too few"):
        calibrate(error[:9], raw[:9])

"""Previews: a few frames are solved, all of them are there, and they lie near the final fit."""

from __future__ import annotations

import numpy as np
import pytest

from backend.fit import camerafitter, sketch

SIGMA = 0.02


@pytest.fixture(scope="module")
def seen(truth):
    sigma = np.full(truth.points3d.shape[:2], SIGMA)
    return truth.points3d, truth.points2d, sigma, truth.times


@pytest.fixture
def solved(monkeypatch) -> list[int]:
    """How many frames each call solves from nothing."""
    counts = []

    def counted(newton, obs, *more):
        counts.append(obs.targets.shape[-1])
        return original(newton, obs, *more)

    original = camerafitter.from_nothing
    monkeypatch.setattr(camerafitter, "from_nothing", counted)
    return counts


def test_keys_are_even_and_hold_both_ends():
    seen = np.ones(31, bool)
    rows = sketch.keys(np.arange(31) / 30, seen, 0.125)
    assert len(rows) == 9 and rows[0] == 0 and rows[-1] == 30 and set(np.diff(rows)) <= {3, 4, 5}
    assert sketch.keys(np.arange(31) / 6, seen, 0.125).tolist() == list(range(31))
    seen[:3], seen[20:25] = False, False
    rows = sketch.keys(np.arange(31) / 30, seen, 0.125)
    assert rows[0] == 3 and rows[-1] == 30 and seen[rows].all() and (np.diff(rows) > 0).all()
    assert sketch.keys(np.arange(3) / 30, np.zeros(3, bool), 0.125).tolist() == []


def test_a_preview_solves_a_third_of_the_frames_or_less(fitter, truth, seen, solved):
    found = sketch.sketch(fitter, *seen)
    n = len(truth.times)
    assert sum(solved) <= n / 3
    solved.clear()
    sketch.sketch(fitter, *seen, betas=found.betas)
    assert 0 < sum(solved) <= n / 3
    solved.clear()
    fitter.fit(*seen)
    assert sum(solved) >= n


def test_a_preview_holds_every_frame_near_the_final(fitter, truth, seen):
    found, final = sketch.sketch(fitter, *seen), fitter.fit(*seen)
    n = len(truth.times)
    assert found.pose.shape == (n, 55, 3) and found.joints.shape == (n, 55, 3)
    assert np.isfinite(found.pose).all() and found.joint_uncertainty.shape == (n, 55)
    assert (found.joint_uncertainty > 0).all()
    off = np.linalg.norm(found.joints - final.joints, axis=-1)[:, :22]
    assert off.mean() < 0.03 and off.max() < 0.12
    np.testing.assert_allclose(found.joint_uncertainty[:, :22], final.joint_uncertainty[:, :22], rtol=0.3)
    # Nobody stands still between two frames that were solved.
    assert (np.abs(np.diff(found.joints, axis=0)).max((1, 2)) > 1e-3).all()
    # The pelvis is where pose, shape and place say: what is keyed and what is told agree.
    rest = fitter.body.joints_template + fitter.body.joints_shapedirs @ found.betas
    np.testing.assert_allclose(found.trans + rest[0], found.joints[:, 0], atol=1e-4)


def test_frames_without_anything_seen_lie_between(fitter, truth, seen):
    p3, p2, sigma, times = (a.copy() for a in seen)
    p3[8:14], p2[8:14], sigma[8:14] = np.nan, np.nan, np.nan
    found = sketch.sketch(fitter, p3, p2, sigma, times, betas=truth.betas)
    assert np.linalg.norm(found.joints - truth.joints, axis=-1)[:, :22].mean() < 0.08
    nothing = sketch.sketch(fitter, *(np.full_like(a, np.nan) for a in (p3, p2, sigma)), times)
    assert nothing.pose.shape == (len(times), 55, 3) and np.isfinite(nothing.pose).all()

"""Straight stays straight: the prior at rest, and somebody who stands, seen with a localizer's errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.body.kinematics import forward
from backend.body.native import native_points
from backend.body.skeleton import JOINT
from backend.fit.camerafitter import Fitter
from backend.fit.solver.prior import LEARNT
from tools.make_pose_prior import learn

BODY = 21


def rest_of_the_body(given: dict[str, float]) -> np.ndarray:
    """(21, 3) degrees: what the prior expects of joints 1 to 21 when some turn about x by so many degrees."""
    with np.load(LEARNT) as learnt:
        mean, covariance = learnt["mean"].astype(float), learnt["covariance"].astype(float)
    rows = [3 * (JOINT[n] - 1) for n in given]
    told = np.deg2rad(list(given.values())) - mean[rows]
    known = covariance[np.ix_(rows, rows)] + np.deg2rad(3) ** 2 * np.eye(len(rows))
    return np.rad2deg(mean + covariance[:, rows] @ np.linalg.solve(known, told)).reshape(BODY, 3)


def test_the_prior_expects_flat_feet_and_a_level_head_of_who_stands():
    """In the motion that it was learnt from first, ankles were rolled by 18 degrees and heads bent down by 19."""
    legs = {f"{side}_{n}": 0.0 for side in ("left", "right") for n in ("hip", "knee")}
    pose = rest_of_the_body(legs)
    for side in ("left", "right"):
        ankle = pose[JOINT[f"{side}_ankle"] - 1]
        assert abs(ankle[0]) < 15, "pitch of the sole"
        assert abs(ankle[2]) < 8, "roll of the sole"
    assert abs(pose[JOINT["neck"] - 1, 0] + pose[JOINT["head"] - 1, 0]) < 8


def test_the_prior_knows_no_side_and_no_performer_more_than_others():
    with np.load(LEARNT) as learnt:
        mean = learnt["mean"].reshape(BODY, 3)
        assert np.linalg.eigvalsh(learnt["covariance"].astype(float)).min() > -1e-7
    left, right = ([JOINT[f"{s}_{n}"] - 1 for n in ("hip", "knee", "ankle")] for s in ("left", "right"))
    np.testing.assert_allclose(mean[left], mean[right] * [1, -1, -1], atol=1e-5)
    still, long = np.zeros((50, 22, 3)), np.full((400, 22, 3), 0.5)
    owners = [f"p{i}" for i in range(20)] + ["salsa"] * 28
    found, _ = learn([still] * 20 + [long] * 28, owners)
    # Nine in ten frames are salsa, which counts for 8 %.
    assert 0.5 * 0.07 < found.reshape(BODY, 3)[JOINT["head"] - 1, 0] < 0.5 * 0.12


def standing(body, camera, n=12, turn=0.0, seed=0):
    """(n frames) truth of somebody who stands and turns: pose, exact native points in space and in the picture."""
    rng = np.random.default_rng(seed)
    pose = np.zeros((n, 55, 3), np.float32)
    yaw = turn + np.linspace(0, 0.3, n)
    # y down: upright in camera space, facing the camera at no turn.
    pose[:, 0, 0], pose[:, 0, 2] = np.pi * np.cos(yaw / 2), np.pi * np.sin(yaw / 2)
    pose[:, 16, 2], pose[:, 17, 2] = -1.2, 1.2
    betas = np.zeros(body.n_betas, np.float32)
    betas[:6] = rng.normal(0, 0.8, 6)
    trans = np.tile(np.array([0.1, 0.2, 4.0], np.float32), (n, 1))
    points = native_points(body, 64)
    posed = forward(body.to(), *map(torch.from_numpy, (pose, betas, trans)), points=points, correctives=False)
    x = posed.points.numpy()
    return points, x, camera.project(x), np.arange(n) / 30


@pytest.mark.slow
@pytest.mark.parametrize("turn", [0.0, 1.6, 3.1])
def test_who_stands_is_not_fitted_with_bent_knees(body, camera, turn):
    """Errors as the field's are: alike over time and over neighbouring points, most along the line of sight."""
    points, x, flat, times = standing(body, camera, turn=turn)
    knees = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        centres = points.positions[rng.choice(len(x[0]), 12, replace=False)]
        near = np.exp(-(np.linalg.norm(points.positions[:, None] - centres, axis=-1) ** 2) / (2 * 0.25**2))
        wrong = near @ (rng.normal(size=(12, 3)) * [0.012, 0.012, 0.03])
        found = x + wrong + rng.normal(0, 0.01, x.shape)
        sigma = np.full(x.shape[:2], 0.045)
        pixels = flat + rng.normal(0, 2.0, flat.shape)
        fit = Fitter(body, points, camera).fit(found, pixels, sigma, times)
        knees.append(np.rad2deg(fit.pose[:, [4, 5], 0]).mean())
    assert abs(np.mean(knees)) < 10.5, knees
    assert max(knees) < 12, knees

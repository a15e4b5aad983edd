"""Bodies of SMPL and SMPL-H fitted: by the road's door, by the command, and what stays at rest."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from body.family import ROWS, as_released, person, write
from typer.testing import CliRunner

from backend.__main__ import app
from backend.body.kinematics import forward
from backend.body.landmarks import body_landmarks
from backend.body.load import load_body
from backend.body.pointsets import named_set
from backend.body.skeleton import JOINT
from backend.fit.camerafitter import Fitter
from backend.points.file import parse_points

POINTS = "landmarks_33+smplx_55+surface_64"


@pytest.fixture(scope="module", params=["smplh", "smpl"])
def file(request, body, tmp_path_factory):
    path = tmp_path_factory.mktemp("family") / "SMPL_any.pkl"
    return as_released(path, person(body, request.param))


def moving(body, points):
    """20 frames of a person who swings the limbs: joints and points."""
    rng, t = np.random.default_rng(2), np.linspace(0, 1, 20)
    pose = np.zeros((20, 55, 3), np.float32)
    swing = np.sin(2 * np.pi * t[:, None, None] + rng.uniform(0, 6, (21, 3)))
    pose[:, 1:22] = 0.25 * rng.normal(size=(21, 3)) * swing
    pose[:, 0] = [np.pi, 0, 0]
    betas = rng.normal(size=10).astype(np.float32)
    trans = np.stack([0.3 * t, 0 * t, 3 + 0.2 * t], 1).astype(np.float32)
    args = [torch.from_numpy(a) for a in (pose, betas, trans)]
    at = forward(body.to(), *args, points=points)
    return at.joints.numpy(), at.points.numpy()


@pytest.mark.slow
def test_the_command_fits_it_and_leaves_at_rest_what_is_not_there(file, tmp_path):
    figure = load_body(file)
    joints, points = moving(figure, parse_points(POINTS, figure).points)
    noise = 0.003 * np.random.default_rng(0).normal(size=points.shape)
    np.savez(tmp_path / "in.npz", points3d=points + noise, fps=30.0)
    ran = CliRunner().invoke(
        app, ["fit", str(tmp_path / "in.npz"), "-o", str(tmp_path / "out.npz"), "--points", POINTS,
              "--body", str(file), "--device", "cpu"])  # fmt: skip
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["frames"] == 20
    with np.load(tmp_path / "out.npz") as out:
        assert str(out["body"]) == figure.name
        found = out["poses"].reshape(20, 55, 3)
        absent = np.setdiff1d(np.arange(55), ROWS[figure.name])
        assert not found[:, absent].any() and found[:, ROWS[figure.name][:22]].any((0, 2)).all()
        off = np.linalg.norm(out["joints"] - joints, axis=-1)
        assert off[:, :22].mean() < 0.004 and off.mean() < 0.006
        # The file's own forward kinematics give the same joints.
        args = [torch.from_numpy(a) for a in (found, out["betas"][0], out["trans"])]
        assert np.abs(forward(figure.to(), *args).joints.numpy() - out["joints"]).max() < 1e-4


@pytest.mark.slow
def test_the_road_fits_it(file, camera):
    figure = load_body(file)
    points = body_landmarks(figure)[0]
    joints, at = moving(figure, points)
    fit = Fitter(figure, points, camera).fit(
        at, camera.project(at), np.full(at.shape[:2], 0.01), np.arange(20) / 30
    )
    assert not fit.pose[:, ~figure.present].any()
    assert np.linalg.norm(fit.joints - joints, axis=-1)[:, :22].mean() < 0.02
    args = [torch.from_numpy(a) for a in (fit.pose, fit.betas[:10], fit.trans)]
    assert np.abs(forward(figure.to(), *args).joints.numpy() - fit.joints).max() < 1e-3


def test_the_hand_of_smpl_turns_whole(body, tmp_path):
    figure = load_body(write(tmp_path / "x.npz", person(body, "smpl")))
    points = named_set(figure, "surface_600").points
    pose = np.zeros((1, 55, 3), np.float32)
    pose[0, JOINT["left_middle1"]] = [0, 0, -0.5]
    args = [torch.from_numpy(a) for a in (pose, np.zeros(10, np.float32), np.zeros((1, 3), np.float32))]
    from backend.fit.bodyfitter import BodyFitter

    at = forward(figure.to(), *args, points=points).points.numpy()
    found = BodyFitter(figure, points).fit(at)
    assert np.abs(found.pose[0, JOINT["left_middle1"]] - [0, 0, -0.5]).max() < 0.05
    assert np.abs(found.pose[0, JOINT["left_index1"]]).max() == 0

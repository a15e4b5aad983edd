"""`python -m backend fit`: what it reads, writes and refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from backend.__main__ import app
from backend.body.kinematics import forward
from backend.body.pointsets import named_set


@pytest.fixture(scope="module")
def points(body):
    pose = np.zeros((5, 55, 3), np.float32)
    pose[:, 18, 1] = np.linspace(0, -1, 5)
    args = [torch.as_tensor(a) for a in (pose, np.zeros(10, np.float32), np.zeros((5, 3), np.float32))]
    args[1] = args[1][None]
    return forward(body.to("cpu"), *args, points=named_set(body, "smplx_55").points).points.numpy()


def run(*args):
    return CliRunner().invoke(app, ["fit", *map(str, args)])


@pytest.mark.slow
def test_joints_of_a_file_become_a_motion(tmp_path, points):
    np.savez(tmp_path / "in.npz", points3d=points, fps=30.0)
    ran = run(tmp_path / "in.npz", "-o", tmp_path / "out.npz", "--device", "cpu")
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["frames"] == 5
    with np.load(tmp_path / "out.npz") as out:
        assert out["poses"].shape == (5, 165) and out["joint_uncertainty"].shape == (5, 55)
        np.testing.assert_allclose(out["joints"][:, :22], points[:, :22], atol=0.02)
        np.testing.assert_allclose(out["times"], np.arange(5) / 30)


@pytest.mark.slow
def test_what_cannot_be_fitted_is_told(tmp_path, points):
    good = tmp_path / "in.npz"
    np.savez(good, points3d=points[:, :9])
    (tmp_path / "text.npz").write_text("no zip")
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    np.savez(tmp_path / "flat.npz", points3d=np.zeros((3, 4)))
    np.savez(tmp_path / "empty.npz", points3d=np.zeros((0, 55, 3)))
    for source, more, said in (
        (good, [], "give --points"),
        (good, ["--points", "coco_17"], "9 points"),
        (tmp_path / "none.npz", [], "no file"),
        (tmp_path / "text.npz", [], "cannot be read"),
        (tmp_path / "other.npz", [], "no points3d"),
        (tmp_path / "flat.npz", [], "3 x 4"),
        (tmp_path / "empty.npz", [], "no frames"),
    ):
        ran = run(source, "-o", tmp_path / "out.npz", "--device", "cpu", *more)
        assert ran.exit_code == 1 and said in ran.output.replace("\n", " "), ran.output
        assert not (tmp_path / "out.npz").exists()
    ran = run(good, "-o", good)
    assert ran.exit_code == 1 and "another name" in ran.output.replace("\n", " ")

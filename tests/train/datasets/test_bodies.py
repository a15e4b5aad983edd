"""Licensed bodies: every layout becomes ours, points are carried to them, what is missing or foreign is said."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from backend.body.kinematics import forward
from backend.body.surface import surface_of
from backend.errors import JobError
from backend.train.datasets.bodies import Licensed, licensed_body
from backend.train.datasets.carried import Carried, vertices_in

from .makers import HANDS, made_up

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model", ["smpl", "smplx"])
def test_files_pose_as_the_plain_formula(body, bodies, model):
    rng = np.random.default_rng(0)
    for gender in ("neutral", "female"):
        made = made_up(body, gender, model == "smpl")
        pose, betas, trans = (
            rng.normal(0, 0.4, (len(made.rows), 3)),
            rng.normal(0, 1, 10),
            np.array([0.3, 1, 4]),
        )
        want = made.vertices(pose, betas, trans)
        full = np.zeros((1, 55, 3))
        full[0, list(made.rows)] = pose
        tensors = [torch.tensor(a, dtype=torch.float32) for a in (full, betas, trans[None])]
        found = forward(licensed_body(str(bodies), model, gender, "x").body.to(), *tensors, vertices=True)
        assert np.abs(found.vertices[0].numpy() - want).max() < 1e-4
    hands = licensed_body(str(bodies), model, "male", "x").hands
    assert np.allclose(hands, np.where(np.arange(30) < 15, HANDS, -HANDS)[:, None] * (model == "smplx"))


@pytest.mark.usefixtures("quick_map")
@pytest.mark.parametrize("gender", ["neutral", "male"])
def test_points_are_carried_to_the_same_place_of_the_skin(body, bodies, pool, gender):
    """A place on a triangle of ours lies, on the other body, on the same triangle at the same share."""
    skin = pool.points.take(np.arange(pool.fixed, pool.fixed + pool.skin))
    carried = Carried(body, skin, str(bodies), "smpl", "x").points(gender)
    _, face, share = surface_of(body).nearest(skin.positions.astype(float))
    other = made_up(body, gender, True)
    want = (other.v[body.faces[face]] * share[..., None]).sum(1)
    assert np.abs(other.v - body.v_template).max() > 0.02, "another shape"
    assert np.abs(carried.positions - want).max() < 2e-3


@pytest.mark.usefixtures("quick_map")
def test_vertices_come_home(body, bodies):
    licensed = licensed_body(str(bodies), "smpl", "neutral", "x")
    found = vertices_in(body, licensed)
    assert np.percentile(np.abs(found - body.v_template), 99) < 2e-3


def test_the_learnt_body_itself_needs_no_map(bodies, pool):
    licensed = licensed_body(str(bodies), "smplx", "neutral", "x")
    own = Carried(licensed.body, pool.points, str(bodies), "smplx", "x").points("neutral")
    assert np.allclose(own.positions, pool.points.positions, atol=1e-6)


def test_missing_and_foreign_files(tmp_path, body, bodies):
    with pytest.raises(
        JobError, match=r"^AGORA needs your own licensed SMPLX body: put SMPLX_MALE.npz into [^\n]*\.$"
    ):
        licensed_body(str(tmp_path), "smplx", "male", "AGORA")
    with pytest.raises(JobError, match=r"put SMPL_NEUTRAL\.pkl into a folder"):
        licensed_body("", "smpl", "neutral", "3DPW")
    file = tmp_path / "SMPL_MALE.pkl"
    said = pickle.loads(pickle.dumps({"v_template": np.zeros((3, 3))}))
    for wrong, why in (
        (pickle.dumps(said), "it has 3 vertices"),
        (pickle.dumps([1]), "holds no body"),
        (b"nothing", "neither an .npz file nor a pickle"),
        (b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00echo\x85R.", "could run code; nothing was run"),
    ):
        file.write_bytes(wrong)
        with pytest.raises(JobError, match=why):
            licensed_body(str(tmp_path), "smpl", "male", "3DPW")
    whole = (bodies / "SMPL_MALE.pkl").read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(JobError, match=r"cannot be used as a body"):
        licensed_body(str(tmp_path), "smpl", "male", "3DPW")
    assert isinstance(licensed_body(str(bodies), "smpl", "male", "3DPW"), Licensed)

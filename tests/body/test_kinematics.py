"""Forward kinematics against the reference implementation (package smplx: test oracle only)."""

from __future__ import annotations

import numpy as np
import pytest
import smplx
import torch

from backend.body import forward, load_body, rest_joints, rodrigues
from backend.body.load import OPEN_BODY


def random_pose(rng, n: int) -> np.ndarray:
    """Half a turn at most, some joints at exactly zero and some almost there."""
    pose = rng.normal(0, 0.6, (n, 55, 3))
    pose[:, 5] = 0
    pose[:, 6] *= 1e-6
    return pose.astype(np.float32)


@pytest.fixture(scope="module", params=["open", "smplx"])
def case(request, synthetic_file):
    path = OPEN_BODY if request.param == "open" else synthetic_file
    betas, expressions = (32, 20) if request.param == "open" else (300, 100)
    body = load_body(None if request.param == "open" else path, betas=betas, expressions=expressions)
    n = 4
    oracle = smplx.SMPLX(
        str(path),
        use_pca=False,
        flat_hand_mean=True,
        num_betas=betas,
        num_expression_coeffs=expressions,
        batch_size=n,
    )
    rng = np.random.default_rng(3)
    draw = lambda *shape: torch.from_numpy(rng.normal(size=shape).astype(np.float32))  # noqa: E731
    return {
        "body": body,
        "oracle": oracle,
        "pose": torch.from_numpy(random_pose(rng, n)),
        "betas": draw(n, betas) * (1.5 if request.param == "open" else 0.3),
        "expression": draw(n, expressions),
        "trans": draw(n, 3) * 3,
    }


def reference(case):
    pose = case["pose"]
    with torch.no_grad():
        return case["oracle"](
            betas=case["betas"],
            expression=case["expression"],
            transl=case["trans"],
            global_orient=pose[:, 0],
            body_pose=pose[:, 1:22].reshape(len(pose), -1),
            jaw_pose=pose[:, 22],
            leye_pose=pose[:, 23],
            reye_pose=pose[:, 24],
            left_hand_pose=pose[:, 25:40].reshape(len(pose), -1),
            right_hand_pose=pose[:, 40:55].reshape(len(pose), -1),
        )


@pytest.mark.slow
def test_joints_and_vertices_match_the_reference(case):
    body = case["body"].to()
    ours = forward(body, case["pose"], case["betas"], case["trans"], case["expression"], vertices=True)
    theirs = reference(case)
    assert (ours.joints - theirs.joints[:, :55]).norm(dim=-1).max() <= 1e-5
    assert (ours.vertices - theirs.vertices).norm(dim=-1).max() <= 1e-5


@pytest.mark.slow
def test_rotation_matrices_do_the_same_as_vectors(case):
    body = case["body"].to()
    a = forward(body, case["pose"], case["betas"], case["trans"], vertices=True)
    b = forward(body, rodrigues(case["pose"]), case["betas"], case["trans"], vertices=True)
    assert torch.equal(a.vertices, b.vertices)


def test_world_rotations_turn_bones(case):
    """The bone from elbow to wrist, as the world rotation of the elbow turns it."""
    body = case["body"].to()
    posed = forward(body, case["pose"], case["betas"], case["trans"])
    rest = rest_joints(body, case["betas"])
    bone = (posed.rotations[:, 18] @ (rest[:, 20] - rest[:, 18])[..., None])[..., 0]
    assert torch.allclose(posed.joints[:, 20] - posed.joints[:, 18], bone, atol=1e-5)


def test_one_shape_for_all_frames_and_fewer_betas(case):
    body, pose, trans = case["body"].to(), case["pose"], case["trans"]
    few = case["betas"][0, :5]
    padded = torch.zeros(len(pose), case["betas"].shape[1])
    padded[:, :5] = few
    a = forward(body, pose, few, trans, vertices=True)
    b = forward(body, pose, padded, trans, torch.zeros(len(pose), 3), vertices=True)
    assert torch.allclose(a.vertices, b.vertices, atol=1e-6)
    assert torch.allclose(a.joints, b.joints, atol=1e-6)


def test_nothing_is_posed_unasked(case):
    posed = forward(case["body"].to(), case["pose"], case["betas"], case["trans"])
    assert posed.vertices is None and posed.points is None


def test_too_many_betas_are_refused(case):
    with pytest.raises(ValueError, match="401 coefficients"):
        forward(case["body"].to(), case["pose"], torch.zeros(401), case["trans"])


@pytest.mark.slow
def test_gradients_match_finite_differences(open_body):
    """In double precision, through joints and surface points, at a random pose and at exactly zero."""
    body = open_body.to()
    body = type(body)(
        **{k: v.double() if v is not None and v.is_floating_point() else v for k, v in vars(body).items()}
    )
    points = open_body.vertices_as_points([0, 5000, 9000]).to()
    points = type(points)(**{k: None if v is None else v.double() for k, v in vars(points).items()})

    def f(pose, betas, trans, expression):
        posed = forward(body, pose, betas, trans, expression, points)
        return posed.joints, posed.points

    rng = np.random.default_rng(0)
    for scale in (0.5, 0.0):
        pose = torch.from_numpy(rng.normal(0, 1, (1, 55, 3)) * scale).requires_grad_()
        rest = [torch.zeros(n, dtype=torch.float64, requires_grad=True) for n in (3, 2)]
        trans = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(f, (pose, rest[0], trans, rest[1]), atol=1e-6)


def test_rodrigues_is_a_rotation_up_to_many_turns():
    v = torch.from_numpy(np.random.default_rng(1).normal(0, 4, (200, 3)))
    R = rodrigues(v)
    assert torch.allclose(R @ R.transpose(1, 2), torch.eye(3, dtype=R.dtype).expand_as(R), atol=1e-12)
    assert torch.allclose((R @ v[..., None])[..., 0], v, atol=1e-12)
    quarter = rodrigues(torch.tensor([0, 0, np.pi / 2], dtype=torch.float64))
    wanted = torch.tensor([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    assert torch.allclose(quarter, wanted, atol=1e-12)


def test_rodrigues_is_exact_where_its_series_ends():
    """Both sides of the switch from series to closed form, against the matrix exponential."""
    v = torch.from_numpy(np.random.default_rng(2).normal(size=(40, 3)))
    v = v / v.norm(dim=1, keepdim=True) * torch.logspace(-5, -1, 40, dtype=torch.float64)[:, None]
    x, y, z = v.unbind(1)
    o = torch.zeros_like(x)
    K = torch.stack([o, -z, y, z, o, -x, -y, x, o], 1).reshape(-1, 3, 3)
    assert (rodrigues(v) - torch.linalg.matrix_exp(K)).abs().max() < 1e-12

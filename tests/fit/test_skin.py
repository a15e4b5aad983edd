"""The point model's places against the body's own kinematics, and its derivatives against differences."""

from __future__ import annotations

import numpy as np
import roma
import torch

from backend.body.kinematics import forward
from backend.body.landmarks import body_landmarks
from backend.fit.pointmodel import PointModel, State
from backend.fit.rotations import left_jacobian_inverse
from backend.fit.solver import MAX_TURN, step


def random_state(model: PointModel, seed: int = 0, n: int = 3) -> State:
    g = torch.Generator().manual_seed(seed)
    rotvec = 0.4 * torch.randn(n, 55, 3, generator=g, dtype=torch.float64)
    root = torch.randn(n, 3, generator=g, dtype=torch.float64) + torch.tensor([0.0, 0.0, 4.0])
    return State(
        roma.rotvec_to_rotmat(rotvec), root, torch.randn(model.num_betas, generator=g, dtype=torch.float64)
    )


def test_points_agree_with_the_kinematics_of_the_body(body):
    points, _ = body_landmarks(body)
    model = PointModel(body, points)
    state = random_state(model)
    betas = torch.zeros(body.n_betas)
    betas[: model.num_betas] = state.betas.float()
    rest = model.rest_joints(state.betas)[0]
    posed = forward(body.to("cpu"), state.rotations.float(), betas, (state.root - rest).float(), points=points,
                    correctives=False)  # fmt: skip
    mine = model.pose(state)
    np.testing.assert_allclose(mine.points.numpy(), posed.points.numpy(), atol=2e-6)
    np.testing.assert_allclose(mine.joints.numpy(), posed.joints.numpy(), atol=2e-6)


def test_derivative_by_pose_matches_differences(body):
    model = PointModel(body, body_landmarks(body)[0])
    state = random_state(model, 1)
    J = model.jacobian_pose(state, model.pose(state))
    for k in (0, 4, 13 * 3 + 1, 18 * 3 + 2, 20 * 3, 66, 68):
        delta = torch.zeros(3, 69, dtype=torch.float64)
        delta[:, k] = 1e-6
        assert MAX_TURN > 1e-6
        numeric = (model.pose(step(state, delta)).points - model.pose(step(state, -delta)).points) / 2e-6
        torch.testing.assert_close(J[..., k], numeric, atol=1e-7, rtol=1e-6)


def test_derivative_by_shape_matches_differences(body):
    model = PointModel(body, body_landmarks(body)[0])
    state = random_state(model, 2)
    J = model.jacobian_betas(state, model.pose(state))
    for k in range(model.num_betas):
        moved = [state.clone(), state.clone()]
        moved[0].betas[k] += 1e-6
        moved[1].betas[k] -= 1e-6
        numeric = (model.pose(moved[0]).points - model.pose(moved[1]).points) / 2e-6
        torch.testing.assert_close(J[..., k], numeric, atol=1e-8, rtol=1e-6)


def test_inverse_left_jacobian():
    g = torch.Generator().manual_seed(3)
    for scale in (1e-9, 1e-3, 0.5, 2.5):
        v = scale * torch.nn.functional.normalize(torch.randn(8, 3, generator=g, dtype=torch.float64), dim=-1)
        d = 1e-6 * torch.randn(8, 3, generator=g, dtype=torch.float64)
        moved = roma.rotmat_to_rotvec(roma.rotvec_to_rotmat(d) @ roma.rotvec_to_rotmat(v))
        predicted = v + (left_jacobian_inverse(v) @ d[..., None])[..., 0]
        torch.testing.assert_close(moved, predicted, atol=1e-10, rtol=1e-6)

"""The posed points against the body's own kinematics; the solver's matrices and slopes against differences."""

from __future__ import annotations

import numpy as np
import pytest
import roma
import torch

from backend.body.kinematics import forward
from backend.fit.solver import batchlast as bl
from backend.fit.solver.equations import NewtonOptions
from backend.fit.solver.jacobian import jacobian
from backend.fit.solver.moments import PairMoments
from backend.fit.solver.newton import Newton
from backend.fit.solver.observe import Data, root_from_rays
from backend.fit.solver.prior import pose_prior
from backend.fit.solver.skin import SkinModel, State

D = 3 * 55 + 3 + 12 + 1  # rotations, root, 10 betas and 2 expressions, size


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_state(frames=2, seed=0) -> State:
    return State(bl.exp(0.4 * draw(55, 3, frames, seed=seed)), draw(3, frames, seed=seed + 1) * 0.2
                 + torch.tensor([[0.0], [0.0], [4.0]]), 0.5 * draw(12, frames, seed=seed + 2),
                 0.1 * draw(frames, seed=seed + 3))  # fmt: skip


@pytest.fixture(scope="module")
def model(body):
    some = body.vertices_as_points(np.arange(0, len(body.v_template), 97))
    return SkinModel(body, some, 10, 2, dtype=torch.float64)


@pytest.fixture(scope="module")
def rigid(body):
    """The same without pose correctives, whose derivative the solver leaves out."""
    some = body.vertices_as_points(np.arange(0, len(body.v_template), 97))
    out = SkinModel(body, some, 10, 2, dtype=torch.float64)
    out.correctives = None
    return out


def newton(model, **options) -> Newton:
    mass = torch.ones(len(model.positions), dtype=torch.float64)
    return Newton(model, mass, pose_prior(torch.float64), NewtonOptions(scale=True, noise="given", **options))


def test_points_agree_with_the_kinematics_of_the_body(body, model):
    state = random_state()
    state.log_scale.zero_()
    posed = model.pose(state)
    rest = model.rest_joints(state.coefs)[0]
    coefs = state.coefs.float()
    points = body.vertices_as_points(np.arange(0, len(body.v_template), 97))
    out = forward(body.to("cpu"), state.rotations.permute(3, 0, 1, 2).float(), coefs[:10].T,
                  (state.root - rest).T.float(), coefs[10:].T, points)  # fmt: skip
    np.testing.assert_allclose(posed.points.permute(2, 0, 1).numpy(), out.points.numpy(), atol=5e-6)
    np.testing.assert_allclose(posed.joints.permute(2, 0, 1).numpy(), out.joints.numpy(), atol=5e-6)


def numeric(model, state, what):
    solver = newton(model)
    data = Data(model.pose(state).points, torch.ones(len(model.positions), 2, dtype=torch.float64))
    look = solver.look(data, state)
    columns = []
    for k in range(D):
        delta = torch.zeros(D, 2, dtype=torch.float64)
        delta[k] = 1e-6
        ends = [what(solver.step(state, look, sign * delta)) for sign in (1, -1)]
        columns.append((ends[0] - ends[1]) / 2e-6)
    return torch.stack(columns, -1)


@pytest.mark.slow
def test_jacobian_and_pair_moments_match_differences(rigid):
    state = random_state(seed=4)
    J = numeric(rigid, state, lambda s: rigid.pose(s).points).permute(2, 0, 1, 3)
    posed = rigid.pose(state)
    shifted = rigid.coef_motion(posed)
    torch.testing.assert_close(jacobian(rigid, posed, shifted, True), J, atol=1e-7, rtol=1e-6)
    # Moments use the levers of the mean body, so that they are exact where the shape is the mean one.
    mean = state.shaped(torch.zeros(12, 1, dtype=torch.float64))
    J = numeric(rigid, mean, lambda s: rigid.pose(s).points).permute(2, 0, 1, 3).flatten(1, 2)
    posed = rigid.pose(mean)
    moments = PairMoments(rigid, torch.ones(len(rigid.positions), dtype=torch.float64))
    weights = torch.ones(len(rigid.positions), 2, dtype=torch.float64)
    H, C = moments.matrix(posed, weights, rigid.coef_motion(posed), True, True)
    exact = J.mT @ J
    size = exact.diagonal(dim1=1, dim2=2).clamp_min(1e-9).sqrt()
    off = (H.permute(2, 0, 1) - exact) / size[:, :, None] / size[:, None]
    assert off.abs().max() < 5e-3
    coupling = torch.einsum("nj,bncd->dcjb", rigid.weights, J.reshape(2, -1, 3, D))
    torch.testing.assert_close(C[:-1], coupling[:-1], atol=2e-2 * float(coupling.abs().max()), rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["places", "rays", "shared shift"])
def test_slope_matches_the_cost(rigid, kind):
    state = random_state(seed=8)
    solver = newton(rigid, robust=3.0)
    n = len(rigid.positions)
    targets = rigid.pose(state).points + 0.3 * draw(n, 3, 2, seed=9)
    data = Data(targets, 1 + draw(n, 2, seed=10) ** 2)
    if kind != "places":
        flat = targets[:, :2] / targets[:, 2:] + 0.01 * draw(n, 2, 2, seed=11)
        axes = torch.tensor([1.0, 1.0, 0.25], dtype=torch.float64)
        data = Data(
            targets, data.weights, axes=axes, placed=kind == "rays", rays=flat, ray_weights=30 * data.weights
        )
    s = torch.ones(2, dtype=torch.float64)
    look = solver.look(data, state)
    found = solver.slope(data, state, look, s)
    wanted = numeric(rigid, state, lambda t: solver.cost(solver.look(data, t), s))
    torch.testing.assert_close(found.T, -wanted / 2, atol=2e-4 * float(wanted.abs().max()), rtol=1e-4)


def test_batch_last_rotations_agree_with_roma():
    v = torch.cat([draw(20, 3), 1e-9 * draw(4, 3), torch.pi * torch.eye(3, dtype=torch.float64)])
    R = bl.exp(v.T[None])
    torch.testing.assert_close(R[0].permute(2, 0, 1), roma.rotvec_to_rotmat(v), atol=1e-12, rtol=0)
    torch.testing.assert_close(bl.exp(bl.log(R)), R, atol=1e-12, rtol=0)
    d = 1e-6 * draw(3, len(v), seed=1)[None]
    small = v.norm(dim=1) < 3
    moved = bl.log(bl.mm(bl.exp(d), R))[0]
    told = (bl.log(R) + bl.mv(bl.left_jacobian_inverse(bl.log(R)), d))[0]
    torch.testing.assert_close(moved[:, small], told[:, small], atol=1e-10, rtol=1e-6)
    m = draw(3, 3, 50, seed=2)
    u, _, vh = torch.linalg.svd(m.permute(2, 0, 1))
    sign = torch.det(u @ vh)
    best = torch.cat([u[..., :2], u[..., 2:] * sign[:, None, None]], -1) @ vh
    found = bl.nearest_rotation(m[None], 12)[0].permute(2, 0, 1)
    torch.testing.assert_close(found, best, atol=1e-4, rtol=0)
    assert bl.nearest_rotation(torch.zeros(1, 3, 3, 1))[0, :, :, 0].equal(torch.eye(3))


def test_root_is_found_where_the_rays_meet():
    points, at = draw(12, 3, 2), torch.tensor([[0.3, -1.0], [0.2, 0.5], [4.0, 6.0]], dtype=torch.float64)
    seen = points + at
    data = Data(seen, torch.ones(12, 2, dtype=torch.float64), rays=seen[:, :2] / seen[:, 2:],
                ray_weights=torch.ones(12, 2, dtype=torch.float64))  # fmt: skip
    torch.testing.assert_close(root_from_rays(points, data), at, atol=1e-3, rtol=1e-3)

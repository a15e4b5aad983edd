"""What helps the frames of a track: slopes and matrices against numbers, a floor that holds, a step that is exact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.body.skeleton import N_JOINTS
from backend.fit.helps import FREEDOM, Ground, Habit
from backend.fit.solver import batchlast as bl
from backend.fit.solver import timing
from backend.fit.solver.observe import Data
from backend.fit.solver.skin import SkinModel, State
from backend.fit.track import Tie, exhaust
from backend.motion.touch import touching_points

K, N = 22, 5
JOINTS = torch.arange(K)
D = 3 * K + 3


@pytest.fixture(scope="module")
def model(body):
    return SkinModel(body, replace(touching_points(body), posedirs=None), 10, dtype=torch.float64)


@pytest.fixture(scope="module")
def state(model) -> State:
    g = torch.Generator().manual_seed(3)
    turns = 0.4 * torch.randn(N_JOINTS, 3, N, generator=g, dtype=torch.float64)
    state = model.rest_state(N)
    root = torch.randn(3, N, generator=g, dtype=torch.float64)
    return replace(state, rotations=bl.exp(turns), root=root)


def habit(state: State, tight: float = 30.0) -> Habit:
    g = torch.Generator().manual_seed(4)
    r = lambda *s: torch.rand(*s, generator=g, dtype=torch.float64)  # noqa: E731
    turned = bl.mm(bl.exp(0.3 * (r(K, 3, N) - 0.5)), state.rotations[:K])
    return Habit(turned, tight * (0.2 + r(K, N)), r(3, N - 1) - 0.5, 50 * (0.2 + r(3, N - 1)))


def ground(model: SkinModel, floor: float = 0.4) -> Ground:
    g = torch.Generator().manual_seed(5)
    r = lambda *s: torch.rand(*s, generator=g, dtype=torch.float64)  # noqa: E731
    q = len(model.positions)
    up = torch.tensor([0.1, -0.9, -0.3], dtype=torch.float64)
    rest, stay = torch.zeros(q, N, dtype=torch.float64), torch.zeros(q, N - 1, dtype=torch.float64)
    rest[:8], stay[:8] = r(8, N) * 20, r(8, N - 1) * 40
    return Ground(model, up / up.norm(), floor, rest, torch.zeros_like(rest), stay, 12.0)


def whole(share) -> torch.Tensor:
    """The matrix of all frames, (N D, N D)."""
    H = torch.zeros(N * D, N * D, dtype=torch.float64)
    for t in range(N):
        H[t * D : (t + 1) * D, t * D : (t + 1) * D] = share.H[t]
        if t < N - 1 and share.near is not None:
            H[t * D : (t + 1) * D, (t + 1) * D : (t + 2) * D] = share.near[t]
            H[(t + 1) * D : (t + 2) * D, t * D : (t + 1) * D] = share.near[t].T
    return H


def moved(state: State, x: torch.Tensor) -> State:
    return timing.apply(state, JOINTS, x.reshape(N, D))


def slope(help_, model, state, h: float = 1e-5) -> torch.Tensor:
    """Minus half the slope of the cost, by differences."""
    out = torch.zeros(N * D, dtype=torch.float64)
    for i in range(N * D):
        x = torch.zeros(N * D, dtype=torch.float64)
        x[i] = h
        out[i] = -(help_.cost(model, moved(state, x)) - help_.cost(model, moved(state, -x))) / (4 * h)
    return out


def test_the_slope_of_a_habit(model, state):
    help_ = habit(state)
    share = help_.share(model, state, JOINTS)
    torch.testing.assert_close(share.g.flatten(), slope(help_, model, state), rtol=1e-5, atol=1e-5)


def test_the_slope_of_the_ground(model, state):
    help_ = ground(model)
    share = help_.share(model, state, JOINTS)
    torch.testing.assert_close(share.g.flatten(), slope(help_, model, state), rtol=1e-5, atol=1e-5)
    height = torch.einsum("a,qan->qn", help_.up, model.pose(state).points) + help_.floor
    assert (height < 0).any() and (height > 0).any()


def test_the_matrix_of_the_ground_is_that_of_its_residuals(model, state):
    help_ = ground(model)

    def residuals(x: torch.Tensor) -> torch.Tensor:
        points = model.pose(moved(state, x)).points
        height = torch.einsum("a,qan->qn", help_.up, points) + help_.floor
        stay = (points[..., 1:] - points[..., :-1]) * help_.stay.sqrt()[:, None]
        return torch.cat(
            [(height * help_._off(model.pose(state).points)[1].sqrt()).flatten(), stay.flatten()]
        )

    columns, h = [], 1e-5
    for i in range(N * D):
        x = torch.zeros(N * D, dtype=torch.float64)
        x[i] = h
        columns.append((residuals(x) - residuals(-x)) / (2 * h))
    J = torch.stack(columns, 1)
    torch.testing.assert_close(whole(help_.share(model, state, JOINTS)), J.T @ J, rtol=1e-5, atol=1e-5)


def test_the_matrix_of_a_habit_near_what_it_expects(model, state):
    """Where everything is as expected it is half the second derivative, but for the tail's factor."""
    help_ = replace(habit(state), rotations=state.rotations[:K])
    H, h = whole(help_.share(model, state, JOINTS)), 1e-3
    rng = np.random.default_rng(6)
    flat = help_.cost(model, state)
    for i in rng.choice(N * D, 60, replace=False):
        x = torch.zeros(N * D, dtype=torch.float64)
        x[i] = h
        curve = (help_.cost(model, moved(state, x)) + help_.cost(model, moved(state, -x)) - 2 * flat) / (
            2 * h * h
        )
        assert float(curve) == pytest.approx(float(H[i, i]), rel=2e-3)
    far = habit(state, 3000.0)
    weight = far.share(model, state, JOINTS).H.diagonal(dim1=1, dim2=2)[:, : 3 * K : 3].T
    assert (weight < far.precision * (FREEDOM + 3) / FREEDOM).all()


def test_what_is_taken_is_a_part(model, state):
    for help_ in (habit(state), ground(model)):
        all_, part = help_.share(model, state, JOINTS), help_.take(slice(1, 4))
        some = part.share(model, state.take(slice(1, 4)), JOINTS)
        torch.testing.assert_close(some.H[1], all_.H[2])
        torch.testing.assert_close(some.g[1], all_.g[2])
        torch.testing.assert_close(some.near, all_.near[1:3])


def test_a_tied_step_is_that_of_the_whole_system(model, state):
    """Blocks, blocks between neighbours and second differences, the root along axes of its own."""
    g = torch.Generator().manual_seed(8)
    n, d = 6, 9
    r = lambda *s: torch.randn(*s, generator=g, dtype=torch.float64)  # noqa: E731
    A, B = r(n, d, d), 0.3 * r(n - 1, d, d)
    H = A @ A.mT + 8 * torch.eye(d, dtype=torch.float64)
    weight, difference, right = r(n - 2, d).abs() * 3, r(n - 2, d), r(n, d)
    axes = bl.exp(torch.tensor([0.3, -0.8, 0.5], dtype=torch.float64)[:, None])[..., 0]
    step = timing.tied_step(H, right, weight, difference, B, axes)
    whole_, b = torch.block_diag(*H), right.flatten().clone()
    for t in range(n - 1):
        rows, columns = slice(t * d, (t + 1) * d), slice((t + 1) * d, (t + 2) * d)
        whole_[rows, columns], whole_[columns, rows] = B[t], B[t].T
    turn = torch.eye(d, dtype=torch.float64)
    turn[-3:, -3:] = axes
    for t in range(n - 2):
        S = torch.zeros(d, n * d, dtype=torch.float64)
        for k, c in ((0, 1.0), (1, -2.0), (2, 1.0)):
            S[:, (t + k) * d : (t + k + 1) * d] = c * turn.T
        whole_ += S.T @ (weight[t, :, None] * S)
        b -= S.T @ (weight[t] * (turn.T @ difference[t]))
    torch.testing.assert_close(step.flatten(), torch.linalg.solve(whole_, b), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(step, timing.tied_step(H, right, weight, difference, B), rtol=1e-3)
    assert not torch.allclose(step, timing.tied_step(H, right, weight, difference, None, axes), rtol=1e-3)


@pytest.fixture(scope="module")
def stood(body, fitter):
    """Bodies that stand, 15 frames of which the localizer says that they slide and float: observations, state, the
    points that touch, and the true floor."""
    n = 15
    model = fitter.model
    state = model.rest_state(n)
    rotations = state.rotations.clone()
    rotations[0] = torch.diag(torch.tensor([1.0, -1, -1]))[..., None]
    bend = torch.tensor([0.35, 0, 0])[:, None].expand(3, n)
    for j, sign in ((1, -1), (2, -1), (4, 2), (5, 2), (7, -1), (8, -1)):
        rotations[j] = bl.exp(sign * bend)
    t = torch.arange(n) / (n - 1)
    root = torch.stack([0.08 * t, 0.03 * torch.sin(9 * t), 4 + 0 * t])
    state = replace(state, rotations=rotations, root=root)
    touch = SkinModel(body, replace(touching_points(body), posedirs=None), 10)
    x = model.pose(state).points.permute(2, 0, 1).numpy()
    obs = fitter.observations(x, fitter.camera.project(x), np.full(x.shape[:2], 0.05), np.arange(n) / 30)
    floor = float(touch.pose(state).points[:4, 1].mean())
    return obs, state, touch, floor


def held(fitter, stood, rest: float, stay: float, floor: float, sunk: float = 1e4) -> torch.Tensor:
    """(q, 3, n) of the points that touch, after a tie."""
    obs, state, touch, _ = stood
    n, q = state.root.shape[-1], len(touch.positions)
    weights = [torch.zeros(q, n), torch.zeros(q, n - 1)]
    weights[0][:4], weights[1][:4] = rest, stay
    help_ = Ground(touch, torch.tensor([0.0, -1, 0]), floor, weights[0], torch.zeros(q, n), weights[1], sunk)
    tie = Tie(torch.arange(n, dtype=torch.float64) / 30, 1.0, tuple(range(K)), memory_s=0.12, learn=False,
              helps=(help_,), rounds=6)  # fmt: skip
    assert isinstance(obs, Data)
    from backend.fit.camerafitter import Done

    with torch.inference_mode():
        found = exhaust(fitter.tied(obs, state, tie, Done(n, False, 0, 1)))
        return touch.pose(found).points


def test_a_locked_point_stays_and_lies_on_the_floor(fitter, stood):
    floor = stood[3]
    free = held(fitter, stood, 0.0, 0.0, floor, 0.0)
    slide = (free[:4, :, 1:] - free[:4, :, :-1]).norm(dim=1).mean()
    locked = held(fitter, stood, 0.006**-2, (0.015 / 30) ** -2, floor)
    assert slide > 0.004
    assert (locked[:4, :, 1:] - locked[:4, :, :-1]).norm(dim=1).mean() < 0.1 * slide
    assert (locked[:4, 1] - floor).abs().mean() < 0.006
    # It is the knee that bends: head and hands stay where they were seen.
    assert (locked[4:6] - free[4:6]).norm(dim=1).mean() < 0.05


def test_nothing_sinks(fitter, stood):
    floor = stood[3] - 0.03
    free, pushed = (held(fitter, stood, 0.0, 0.0, floor, s) for s in (0.0, 0.01**-2))
    deep = lambda x: (x[:, 1] - floor).clamp_min(0).max()  # noqa: E731
    assert deep(free) > 0.05
    assert deep(pushed) < 0.4 * deep(free)
    # Whoever is above the floor is left alone.
    above = [held(fitter, stood, 0.0, 0.0, stood[3] + 0.5, s) for s in (0.0, 0.01**-2)]
    torch.testing.assert_close(above[0], above[1], rtol=0, atol=1e-4)

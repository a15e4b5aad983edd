"""Gauss-Newton over a track: shape shared by all frames, poses tied in time.

1. Each frame alone, shape shared through the Schur complement, on an even sample of the frames.
2. All frames with that shape, each alone (a start for the next step).
3. All frames together, tied by the time term, in windows that overlap.
"""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch

from backend.fit.pointmodel import PointModel, State
from backend.fit.oldprior import BODY_JOINTS, PosePrior
from backend.fit.residuals import UNKNOWNS, Observations, terms
from backend.fit.rotations import kabsch
from backend.fit.smoothing import densities, second_differences, solve_smooth, time_weights

SHAPE_FRAMES = 64  # an even sample of this many frames settles the shape
WINDOW, OVERLAP = 400, 60  # frames solved together, and shared by neighbours
FINGERS = (slice(25, 37), slice(40, 52))  # joints of the four long fingers, left and right hand
FINGER_CURL = 0.28  # rad each joint is bent in a hand at ease; nothing localizes fingers yet
CONVERGED = 1e-3  # relative gain of the slowest frame at which iterating ends
MAX_TURN = 0.6  # rad a joint may turn in one step
BETA_SIGMA = 1.0  # spread of the shape coefficients among people
SHAPE_EVIDENCE = (
    4.0  # a localizer errs alike in every frame: all of them say as much of the shape as this many
)


@dataclass(frozen=True)
class SolverOptions:
    """`alone`: iterations without time, `together`: with it; `smooth`: strength of the time term, 0 to leave it out."""

    alone: int = 14
    together: int = 6
    smooth: float = 1.0


def initial_state(model: PointModel, obs: Observations, prior: PosePrior, betas: torch.Tensor) -> State:
    """Mean pose, turned as a whole onto the 3D points, and moved to where the rays meet it."""
    n, dtype, device = len(obs.times), betas.dtype, betas.device
    rotvec = torch.zeros(n, len(model.parents), 3, dtype=dtype, device=device)
    rotvec[:, :BODY_JOINTS] = prior.mean
    rotvec[:, FINGERS[0], 2], rotvec[:, FINGERS[1], 2] = -FINGER_CURL, FINGER_CURL
    state = State(roma.rotvec_to_rotmat(rotvec), torch.zeros(n, 3, dtype=dtype, device=device), betas.clone())
    points = model.pose(state).points
    # The trunk alone gives the heading: limbs are not yet where they belong.
    trunk = model.weights[:, [0, 3, 6, 9, 12, 13, 14, 15, 16, 17, 1, 2]].sum(1)
    w = obs.weight3d.mean(-1) * trunk
    w = torch.where(w.sum(1, keepdim=True) > 0, w, torch.ones_like(w))
    state.rotations[:, 0] = kabsch(points, obs.points3d, w) @ state.rotations[:, 0]
    state.root = translation_from_rays(model.pose(state).points, obs)
    return state


def translation_from_rays(points: torch.Tensor, obs: Observations) -> torch.Tensor:
    """(n, 3) shift that makes `points` (n, P, 3), known up to a translation, project onto the rays (least squares)."""
    w = obs.weight2d
    w = torch.where(
        w.sum(1, keepdim=True) > 0, w / w.sum(1, keepdim=True).clamp_min(1e-12), torch.full_like(w, 1e-6)
    )
    n, P, _ = points.shape
    A = points.new_zeros(n, P, 2, 3)
    A[..., 0, 0] = A[..., 1, 1] = 1
    A[..., 2] = -obs.rays
    b = obs.rays * points[..., 2:] - points[..., :2]
    Aw = A * w[..., None, None]
    lhs = torch.einsum("npij,npik->njk", Aw, A)
    rhs = torch.einsum("npij,npi->nj", Aw, b)
    lhs = lhs + 1e-6 * torch.eye(3, dtype=lhs.dtype, device=lhs.device)
    shift = torch.linalg.solve(lhs, rhs)
    # A person is in front of the camera; a degenerate frame starts three metres away.
    shift[:, 2] = torch.where(shift[:, 2] > 0.3, shift[:, 2], torch.full_like(shift[:, 2], 3.0))
    return shift


def step(state: State, delta: torch.Tensor) -> State:
    """`delta`: (n, 69) applied from the left, each joint's turn capped."""
    turn = delta[:, : BODY_JOINTS * 3].reshape(-1, BODY_JOINTS, 3)
    turn = turn * (MAX_TURN / turn.norm(dim=-1, keepdim=True).clamp_min(1e-12)).clamp(max=1)
    rotations = state.rotations.clone()
    rotations[:, :BODY_JOINTS] = roma.rotvec_to_rotmat(turn) @ rotations[:, :BODY_JOINTS]
    return State(rotations, state.root + delta[:, BODY_JOINTS * 3 :], state.betas)


def _merge(keep: torch.Tensor, old: State, new: State) -> State:
    return State(torch.where(keep[:, None, None, None], new.rotations, old.rotations),
                 torch.where(keep[:, None], new.root, old.root), new.betas)  # fmt: skip


def solve_alone(model: PointModel, obs: Observations, prior: PosePrior, state: State, iterations: int,
                shape: bool) -> State:  # fmt: skip
    """Levenberg-Marquardt on every frame by itself; with `shape` the betas are solved for too, shared by all."""
    n, device = len(obs.times), state.root.device
    damping = torch.full((n,), 1e-3, dtype=state.root.dtype, device=device)
    eye = torch.eye(UNKNOWNS, dtype=state.root.dtype, device=device)
    hold = max(n / SHAPE_EVIDENCE, 1.0) / BETA_SIGMA**2
    for _ in range(iterations):
        t = terms(model, obs, prior, state, betas=shape)
        scale = t.H.diagonal(dim1=1, dim2=2).clamp_min(1.0)
        H = t.H + eye * (damping[:, None] * scale + 1e-6)[:, None]
        L = torch.linalg.cholesky(H)
        if shape:
            Y = torch.cholesky_solve(torch.cat([t.Hb, t.g[..., None]], -1), L)
            Yb, yg = Y[..., :-1], Y[..., -1]
            S = t.Hbb.sum(0) - (t.Hb.transpose(1, 2) @ Yb).sum(0)
            S = S + torch.eye(len(S), dtype=S.dtype, device=device) * hold
            rhs = t.gb.sum(0) - (t.Hb.transpose(1, 2) @ yg[..., None]).sum(0)[:, 0] - state.betas * hold
            move = torch.linalg.solve(S, rhs).clamp(-1, 1)
            new = step(state, yg - Yb @ move)
            new.betas = state.betas + move
            # One shape for all: a frame that got worse meanwhile is caught by the next iterations.
            state = new
            continue
        new = step(state, torch.cholesky_solve(t.g[..., None], L)[..., 0])
        gain = t.cost - terms(model, obs, prior, new, derivatives=False).cost
        better = gain > 0
        damping = torch.where(better, damping / 3, damping * 5).clamp(1e-7, 1e3)
        state = _merge(better, state, new)
        if (gain / (1 + t.cost)).max() < CONVERGED:
            break
    return state


def solve_together(model: PointModel, obs: Observations, prior: PosePrior, state: State,
                   options: SolverOptions) -> State:  # fmt: skip
    """Refine a window of frames tied by the time term; a step that raises the whole cost is halved."""
    n = len(obs.times)
    if n < 3 or options.smooth <= 0:
        return state
    weights = time_weights(obs.times, densities(options.smooth, state.root.dtype, state.root.device))

    def cost(s: State) -> torch.Tensor:
        d = second_differences(s)
        return terms(model, obs, prior, s, derivatives=False).cost.sum() + (weights * d * d).sum()

    now = cost(state)
    for _ in range(options.together):
        t = terms(model, obs, prior, state)
        H = t.H + 1e-4 * torch.eye(UNKNOWNS, dtype=t.H.dtype, device=t.H.device)
        delta = solve_smooth(H, t.g, weights, second_differences(state))
        for _ in range(4):
            new = step(state, delta)
            then = cost(new)
            if then < now:
                break
            delta = delta / 2
        else:
            return state
        gain, now, state = float(1 - then / now), then, new
        if gain < 1e-4:
            break
    return state


def solve_track(model: PointModel, obs: Observations, prior: PosePrior, options: SolverOptions,
                betas: torch.Tensor | None = None) -> State:  # fmt: skip
    """The whole recipe for one track; `betas` given means: keep this shape."""
    n, dtype, device = len(obs.times), obs.points3d.dtype, obs.points3d.device
    if betas is None:
        some = torch.linspace(0, n - 1, min(n, SHAPE_FRAMES)).round().long().unique()
        sample = obs.select(some)
        zero = torch.zeros(model.num_betas, dtype=dtype, device=device)
        start = solve_alone(
            model, sample, prior, initial_state(model, sample, prior, zero), options.alone, False
        )
        betas = solve_alone(model, sample, prior, start, 6, True).betas
    out = []
    for first in range(0, max(n, 1), WINDOW - OVERLAP):
        part = obs.select(slice(first, min(first + WINDOW, n)))
        s = solve_alone(model, part, prior, initial_state(model, part, prior, betas), options.alone, False)
        out.append((first, solve_together(model, part, prior, s, options)))
        if first + WINDOW >= n:
            break
    return _stitch(out, n)


def _stitch(parts: list[tuple[int, State]], n: int) -> State:
    """Blend overlapping windows: rotations along the geodesic, positions linearly."""
    first, whole = parts[0]
    rotations, root = whole.rotations, whole.root
    for first, part in parts[1:]:
        k = len(root) - first
        a = torch.linspace(0, 1, k + 2, dtype=root.dtype, device=root.device)[1:-1]
        turn = roma.rotmat_to_rotvec(rotations[first:].transpose(-1, -2) @ part.rotations[:k])
        mixed = rotations[first:] @ roma.rotvec_to_rotmat(turn * a[:, None, None])
        rotations = torch.cat([rotations[:first], mixed, part.rotations[k:]])
        root = torch.cat([root[:first], torch.lerp(root[first:], part.root[:k], a[:, None]), part.root[k:]])
    assert len(root) == n
    return State(rotations, root, whole.betas)

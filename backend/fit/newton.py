"""Gauss-Newton with damping on B bodies at once, each of which goes its own way.

Cost of a frame: sum of rho(w |r|^2 / s) + prior, where s is the variance of the noise in units of the stated one.
It is estimated from the residuals, so that a fit to exact points is exact and a fit to coarse ones leans on the
prior; with `noise="given"` it stays 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backend.body.skeleton import N_JOINTS
from backend.fit.batchlast import cross, exp, mm, mv, transpose
from backend.fit.factor import Factor
from backend.fit.moments import PairMoments
from backend.fit.prior import PosePrior, PriorTerms
from backend.fit.skin import Posed, SkinModel, State

ROTATIONS = 3 * N_JOINTS
MAX_TURN = 0.8
"""Radians that a joint may turn in one step."""

REBUILT = (0, 1, 2, 5, 8)
"""Steps that make a new matrix; those between keep the last one (after three steps joints turn by less than a
degree), as do all frames alike, so that none depends on its companions."""
MEDIAN = 2.366
"""Median of the squared length of a normal vector in three dimensions."""


@dataclass(frozen=True)
class Data:
    """Observations of B frames. `targets`: (N, 3, B) metres; `weights`: (N, B), 1/variance in any one unit, 0 where
    unseen; `shift`: (N, 3, B) of the rest points, or None."""

    targets: Tensor
    weights: Tensor
    shift: Tensor | None = None

    def take(self, frames) -> Data:
        """Some frames."""
        return Data(self.targets[..., frames], self.weights[:, frames],
                    None if self.shift is None else self.shift[..., frames])  # fmt: skip


@dataclass(frozen=True)
class NewtonOptions:
    """`steps`: at most; `tolerance`: a frame ends when a step lowers its cost by less than this part of its number
    of observations; `robust`: scale of Geman-McClure in sigmas, 0 for least squares; `shape`, `scale`: solve for
    the coefficients and for the size too; `coef_precision`: of betas and expression; `noise`: estimated or given;
    `trust`: how many observations the stated noise counts as, when it is estimated."""

    steps: int = 6
    tolerance: float = 1e-4
    robust: float = 0.0
    shape: bool = True
    scale: bool = False
    noise: str = "estimated"
    trust: float = 0.0
    coef_precision: float = 1.0
    floor_m: float = 2e-5


@dataclass
class _Look:
    posed: Posed
    residual: Tensor
    square: Tensor
    prior: PriorTerms | None = None
    shifted: Tensor | None = None


@dataclass
class Solution:
    """`state`; `noise`: (B,) variance found, in units of the stated one; `steps`: (B,) that were taken."""

    state: State
    noise: Tensor
    steps: Tensor

    def put(self, frames: Tensor, state: State, noise: Tensor, better: Tensor) -> Solution:
        """The same with the results of `frames` (indices) in place of what stood there."""
        if len(frames) == len(self.noise):
            return Solution(state, noise, self.steps + better)
        kept = State(*(t.index_copy(-1, frames, n) for t, n in zip(self.state.parts, state.parts, strict=True)))
        return Solution(kept, self.noise.index_copy(0, frames, noise), self.steps.index_add(0, frames, better.long()))


class Newton:
    """The solver for one model, prior and set of moments."""

    def __init__(self, model: SkinModel, mass: Tensor, prior: PosePrior, options: NewtonOptions) -> None:
        self.model, self.mass, self.prior, self.options = model, mass, prior, options
        self.moments = PairMoments(model, mass)

    def look(self, data: Data, state: State) -> _Look:
        """Residuals at `state`."""
        posed = self.model.pose(state)
        if data.shift is not None:
            lever = posed.lever + data.shift
            points = posed.blend[:, 3] + (posed.blend[:, :3] * lever[:, :, None]).sum(1)
            posed = Posed(posed.world, posed.turn, posed.joints, posed.rest, posed.blend, lever, points)
        residual = data.targets - posed.points
        return _Look(posed, residual, (residual * residual).sum(1) * data.weights)

    def noise(self, data: Data, square: Tensor) -> Tensor:
        """Variance of the noise (B,) from whitened squares (N, B)."""
        o = self.options
        if o.noise == "given":
            return torch.ones_like(square[0])
        seen = (data.weights > 0).sum(0).to(square.dtype)
        if o.robust:
            known = torch.where(data.weights > 0, square, torch.nan)
            total = known.nanmedian(0).values.nan_to_num() / MEDIAN * 3 * seen
        else:
            total = square.sum(0)
        unknowns = ROTATIONS / 3 + 3 + (self.model.coefs if o.shape else 0)
        free = (3 * seen - unknowns).clamp_min(0.3 * seen).clamp_min(1.0)
        mean_weight = data.weights.sum(0) / seen.clamp_min(1)
        floor = o.floor_m**2 * mean_weight
        return ((total + o.trust) / (free + o.trust)).clamp_min(1e-30).maximum(floor)

    def rho(self, square: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Robust cost and weight of whitened squares under noise `s`."""
        q = square / s
        if not self.options.robust:
            return q, torch.ones_like(q)
        c = self.options.robust**2
        d = 1 + q / c
        return q / d, 1 / (d * d)

    def cost(self, look: _Look, state: State, s: Tensor) -> Tensor:
        """(B,) at the noise `s`; keeps the prior's terms in `look`."""
        if look.prior is None:
            look.prior = self.prior.terms(state.rotations, look.posed.world, self.model.parent)
        return (
            self.rho(look.square, s)[0].sum(0)
            + look.prior.cost
            + self.options.coef_precision * (state.coefs**2).sum(0)
        )

    def matrix(self, data: Data, look: _Look, s: Tensor) -> Tensor:
        """Gauss-Newton matrix of data and prior (D, D, B), in units of 1/sigma^2."""
        o = self.options
        weight = data.weights * self.rho(look.square, s)[1] / s
        H = self.moments.matrix(look.posed, weight / self.mass[:, None], look.shifted if o.shape else None, o.scale)
        self.prior.add_to(H, look.prior)
        if o.shape:
            S = torch.arange(ROTATIONS + 3, ROTATIONS + 3 + self.model.coefs, device=H.device)
            H[S, S] += o.coef_precision
        return H

    def slope(self, data: Data, state: State, look: _Look, s: Tensor) -> Tensor:
        """Minus half the gradient of the cost (D, B), but for what pose correctives change with the pose.

        The matrix does not know that either; with both left out the iteration converges faster, to a point that
        is as near to the truth.
        """
        o, model, posed = self.options, self.model, look.posed
        weight = data.weights * self.rho(look.square, s)[1] / s
        force = look.residual * weight[:, None]
        B = force.shape[-1]
        flat = (force[:, None] * posed.lever[:, :, None]).reshape(-1, 9, B)
        sums = (model.weights.T @ torch.cat([flat, force], 1).reshape(len(force), -1)).reshape(N_JOINTS, 12, B)
        pulled, push = sums[:, :9].reshape(N_JOINTS, 3, 3, B), sums[:, 9:]
        # Torque of each joint's own share about that joint, then down the tree.
        spun = mm(posed.turn, pulled) - mv(posed.turn, posed.rest)[:, :, None] * push[:, None]
        torque = torch.stack([spun[:, b, c] - spun[:, c, b] for b, c in ((1, 2), (2, 0), (0, 1))], 1)
        arm = posed.joints - posed.joints[:1]
        moved = (model.below @ torch.cat([torque + cross(arm, push), push], 1).reshape(N_JOINTS, -1)).reshape(
            N_JOINTS, 6, B
        )
        turn = moved[:, :3] - cross(arm, moved[:, 3:])
        back = (posed.blend[:, :3] * force[:, None]).sum(2)  # forces in the rest pose
        parts = [(turn + look.prior.slope).reshape(ROTATIONS, B), moved[0, 3:]]
        if o.shape:
            slope = model.directions.reshape(-1, model.coefs).T @ back.reshape(-1, B)
            look.shifted = model.coef_motion(posed)
            slope = slope + (look.shifted * push[:, :, None]).sum((0, 1))
            parts.append(slope - o.coef_precision * state.coefs)
        if o.scale:
            parts.append(((posed.points - state.root) * force).sum((0, 1))[None])
        return torch.cat(parts)

    def step(self, state: State, look: _Look, delta: Tensor) -> State:
        """`delta`: (D, B) applied; each joint's turn capped."""
        o, model = self.options, self.model
        d = delta
        turn = d[:ROTATIONS].reshape(N_JOINTS, 3, -1)
        turn = turn * (MAX_TURN / turn.norm(dim=1, keepdim=True).clamp_min(1e-9)).clamp(max=1)
        world = look.posed.world
        frame = torch.cat([model.eye[None].expand_as(world[:1]), world[model.parent[1:]]])
        R = mm(exp(mv(transpose(frame), turn)), state.rotations)
        coefs = state.coefs + d[ROTATIONS + 3 : ROTATIONS + 3 + model.coefs] if o.shape else state.coefs
        size = (state.log_scale + d[-1].clamp(-0.2, 0.2)).clamp(-1.5, 1.5) if o.scale else state.log_scale
        return State(R, state.root + d[ROTATIONS : ROTATIONS + 3], coefs, size)

    def solve(self, data: Data, state: State) -> Solution:
        """Iterate every frame to its own end: a frame's result does not depend on the others of the batch."""
        o = self.options
        B = state.root.shape[-1]
        like = state.root
        out = Solution(state, like.new_ones(B), torch.zeros(B, dtype=torch.long, device=like.device))
        going = torch.arange(B, device=like.device)
        damping = like.new_full((B,), 1e-5)
        look = self.look(data, state)
        s = self.noise(data, look.square)
        cost = self.cost(look, state, s)
        factor, unit = None, s
        for k in range(o.steps):
            slope = self.slope(data, state, look, s)
            if factor is None or k in REBUILT or k > max(REBUILT):
                factor, unit = Factor(self.matrix(data, look, s), damping), s
            # A kept matrix is that of another noise; the data outweigh the prior by then.
            delta = factor.solve(slope * (s / unit))
            trial = self.step(state, look, delta)
            seen = self.look(data, trial)
            then = self.cost(seen, trial, s)
            better = then < cost  # False for NaN too
            ended = better & (cost - then < o.tolerance * cost.abs().clamp_min(1.0))
            damping = torch.where(better, damping * 0.2, (damping * 20).clamp_min(1e-3)).clamp(1e-7, 1e4)
            if bool(better.all()):
                state, look = trial, seen
            else:
                state = trial.where(better, state)
                look = self.look(data, state)
            s = self.noise(data, look.square)
            out = out.put(going, state, s, better)
            if bool(ended.any()):
                left = torch.where(~ended)[0]
                if len(left) == 0:
                    break
                going, damping, data, state = going[left], damping[left], data.take(left), state.take(left)
                factor, unit = factor.take(left), unit[left]
                look = self.look(data, state)
                s = self.noise(data, look.square)
            cost = self.cost(look, state, s)
        return out

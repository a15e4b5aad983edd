"""Gauss-Newton with damping on B bodies at once, each of which goes its own way.

Cost of a frame: sum of rho(w |r|^2 / s) + prior, where s is the variance of the noise in units of the stated one.
It is estimated from the residuals, so that a fit to exact points is exact and a fit to coarse ones leans on the
prior; with `noise="given"` it stays 1. Frames whose residuals are alike within parts of the body are solved on with
shared errors (see `coherent`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from backend.body.skeleton import N_JOINTS
from backend.fit.solver import coherent, normal
from backend.fit.solver.batchlast import cross, exp, mm, mv, transpose
from backend.fit.solver.factor import DenseFactor, Factor
from backend.fit.solver.jacobian import jacobian
from backend.fit.solver.moments import PairMoments
from backend.fit.solver.observe import Data, Residuals, forces, posed_points, residuals
from backend.fit.solver.prior import PosePrior, PriorTerms
from backend.fit.solver.skin import Posed, SkinModel, State

ROTATIONS = 3 * N_JOINTS
MAX_TURN = 0.8
"""Radians that a joint may turn in one step."""
REBUILT = (0, 1, 2, 5, 8)
"""Steps that make a new matrix; those between keep the last one (after three steps joints turn by less than a
degree, and a matrix costs ten times a step). Where robust weights change, each step makes one. All frames do so
alike, so that none depends on its companions."""
_SLICE = 8
"""Frames whose rows are held at once."""
_LONGEST, _MOVING = 3, 0.02
"""A frame that a step still makes better by this part of its cost gets so many times the steps."""
MEDIAN = 2.366
"""Median of the squared length of a normal vector in three dimensions."""


@dataclass(frozen=True)
class NewtonOptions:
    """`steps`: so many, or three times as many where a frame is still far from its end; `tolerance`: a
    frame ends when a step lowers its cost by less than this part of it; `robust`: scale of Geman-McClure in
    sigmas, 0 for least squares; `shape`, `scale`: solve for the coefficients, for the size;
    `coef_precision`: of betas and expression; `noise`: estimated or given; `trust`: how many observations
    the stated noise counts as, when it is estimated; `coherent`: steps with shared errors at most, 0 for
    never; `floor_m`: the noise is never taken for less."""

    steps: int = 4
    tolerance: float = 1e-4
    robust: float = 0.0
    shape: bool = True
    scale: bool = False
    noise: str = "estimated"
    trust: float = 0.0
    coef_precision: float = 1.0
    coherent: int = 8
    floor_m: float = 2e-5


@dataclass
class _Look:
    posed: Posed
    off: Residuals
    prior: PriorTerms
    extra: Tensor
    gone: coherent.Eliminated | None = None
    shifted: Tensor | None = None

    def take(self, frames: Tensor) -> _Look:
        """Some frames, of a look without shared errors."""
        return _Look(
            self.posed.take(frames), self.off.take(frames), self.prior.take(frames), self.extra[frames]
        )

    def where(self, keep: Tensor, other: _Look) -> _Look:
        """This one in the frames `keep` (B,), `other` elsewhere; both without shared errors."""
        pairs = ((self.posed, other.posed), (self.off, other.off), (self.prior, other.prior))
        parts = (a.where(keep, b) for a, b in pairs)
        return _Look(*parts, torch.where(keep, self.extra, other.extra))


@dataclass
class Solution:
    """`state`; `noise`: (B,) variance found, in units of the stated one; `shared`: (B,) variance of shared errors,
    0 where there are none."""

    state: State
    noise: Tensor
    shared: Tensor
    look: _Look | None = None  # at `state`, where it is at hand

    def take(self, frames) -> Solution:
        """Some frames."""
        return Solution(self.state.take(frames), self.noise[frames], self.shared[frames])

    def put(self, frames: Tensor, state: State, noise: Tensor, shared: Tensor) -> Solution:
        """The same with the results of `frames` (indices) in place of what stood there."""
        if len(frames) == len(self.noise):
            return Solution(state, noise, shared)
        kept = State(
            *(t.index_copy(-1, frames, n) for t, n in zip(self.state.parts, state.parts, strict=True))
        )
        return Solution(
            kept, self.noise.index_copy(0, frames, noise), self.shared.index_copy(0, frames, shared)
        )


class Newton:
    """The solver for one model and prior. `mass`: (N,) original points that each point stands for; `breathe`: called
    before each step."""

    def __init__(self, model: SkinModel, mass: Tensor, prior: PosePrior, options: NewtonOptions,
                 kept: dict[str, Any] | None = None, breathe: Callable[[], None] = lambda: None,
                 ) -> None:  # fmt: skip
        self.model, self.mass, self.prior, self.options, self.breathe = model, mass, prior, options, breathe
        self._kept = {} if kept is None else kept

    @property
    def moments(self) -> PairMoments:
        """Computed when first needed: a fit to rays never is."""
        if "moments" not in self._kept:
            self._kept["moments"] = PairMoments(self.model, self.mass)
        return self._kept["moments"]

    @property
    def blocks(self) -> list[normal.Block]:
        """The points by the part of the tree that they hang on; made when first needed."""
        if "blocks" not in self._kept:
            self._kept["blocks"] = normal.blocks_of(self.model)
        return self._kept["blocks"]

    def with_options(self, **changes) -> Newton:
        """The same with other options."""
        return Newton(self.model, self.mass, self.prior, replace(self.options, **changes), self._kept,
                      self.breathe)  # fmt: skip

    def look(self, data: Data, state: State, s: Tensor | None = None, shared=None) -> _Look:
        """Residuals and prior at `state`; with `shared` the shared errors are taken out of the residuals."""
        posed = posed_points(self.model, data, state)
        off = residuals(data, posed)
        prior = self.prior.terms(state.rotations)
        extra = prior.cost + self.options.coef_precision * (state.coefs**2).sum(0)
        if shared is None:
            return _Look(posed, off, prior, extra)
        r, W = off.space, self.model.weights
        for _ in range(2 if self.options.robust else 1):
            weight = data.weights * self.rho(off.square, s)[1] / s
            pairs = self.moments.shared(self.moments.share @ (weight / self.mass[:, None]))
            gone = coherent.eliminate(r, weight, W, pairs, shared)
            own = r - (W @ gone.shifts.reshape(N_JOINTS, -1)).reshape(r.shape)
            off = Residuals(own, (own * own).sum(1) * data.weights)
        return _Look(posed, off, prior, extra + gone.cost, gone)

    def noise(self, data: Data, off: Residuals, known: Tensor | float = 0.0) -> Tensor:
        """Variance of the noise (B,) from residuals, `known` unknowns beside the body's having been fitted."""
        o = self.options
        if o.noise == "given":
            return torch.ones_like(off.square[0])
        seen = (data.weights > 0).sum(0).to(off.square.dtype)
        if o.robust:
            some = torch.where(data.weights > 0, off.square, torch.nan)
            total = some.nanmedian(0).values.nan_to_num() / MEDIAN * 3 * seen
        else:
            total = off.square.sum(0)
        unknowns = ROTATIONS / 3 + 3 + (self.model.coefs if o.shape else 0) + known
        free = (3 * seen - unknowns).clamp_min(0.3 * seen).clamp_min(1.0)
        floor = o.floor_m**2 * data.weights.sum(0) / seen.clamp_min(1)
        return ((total + o.trust) / (free + o.trust)).clamp_min(1e-30).maximum(floor)

    def rho(self, square: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Robust cost and weight of weighted squares under noise `s`."""
        q = square / s
        if not self.options.robust:
            return q, torch.ones_like(q)
        c = self.options.robust**2
        d = 1 + q / c
        return q / d, 1 / (d * d)

    def cost(self, look: _Look, s: Tensor) -> Tensor:
        """(B,) at the noise `s`."""
        out = self.rho(look.off.square, s)[0].sum(0) + look.extra
        if look.off.flat is not None:
            out = out + self.rho(look.off.flat_square, s)[0].sum(0)
        return out

    def _weights(self, data: Data, look: _Look, s: Tensor) -> tuple[Tensor, Tensor | None]:
        weight = data.weights * self.rho(look.off.square, s)[1] / s
        if data.rays is None:
            return weight, None
        return weight, data.ray_weights * self.rho(look.off.flat_square, s)[1] / s

    def matrix(self, data: Data, state: State, look: _Look, s: Tensor) -> tuple[Tensor, Tensor | None]:
        """Gauss-Newton matrix of data and prior (D, D, B) in units of 1/sigma^2, and the coupling to shared errors."""
        o = self.options
        weight, flat_weight = self._weights(data, look, s)
        C = None
        if data.isotropic:
            shifted = look.shifted if o.shape else None
            relative = weight / self.mass[:, None]
            H, C = self.moments.matrix(look.posed, relative, shifted, o.scale, look.gone is not None)
        else:
            shifted = look.shifted if o.shape else None
            H = normal.matrix(
                self.model, self.blocks, data, look.posed, weight, flat_weight, shifted, o.scale
            )
            H = H.permute(1, 2, 0)
        self.prior.add_to(H, look.prior)
        if o.shape:
            S = torch.arange(ROTATIONS + 3, ROTATIONS + 3 + self.model.coefs, device=H.device)
            H[S, S] += o.coef_precision
        return H, C

    def slope(self, data: Data, state: State, look: _Look, s: Tensor) -> Tensor:
        """Minus half the gradient of the cost (D, B), but for what pose correctives change with the pose.

        The matrix does not know that either; with both left out the iteration converges faster, to a point that
        is as near to the truth.
        """
        o, model, posed = self.options, self.model, look.posed
        force = forces(data, posed, look.off, *self._weights(data, look, s))
        B = force.shape[-1]
        flat = (force[:, None] * posed.lever[:, :, None]).reshape(-1, 9, B)
        sums = (model.weights.T @ torch.cat([flat, force], 1).reshape(len(force), -1)).reshape(
            N_JOINTS, 12, B
        )
        pulled, push = sums[:, :9].reshape(N_JOINTS, 3, 3, B), sums[:, 9:]
        # Torque of each joint's own share about that joint, then down the tree.
        spun = mm(posed.turn, pulled) - mv(posed.turn, posed.rest)[:, :, None] * push[:, None]
        torque = torch.stack([spun[:, b, c] - spun[:, c, b] for b, c in ((1, 2), (2, 0), (0, 1))], 1)
        arm = posed.joints - posed.joints[:1]
        both = torch.cat([torque + cross(arm, push), push], 1).reshape(N_JOINTS, -1)
        moved = (model.below @ both).reshape(N_JOINTS, 6, B)
        turn = moved[:, :3] - cross(arm, moved[:, 3:])
        look.prior.differentiate(posed.world, model.parent)
        parts = [(turn + look.prior.slope).reshape(ROTATIONS, B), moved[0, 3:]]
        if o.shape:
            back = (posed.blend[:, :3] * force[:, None]).sum(2)  # forces in the rest pose
            look.shifted = model.coef_motion(posed)
            slope = model.directions.reshape(-1, model.coefs).T @ back.reshape(-1, B)
            slope = slope + (look.shifted * push[:, :, None]).sum((0, 1))
            parts.append(slope - o.coef_precision * state.coefs)
        if o.scale:
            parts.append(((posed.points - state.root) * force).sum((0, 1))[None])
        return torch.cat(parts)

    def step(self, state: State, look: _Look, delta: Tensor) -> State:
        """`delta`: (D, B) applied; each joint's turn capped."""
        o, model = self.options, self.model
        turn = delta[:ROTATIONS].reshape(N_JOINTS, 3, -1)
        turn = turn * (MAX_TURN / turn.norm(dim=1, keepdim=True).clamp_min(1e-9)).clamp(max=1)
        world = look.posed.world
        frame = torch.cat([model.eye[None].expand_as(world[:1]), world[model.parent[1:]]])
        R = mm(exp(mv(transpose(frame), turn)), state.rotations)
        end = ROTATIONS + 3 + model.coefs
        coefs = state.coefs + delta[ROTATIONS + 3 : end] if o.shape else state.coefs
        size = (state.log_scale + delta[-1].clamp(-0.2, 0.2)).clamp(-1.5, 1.5) if o.scale else state.log_scale
        return State(R, state.root + delta[ROTATIONS : ROTATIONS + 3], coefs, size)

    def solve(self, data: Data, state: State) -> Solution:
        """Both stages. Every frame goes to its own end: its result does not depend on the others of the batch."""
        return self.share(data, self.iterate(data, state))

    def iterate(self, data: Data, state: State) -> Solution:
        """Fit with independent noise."""
        return self._iterate(data, state, None, self.options.steps)

    def share(self, data: Data, found: Solution) -> Solution:
        """Go on with shared errors where residuals are alike within parts of the body."""
        if not (self.options.coherent and data.isotropic):
            return found
        look = found.look or self.look(data, found.state)
        weight, _ = self._weights(data, look, found.noise)
        pairs = self.moments.shared(self.moments.share @ (weight / self.mass[:, None]))
        alike, size = coherent.suspicion(look.off.space, weight, self.model.weights, pairs)
        some = torch.where(alike)[0]
        if len(some) == 0:
            return found
        part = data.take(some)
        stated = coherent.stated_variance(part.weights, self.model.weights, self.mass)
        # The body has followed the shared errors as far as it could: what is left understates them.
        first = 4 * (size[some] / stated).mean(1)
        shared = coherent.Shared(first.clamp_min(1e-14), stated)
        better = self._iterate(part, found.state.take(some), shared, self.options.coherent)
        return found.put(some, better.state, better.noise, better.shared)

    def information(self, data: Data, found: Solution) -> tuple[Tensor, Tensor]:
        """Matrix (B, D, D) in units of 1/sigma^2, and right-hand side (B, D), of a step from what was found."""
        o, state, s = self.options, found.state, found.noise
        plain = self.look(data, state)
        slope = self.slope(data, state, plain, s)
        H, _ = self.matrix(data, state, plain, s)
        H, slope = H.permute(2, 0, 1).contiguous(), slope.T.contiguous()
        some = torch.where(found.shared > 0)[0]
        if len(some) and o.coherent and data.isotropic:
            part, there = data.take(some), state.take(some)
            stated = coherent.stated_variance(part.weights, self.model.weights, self.mass)
            look = self.look(part, there, s[some], coherent.Shared(found.shared[some], stated))
            own = self.slope(part, there, look, s[some]).T
            less = torch.cat([self._reduced(part.take(f), look.take(f), s[some][f], stated[f], found.shared[some][f])
                              for f in torch.arange(len(some), device=H.device).split(_SLICE)])  # fmt: skip
            variance = coherent.WHOLE * found.shared[some] * stated.median(1).values
            H[some], slope[some] = coherent.shifted_whole(less, own, variance, ROTATIONS)
        return H, slope

    def _reduced(self, data: Data, look: _Look, s: Tensor, stated: Tensor, shared: Tensor) -> Tensor:
        """(B, D, D) of data and prior with the shared errors eliminated, from the points' own rows."""
        o, model = self.options, self.model
        look.shifted = model.coef_motion(look.posed) if o.shape else None
        look.prior.differentiate(look.posed.world, model.parent)
        J = jacobian(model, look.posed, look.shifted, o.scale)
        weight, _ = self._weights(data, look, s)
        rest = J.new_zeros(J.shape[-1], J.shape[-1], len(J))
        self.prior.add_to(rest, look.prior)
        if o.shape:
            S = torch.arange(ROTATIONS + 3, ROTATIONS + 3 + model.coefs, device=J.device)
            rest[S, S] += o.coef_precision
        data_part = coherent.reduced_rows(J, weight, model.weights, coherent.Shared(shared, stated))
        return (data_part + rest.permute(2, 0, 1)).to(J.dtype)

    def _iterate(self, data: Data, state: State, shared: coherent.Shared | None, steps: int) -> Solution:
        o = self.options
        like, B = state.root, state.root.shape[-1]
        none = like.new_zeros(B)
        look = self.look(data, state)
        s = self.noise(data, look.off)
        out = Solution(state, s, none if shared is None else shared.variance)
        going = torch.arange(B, device=like.device)
        damping = like.new_full((B,), 1e-5)
        known: Tensor | float = 0.0
        if shared is not None:
            look = self.look(data, state, s, shared)
        factor, unit = None, s
        for k in range(_LONGEST * steps):
            self.breathe()
            slope = self.slope(data, state, look, s)
            if shared is not None:
                H, C = self.matrix(data, state, look, s)
                reduced, half = coherent.reduce(H, C, look.gone)
                factor, unit = DenseFactor(reduced, damping), s
                shared, known = coherent.learn(shared, look.gone, half, factor.lower)
            elif factor is None or k in REBUILT or k > max(REBUILT) or o.robust:
                H, _ = self.matrix(data, state, look, s)
                factor, unit = Factor(H, damping), s
            # A kept matrix is that of another noise; the data outweigh the prior by then.
            trial = self.step(state, look, factor.solve(slope * (s / unit)))
            now = look if shared is None else self.look(data, state, s, shared)
            cost = self.cost(now, s)
            seen = self.look(data, trial, s, shared)
            then = self.cost(seen, s)
            better = then < cost  # False for NaN too
            least = o.tolerance if k + 1 < steps else _MOVING
            ended = better & (cost - then < least * cost.abs().clamp_min(1.0))
            damping = torch.where(better, damping * 0.2, (damping * 20).clamp_min(1e-3)).clamp(1e-7, 1e4)
            if bool(better.all()):
                state, look = trial, seen
            else:
                state = trial.where(better, state)
                look = seen.where(better, look) if shared is None else self.look(data, state, s, shared)
            s = self.noise(data, look.off, known)
            out = out.put(going, state, s, none[going] if shared is None else shared.variance)
            if shared is not None:
                if k + 1 == steps:
                    break
            elif bool(ended.any()):
                left = torch.where(~ended)[0]
                if len(left) == 0:
                    break
                going, damping, data, state = going[left], damping[left], data.take(left), state.take(left)
                factor, unit, s, look = factor.take(left), unit[left], s[left], look.take(left)
            if shared is not None:
                look = self.look(data, state, s, shared)
        if shared is None and len(going) == B:
            out.look = look
        return out

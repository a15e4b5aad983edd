"""Gauss-Newton with damping on B bodies at once, each of which goes its own way.

First every frame is fitted with independent noise. Frames whose residuals are alike within parts of the body are then
solved on with shared errors (see `coherent`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backend.body.skeleton import N_JOINTS
from backend.fit.solver import coherent
from backend.fit.solver.arrow import Arrow, ArrowFactor
from backend.fit.solver.batchlast import exp, mm, mv, transpose
from backend.fit.solver.equations import ROTATIONS, Equations, Look
from backend.fit.solver.factor import DenseFactor, Factor
from backend.fit.solver.jacobian import jacobian
from backend.fit.solver.observe import Data
from backend.fit.solver.skin import State

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
_ROUNDING = 1e-5
"""Costs that differ by less than this part are one: they are sums of thousands of numbers with seven digits."""
_DAMPING = 1e-5
"""Damping of the first step, relative to the matrix's diagonal."""


@dataclass
class Solution:
    """Where B frames ended."""

    state: State
    """The bodies."""
    noise: Tensor
    """(B,) variance of the noise that was found, in units of the stated one."""
    shared: Tensor
    """(B,) variance of shared errors, 0 where there are none."""
    look: Look | None = None
    """The look at `state`, where it is at hand."""

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


@dataclass
class _Going:
    """The frames that are not at their end yet, and where they stand."""

    frames: Tensor
    """(b,) their indices in the batch."""
    data: Data
    """What was seen of them."""
    state: State
    """Their bodies."""
    noise: Tensor
    """(b,) variance of the noise at `state`."""
    look: Look
    """The look at `state`."""
    damping: Tensor
    """(b,) of the next step."""
    factor: Factor | ArrowFactor | None = None
    """Of the last matrix that was made."""
    unit: Tensor | None = None
    """(b,) noise under which `factor` was made."""

    def take(self, left: Tensor) -> _Going:
        """Some of the frames (indices)."""
        return _Going(
            self.frames[left], self.data.take(left), self.state.take(left), self.noise[left],
            self.look.take(left), self.damping[left], self.factor.take(left), self.unit[left],
        )  # fmt: skip


class Newton(Equations):
    """The solver for one model and prior; see `Equations` for the arguments."""

    def solve(self, data: Data, state: State) -> Solution:
        """Both stages. Every frame goes to its own end: its result does not depend on the others of the batch."""
        return self.share(data, self.iterate(data, state))

    def iterate(self, data: Data, state: State) -> Solution:
        """Fit with independent noise, each frame until a step changes little."""
        steps, batch = self.options.steps, state.root.shape[-1]
        look = self.look(data, state)
        noise = self.noise(data, look.off)
        none = torch.zeros_like(state.root[0])
        out = Solution(state, noise, none)
        everyone = torch.arange(batch, device=state.root.device)
        going = _Going(everyone, data, state, noise, look, torch.full_like(none, _DAMPING))
        for k in range(_LONGEST * steps):
            self.breathe()
            delta = self._direction(going, k)
            ended = self._advance(going, delta, self.options.tolerance if k + 1 < steps else _MOVING)
            out = out.put(going.frames, going.state, going.noise, none[going.frames])
            if bool(ended.any()):
                left = torch.where(~ended)[0]
                if len(left) == 0:
                    break
                going = going.take(left)
        if len(going.frames) == batch:
            out.look = going.look
        return out

    def _direction(self, going: _Going, k: int) -> Tensor:
        """(D, b) the k-th step, from a new matrix or from the one that was kept."""
        slope = self.slope(going.data, going.state, going.look, going.noise)
        if k in REBUILT or k > max(REBUILT) or self.options.robust:
            going.factor, going.unit = self._factor(going), going.noise
        # A kept matrix is that of another noise; the data outweigh the prior by then.
        return going.factor.solve(slope * (going.noise / going.unit))

    def _factor(self, going: _Going) -> Factor | ArrowFactor:
        if not going.data.isotropic:
            return ArrowFactor(self.arrow(going.data, going.look, going.noise), going.damping)
        H, _ = self.matrix(going.data, going.look, going.noise)
        return Factor(H, going.damping)

    def _advance(self, going: _Going, delta: Tensor, least: float) -> Tensor:
        """Take the step `delta` where it lowers the cost, estimate noise and damping anew. (b,) bool: the frames
        whose cost it lowered by less than the part `least`, or changed by rounding only, which are at their end."""
        trial = self.step(going.state, going.look, delta)
        seen = self.look(going.data, trial)
        cost, then = self.cost(going.look, going.noise), self.cost(seen, going.noise)
        # False where the cost is not a number.
        better = then < cost
        going.damping = _damped(going.damping, better)
        if bool(better.all()):
            going.state, going.look = trial, seen
        else:
            going.state = trial.where(better, going.state)
            going.look = seen.where(better, going.look)
        going.noise = self.noise(going.data, going.look.off)
        gain, size = cost - then, cost.abs().clamp_min(1.0)
        # At the very bottom no step lowers the cost any more, and shorter ones do not either.
        return (better & (gain < least * size)) | (gain.abs() < _ROUNDING * size)

    def step(self, state: State, look: Look, delta: Tensor) -> State:
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

    def share(self, data: Data, found: Solution) -> Solution:
        """Go on with shared errors where residuals are alike within parts of the body."""
        if not (self.options.coherent and data.isotropic):
            return found
        look = found.look or self.look(data, found.state)
        weight, _ = self.weights(data, look, found.noise)
        alike, size = coherent.suspicion(look.off.space, weight, self.model.weights, self.pairs(weight))
        some = torch.where(alike)[0]
        if len(some) == 0:
            return found
        part = data.take(some)
        stated = coherent.stated_variance(part.weights, self.model.weights, self.mass)
        # The body has followed the shared errors as far as it could: what is left understates them.
        first = 4 * (size[some] / stated).mean(1)
        better = self._with_shared(
            part, found.state.take(some), coherent.Shared(first.clamp_min(1e-14), stated)
        )
        return found.put(some, better.state, better.noise, better.shared)

    def _with_shared(self, data: Data, state: State, shared: coherent.Shared) -> Solution:
        """Solve on from `state` with shared errors, whose variance each step learns better; all frames take all
        steps."""
        s = self.noise(data, self.look(data, state).off)
        damping = torch.full_like(s, _DAMPING)
        for _ in range(self.options.coherent):
            self.breathe()
            look = self.look(data, state, s, shared)
            delta, shared, known = self._shared_direction(data, state, look, s, shared, damping)
            trial = self.step(state, look, delta)
            # Both sides under the variance that was learnt just now.
            cost = self.cost(self.look(data, state, s, shared), s)
            seen = self.look(data, trial, s, shared)
            better = self.cost(seen, s) < cost
            damping = _damped(damping, better)
            if bool(better.all()):
                state, look = trial, seen
            else:
                state = trial.where(better, state)
                look = self.look(data, state, s, shared)
            s = self.noise(data, look.off, known)
        return Solution(state, s, shared.variance)

    def _shared_direction(
        self, data: Data, state: State, look: Look, s: Tensor, shared: coherent.Shared, damping: Tensor
    ) -> tuple[Tensor, coherent.Shared, Tensor]:
        """A step (D, B) with the shared errors eliminated, their variances as it shows them, and the number (B,) of
        unknowns among them that the points determine."""
        slope = self.slope(data, state, look, s)
        H, C = self.matrix(data, look, s)
        reduced, half = coherent.reduce(H, C, look.gone)
        factor = DenseFactor(reduced, damping)
        learnt, known = coherent.learn(shared, look.gone, half, factor.lower)
        return factor.solve(slope), learnt, known

    def information(self, data: Data, found: Solution) -> tuple[Tensor, Tensor]:
        """Matrix (B, D, D) in units of 1/sigma^2, and right-hand side (B, D), of a step from what was found."""
        state, s = found.state, found.noise
        plain = self.look(data, state)
        slope = self.slope(data, state, plain, s)
        H, _ = self.matrix(data, plain, s)
        H, slope = H.permute(2, 0, 1).contiguous(), slope.T.contiguous()
        some = torch.where(found.shared > 0)[0]
        if len(some) and self.options.coherent and data.isotropic:
            H[some], slope[some] = self._shared_information(data.take(some), found.take(some))
        return H, slope

    def pieces(self, data: Data, found: Solution, fingers: bool = True) -> tuple[Arrow, Tensor, Look]:
        """`information` of points that are no plain places in space, in pieces, with the slope as (D, B), and the look
        that they come from; `fingers`: False where they are held."""
        look = self.look(data, found.state)
        slope = self.slope(data, found.state, look, found.noise)
        return self.arrow(data, look, found.noise, fingers), slope, look

    def _shared_information(self, data: Data, found: Solution) -> tuple[Tensor, Tensor]:
        """`information` of frames that all have shared errors."""
        s = found.noise
        stated = coherent.stated_variance(data.weights, self.model.weights, self.mass)
        look = self.look(data, found.state, s, coherent.Shared(found.shared, stated))
        own = self.slope(data, found.state, look, s).T
        slices = torch.arange(len(s), device=s.device).split(_SLICE)
        less = torch.cat([self._reduced(data.take(f), look.take(f), s[f], stated[f], found.shared[f])
                          for f in slices])  # fmt: skip
        variance = coherent.WHOLE * found.shared * stated.median(1).values
        return coherent.shifted_whole(less, own, variance, ROTATIONS)

    def _reduced(self, data: Data, look: Look, s: Tensor, stated: Tensor, shared: Tensor) -> Tensor:
        """(B, D, D) of data and prior with the shared errors eliminated, from the points' own rows."""
        o, model = self.options, self.model
        look.shifted = model.coef_motion(look.posed) if o.shape else None
        look.prior.differentiate(look.posed.world, model.parent)
        J = jacobian(model, look.posed, look.shifted, o.scale)
        weight, _ = self.weights(data, look, s)
        rest = J.new_zeros(J.shape[-1], J.shape[-1], len(J))
        self.add_prior(rest, look)
        data_part = coherent.reduced_rows(J, weight, model.weights, coherent.Shared(shared, stated))
        return (data_part + rest.permute(2, 0, 1)).to(J.dtype)


def _damped(damping: Tensor, better: Tensor) -> Tensor:
    """(B,) for the next step: less after a step that helped, more after one that did not."""
    return torch.where(better, damping * 0.2, (damping * 20).clamp_min(1e-3)).clamp(1e-7, 1e4)

"""What a fit makes small, and its Gauss-Newton equations at a state, for B bodies at once.

Cost of a frame: sum of rho(w |r|^2 / s) + prior, where s is the variance of the noise in units of the stated one.
It is estimated from the residuals, so that a fit to exact points is exact and a fit to coarse ones leans on the
prior; with `noise="given"` it stays 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from backend.body.skeleton import N_JOINTS
from backend.fit.solver import coherent, normal
from backend.fit.solver.arrow import REST, Arrow
from backend.fit.solver.batchlast import cross, mm, mv
from backend.fit.solver.moments import PairMoments
from backend.fit.solver.observe import Data, Residuals, forces, posed_points, residuals
from backend.fit.solver.prior import PosePrior, PriorTerms
from backend.fit.solver.skin import Posed, SkinModel, State

ROTATIONS = 3 * N_JOINTS
"""Unknowns that are rotations; three of the root follow, then the coefficients, then the size."""
MEDIAN = 2.366
"""Median of the squared length of a normal vector in three dimensions."""


@dataclass(frozen=True)
class NewtonOptions:
    """What is solved for, what is known of the noise, and when a frame is at its end."""

    steps: int = 4
    """Steps at most; three times as many where a frame is still far from its end."""
    tolerance: float = 1e-4
    """A frame is at its end when a step lowers its cost by less than this part of it."""
    robust: float = 0.0
    """Scale of the Geman-McClure loss in sigmas; 0 for least squares."""
    shape: bool = True
    """Solve for the coefficients of the shape."""
    scale: bool = False
    """Solve for the size."""
    noise: str = "estimated"
    """Either "estimated": from the residuals; or "given": as stated."""
    trust: float = 0.0
    """Observations that the stated noise counts as, where the noise is estimated."""
    coef_precision: float = 1.0
    """Of betas and expression: 1/variance of the prior on them."""
    coherent: int = 8
    """Steps with shared errors at most; 0 for never."""
    floor_m: float = 2e-5
    """The noise is never taken for less, metres."""


@dataclass
class Look:
    """What was worked out of B bodies at one state."""

    posed: Posed
    """The bodies, posed."""
    off: Residuals
    """How far they are from what was seen; without the shared errors, where those are learnt."""
    prior: PriorTerms
    """What the pose prior says."""
    extra: Tensor
    """(B,) cost of all that is not a residual: the prior, the coefficients, the shared errors."""
    gone: coherent.Eliminated | None = None
    """The shared errors that were taken out of `off`."""
    shifted: Tensor | None = None
    """(55, 3, nc, B) of `SkinModel.coef_motion`; filled in by `Equations.slope` where the shape is solved for."""

    def take(self, frames: Tensor) -> Look:
        """Some frames, of a look without shared errors."""
        return Look(
            self.posed.take(frames), self.off.take(frames), self.prior.take(frames), self.extra[frames]
        )

    def where(self, keep: Tensor, other: Look) -> Look:
        """This one in the frames `keep` (B,), `other` elsewhere; both without shared errors."""
        pairs = ((self.posed, other.posed), (self.off, other.off), (self.prior, other.prior))
        parts = (a.where(keep, b) for a, b in pairs)
        return Look(*parts, torch.where(keep, self.extra, other.extra))


class Equations:
    """Cost, slope and matrix for one model and prior. `mass`: (N,) original points that each point stands for;
    `breathe`: called before each step of a solver."""

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

    def with_options(self, **changes) -> Self:
        """The same with other options."""
        return type(self)(self.model, self.mass, self.prior, replace(self.options, **changes), self._kept,
                          self.breathe)  # fmt: skip

    def look(
        self, data: Data, state: State, s: Tensor | None = None, shared: coherent.Shared | None = None
    ) -> Look:
        """Residuals and prior at `state`. With `shared`, and the noise `s` (B,), the shared errors are taken out of
        the residuals."""
        posed = posed_points(self.model, data, state)
        off = residuals(data, posed)
        prior = self.prior.terms(state.rotations)
        extra = prior.cost + self.options.coef_precision * (state.coefs**2).sum(0)
        if shared is None:
            return Look(posed, off, prior, extra)
        r, W = off.space, self.model.weights
        for _ in range(2 if self.options.robust else 1):
            weight = data.weights * self.rho(off.square, s)[1] / s
            gone = coherent.eliminate(r, weight, W, self.pairs(weight), shared)
            own = r - (W @ gone.shifts.reshape(N_JOINTS, -1)).reshape(r.shape)
            off = Residuals(own, (own * own).sum(1) * data.weights)
        return Look(posed, off, prior, extra + gone.cost, gone)

    def pairs(self, weight: Tensor) -> Tensor:
        """(55, 55, B) weight of the points that pairs of joints share, from the points' own `weight` (N, B)."""
        return self.moments.shared(self.moments.share @ (weight / self.mass[:, None]))

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

    def cost(self, look: Look, s: Tensor) -> Tensor:
        """(B,) at the noise `s`."""
        out = self.rho(look.off.square, s)[0].sum(0) + look.extra
        if look.off.flat is not None:
            out = out + self.rho(look.off.flat_square, s)[0].sum(0)
        return out

    def weights(self, data: Data, look: Look, s: Tensor) -> tuple[Tensor, Tensor | None]:
        """(N, B) 1/variance that each point has now: the data's times the robust share over the noise `s`; and the
        same for rays, None where there are no rays."""
        weight = data.weights * self.rho(look.off.square, s)[1] / s
        if data.rays is None:
            return weight, None
        return weight, data.ray_weights * self.rho(look.off.flat_square, s)[1] / s

    def matrix(self, data: Data, look: Look, s: Tensor) -> tuple[Tensor, Tensor | None]:
        """Gauss-Newton matrix of data and prior (D, D, B) in units of 1/sigma^2, and the coupling to shared errors.

        Where the shape is solved for, `slope` must have looked first.
        """
        if not data.isotropic:
            return self.arrow(data, look, s).dense().permute(1, 2, 0), None
        o = self.options
        weight, _ = self.weights(data, look, s)
        shifted = look.shifted if o.shape else None
        relative = weight / self.mass[:, None]
        H, C = self.moments.matrix(look.posed, relative, shifted, o.scale, look.gone is not None)
        self.add_prior(H, look)
        return H, C

    def arrow(self, data: Data, look: Look, s: Tensor, fingers: bool = True) -> Arrow:
        """The same of points that are seen as rays, up to a shift or with a blurred axis, in pieces; `fingers`: False
        where they are held. `slope` must have looked first."""
        o = self.options
        weight, flat_weight = self.weights(data, look, s)
        shifted = look.shifted if o.shape else None
        H = normal.matrix(
            self.model, self.blocks, data, look.posed, weight, flat_weight, shifted, o.scale, fingers
        )
        self.prior.add_to_arrow(H, look.prior)
        if o.shape:
            H.rest.diagonal(dim1=1, dim2=2)[:, self.shape_rows] += o.coef_precision
        return H

    @property
    def shape_rows(self) -> slice:
        """The coefficients among the unknowns of `Arrow.rest`."""
        return slice(REST + 3, REST + 3 + self.model.coefs)

    def add_prior(self, H: Tensor, look: Look) -> None:
        """Add what pose prior and coefficients say to `H` (D, D, B), in place; the prior is differentiated."""
        self.prior.add_to(H, look.prior)
        if self.options.shape:
            S = torch.arange(ROTATIONS + 3, ROTATIONS + 3 + self.model.coefs, device=H.device)
            H[S, S] += self.options.coef_precision

    def slope(self, data: Data, state: State, look: Look, s: Tensor) -> Tensor:
        """Minus half the gradient of the cost (D, B), but for what pose correctives change with the pose.

        The matrix does not know that either; with both left out the iteration converges faster, to a point that
        is as near to the truth.
        """
        o, model, posed = self.options, self.model, look.posed
        force = forces(data, posed, look.off, *self.weights(data, look, s))
        pulled, push = self._on_joints(posed, force)
        turn, whole = self._down_the_tree(posed, pulled, push)
        look.prior.differentiate(posed.world, model.parent)
        parts = [(turn + look.prior.slope).reshape(ROTATIONS, -1), whole]
        if o.shape:
            look.shifted = model.coef_motion(posed)
            parts.append(self._on_shape(posed, look.shifted, force, push) - o.coef_precision * state.coefs)
        if o.scale:
            parts.append(((posed.points - state.root) * force).sum((0, 1))[None])
        return torch.cat(parts)

    def _on_joints(self, posed: Posed, force: Tensor) -> tuple[Tensor, Tensor]:
        """Each joint's own share of the forces (N, 3, B): their products with the points' rest places
        (55, 3 of the force, 3 of the lever, B), and their sums (55, 3, B)."""
        B = force.shape[-1]
        flat = (force[:, None] * posed.lever[:, :, None]).reshape(-1, 9, B)
        sums = (self.model.weights.T @ torch.cat([flat, force], 1).reshape(len(force), -1)).reshape(
            N_JOINTS, 12, B
        )
        return sums[:, :9].reshape(N_JOINTS, 3, 3, B), sums[:, 9:]

    def _down_the_tree(self, posed: Posed, pulled: Tensor, push: Tensor) -> tuple[Tensor, Tensor]:
        """Torque (55, 3, B) about every joint of all that hangs on it, and the force on the whole body (3, B)."""
        # Torque of each joint's own share about that joint, then down the tree.
        spun = mm(posed.turn, pulled) - mv(posed.turn, posed.rest)[:, :, None] * push[:, None]
        torque = torch.stack([spun[:, b, c] - spun[:, c, b] for b, c in ((1, 2), (2, 0), (0, 1))], 1)
        arm = posed.joints - posed.joints[:1]
        both = torch.cat([torque + cross(arm, push), push], 1).reshape(N_JOINTS, -1)
        moved = (self.model.below @ both).reshape(N_JOINTS, 6, -1)
        return moved[:, :3] - cross(arm, moved[:, 3:]), moved[0, 3:]

    def _on_shape(self, posed: Posed, shifted: Tensor, force: Tensor, push: Tensor) -> Tensor:
        """(nc, B) what the forces want of the coefficients: through the points of the rest pose and the joints."""
        model = self.model
        back = (posed.blend[:, :3] * force[:, None]).sum(2)
        slope = model.directions.reshape(-1, model.coefs).T @ back.reshape(-1, force.shape[-1])
        return slope + (shifted * push[:, :, None]).sum((0, 1))

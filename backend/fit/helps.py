"""What helps the frames of a track beside what was seen in them: how people move, and what rests on the floor.

Each help adds to the equations of the tied frames (`track.tied_steps`): a matrix and a slope for every frame, and a
matrix between neighbours. Unknowns are those of the tie: turns of the joints about their parents' axes, then the root.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch
from torch import Tensor

from backend.fit.solver import batchlast as bl
from backend.fit.solver.equations import ROTATIONS
from backend.fit.solver.jacobian import jacobian
from backend.fit.solver.skin import SkinModel, State

FREEDOM = 4.0
"""Degrees of freedom of the Student t of what is expected: far from what is seen it gives way."""


@dataclass
class Share:
    """What a help adds for n frames of D unknowns."""

    H: Tensor
    """(n, D, D)."""
    g: Tensor
    """(n, D) minus half the slope of the cost."""
    near: Tensor | None = None
    """(n - 1, D, D) between each frame (rows) and the next (columns)."""


class Help(Protocol):
    """See the module."""

    def take(self, frames: slice) -> Self:
        """The same for some frames in a row."""
        ...

    def share(self, model: SkinModel, state: State, joints: Tensor) -> Share:
        """At `state`, for `joints` (k,) and the root."""
        ...

    def cost(self, model: SkinModel, state: State) -> Tensor:
        """() float64."""
        ...


@dataclass(frozen=True)
class Habit:
    """Turns of the body's joints as they are expected, and the way of the root."""

    rotations: Tensor
    """(k, 3, 3, n) relative to the parents, of the joints 0 to k - 1."""
    precision: Tensor
    """(k, n) 1/rad^2 about each axis."""
    step: Tensor
    """(3, n - 1) metres from frame to frame."""
    step_precision: Tensor
    """(3, n - 1) 1/m^2 along each axis."""

    def take(self, frames: slice) -> Habit:
        steps = slice(frames.start, max(frames.stop - 1, frames.start))
        return Habit(self.rotations[..., frames], self.precision[:, frames], self.step[:, steps],
                     self.step_precision[:, steps])  # fmt: skip

    def _off(self, state: State) -> tuple[Tensor, Tensor, Tensor]:
        k = len(self.rotations)
        off = bl.log(bl.mm(self.rotations, bl.transpose(state.rotations[:k])))
        square = (off * off).sum(1) * self.precision
        way = self.step - (state.root[:, 1:] - state.root[:, :-1])
        return off, square, way

    def share(self, model: SkinModel, state: State, joints: Tensor) -> Share:
        off, square, way = self._off(state)
        k, n = len(self.rotations), state.root.shape[-1]
        weight = self.precision * (FREEDOM + 3) / (FREEDOM + square)
        H, g = off.new_zeros(n, 3 * k + 3, 3 * k + 3), off.new_zeros(n, 3 * k + 3)
        g[:, : 3 * k] = (off * weight[:, None]).reshape(3 * k, n).T
        diagonal = H.diagonal(dim1=1, dim2=2)
        diagonal[:, : 3 * k] += weight.repeat_interleave(3, 0).T
        pull = (way * self.step_precision).T
        g[:-1, 3 * k :] -= pull
        g[1:, 3 * k :] += pull
        diagonal[:-1, 3 * k :] += self.step_precision.T
        diagonal[1:, 3 * k :] += self.step_precision.T
        near = off.new_zeros(n - 1, 3 * k + 3, 3 * k + 3)
        near.diagonal(dim1=1, dim2=2)[:, 3 * k :] -= self.step_precision.T
        return Share(H, g, near)

    def cost(self, model: SkinModel, state: State) -> Tensor:
        _, square, way = self._off(state)
        turned = (FREEDOM + 3) * torch.log1p(square.double() / FREEDOM)
        return turned.sum() + (way * way * self.step_precision).double().sum()


@dataclass(frozen=True)
class Ground:
    """A floor that nothing sinks into, on which some points rest and stay."""

    points: SkinModel
    """q points of the body that may touch the floor."""
    up: Tensor
    """(3,) unit vector."""
    floor: float
    """Height of the origin above the floor, metres."""
    rest: Tensor
    """(q, n) 1/m^2 of a point's being on the floor."""
    level: Tensor
    """(q, n) metres above the floor of what the point rests on: 0, or more on a step or a wall."""
    stay: Tensor
    """(q, n - 1) 1/m^2 of a point's staying where it is, from frame to frame."""
    sunk: float
    """1/m^2 of a point's not being below the floor."""

    def take(self, frames: slice) -> Ground:
        steps = slice(frames.start, max(frames.stop - 1, frames.start))
        return replace(self, rest=self.rest[:, frames], level=self.level[:, frames], stay=self.stay[:, steps])

    def _off(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Heights (q, n) above what is under the points, and their weights."""
        height = torch.einsum("a,qan->qn", self.up, points) + self.floor
        low = height < 0
        return torch.where(low, height, height - self.level), torch.where(
            low, self.rest.clamp(min=self.sunk), self.rest
        )

    def share(self, model: SkinModel, state: State, joints: Tensor) -> Share:
        posed = self.points.pose(state)
        rows = torch.cat([(3 * joints[:, None] + torch.arange(3, device=joints.device)).reshape(-1),
                          torch.arange(ROTATIONS, ROTATIONS + 3, device=joints.device)])  # fmt: skip
        J = jacobian(self.points, posed, None, False)[..., rows]
        k = len(joints)
        # Increments about the world's axes -> about the parents'.
        above = posed.world[self.points.parent[joints]].permute(3, 0, 1, 2)
        above = torch.where((joints == 0)[:, None, None], torch.eye(3).to(above), above)
        turns = torch.einsum("nqakc,nkcd->nqakd", J[..., : 3 * k].unflatten(-1, (k, 3)), above)
        J = torch.cat([turns.flatten(-2), J[..., 3 * k :]], -1)
        height, weight = self._off(posed.points)
        up = torch.einsum("a,nqad->nqd", self.up, J)
        heavy = up * weight.T[..., None]
        H, g = up.mT @ heavy, -(heavy * height.T[..., None]).sum(1)
        step = (posed.points[..., 1:] - posed.points[..., :-1]).permute(2, 0, 1)
        # Of all points only those of the contacts may stay.
        some = torch.where((self.stay > 0).any(1))[0]
        J, step, stay = J[:, some], step[:, some], self.stay[some].T[..., None, None]
        before, after = (J[:-1] * stay).flatten(1, 2), (J[1:] * stay).flatten(1, 2)
        H[:-1] += J[:-1].flatten(1, 2).mT @ before
        H[1:] += J[1:].flatten(1, 2).mT @ after
        g[:-1] += (before * step.flatten(1)[..., None]).sum(1)
        g[1:] -= (after * step.flatten(1)[..., None]).sum(1)
        return Share(H, g, -(before.mT @ J[1:].flatten(1, 2)))

    def cost(self, model: SkinModel, state: State) -> Tensor:
        points = self.points.pose(state).points
        height, weight = self._off(points)
        step = points[..., 1:] - points[..., :-1]
        return (height * height * weight).double().sum() + ((step * step).sum(1) * self.stay).double().sum()


__all__ = ["Ground", "Habit", "Help", "Share"]

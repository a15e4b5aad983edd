"""What was seen of B bodies, and how far a posed body is from it: residuals, robust weights and forces.

Every observation becomes a force on its point, whatever its kind, so that the rest of the solver knows points only:
places in space (isotropic, or with other weights along the camera's axes), places up to a common shift (a camera
alone does not know the distance), and places in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from backend.fit.solver.skin import Posed, SkinModel, State

NEAR_M = 0.1
"""Points nearer to the camera than this are taken to be this far."""


@dataclass(frozen=True)
class Data:
    """Observations of B frames at N points."""

    targets: Tensor
    """(N, 3, B) metres."""
    weights: Tensor
    """(N, B) 1/variance in one unit for all, 0 where unseen."""
    shift: Tensor | None = None
    """(N, 3, B) of the rest points, or None."""
    axes: Tensor | None = None
    """(3,) factors of the weights along x, y, z; None for 1, 1, 1."""
    placed: bool = True
    """False when the targets are known only up to a common shift."""
    rays: Tensor | None = None
    """(N, 2, B) as x/z, y/z, or None."""
    ray_weights: Tensor | None = None
    """(N, B) 1/variance of the rays, in the same unit as `weights`."""

    @property
    def isotropic(self) -> bool:
        """Whether all that was seen are places in space, as certain along one axis as along another."""
        return self.axes is None and self.placed and self.rays is None

    def take(self, frames) -> Data:
        """Some frames: a slice, indices or a mask."""
        names = ("targets", "weights", "shift", "rays", "ray_weights")
        some = {n: getattr(self, n)[..., frames] for n in names if getattr(self, n) is not None}
        return replace(self, **some)


@dataclass
class Residuals:
    """How far posed points are from what was seen."""

    space: Tensor
    """(N, 3, B) metres."""
    square: Tensor
    """(N, B) weighted square."""
    flat: Tensor | None = None
    """(N, 2, B) of the rays, None without."""
    flat_square: Tensor | None = None
    """(N, B) their weighted square, None without."""

    def take(self, frames: Tensor) -> Residuals:
        """Some frames (indices)."""
        parts = (getattr(self, f.name) for f in fields(self))
        return Residuals(*(None if p is None else p[..., frames] for p in parts))

    def where(self, keep: Tensor, other: Residuals) -> Residuals:
        """This in the frames `keep` (B,) bool, `other` elsewhere."""
        parts = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return Residuals(*(None if a is None else torch.where(keep, a, b) for a, b in parts))


def posed_points(model: SkinModel, data: Data, state: State) -> Posed:
    """The body at `state`, its points moved by `data.shift` in the rest pose."""
    posed = model.pose(state)
    if data.shift is None:
        return posed
    lever = posed.lever + data.shift
    points = posed.blend[:, 3] + (posed.blend[:, :3] * lever[:, :, None]).sum(1)
    return replace(posed, lever=lever, points=points)


def residuals(data: Data, posed: Posed) -> Residuals:
    """How far the points are from what was seen."""
    r = data.targets - posed.points
    if not data.placed:
        w = data.weights[:, None]
        r = r - (w * r).sum(0) / w.sum(0).clamp_min(1e-12)
    square = r * r if data.axes is None else r * r * data.axes[:, None]
    square = square.sum(1) * data.weights
    if data.rays is None:
        return Residuals(r, square)
    z = posed.points[:, 2:].clamp_min(NEAR_M)
    flat = data.rays - posed.points[:, :2] / z
    return Residuals(r, square, flat, (flat * flat).sum(1) * data.ray_weights)


def forces(data: Data, posed: Posed, off: Residuals, weight: Tensor, flat_weight: Tensor | None) -> Tensor:
    """(N, 3, B): minus half the gradient of the weighted squares by the points' places. `weight`: (N, B), data's
    times the robust share; `flat_weight`: the same for rays."""
    f = off.space * weight[:, None]
    if data.axes is not None:
        f = f * data.axes[:, None]
    if not data.placed:
        w = data.weights / data.weights.sum(0).clamp_min(1e-12)
        f = f - w[:, None] * f.sum(0)
    if data.rays is None:
        return f
    z = posed.points[:, 2:].clamp_min(NEAR_M)
    side = off.flat * (flat_weight[:, None] / z)
    depth = -(side * posed.points[:, :2] / z).sum(1, keepdim=True)
    return f + torch.cat([side, depth], 1)


def root_from_rays(points: Tensor, data: Data) -> Tensor:
    """(3, B) shift that makes `points` (N, 3, B), known up to a shift, lie on the rays (least squares)."""
    w = data.ray_weights
    total = w.sum(0, keepdim=True)
    w = torch.where(total > 0, w / total.clamp_min(1e-12), 1e-6)
    A = points.new_zeros(len(points), 2, 3, points.shape[-1])
    A[:, 0, 0] = A[:, 1, 1] = 1
    A[:, :, 2] = -data.rays
    b = data.rays * points[:, 2:] - points[:, :2]
    left = torch.einsum("nijb,nikb,nb->bjk", A, A, w)
    right = torch.einsum("nijb,nib,nb->bj", A, b, w)
    shift = torch.linalg.solve(left + 1e-6 * torch.eye(3, dtype=left.dtype, device=left.device), right).T
    # A person is in front of the camera; a degenerate frame starts three metres away.
    depth = torch.where(shift[2] > 0.3, shift[2], 3.0)
    return torch.cat([shift[:2], depth[None]])

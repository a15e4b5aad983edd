"""Errors that the points of one part of the body share.

A localizer that is wrong about a forearm is wrong about all of its points in the same way, so a thousand points
do not make it a thousand times surer. Besides the noise of each point, the points of every joint share a shift
(spread over the points by their skinning weights), whose variance is learnt from the residuals; the shifts are
eliminated from the equations. What is left is the arrangement of a part's points among themselves, which shared
errors leave alone, and as much of their place as the variances allow.
Source of the variance's update: MacKay, "Bayesian interpolation" (1992), eq. 2.27 on well-determined parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backend.body.skeleton import N_JOINTS

SUSPICIOUS = 8.0
"""Mean square of a part's summed residuals, in what independent noise would give, from which they are alike."""
NOTABLE_M = 0.008
"""Mean residual of a part, per axis, below which a body of slightly other shape explains it as well."""
WHOLE = 0.3
"""Variance of a shift of the whole body, in that of the parts' shifts: nothing in one frame tells it from a body
that stands elsewhere, but frames that are tied in time, and stated uncertainties, must allow for it."""
_LOST = 2e-6
_GROWTH = 30.0
"""Most by which a variance is changed in one step."""


@dataclass
class Shared:
    """State of the shared errors."""

    variance: Tensor
    """(B,) in units of `stated`."""
    stated: Tensor
    """(B, 55) the points' own stated variance, metres^2."""

    @property
    def precision(self) -> Tensor:
        """(B, 55)."""
        return 1 / (self.variance[:, None] * self.stated)

    def take(self, frames) -> Shared:
        """Some frames."""
        return Shared(self.variance[frames], self.stated[frames])


@dataclass
class Eliminated:
    """What a step needs of the shared errors."""

    shifts: Tensor
    """(55, 3, B) metres, most likely at the present pose."""
    lower: Tensor
    """(B, 55, 55) factor of their matrix."""
    cost: Tensor
    """(B,) of the shifts."""


def stated_variance(weights: Tensor, skinning: Tensor, mass: Tensor) -> Tensor:
    """(B, 55) mean stated variance of one original point at each joint, from weights (N, B) of clusters of `mass`."""
    seen = (weights > 0).to(weights.dtype) * mass[:, None]
    each = torch.where(weights > 0, mass[:, None] ** 2 / weights.clamp_min(1e-30), 0.0)
    total = skinning.T @ seen
    mean = (seen * each / mass[:, None]).sum(0) / seen.sum(0).clamp_min(1e-12)
    return torch.where(total > 1e-6, (skinning.T @ each) / total.clamp_min(1e-6), mean).T.clamp_min(1e-12)


def suspicion(residual: Tensor, weight: Tensor, skinning: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
    """Whether residuals (N, 3, B), of weight 1/variance (N, B), are alike within parts.

    First: (B,) bool, whether some part's summed residuals are far larger than independent noise would leave and
    its mean residual is of a size that no misfit of shape explains. Second: (B, 55) squares of the parts' mean
    residual per axis, metres^2.
    """
    B = residual.shape[-1]
    total = (skinning.T @ (residual * weight[:, None]).reshape(len(residual), -1)).reshape(N_JOINTS, 3, B)
    own = shared.diagonal(dim1=0, dim2=1).T  # (55, B)
    heavy = own > 1e-6 * own.amax(0)
    ratio = (total**2).sum(1) / (3 * own.clamp_min(1e-30))
    mass = (skinning.T @ weight).clamp_min(1e-30)
    size = torch.where(heavy, (total**2).sum(1) / (3 * mass**2), 0.0)
    return ((ratio > SUSPICIOUS) & (size > NOTABLE_M**2)).any(0), size.T


def eliminate(
    residual: Tensor, weight: Tensor, skinning: Tensor, shared: Tensor, state: Shared
) -> Eliminated:
    """The most likely shifts for residuals (N, 3, B) of weight (N, B); `shared`: (55, 55, B) of the pairs."""
    B = residual.shape[-1]
    total = (skinning.T @ (residual * weight[:, None]).reshape(len(residual), -1)).reshape(N_JOINTS, 3, B)
    M = shared.permute(2, 0, 1) + torch.diag_embed(state.precision)
    lower, _ = torch.linalg.cholesky_ex(M)
    shifts = torch.cholesky_solve(total.permute(2, 0, 1), lower).nan_to_num()
    cost = ((shifts**2).sum(-1) * state.precision).sum(-1)
    return Eliminated(shifts.permute(1, 2, 0), lower, cost)


def reduce(H: Tensor, C: Tensor, gone: Eliminated) -> tuple[Tensor, Tensor]:
    """Matrix (B, D, D) without the shifts, from H (D, D, B) and their coupling C (D, 3, 55, B); and the half-solved
    coupling (B, 165, D)."""
    D, B = C.shape[0], C.shape[-1]
    right = C.permute(3, 2, 1, 0).reshape(B, N_JOINTS, 3 * D)
    half = torch.linalg.solve_triangular(gone.lower, right, upper=False).reshape(B, N_JOINTS * 3, D)
    full = H.permute(2, 0, 1)
    out = torch.baddbmm(full, half.mT, half, alpha=-1)
    # What float32 loses in the difference must not make the matrix indefinite.
    out.diagonal(dim1=1, dim2=2).add_(_LOST * full.diagonal(dim1=1, dim2=2))
    return out, half


def reduced_rows(J: Tensor, weight: Tensor, skinning: Tensor, state: Shared) -> Tensor:
    """Matrix (B, D, D) without the shifts from the points' own rows J (B, N, 3, D), in float64: several times the
    work of `reduce`, but never indefinite. Equations that are summed over many frames need that, as one frame with a
    direction of negative weight spoils the sum. `weight`: (N, B)."""
    B, _, _, D = J.shape
    J, w, W = J.double(), weight.T.double(), skinning.double()
    M = torch.einsum("bn,nj,ni->bji", w, W, W) + torch.diag_embed(state.precision.double())
    rows = (J * w.sqrt()[..., None, None]).flatten(1, 2)
    heavy = (W[None] * w[..., None]).mT  # (B, 55, N)
    C = (heavy @ J.flatten(2)).reshape(B, N_JOINTS, 3 * D)
    half = torch.linalg.solve_triangular(torch.linalg.cholesky(M), C, upper=False).reshape(B, -1, D)
    return rows.mT @ rows - half.mT @ half


def learn(state: Shared, gone: Eliminated, half: Tensor, lower: Tensor) -> tuple[Shared, Tensor]:
    """Variances that explain the shifts better, and the number (B,) of shifts that the points determine.

    `lower`: (B, D, D) factor of the reduced matrix.
    """
    B, _, D = half.shape
    eye = torch.eye(N_JOINTS, dtype=half.dtype, device=half.device)
    inverse = torch.linalg.solve_triangular(gone.lower, eye.expand(B, -1, -1), upper=False)  # L^-1
    # Covariance of the shifts: M^-1 for a known pose, and what the pose's own uncertainty adds.
    onto = (inverse.mT @ half.reshape(B, N_JOINTS, 3 * D)).reshape(B, N_JOINTS * 3, D)
    spread = torch.linalg.solve_triangular(lower, onto.mT, upper=False)
    added = (spread * spread).sum(1).reshape(B, N_JOINTS, 3).sum(-1)
    own = 3 * (inverse * inverse).sum(1)
    known = (3 - (own + added) * state.precision).clamp(0, 3).sum(-1).nan_to_num(1.0).clamp_min(1.0)
    squares = ((gone.shifts**2).sum(1).T * state.precision).sum(-1)
    factor = (squares / known).nan_to_num(1.0).clamp(1 / _GROWTH, _GROWTH)
    return Shared((state.variance * factor).clamp_min(1e-14), state.stated), known


def shifted_whole(H: Tensor, g: Tensor, variance: Tensor, root: int) -> tuple[Tensor, Tensor]:
    """Matrix (B, D, D) and slope (B, D) when the whole body may be seen shifted too, by `variance` (B,) metres^2 per
    axis. `root`: first of the root's three unknowns, which such a shift moves and nothing else."""
    E = slice(root, root + 3)
    inner = H[:, E, E] + torch.diag_embed((1 / variance)[:, None].expand(-1, 3))
    gain = torch.linalg.solve(inner, H[:, E])  # (B, 3, D)
    return H - H[:, :, E] @ gain, g - (H[:, :, E] @ torch.linalg.solve(inner, g[:, E, None]))[..., 0]

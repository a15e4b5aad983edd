"""One answer out of several augmented ones: common scale, weighted geometric median, world space.

Lengths are metres here; the reference counts positions in millimetres (docs/nlf.md 8.2, 14.15).
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 0.05
"""Metres added to every distance in the geometric median (the reference: 50 mm)."""
ITERATIONS = 10


def scale_aligned(poses: Tensor) -> Tensor:
    """Bring the views of a person to a common scale: (..., A, P, 3) camera space -> the same.

    Every view is scaled about the camera so that its mean square distance from it is that of all views. That
    changes no projection.
    """
    square = poses.square().mean((-2, -1), keepdim=True)
    return poses * torch.sqrt(square.mean(-3, keepdim=True) / square.clamp_min(1e-12))


def weighted_geometric_median(points: Tensor, weights: Tensor, eps: float = EPSILON) -> tuple[Tensor, Tensor]:
    """Weiszfeld's iteration over dimension -3: `points` (..., A, P, 3), `weights` (..., A, P).

    Returns the median (..., P, 3) and the last weights (..., A, P), which sum to one over A.
    """
    share = weights / weights.sum(-2, keepdim=True)
    median = (share[..., None] * points).sum(-3)
    for _ in range(ITERATIONS):
        distance = torch.linalg.vector_norm(points - median[..., None, :, :], dim=-1)
        share = weights / (distance + eps)
        share = share / share.sum(-2, keepdim=True)
        median = (share[..., None] * points).sum(-3)
    return median, share


def merge_views(poses3d: Tensor, uncertainty: Tensor) -> tuple[Tensor, Tensor]:
    """Merge A views: (..., A, P, 3) metres in the original camera's space and (..., A, P) metres.

    Returns positions (..., P, 3) and uncertainties (..., P). Sure views count more: weight uncertainty^-1.5.
    """
    # Relative to the surest view, so that the power stays within float32.
    sure = uncertainty.clamp_min(1e-6)
    weights = (sure / sure.amin(-2, keepdim=True)).pow(-1.5)
    median, share = weighted_geometric_median(scale_aligned(poses3d), weights)
    return median, (share * uncertainty).sum(-2)


def to_world(points: Tensor, extrinsics: Tensor | None) -> Tensor:
    """Camera space (..., P, 3) -> world; `extrinsics` (..., 4, 4) takes world to camera, metres, or None."""
    if extrinsics is None:
        return points
    R, t = extrinsics[..., :3, :3], extrinsics[..., :3, 3]
    return turned_back(points - t[..., None, :], R)


def turned_back(points: Tensor, R: Tensor) -> Tensor:
    """Undo `R` (..., 3, 3), a rotation or reflection, on points (..., P, 3): its transpose, written out.

    A matrix product may lose half its digits on a GPU (TF32, autocast).
    """
    return (points[..., None] * R[..., None, :, :]).sum(-2)

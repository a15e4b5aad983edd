"""From pixels and relative metres to absolute positions in camera space (docs/nlf.md 6). Pure functions.

A crop's points are known up to one translation t: t is solved from "rel + t lies on the pixels' rays". Afterwards
points inside the picture are moved half-way onto their rays; the others keep the 3D head's word.

B crops, P points; camera space of the crop: metres, x right, y down, z away; pixels of the crop. `K`: (B, 3, 3)
with last row 0, 0, 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backend.nets.efficientnet import STRIDE

RIDGE = 1e-4
NO_WEIGHT = 1e-8
"""Weight of a point that is not valid: without any valid point the system still has a solution."""
NEAR_M = 0.001
"""Nothing nearer than this is in front of the camera."""
MAX_RAW_UNCERTAINTY = 0.3
"""Points with a larger raw uncertainty (metres) have no say in the translation when a model is used."""


@dataclass(frozen=True)
class Borders:
    """Distances, in strides, that a point must keep from the picture's edge. The defaults are those of testing."""

    solve: float = 1.0
    """To count in the solution."""
    mix: float = 0.6
    """To be moved towards its ray; 0.55 in training."""


@dataclass(frozen=True)
class Reconstruction:
    """P points on B crops in camera space, and how they came about."""

    points3d: Tensor
    """(B, P, 3) metres."""
    translation: Tensor
    """(B, 3) metres, added to the relative positions."""
    valid: Tensor
    """(B, P) bool, True where the point took part in the solution."""
    mixed: Tensor
    """(B, P) bool, True where the point was moved towards its ray."""


def reconstruct(
    coords2d: Tensor,
    coords3d_rel: Tensor,
    K: Tensor,
    side: int,
    validity: Tensor | None = None,
    *,
    mix: float | Tensor | None = 0.5,
    borders: Borders = Borders(),
    weak_perspective: bool = False,
    judge_by_3d: bool = True,
    translation: Tensor | None = None,
) -> Reconstruction:
    """Absolute positions of `coords2d` (B, P, 2) pixels and `coords3d_rel` (B, P, 3) metres.

    `validity`: (B, P) bool, points allowed into the solution; `mix`: share of the 3D-based position in the mix
    (number or (B, 1, 1)), None: the 2D-based one alone; `judge_by_3d`: whether the projection of the 3D-based
    position (testing) or of the mixed one (training) decides who is inside; `translation`: (B, 3) metres, where it was
    solved before, of other points.
    """
    rays = normalize(coords2d, K)
    valid = in_view(coords2d, side, borders.solve)
    if validity is not None:
        valid = valid & validity
    solve = solve_weak_perspective if weak_perspective else solve_full_perspective
    t = solve(rays, coords3d_rel, valid) if translation is None else translation
    by_3d = coords3d_rel + t[:, None]
    by_2d = homogeneous(rays) * by_3d[..., 2:]
    if mix is not None:
        by_2d = mix * by_3d + (1 - mix) * by_2d
    judged = by_3d if judge_by_3d else by_2d
    inside = in_view(project(judged, K), side, borders.mix) & (judged[..., 2] > NEAR_M)
    return Reconstruction(torch.where(inside[..., None], by_2d, by_3d), t, valid, inside)


def solve_full_perspective(rays: Tensor, rel: Tensor, valid: Tensor) -> Tensor:
    """Translation (B, 3) metres that puts `rel` (B, P, 3) onto `rays` (B, P, 2; x/z, y/z) in the least squares.

    Rows (1, 0, -rx) and (0, 1, -ry), right side r z_rel - xy_rel; validity is the only weight, uncertainty is none.
    The ridge 1e-4 lies on x, on y, and on z in units of one over the root mean square length of the valid rays.

    Source: docs/nlf.md 6.1. x and y are eliminated by hand: both pivots are sums of squares, which no rounding makes
    negative however many points there are, and nothing waits for a solver on the device.
    """
    w = (valid.to(rays.dtype) + NO_WEIGHT)[..., None]
    b = rays * rel[..., 2:] - rel[..., :2]
    mask = valid.to(rays.dtype)
    mean_square = (mask * rays.square().sum(-1)).sum(1) / mask.sum(1).clamp_min(1)
    # The floor (of the reference too) takes the ridge off the depth where no point is valid.
    ridge_z = RIDGE * mean_square.clamp_min(1e-10)
    total = w.sum((1, 2))[:, None] + RIDGE
    mean = (w * rays).sum(1) / total
    spread = rays - mean[:, None]
    pivot = (w * spread.square()).sum((1, 2)) + RIDGE * mean.square().sum(1) + ridge_z
    z = -(w * spread * b).sum((1, 2)) / pivot
    return torch.cat([(w * b).sum(1) / total + mean * z[:, None], z[:, None]], -1)


def solve_weak_perspective(rays: Tensor, rel: Tensor, valid: Tensor) -> Tensor:
    """Translation (B, 3) metres by spreads: depth of the mean = spread of x, y in metres / spread of the rays.

    Cruder than the full solution and never unstable: for the first steps of training.
    """
    mean2d, spread2d = _mean_and_spread(rays, valid)
    mean3d, _ = _mean_and_spread(rel, valid)
    _, spread3d = _mean_and_spread(rel[..., :2], valid)
    return homogeneous(mean2d) * (spread3d / spread2d)[:, None] - mean3d


def _mean_and_spread(x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """(B, P, D) -> mean (B, D) and root mean square distance (B) from it over the valid points."""
    w = valid.to(x.dtype)[..., None]
    count = w.sum(1).clamp_min(1e-12)
    mean = (w * x).sum(1) / count
    var = (w * (x - mean[:, None]).square()).sum((1, 2)) / count[:, 0]
    return mean, var.clamp_min(1e-10).sqrt()


def in_view(coords2d: Tensor, side: int, border: float) -> Tensor:
    """(…, 2) pixels -> (…) bool: at least `border` strides inside the picture, bounds included (negative: outside)."""
    low, high = border * STRIDE, side - border * STRIDE
    return ((coords2d >= low) & (coords2d <= high)).all(-1)


def normalize(coords2d: Tensor, K: Tensor) -> Tensor:
    """(B, P, 2) pixels -> (B, P, 2) rays x/z, y/z."""
    K = K[:, None]
    y = (coords2d[..., 1] - K[..., 1, 2]) / K[..., 1, 1]
    x = (coords2d[..., 0] - K[..., 0, 2] - K[..., 0, 1] * y) / K[..., 0, 0]
    return torch.stack([x, y], -1)


def project(points: Tensor, K: Tensor) -> Tensor:
    """(B, P, 3) metres -> (B, P, 2) pixels; what lies behind the camera comes out mirrored, as in any pinhole."""
    rays = points[..., :2] / points[..., 2:]
    return rays @ K[:, :2, :2].mT + K[:, None, :2, 2]


def homogeneous(rays: Tensor) -> Tensor:
    """(…, 2) -> (…, 3) with z = 1."""
    return torch.cat([rays, torch.ones_like(rays[..., :1])], -1)

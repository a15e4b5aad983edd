"""Outliers among thousands of points that come without uncertainties: found one by one, before they are averaged.

Against the fitted body a point's place is told by its cluster's transform, which is exact to millimetres. The scale
of what is normal is the median, which half of all points may spoil before it moves much.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from backend.fit.clusters import Gatherer
from backend.fit.solver.equations import MEDIAN
from backend.fit.solver.newton import Solution
from backend.fit.solver.observe import Data
from backend.fit.solver.skin import SkinModel

SCALE = 3.0
"""Sigmas at which a point has lost half of its say (Geman-McClure)."""
FAR = 16.0
"""Square of the sigmas from which a point counts as far off: one in a thousand of normal errors is."""
MANY = 0.02
"""Share of far points from which the errors are not normal."""
_LOOKED_AT = 1500
FLOOR_M = 0.002
"""Sigmas below this are not told apart from the clusters' own error."""


def _squares(model: SkinModel, gather: Gatherer, found: Solution, targets: Tensor, weights: Tensor | None,
             rows: Tensor | slice) -> Tensor:  # fmt: skip
    """(v, B) weighted squared distances of the original points `rows` from the body."""
    posed = model.pose(found.state) if found.look is None else found.look.posed
    member = gather.member[rows]
    r = targets[rows] - posed.points[member]
    for e in range(3):
        r = torch.addcmul(r, posed.blend[member, e], gather.offset[rows, e, None, None], value=-1)
    square = (r * r).sum(1)
    return square if weights is None else square * weights[rows]


def _scale(square: Tensor, weights: Tensor | None) -> Tensor:
    """(B,) variance of a normal point in the unit of the weights."""
    if weights is None:
        return (square.median(0).values / MEDIAN).clamp_min(FLOOR_M**2)
    some = torch.where(weights > 0, square, torch.nan)
    floor = FLOOR_M**2 * weights.sum(0) / (weights > 0).sum(0).clamp_min(1)
    return (some.nanmedian(0).values.nan_to_num() / MEDIAN).maximum(floor).clamp_min(1e-30)


def heavy_tails(model: SkinModel, gather: Gatherer, data: Data, found: Solution, targets: Tensor,
                weights: Tensor | None) -> Tensor:  # fmt: skip
    """(B,) bool: frames with more far-off points than normal errors have. `targets`: (V, 3, B), `weights`: (V, B) of
    the original points."""
    rows = slice(None, None, max(1, len(targets) // _LOOKED_AT))
    square = _squares(model, gather, found, targets, weights, rows)
    some = None if weights is None else weights[rows]
    far = square > FAR * _scale(square, some)
    seen = len(square) if some is None else (some > 0).sum(0).clamp_min(1)
    return far.sum(0) / seen > MANY


def without_outliers(model: SkinModel, gather: Gatherer, data: Data, found: Solution, targets: Tensor,
                     weights: Tensor | None) -> Data:  # fmt: skip
    """The data averaged again, every original point weighed by how well it agrees with the fitted body."""
    square = _squares(model, gather, found, targets, weights, slice(None))
    q = square / (SCALE**2 * _scale(square, weights))
    share = 1 / (1 + q) ** 2
    mean, weight, shift = gather.weighted(targets, share if weights is None else share * weights)
    return replace(data, targets=mean, weights=weight, shift=shift)

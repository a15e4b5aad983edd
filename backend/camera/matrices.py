"""3 x 3 matrices element by element, so that every last bit is the same on every machine.

Libraries may fuse or re-order a product's roundings, or cut its factors to 10 bits (TF32); a random network turns
the last bit of a crop's camera into a tenth of a millimetre. Each operation here is rounded once, in the order
in which the fixtures' own library took them (found by trial: their crops come out to the last bit).
"""

from __future__ import annotations

import torch
from torch import Tensor


def product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b of (..., n, 3) and (..., 3, m)."""
    first, second, third = (a[..., :, i, None] * b[..., i, None, :] for i in range(3))
    return first + second + third


def applied(m: Tensor, points: Tensor) -> Tensor:
    """`m` (..., 3, 3) times points (..., P, 2 or 3), two numbers standing for (x, y, 1) -> (..., P, 3)."""
    x, y = points[..., 0, None], points[..., 1, None]
    columns = m.mT[..., None, :, :]
    third = columns[..., 2, :] if points.shape[-1] == 2 else columns[..., 2, :] * points[..., 2, None]
    return columns[..., 0, :] * x + columns[..., 1, :] * y + third


def inverse(m: Tensor) -> Tensor:
    """Inverse of (..., 3, 3): elimination with the largest number of a column as pivot."""
    rows = torch.cat([m, torch.eye(3, dtype=m.dtype, device=m.device).expand_as(m)], -1)
    rows = _largest_first(rows, 0)
    factors = rows[..., 1:, :1] * (1 / rows[..., :1, :1])
    rows = torch.cat([rows[..., :1, :], rows[..., 1:, :] - factors * rows[..., :1, :]], -2)
    rows = _largest_first(rows, 1)
    first, second, third = rows.unbind(-2)
    third = third - third[..., 1:2] / second[..., 1:2] * second
    z = third[..., 3:] * (1 / third[..., 2:3])
    y = (second[..., 3:] - second[..., 2:3] * z) * (1 / second[..., 1:2])
    x = (first[..., 3:] - (first[..., 1:2] * y + first[..., 2:3] * z)) * (1 / first[..., :1])
    return torch.stack([x, y, z], -2)


def _largest_first(rows: Tensor, column: int) -> Tensor:
    """Swap row `column` with that one of it and its followers which is largest in this column."""
    order = torch.arange(3, device=rows.device).expand(rows.shape[:-1]).clone()
    best = rows[..., column:, column].abs().argmax(-1, keepdim=True) + column
    order.scatter_(-1, best, column)
    order[..., column : column + 1] = best
    return rows.gather(-2, order[..., None].expand_as(rows))

"""Factors of the matrix of a Gauss-Newton step, hands first.

Two hands touch nothing but what carries them, so their blocks are eliminated side by side before the rest: a
quarter of the work of a dense factor of all 55 joints.
"""

from __future__ import annotations

import torch
from torch import Tensor

HANDS = (slice(75, 120), slice(120, 165))
"""Unknowns of the left and the right hand: three for each joint from row 25 on."""
_FIRST, _LAST = HANDS[0].start, HANDS[1].stop


class DenseFactor:
    """Cholesky factor of `H` (B, D, D) with `damping` (B,), when nothing is known of its structure."""

    def __init__(self, H: Tensor, damping: Tensor) -> None:
        diagonal = H.diagonal(dim1=1, dim2=2)
        added = diagonal * damping[:, None] + 1e-7 * diagonal.amax(1, keepdim=True) + 1e-6
        self.lower, _ = torch.linalg.cholesky_ex(H + torch.diag_embed(added))

    def take(self, frames) -> DenseFactor:
        """The factors of some frames."""
        out = object.__new__(DenseFactor)
        out.lower = self.lower[frames]
        return out

    def solve(self, g: Tensor) -> Tensor:
        """H^-1 g for g (D, B); zero in the frames whose matrix was not positive definite."""
        out = torch.cholesky_solve(g.T[..., None], self.lower)[..., 0]
        return torch.where(torch.isfinite(out).all(1, keepdim=True), out, 0.0).T


class Factor:
    """Cholesky factor of `H` (D, D, B) with `damping` (B,) relative to its diagonal; H is changed."""

    def __init__(self, H: Tensor, damping: Tensor) -> None:
        diagonal = H.diagonal(dim1=0, dim2=1)  # (B, D)
        # A direction that nothing holds must not spoil the others: a little of the largest is added everywhere.
        diagonal += diagonal * damping[:, None] + 1e-7 * diagonal.amax(1, keepdim=True) + 1e-6
        hands = torch.stack([H[s, s] for s in HANDS]).permute(3, 0, 1, 2)
        beside = torch.stack([torch.cat([H[s, :_FIRST], H[s, _LAST:]], 1) for s in HANDS])
        rows = torch.cat([H[:_FIRST], H[_LAST:]])
        rest = torch.cat([rows[:, :_FIRST], rows[:, _LAST:]], 1).permute(2, 0, 1)
        beside = beside.permute(3, 0, 1, 2)
        lower, _ = torch.linalg.cholesky_ex(hands)
        # Inverses of 45 x 45 and products of them take a third of the time of so many triangular solves.
        self.hand = torch.cholesky_inverse(lower)
        self.beside, self.reach = beside, self.hand @ beside
        self.rest, _ = torch.linalg.cholesky_ex(rest - (beside.mT @ self.reach).sum(1))

    def take(self, frames) -> Factor:
        """The factors of some frames."""
        out = object.__new__(Factor)
        out.hand, out.beside = self.hand[frames], self.beside[frames]
        out.reach, out.rest = self.reach[frames], self.rest[frames]
        return out

    def solve(self, g: Tensor) -> Tensor:
        """H^-1 g for g (D, B); zero in the frames whose matrix was not positive definite."""
        B = g.shape[-1]
        hands = g[_FIRST:_LAST].T.reshape(B, 2, -1, 1)
        rest = torch.cat([g[:_FIRST], g[_LAST:]]).T[..., None]
        x = torch.cholesky_solve(rest - (self.reach.mT @ hands).sum(1), self.rest)
        h = (self.hand @ (hands - self.beside @ x[:, None])).flatten(1)
        x = x[..., 0]
        out = torch.cat([x[:, :_FIRST], h, x[:, _FIRST:]], 1)
        return torch.where(torch.isfinite(out).all(1, keepdim=True), out, 0.0).T

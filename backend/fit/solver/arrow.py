"""The matrix of a Gauss-Newton step in the pieces that touch each other, and its factor, hands first.

A hand touches nothing but what carries it, the root and the coefficients, and the two hands do not touch at all, so the
matrix is that of the rest, a block for each hand and a narrow strip beside it: half the numbers of the full one, and a
third of the work. Targets known up to a common shift tie everything to everything; the shift stays three more unknowns
of the rest until the end, so that the strips stay narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

REST = 75
"""Rotations that are no fingers' come first, three for each of the joints 0 to 24; behind them the fingers' in the
order of all unknowns, but not in `Arrow.rest`, where root, coefficients and size follow at once."""
HAND = 45
"""Rotations of a hand."""
LAST = REST + 2 * HAND
"""The root's unknowns begin here in the order of all."""


@dataclass
class Shift:
    """A shift that all targets have in common."""

    summed: Tensor
    """(B, 3, D) derivatives of the points by all unknowns, each point with its weight now, summed."""
    mean: Tensor
    """(B, 3, D) the same with the data's weights, which sum to 1."""
    weight: Tensor
    """(B,) sum of the weights now."""
    axes: Tensor
    """(3,) factors of the weights along x, y, z."""


@dataclass
class Hand:
    """What a hand adds."""

    own: Tensor
    """(B, 45, 45)."""
    beside: Tensor
    """(B, 45, c) how it hangs on some of the rest."""
    columns: Tensor
    """(c,) which: rows of `Arrow.rest`."""


@dataclass
class Arrow:
    """A matrix (B, D, D) in pieces."""

    rest: Tensor
    """(B, r, r) of all but the fingers; a common shift is not yet taken out."""
    hands: list[Hand]
    """Left and right; none where the fingers are held."""
    shift: Shift | None
    """None where the targets are placed."""

    def shiftless(self) -> Tensor:
        """(B, r, r) of the rest alone, fingers held, the common shift taken out."""
        if self.shift is None:
            return self.rest
        s = self.shift
        return less_mean(self.rest, _rest_of(s.summed), _rest_of(s.mean), s)

    def dense(self) -> Tensor:
        """(B, D, D) the whole."""
        B, r = self.rest.shape[:2]
        D = r + 2 * HAND
        H = self.rest.new_zeros(B, D, D)
        where = torch.cat([torch.arange(REST), torch.arange(LAST, D)]).to(H.device)
        H[:, where[:, None], where] = self.rest
        for k, hand in enumerate(self.hands):
            own = slice(REST + k * HAND, REST + (k + 1) * HAND)
            H[:, own, own] = hand.own
            H[:, own, where[hand.columns]] = hand.beside
            H[:, where[hand.columns], own] = hand.beside.mT
        if self.shift is None:
            return H
        return less_mean(H, self.shift.summed, self.shift.mean, self.shift)


def _rest_of(rows: Tensor) -> Tensor:
    """(..., D) -> (..., r)."""
    return torch.cat([rows[..., :REST], rows[..., LAST:]], -1)


def less_mean(H: Tensor, summed: Tensor, mean: Tensor, shift: Shift) -> Tensor:
    """`H` (B, d, d) of points in place -> that of points less the weighted mean of all; `summed`, `mean`: (B, 3, d)."""
    left = torch.cat([summed, mean], 1) * shift.axes.repeat(2)[:, None]
    right = torch.cat([mean, summed - shift.weight[:, None, None] * mean], 1)
    return torch.baddbmm(H, left.mT, right, alpha=-1)


class ArrowFactor:
    """Factor of an `Arrow`, whose tensors it takes over. `damping`: (B,) added to the diagonal, relative to it;
    `floor`: (r,) added to that of the rest, or None."""

    def __init__(self, arrow: Arrow, damping: Tensor, floor: Tensor | None = None) -> None:
        rest, shift = arrow.rest, arrow.shift
        B, r, _ = rest.shape
        # A common shift goes first, so that the coefficients stay last.
        self.first = f = 0 if shift is None else 3
        self.hands: list[Hand] = []
        if shift is not None:
            wide = rest.new_empty(B, f + r, f + r)
            side = _rest_of(shift.summed) * shift.axes[:, None]
            wide[:, f:, f:], wide[:, :f, f:], wide[:, f:, :f] = rest, side, side.mT
            wide[:, :f, :f] = torch.diag(shift.axes) * shift.weight[:, None, None]
            rest = wide
        diagonal = rest.diagonal(dim1=1, dim2=2)
        # A direction that nothing holds must not spoil the others: a little of the largest is added everywhere.
        least = 1e-7 * diagonal[:, f:].amax(1, keepdim=True) + 1e-6
        diagonal += diagonal * damping[:, None] + least
        if floor is not None:
            diagonal[:, f:] += floor
        for k, hand in enumerate(arrow.hands):
            spread = hand.own.diagonal(dim1=1, dim2=2)
            spread += spread * damping[:, None] + least
            lower, _ = torch.linalg.cholesky_ex(hand.own)
            # Inverses of 45 x 45 and products of them take a third of the time of so many triangular solves.
            inverse, beside, columns = torch.cholesky_inverse(lower), hand.beside, hand.columns + f
            if len(columns) and shift is not None:
                fingers = shift.summed[..., REST + k * HAND : REST + (k + 1) * HAND] * shift.axes[:, None]
                beside = torch.cat([fingers.mT, beside], 2)
                columns = torch.cat([torch.arange(f, device=columns.device), columns])
            reach = inverse @ beside
            if len(columns):
                rest[:, columns[:, None], columns] -= beside.mT @ reach
            self.hands.append(Hand(inverse, reach, columns))
        self.lower, _ = torch.linalg.cholesky_ex(rest)

    def take(self, frames) -> ArrowFactor:
        """The factors of some frames."""
        out = object.__new__(ArrowFactor)
        out.first, out.lower = self.first, self.lower[frames]
        out.hands = [Hand(h.own[frames], h.beside[frames], h.columns) for h in self.hands]
        return out

    def solve(self, g: Tensor) -> Tensor:
        """H^-1 g for g (D, B); zero in the frames whose matrix was not positive definite."""
        rest, fingers = self._onto_rest(g)
        return self._whole(torch.cholesky_solve(rest[..., None], self.lower)[..., 0], fingers)

    def last(self, g: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """What is left for the last `count` unknowns once all others are eliminated: the matrix (B, c, c) and the
        right-hand side (B, c) for g (D, B); and what `given` needs."""
        rest, _ = self._onto_rest(g)
        half = torch.linalg.solve_triangular(self.lower, rest[..., None], upper=False)[..., 0]
        L = self.lower[:, -count:, -count:]
        return L @ L.mT, (L @ half[:, -count:, None])[..., 0], half

    def given(self, g: Tensor, half: Tensor, last: Tensor) -> Tensor:
        """(D, B) the step whose last unknowns are `last` (B, c) and whose others are the best for those."""
        c = last.shape[1]
        L = self.lower
        right = half[:, :-c, None] - L[:, -c:, :-c].mT @ last[..., None]
        x = torch.linalg.solve_triangular(L[:, :-c, :-c].mT, right, upper=True)[..., 0]
        _, fingers = self._onto_rest(g)
        return self._whole(torch.cat([x, last], 1), fingers)

    def variance(self, rows: Tensor) -> Tensor:
        """(B, k) the diagonal of J H^-1 J^T for rows J (B, k, D)."""
        B, k, _ = rows.shape
        rest = rows.new_zeros(B, k, self.lower.shape[1])
        rest[..., self.first : self.first + REST] = rows[..., :REST]
        rest[..., self.first + REST :] = rows[..., LAST:]
        out = rows.new_zeros(B, k)
        for i, hand in enumerate(self.hands):
            fingers = rows[..., REST + i * HAND : REST + (i + 1) * HAND]
            # Most points hang on no finger.
            some = torch.where((fingers != 0).any(2).any(0))[0]
            if len(some):
                fingers = fingers[:, some]
                out[:, some] += ((fingers @ hand.own) * fingers).sum(-1)
                rest[:, some[:, None], hand.columns] -= fingers @ hand.beside
        return out + ((rest @ torch.cholesky_inverse(self.lower)) * rest).sum(-1)

    def _onto_rest(self, g: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What a right-hand side (D, B) leaves for shift and rest (B, f + r) once the hands are eliminated, and its
        parts (B, 45, 1) of the hands."""
        f, g = self.first, g.T
        rest = g.new_zeros(len(g), self.lower.shape[1])
        rest[:, f : f + REST], rest[:, f + REST :] = g[:, :REST], g[:, LAST:]
        fingers = [g[:, REST + k * HAND : REST + (k + 1) * HAND, None] for k in range(len(self.hands))]
        for h, own in zip(self.hands, fingers, strict=True):
            rest[:, h.columns] -= (h.beside.mT @ own)[..., 0]
        return rest, fingers

    def _whole(self, x: Tensor, fingers: list[Tensor]) -> Tensor:
        """(D, B) from what was found for shift and rest."""
        f = self.first
        own = [
            (h.own @ g - h.beside @ x[:, h.columns, None])[..., 0]
            for h, g in zip(self.hands, fingers, strict=True)
        ]
        out = torch.cat([x[:, f : f + REST], *own, x[:, f + REST :]], 1)
        return torch.where(torch.isfinite(out).all(1, keepdim=True), out, 0.0).T

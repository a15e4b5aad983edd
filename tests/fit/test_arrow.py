"""The matrix in pieces against the whole one: steps, what is left for the last unknowns, variances."""

from __future__ import annotations

import pytest
import torch

from backend.fit.solver.arrow import HAND, LAST, REST, Arrow, ArrowFactor, Hand, Shift

B, LATE = 3, 8
"""Frames, and unknowns behind the rotations: root and five coefficients."""
D = LAST + LATE


def pieces(shifted: bool) -> Arrow:
    """A matrix of random rows, each of which moves the rest and at most one hand."""
    torch.manual_seed(0)
    chain = torch.cat([torch.arange(6), torch.arange(REST, REST + LATE)])
    R = torch.randn(B, 200, REST + LATE, dtype=torch.float64)
    rest, hands = R.mT @ R, []
    for _ in range(2):
        finger, above = (torch.randn(B, 90, k, dtype=torch.float64) for k in (HAND, len(chain)))
        rest[:, chain[:, None], chain] += above.mT @ above
        hands.append(Hand(finger.mT @ finger, finger.mT @ above, chain))
    shift = None
    if shifted:
        summed = torch.randn(B, 3, D, dtype=torch.float64)
        weight = torch.full((B,), 50.0, dtype=torch.float64)
        mean = summed / weight[:, None, None]
        shift = Shift(summed, mean, weight, torch.tensor([1.0, 1.0, 0.25], dtype=torch.float64))
    return Arrow(rest, hands, shift)


@pytest.fixture(params=[False, True], ids=["placed", "shifted"])
def both(request) -> tuple[torch.Tensor, ArrowFactor]:
    """The whole matrix (B, D, D), and the factor of its pieces."""
    whole = pieces(request.param).dense()
    return whole, ArrowFactor(pieces(request.param), torch.zeros(B, dtype=torch.float64))


def test_a_step_is_that_of_the_whole_matrix(both):
    whole, factor = both
    g = torch.randn(D, B, dtype=torch.float64)
    # What joins the hands through the common shift alone is in both.
    want = torch.linalg.solve(whole, g.T[..., None])[..., 0].T
    torch.testing.assert_close(factor.solve(g), want, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(factor.take([2, 0]).solve(g[:, [2, 0]]), factor.solve(g)[:, [2, 0]])


def test_what_is_left_for_the_coefficients(both):
    whole, factor = both
    g, c = torch.randn(D, B, dtype=torch.float64), LATE - 3
    P, C, g_b = whole[:, :-c, :-c], whole[:, :-c, -c:], g.T[..., None]
    matrix, right, half = factor.last(g, c)
    solved = torch.linalg.solve(P, torch.cat([C, g_b[:, :-c]], 2))
    torch.testing.assert_close(matrix, whole[:, -c:, -c:] - C.mT @ solved[..., :c], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(right, (g_b[:, -c:] - C.mT @ solved[..., c:])[..., 0], rtol=1e-4, atol=1e-4)
    last = torch.randn(B, c, dtype=torch.float64)
    pose = torch.linalg.solve(P, g_b[:, :-c] - C @ last[..., None])[..., 0]
    torch.testing.assert_close(
        factor.given(g, half, last), torch.cat([pose, last], 1).T, rtol=1e-3, atol=1e-5
    )


def test_variances_are_those_of_the_inverse(both):
    whole, factor = both
    rows = torch.randn(B, 5, D, dtype=torch.float64)
    rows[:, :3, REST:LAST] = 0
    want = ((rows @ torch.linalg.inv(whole)) * rows).sum(-1)
    torch.testing.assert_close(factor.variance(rows), want, rtol=1e-3, atol=1e-6)


def test_held_fingers_leave_the_rest(both):
    whole, _ = both
    where = torch.cat([torch.arange(REST), torch.arange(LAST, D)])
    shifted = not torch.equal(whole, pieces(False).dense())
    torch.testing.assert_close(pieces(shifted).shiftless(), whole[:, where][:, :, where])

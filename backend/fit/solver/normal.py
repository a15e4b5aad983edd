"""The Gauss-Newton matrix of few points that are seen as places or as rays, without a row for every unknown.

A point moves with the joints between it and the pelvis and with no others, so the points of a hand, of the legs and of
the rest are multiplied each with the columns that they have: a tenth of the work of full rows, and the sum comes in the
pieces of `arrow`. What one point says, in space and in the picture together, is a 3 x 3 matrix; its factor makes three
rows of five.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backend.body.skeleton import JOINT, N_JOINTS
from backend.fit.solver.arrow import HAND, REST, Arrow, Hand, Shift
from backend.fit.solver.batchlast import mm, mv
from backend.fit.solver.observe import NEAR_M, Data
from backend.fit.solver.skin import Posed, SkinModel

_NEGLIGIBLE = 1e-3
"""Skin that hangs on a joint by less than this is left out: it changes a step a little, never where the steps end."""
_LEGS = [JOINT[f"{side}_{n}"] for side in ("left", "right") for n in ("hip", "knee", "ankle", "foot")]
_ABOVE = REST // 3
"""Joints that are no fingers; those of the left hand follow, then those of the right."""


@dataclass(frozen=True)
class Block:
    """Points that hang on the same part of the tree."""

    points: Tensor
    """(n,) their rows."""
    carriers: Tensor
    """(c,) joints that carry them."""
    joints: Tensor
    """(k,) those and all above them; of a hand all fingers first."""
    hand: int | None
    """Whose fingers they are, 0 for the left; None without fingers."""
    pairs: tuple[Tensor, Tensor]
    """(p,) point and carrier, as rows of the two above, of every weight that is not 0."""
    weights: Tensor
    """(p,) those weights."""
    below: Tensor
    """(k, c), 1 where a carrier hangs on a joint."""
    held: Tensor
    """(n, k) share of a point that hangs on a joint."""
    turns: Tensor
    """(3 k,) unknowns of the joints' rotations."""


def blocks_of(model: SkinModel) -> list[Block]:
    """The points of `model` in at most four blocks: hands, legs, the rest."""
    carried = model.weights > _NEGLIGIBLE
    legs = torch.zeros(N_JOINTS, dtype=torch.bool, device=carried.device)
    legs[[0, *_LEGS]] = True
    hands = [slice(_ABOVE + 15 * h, _ABOVE + 15 * (h + 1)) for h in range(2)]
    kind = torch.where((carried & ~legs).any(1), 1, 0)
    for h, fingers in enumerate(hands):
        kind[carried[:, fingers].any(1)] = 2 + h
    out = []
    for k in range(4):
        points = torch.where(kind == k)[0]
        if not len(points):
            continue
        hand = k - 2 if k > 1 else None
        allowed = torch.ones_like(legs)
        if hand is not None:
            # No skin hangs on both hands.
            allowed[hands[1 - hand]] = False
        carriers = torch.where(carried[points].any(0) & allowed)[0]
        joints = torch.where((model.below[:, carriers] > 0).any(1))[0]
        if k == 1:
            # All of them, in a row: what is added to every column needs no list of columns.
            joints = torch.arange(_ABOVE, device=joints.device)
        elif hand is not None:
            fingers = torch.arange(hands[hand].start, hands[hand].stop, device=joints.device)
            joints = torch.cat([fingers, joints[joints < _ABOVE]])
        weights, below = model.weights[points][:, carriers], model.below[joints][:, carriers]
        pairs = torch.where(weights > 0)
        turns = (3 * joints[:, None] + torch.arange(3, device=joints.device)).reshape(-1)
        out.append(
            Block(points, carriers, joints, hand, pairs, weights[pairs], below, weights @ below.T, turns)
        )
    return out


def arms(block: Block, posed: Posed, shift: Tensor) -> Tensor:
    """(3, B, n, k): for each point and joint, the sum over carriers below the joint of W (x - P), x the point as it
    is carried by that one alone. `shift`: (55, 3, B) of the joints' transforms."""
    at, by = block.pairs
    c = block.carriers[by]
    turn, lever = posed.turn[c], posed.lever[block.points[at]]
    # Of all pairs of a point and a carrier one in ten has a weight.
    carried = (mv(turn, lever) + shift[c]) * block.weights[:, None, None]
    n, count, B = len(block.points), len(block.carriers), lever.shape[-1]
    weighed = carried.new_zeros(3, B, n * count)
    weighed[..., at * count + by] = carried.permute(1, 2, 0)
    arm = weighed.reshape(3, B, n, count) @ block.below.T
    return arm.addcmul_(block.held, posed.joints[block.joints].permute(1, 2, 0)[:, :, None], value=-1)


def others(model: SkinModel, posed: Posed, shifted: Tensor | None, scale: bool) -> Tensor:
    """(B, N, 3, e) derivatives by what is no rotation: root, with `shifted` the coefficients, with `scale` the size."""
    N, _, B = posed.points.shape
    eye = torch.eye(3, dtype=posed.points.dtype, device=posed.points.device)
    parts = [eye.expand(B, N, 3, 3)]
    if shifted is not None:
        nc = model.coefs
        moved = mm(posed.blend[:, :3].transpose(1, 2), model.directions[..., None].expand(-1, -1, -1, B))
        moved = moved + (model.weights @ shifted.reshape(N_JOINTS, -1)).reshape(N, 3, nc, B)
        parts.append(moved.permute(3, 0, 1, 2))
    if scale:
        parts.append((posed.points - posed.joints[0]).permute(2, 0, 1)[..., None])
    return torch.cat(parts, -1) if len(parts) > 1 else parts[0]


def matrix(
    model: SkinModel, blocks: list[Block], data: Data, posed: Posed, weight: Tensor, flat_weight: Tensor | None,
    shifted: Tensor | None, scale: bool, fingers: bool = True,
) -> Arrow:  # fmt: skip
    """Sum over the points of J^T Q J; arguments as of `observe.forces` and `moments.matrix`. `fingers`: False where
    they are held."""
    extra = others(model, posed, shifted, scale)
    B, e = len(extra), extra.shape[-1]
    factors = _factors(data, posed, weight, flat_weight)
    rest = extra.new_zeros(B, REST + e, REST + e)
    behind = torch.arange(REST, REST + e, device=rest.device)
    hands = [Hand(extra.new_zeros(B, HAND, HAND), extra.new_zeros(B, HAND, 0), behind[:0])
             for _ in range(2 * fingers)]  # fmt: skip
    shift = posed.joints - mv(posed.turn, posed.rest)
    share = reach = None
    if not data.placed:
        share = torch.stack([weight.T, (data.weights / data.weights.sum(0).clamp_min(1e-12)).T])  # (2, B, N)
        reach = extra.new_zeros(2, 3, B, N_JOINTS)
    for block in blocks:
        p, mine = block.points, 0 if block.hand is None else HAND
        arm = arms(block, posed, shift)
        if mine and not fingers:
            arm, mine = arm[..., HAND // 3 :], 0
        A = _rows(arm, extra[:, p], *(f[:, p] for f in factors)).flatten(1, 2)
        k = arm.shape[-1]
        if share is not None:
            reach[..., block.joints[-k:]] += (share[:, None, :, None, p] @ arm)[..., 0, :]
        columns = torch.cat([block.turns[3 * (len(block.joints) - k) + mine :], behind])
        above = A[..., mine:]
        if len(columns) == REST + e:
            rest.baddbmm_(above.mT, above)
        else:
            rest[:, columns[:, None], columns] += above.mT @ above
        if mine:
            finger = A[..., :mine]
            hands[block.hand] = Hand(finger.mT @ finger, finger.mT @ above, columns)
    if share is None:
        return Arrow(rest, hands, None)
    axes = rest.new_ones(3) if data.axes is None else data.axes
    moved = (share[:, :, None] @ extra.flatten(2)).unflatten(-1, (3, e))[:, :, 0]
    summed, mean = torch.cat([_turned(reach.transpose(1, 2)), moved], -1)
    return Arrow(rest, hands, Shift(summed, mean, weight.sum(0), axes))


def _rows(arm: Tensor, own: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor, f: Tensor) -> Tensor:
    """(B, n, 3, 3 k + e) a block's rows: the factor's rows (a, 0, c), (0, b, d), (0, 0, f) times the derivatives of
    the points, which are columns of minus the skew matrix of the arm (3, B, n, k), and `own` (B, n, 3, e)."""
    x, y, z = arm
    B, n, k = x.shape
    A = x.new_empty(B, n, 3, 3 * k + own.shape[-1])
    turn = A[..., : 3 * k].unflatten(-1, (k, 3))
    turn[:, :, 0, :, 0] = c * y
    turn[:, :, 0, :, 1] = a * z - c * x
    turn[:, :, 0, :, 2] = -a * y
    turn[:, :, 1, :, 0] = d * y - b * z
    turn[:, :, 1, :, 1] = -d * x
    turn[:, :, 1, :, 2] = b * x
    turn[:, :, 2, :, 0] = f * y
    turn[:, :, 2, :, 1] = -f * x
    turn[:, :, 2, :, 2] = 0
    A[:, :, 0, 3 * k :] = a * own[:, :, 0] + c * own[:, :, 2]
    A[:, :, 1, 3 * k :] = b * own[:, :, 1] + d * own[:, :, 2]
    A[:, :, 2, 3 * k :] = f * own[:, :, 2]
    return A


def _turned(arm: Tensor) -> Tensor:
    """(..., 3, k) arms -> (..., 3, 3 k), minus their skew matrices side by side."""
    x, y, z = arm.unbind(-2)
    o = torch.zeros_like(x)
    rows = [torch.stack(r, -1) for r in ((o, z, -y), (-z, o, x), (y, -x, o))]
    return torch.stack(rows, -3).flatten(-2)


def _factors(
    data: Data, posed: Posed, weight: Tensor, flat_weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(a, b, c, d, f), (B, N, 1) each: rows (a, 0, c), (0, b, d), (0, 0, f) whose squares are what a point says."""
    ax, ay, az = (1.0, 1.0, 1.0) if data.axes is None else data.axes
    if data.rays is None:
        zero = torch.zeros_like(weight)
        found = ((weight * ax).sqrt(), (weight * ay).sqrt(), zero, zero, (weight * az).sqrt())
    else:
        z = posed.points[:, 2].clamp_min(NEAR_M)
        rx, ry = posed.points[:, 0] / z, posed.points[:, 1] / z
        g = flat_weight / (z * z)
        a, b = (weight * ax + g).clamp_min(1e-30), (weight * ay + g).clamp_min(1e-30)
        # What is left of z's own say once x and y are settled; written so that nothing is lost in a difference.
        left = weight * az + g * (rx * rx * (weight * ax / a) + ry * ry * (weight * ay / b))
        found = (a.sqrt(), b.sqrt(), -g * rx / a.sqrt(), -g * ry / b.sqrt(), left.sqrt())
    return tuple(t.T[..., None] for t in found)

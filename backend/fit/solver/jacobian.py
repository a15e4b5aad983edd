"""Derivatives of posed points by everything that moves them, point by point: for few points, or points seen as rays."""

from __future__ import annotations

import torch
from torch import Tensor

from backend.body.skeleton import N_JOINTS
from backend.fit.solver.batchlast import mm
from backend.fit.solver.skin import Posed, SkinModel


def jacobian(model: SkinModel, posed: Posed, shifted: Tensor | None, scale: bool) -> Tensor:
    """(B, N, 3, D): by 55 increments about world axes of all that hangs on a joint, the root, with `shifted` (of
    `SkinModel.coef_motion`) the coefficients, and with `scale` the log of the size. Pose correctives are held."""
    N, _, B = posed.points.shape
    W = model.weights
    # Arm of what hangs below joint k: sum over j below k of W_j (x_j - P_k), x_j the point carried by j alone.
    shift = posed.joints - (posed.turn * posed.rest[:, None]).sum(2)
    carried = (posed.turn[None] * posed.lever[:, None, None]).sum(3) + shift  # (N, 55, 3, B)
    weighed = W[..., None, None] * carried
    arm = torch.einsum("kj,njab->nkab", model.below, weighed)
    arm = arm - (W @ model.below.T)[..., None, None] * posed.joints
    x, y, z = arm.unbind(2)
    o = torch.zeros_like(x)
    # d x / d w = w x arm: columns of minus the skew matrix.
    turn = torch.stack([o, z, -y, -z, o, x, y, -x, o], 2).reshape(N, N_JOINTS, 3, 3, B)
    turn = turn.permute(4, 0, 2, 1, 3).reshape(B, N, 3, 3 * N_JOINTS)
    parts = [turn, torch.eye(3, dtype=turn.dtype, device=turn.device).expand(B, N, 3, 3)]
    if shifted is not None:
        nc = model.coefs
        blend = posed.blend[:, :3].transpose(1, 2)  # (N, world, rest, B)
        moved = mm(blend, model.directions[..., None].expand(-1, -1, -1, B))
        moved = moved + (W @ shifted.reshape(N_JOINTS, -1)).reshape(N, 3, nc, B)
        parts.append(moved.permute(3, 0, 1, 2))
    if scale:
        parts.append((posed.points - posed.joints[0]).permute(2, 0, 1)[..., None])
    return torch.cat(parts, -1)

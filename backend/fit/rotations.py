"""Rotation maths that `roma` does not give: the inverse left Jacobian of SO(3) and skew matrices.

Exponential and logarithm come from `roma` (tested, differentiable, made for this field).
Source of the Jacobian: Solà, Deray, Atchuthan, "A micro Lie theory for state estimation", eq. 146.
"""

from __future__ import annotations

import torch


def skew(v: torch.Tensor) -> torch.Tensor:
    """`v`: (..., 3) -> (..., 3, 3) with skew(v) @ x = cross(v, x)."""
    x, y, z = v.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -1).reshape(*v.shape, 3)


def left_jacobian_inverse(rotvec: torch.Tensor) -> torch.Tensor:
    """How a rotation vector changes when its rotation is multiplied from the left by exp(delta).

    `rotvec`: (..., 3) radians -> (..., 3, 3) with log(exp(delta) exp(rotvec)) = rotvec + J @ delta + O(delta²).
    """
    theta2 = (rotvec * rotvec).sum(-1)[..., None, None]
    theta = theta2.clamp_min(1e-12).sqrt()
    half = theta / 2
    # Series below 0.01 rad: the closed form divides two vanishing terms there.
    factor = torch.where(
        theta < 1e-2, 1 / 12 + theta2 / 720, (1 - half / torch.tan(half)) / theta2.clamp_min(1e-12)
    )
    s = skew(rotvec)
    eye = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return eye - 0.5 * s + factor * (s @ s)


def kabsch(source: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Rotation (B, 3, 3) that best turns `source` (B, P, 3) into `target` (B, P, 3), centred by `weight` (B, P)."""
    w = (weight / weight.sum(-1, keepdim=True).clamp_min(1e-12))[..., None]
    a, b = source - (w * source).sum(1, keepdim=True), target - (w * target).sum(1, keepdim=True)
    u, _, vh = torch.linalg.svd((w * b).transpose(1, 2) @ a)
    sign = torch.det(u @ vh)
    u = torch.cat([u[..., :2], u[..., 2:] * sign[:, None, None]], -1)
    return u @ vh

"""Forward kinematics of a body in SMPL-X layout: torch, batched, differentiable, on any device.

Same convention as the SMPL-X reference with `use_pca=False, flat_hand_mean=True` (a test compares both):
shape and expression move the rest body, the joints are rotated about their rest places from the pelvis out,
the vertices follow by linear blend skinning, and `trans` is added last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from backend.body.model import BodyTensors, CanonicalPoints, PointTensors
from backend.body.skeleton import N_JOINTS, PARENTS


@dataclass(frozen=True, eq=False)
class Posed:
    """B posed bodies. Lengths are in metres."""

    vertices: torch.Tensor | None
    """(B, V, 3), or None where they were not asked for."""
    joints: torch.Tensor
    """(B, 55, 3)."""
    points: torch.Tensor | None
    """(B, P, 3), or None where they were not asked for."""
    rotations: torch.Tensor
    """(B, 55, 3, 3) of each joint in the world."""


def forward(
    body: BodyTensors,
    pose: torch.Tensor,
    betas: torch.Tensor,
    trans: torch.Tensor,
    expression: torch.Tensor | None = None,
    points: PointTensors | CanonicalPoints | None = None,
    *,
    vertices: bool = False,
    correctives: bool = True,
) -> Posed:
    """Pose the body.

    `pose`: (B, 55, 3) rotation vectors relative to the parent, radians, or (B, 55, 3, 3) rotation matrices;
    `betas`: (B, k) or (k,) with k <= nb (missing ones are 0); `trans`: (B, 3); `expression`: (B, k) or (k,);
    `points`: canonical points to pose as well; `vertices=True` poses the whole mesh; `correctives=False` leaves
    out the pose correctives of vertices and points.
    """
    R = rodrigues(pose) if pose.ndim == 3 else pose
    B = R.shape[0]
    rest = _shaped(body.joints_template, body.joints_shapedirs, body.joints_exprdirs, betas, expression)
    rest = rest.expand(B, N_JOINTS, 3)
    world, joints = chain(R, rest)
    # x_posed = world @ x_rest + shift, for a point that hangs on one joint alone.
    shift = joints - (world @ rest[..., None])[..., 0] + trans[:, None]
    transform = torch.cat([world.reshape(B, N_JOINTS, 9), shift], -1)
    feature = None
    if correctives:
        eye = torch.eye(3, dtype=R.dtype, device=R.device)
        feature = (R[:, 1:] - eye).reshape(B, -1)

    def skin(positions, weights, shapedirs, exprdirs, posedirs) -> torch.Tensor:
        x = _shaped(positions, shapedirs, exprdirs, betas, expression)
        if posedirs is not None and feature is not None:
            x = x + (feature @ posedirs).reshape(B, -1, 3)
        T = torch.matmul(weights, transform)
        turned = (T[..., :9].reshape(B, -1, 3, 3) @ x.expand(B, -1, 3)[..., None])[..., 0]
        return turned + T[..., 9:]

    posed_vertices = posed_points = None
    if vertices:
        posed_vertices = skin(body.v_template, body.weights, body.shapedirs, body.exprdirs, body.posedirs)
    if points is not None:
        p = points.to(R.device) if isinstance(points, CanonicalPoints) else points
        posed_points = skin(p.positions, p.weights, p.shapedirs, p.exprdirs, p.posedirs)
    return Posed(posed_vertices, joints + trans[:, None], posed_points, world)


def chain(R: torch.Tensor, rest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """World rotations (B, 55, 3, 3) and joint places (B, 55, 3) before translation.

    `R`: (B, 55, 3, 3) relative to the parent; `rest`: (B, 55, 3) joints of the rest pose. Works level by level
    of the tree (11 batched products in place of 54 small ones).
    """
    levels, parent_slot, order = _levels(str(R.device))
    first = levels[0]
    world, places = [R[:, first]], [rest[:, first]]
    for rows, slots in zip(levels[1:], parent_slot[1:], strict=True):
        up_R, up_p = world[-1][:, slots], places[-1][:, slots]
        offset = rest[:, rows] - rest[:, _parents(str(R.device))[rows]]
        world.append(up_R @ R[:, rows])
        places.append(up_p + (up_R @ offset[..., None])[..., 0])
    return torch.cat(world, 1)[:, order], torch.cat(places, 1)[:, order]


def rodrigues(rotvec: torch.Tensor) -> torch.Tensor:
    """Rotation vectors (..., 3), radians -> rotation matrices (..., 3, 3); smooth, also at zero."""
    x, y, z = rotvec.unbind(-1)
    square = x * x + y * y + z * z
    small = square < 1e-6
    # The double `where` keeps the square root's infinite slope at zero out of the gradient.
    angle = torch.where(small, torch.ones_like(square), square).sqrt()
    a = torch.where(small, 1 - square / 6, angle.sin() / angle)
    b = torch.where(small, 0.5 - square / 24, (1 - angle.cos()) / (angle * angle))
    xy, xz, yz = b * x * y, b * x * z, b * y * z
    xx, yy, zz = b * x * x, b * y * y, b * z * z
    rows = [1 - yy - zz, xy - a * z, xz + a * y, xy + a * z, 1 - xx - zz, yz - a * x]
    rows += [xz - a * y, yz + a * x, 1 - xx - yy]
    return torch.stack(rows, -1).reshape(*rotvec.shape[:-1], 3, 3)


def rest_joints(
    body: BodyTensors, betas: torch.Tensor, expression: torch.Tensor | None = None
) -> torch.Tensor:
    """Joints of the rest pose, (B, 55, 3) or (1, 55, 3) for one shape; metres."""
    return _shaped(body.joints_template, body.joints_shapedirs, body.joints_exprdirs, betas, expression)


def _shaped(base, shapedirs, exprdirs, betas, expression) -> torch.Tensor:
    """base (N, 3) + directions times coefficients -> (B or 1, N, 3)."""
    return (
        (base + _blend(shapedirs, betas))
        if expression is None
        else (base + _blend(shapedirs, betas) + _blend(exprdirs, expression))
    )


def _blend(directions: torch.Tensor, coefficients: torch.Tensor) -> torch.Tensor:
    k = coefficients.shape[-1]
    if k > directions.shape[2]:
        raise ValueError(f"{k} coefficients were given, but this body has {directions.shape[2]}")
    return torch.einsum("nck,bk->bnc", directions[:, :, :k], torch.atleast_2d(coefficients))


@cache
def _parents(device: str) -> torch.Tensor:
    return torch.from_numpy(PARENTS.astype(np.int64)).to(device)


@cache
def _levels(device: str):
    """Joints by depth, the place of each one's parent in the level above, and the way back to joint order."""
    depth = np.zeros(N_JOINTS, int)
    for j in range(1, N_JOINTS):
        depth[j] = depth[PARENTS[j]] + 1
    levels = [np.flatnonzero(depth == d) for d in range(depth.max() + 1)]
    slots = [np.zeros(1, int)] + [
        np.searchsorted(levels[d - 1], PARENTS[levels[d]]) for d in range(1, len(levels))
    ]
    order = np.argsort(np.concatenate(levels))
    as_tensor = lambda a: torch.from_numpy(np.asarray(a, np.int64)).to(device)  # noqa: E731
    return [as_tensor(a) for a in levels], [as_tensor(a) for a in slots], as_tensor(order)

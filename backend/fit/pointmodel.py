"""Where canonical points of a posed, shaped body are, and how they move with every parameter.

Linear blend skinning at a handful of points, with analytic derivatives. Pose correctives are left out: they
move a point by millimetres, localizers are wrong by centimetres.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from backend.body.model import Body, CanonicalPoints
from backend.fit.oldprior import BODY_JOINTS


@dataclass
class State:
    """`rotations`: (n, 55, 3, 3) parent-relative; `root`: (n, 3) pelvis position, camera space, metres;
    `betas`: (nb,)."""

    rotations: torch.Tensor
    root: torch.Tensor
    betas: torch.Tensor

    def clone(self) -> State:
        return State(self.rotations.clone(), self.root.clone(), self.betas.clone())


@dataclass
class Posed:
    """`world`: (n, 55, 3, 3) joint rotations; `joints`: (n, 55, 3); `points`: (n, P, 3); `per_joint`: (n, P, 55, 3)."""

    world: torch.Tensor
    joints: torch.Tensor
    points: torch.Tensor
    per_joint: torch.Tensor


class PointModel:
    """Skinning restricted to `points` of `body`, in `dtype` on `device`; betas cut to `num_betas`."""

    def __init__(self, body: Body, points: CanonicalPoints, num_betas: int = 10,
                 dtype: torch.dtype = torch.float64, device: str = "cpu") -> None:  # fmt: skip
        def tensor(a) -> torch.Tensor:
            return torch.as_tensor(a, dtype=dtype, device=device)

        self.num_betas = min(num_betas, body.joints_shapedirs.shape[-1])
        self.parents = [int(p) for p in body.parents]
        self.joints_template = tensor(body.joints_template)
        self.joints_shapedirs = tensor(body.joints_shapedirs)[..., : self.num_betas]
        self.positions = tensor(points.positions)
        self.weights = tensor(points.weights)
        self.shapedirs = tensor(points.shapedirs)[..., : self.num_betas]
        subtree = torch.zeros(BODY_JOINTS, len(self.parents), dtype=dtype, device=device)
        for j in range(len(self.parents)):
            k = j
            while k >= 0:
                if k < BODY_JOINTS:
                    subtree[k, j] = 1
                k = self.parents[k]
        self.subtree = subtree

    def rest_joints(self, betas: torch.Tensor) -> torch.Tensor:
        """`betas`: (nb,) -> (55, 3) rest joint positions, metres, body axes."""
        return self.joints_template + self.joints_shapedirs @ betas

    def pose(self, state: State) -> Posed:
        """Forward kinematics and skinning of the points."""
        rest = self.rest_joints(state.betas)
        world, joints = [state.rotations[:, 0]], [state.root]
        for j in range(1, len(self.parents)):
            p = self.parents[j]
            joints.append(joints[p] + world[p] @ (rest[j] - rest[p]))
            world.append(world[p] @ state.rotations[:, j])
        G, J = torch.stack(world, 1), torch.stack(joints, 1)
        u = self.positions + self.shapedirs @ state.betas
        lever = u[:, None] - rest[None]
        per_joint = torch.einsum("njab,pjb->npja", G, lever) + J[:, None]
        points = torch.einsum("pj,npja->npa", self.weights, per_joint)
        return Posed(G, J, points, per_joint)

    def jacobian_pose(self, state: State, posed: Posed) -> torch.Tensor:
        """(n, P, 3, 69): derivative of the points by (22 left rotation increments in the parent's frame, root)."""
        n, P = posed.points.shape[:2]
        share = self.weights @ self.subtree.T  # (P, 22): how much of a point hangs below joint k
        weighted = self.weights[None, :, :, None] * posed.per_joint
        arm = torch.einsum("kj,npja->npka", self.subtree, weighted)
        arm = arm - share[None, :, :, None] * posed.joints[:, None, :BODY_JOINTS]
        eye = torch.eye(3, dtype=arm.dtype, device=arm.device).expand(n, 1, 3, 3)
        frame = torch.cat([eye, posed.world[:, self.parents[1:BODY_JOINTS]]], 1)  # (n, 22, 3, 3)
        # d x / d delta_k = (frame column) x arm
        cross = torch.linalg.cross(
            frame.transpose(-1, -2)[:, None], arm[:, :, :, None].expand(n, P, BODY_JOINTS, 3, 3)
        )
        rot = cross.permute(0, 1, 4, 2, 3).reshape(n, P, 3, BODY_JOINTS * 3)
        return torch.cat([rot, eye.expand(n, P, 3, 3)], -1)

    def jacobian_betas(self, state: State, posed: Posed) -> torch.Tensor:
        """(n, P, 3, nb): derivative of the points by the shape, the pelvis held in place."""
        Jd, G = self.joints_shapedirs, posed.world
        moved = [torch.zeros_like(G[:, 0, :, :1]).expand(-1, 3, self.num_betas)]
        for j in range(1, len(self.parents)):
            p = self.parents[j]
            moved.append(moved[p] + G[:, p] @ (Jd[j] - Jd[p]))
        offset = torch.stack(moved, 1) - torch.einsum("njab,jbs->njas", G, Jd)
        blend = torch.einsum("pj,njab->npab", self.weights, G)
        return torch.einsum("npab,pbs->npas", blend, self.shapedirs) + torch.einsum(
            "pj,njas->npas", self.weights, offset
        )

"""Where canonical points of a posed, shaped body are: linear blend skinning at N points for B frames at once.

Pose correctives are included where the body has them. All tensors carry the frames in their last dimension.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from backend.body.model import Body, CanonicalPoints
from backend.body.skeleton import N_JOINTS, PARENTS
from backend.fit.solver.batchlast import mm, mv, transpose

PARENT = torch.from_numpy(PARENTS.astype("int64")).clamp_min(0)


@dataclass(frozen=True)
class State:
    """B bodies."""

    rotations: Tensor
    """(55, 3, 3, B) relative to the parent."""
    root: Tensor
    """(3, B) place of the pelvis joint, metres."""
    coefs: Tensor
    """(nc, B) betas and then expression."""
    log_scale: Tensor
    """(B,) natural log of the size factor about the pelvis."""

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four tensors, frames last."""
        return self.rotations, self.root, self.coefs, self.log_scale

    def where(self, keep: Tensor, other: State) -> State:
        """This state in the frames `keep` (B,) bool, `other` elsewhere."""
        return State(*(torch.where(keep, a, b) for a, b in zip(self.parts, other.parts, strict=True)))

    def take(self, frames) -> State:
        """Some frames: a slice, indices or a mask."""
        return State(*(part[..., frames] for part in self.parts))

    def shaped(self, coefs: Tensor) -> State:
        """The same with other coefficients: (nc, B) or (nc, 1)."""
        return replace(self, coefs=coefs.expand(len(coefs), self.root.shape[-1]))

    @staticmethod
    def concat(parts: list[State]) -> State:
        """Frames of several states in a row."""
        return State(*(torch.cat(column, -1) for column in zip(*(p.parts for p in parts), strict=True)))


@dataclass(frozen=True)
class Posed:
    """B posed bodies and N of their points."""

    world: Tensor
    """(55, 3, 3, B) rotations of the joints in the world."""
    turn: Tensor
    """(55, 3, 3, B) the same times the size factor."""
    joints: Tensor
    """(55, 3, B)."""
    rest: Tensor
    """(55, 3, B) joints of the rest pose."""
    blend: Tensor
    """(N, 4, 3, B) blended transforms, columns and then shift."""
    lever: Tensor
    """(N, 3, B) points of the rest pose with shape and correctives."""
    points: Tensor
    """(N, 3, B)."""

    def take(self, frames: Tensor) -> Posed:
        """Some frames (indices)."""
        return Posed(*(getattr(self, f.name)[..., frames] for f in fields(self)))

    def where(self, keep: Tensor, other: Posed) -> Posed:
        """This in the frames `keep` (B,) bool, `other` elsewhere."""
        names = (f.name for f in fields(self))
        return Posed(*(torch.where(keep, getattr(self, n), getattr(other, n)) for n in names))


class SkinModel:
    """Skinning of `points` of `body` with the first `betas` and `expressions` coefficients, on `device`."""

    def __init__(self, body: Body, points: CanonicalPoints, betas: int = 10, expressions: int = 0, *,
                 dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> None:  # fmt: skip
        def tensor(a) -> Tensor:
            return torch.as_tensor(a, dtype=dtype, device=device)

        self.betas, self.expressions = min(betas, body.n_betas), min(expressions, body.n_expressions)
        self.dtype, self.device = dtype, torch.device(device)
        columns = slice(None, self.betas), slice(None, self.expressions)
        self.positions, self.weights = tensor(points.positions), tensor(points.weights)
        self.directions = torch.cat(
            [tensor(points.shapedirs)[..., columns[0]], tensor(points.exprdirs)[..., columns[1]]], -1
        )
        self.joints = tensor(body.joints_template)
        self.joint_directions = torch.cat(
            [tensor(body.joints_shapedirs)[..., columns[0]], tensor(body.joints_exprdirs)[..., columns[1]]],
            -1,
        )
        self.correctives = None
        if points.posedirs is not None and points.posedirs.any():
            # Joints without correctives (fingers and face of many bodies) are left out of the product.
            rows = np.flatnonzero(points.posedirs.any(1))
            self.correctives = tensor(points.posedirs[rows]).T.contiguous()  # (N * 3, features)
            self.features = (
                None if len(rows) == len(points.posedirs) else torch.as_tensor(rows, device=device)
            )
        self.parent = PARENT.to(device)
        self.eye = torch.eye(3, dtype=dtype, device=device)[..., None]
        depth = [0] * N_JOINTS
        for j in range(1, N_JOINTS):
            depth[j] = depth[PARENTS[j]] + 1
        levels = [[j for j in range(N_JOINTS) if depth[j] == d] for d in range(1, max(depth) + 1)]
        self.levels = [
            (torch.tensor(js, device=device), self.parent[torch.tensor(js, device=device)]) for js in levels
        ]
        # Level by level the joints stand in a row: [order[i]] is the i-th of them, and place undoes it.
        order = [0, *(j for level in levels for j in level)]
        place = [order.index(j) for j in range(N_JOINTS)]
        self._rows: list[tuple[slice, Tensor]] = []
        first = 1
        for level in levels:
            above = torch.tensor([place[PARENTS[j]] for j in level], device=device)
            self._rows.append((slice(first, first + len(level)), above))
            first += len(level)
        self._order, self._place = torch.tensor(order, device=device), torch.tensor(place, device=device)
        below = torch.zeros(N_JOINTS, N_JOINTS, dtype=dtype, device=device)
        for j in range(N_JOINTS):
            k = j
            while k >= 0:
                below[k, j] = 1
                k = int(PARENTS[k])
        # [k, j] = 1 where j hangs on k.
        self.below = below

    @property
    def coefs(self) -> int:
        return self.betas + self.expressions

    def rest_state(self, frames: int) -> State:
        """The mean body in its rest pose at the origin."""
        like = {"dtype": self.dtype, "device": self.device}
        R = self.eye[None].expand(N_JOINTS, 3, 3, frames).contiguous()
        return State(R, torch.zeros(3, frames, **like), torch.zeros(self.coefs, frames, **like),
                     torch.zeros(frames, **like))  # fmt: skip

    def rest_joints(self, coefs: Tensor) -> Tensor:
        """(nc, B) -> (55, 3, B), metres."""
        flat = self.joint_directions.reshape(-1, self.coefs) @ coefs
        return self.joints[..., None] + flat.reshape(N_JOINTS, 3, -1)

    def chain(self, state: State) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """World rotations, the same with the size factor, joints, and rest joints; see `Posed`."""
        rest = self.rest_joints(state.coefs)
        size = state.log_scale.exp()
        step = (rest - rest[self.parent]) * size
        # Rotation and place in one product, level by level down the tree.
        own = torch.cat([state.rotations, step[:, :, None]], 2)[self._order]
        both = torch.empty_like(own)
        both[0, :, :3], both[0, :, 3] = state.rotations[0], state.root
        for here, above in self._rows:
            up = both[above]
            moved = mm(up[:, :, :3], own[here])
            moved[:, :, 3] += up[:, :, 3]
            both[here] = moved
        both = both[self._place]
        world, joints = both[:, :, :3], both[:, :, 3]
        return world, world * size, joints, rest

    def pose(self, state: State) -> Posed:
        """Forward kinematics and skinning."""
        world, turn, joints, rest = self.chain(state)
        B = joints.shape[-1]
        shift = joints - mv(turn, rest)
        affine = torch.cat([transpose(turn), shift[:, None]], 1)
        blend = (self.weights @ affine.reshape(N_JOINTS, -1)).reshape(-1, 4, 3, B)
        lever = self.positions[..., None] + (self.directions.reshape(-1, self.coefs) @ state.coefs).reshape(
            -1, 3, B
        )
        if self.correctives is not None:
            feature = (state.rotations[1:] - self.eye).reshape(-1, B)
            if self.features is not None:
                feature = feature[self.features]
            lever = lever + (self.correctives @ feature).reshape(-1, 3, B)
        points = blend[:, 3] + (blend[:, :3] * lever[:, :, None]).sum(1)
        return Posed(world, turn, joints, rest, blend, lever, points)

    def coef_motion(self, posed: Posed) -> Tensor:
        """How the shifts of the joints' transforms move with the coefficients: (55, 3, nc, B)."""
        B = posed.joints.shape[-1]
        Jd = self.joint_directions[..., None]
        moved = posed.turn.new_zeros(N_JOINTS, 3, self.coefs, B)
        for js, ps in self.levels:
            moved[js] = moved[ps] + mm(posed.turn[ps], Jd[js] - Jd[ps])
        return moved - mm(posed.turn, Jd.expand(-1, -1, -1, B))

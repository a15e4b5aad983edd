"""The Gauss-Newton matrix of isotropic point observations without a sum over the points.

A point hangs on few joints, so every sum over points that the matrix needs splits into sums over pairs of joints
that share points; those are computed once, in the rest pose, and are turned with the pair's two rotations in every
iteration. What a joint moves is what hangs below it: rows and columns are added up along the tree, each moment
carried from a child's pivot to its parent's.

Rest-pose levers are those of the mean body without correctives: a millimetre of lever changes the step a
little, never the point where the iteration stops.
"""

from __future__ import annotations

import torch
from torch import Tensor

from backend.body.skeleton import N_JOINTS, PARENTS
from backend.fit.solver.batchlast import cross, mm, transpose
from backend.fit.solver.skin import Posed, SkinModel

_NEGLIGIBLE = 1e-3
"""Pairs that share less than this part of what the lighter joint carries are left out."""


class PairMoments:
    """Moments of the points of `model` under the relative weights `mass` (N,)."""

    def __init__(self, model: SkinModel, mass: Tensor) -> None:
        self.model = model
        W, m = model.weights.double(), mass.double()
        shared = (W * m[:, None]).T @ W
        own = shared.diagonal()
        keep = shared > _NEGLIGIBLE * torch.minimum(own[:, None], own[None]).clamp_min(1e-12)
        self.j, self.i = torch.where(keep)
        both = W[:, self.j] * W[:, self.i]
        weighed = both * m[:, None]
        total = weighed.sum(0)
        # Share of each pair's mass that a point has: new weights of the points scale the pairs by it.
        self.share = (weighed / total.clamp_min(1e-30)).to(model.dtype).T.contiguous()  # (pairs, N)
        ones = torch.ones(len(W), 1, dtype=W.dtype, device=W.device)
        lever = torch.cat([model.positions.double(), ones], 1)
        D = model.directions.double()
        nc = D.shape[-1]
        second = torch.einsum("np,na,nc->pac", weighed, lever, lever)
        # Levers about the pair's own two joints keep float32 exact where hands are far from the origin.
        to_j, to_i = (self._about(model.joints[k].double()) for k in (self.j, self.i))
        self.lever2 = (to_j @ second @ to_i.transpose(1, 2)).to(model.dtype)  # (pairs, 4, 4)
        mixed = torch.einsum("np,na,ncs->pacs", weighed, lever, D)
        lever_shape = torch.einsum("pab,pbcs->pacs", to_j, mixed).to(model.dtype)  # (pairs, 4, 3, nc)
        # One product per joint j over all its neighbours i: a table of pairs, filled up with an empty one.
        degree = torch.bincount(self.j, minlength=N_JOINTS)
        slot = torch.arange(len(self.j), device=self.j.device) - (degree.cumsum(0) - degree)[self.j]
        m = int(degree.max())
        self.neighbour = torch.full((N_JOINTS, m), len(self.j), device=self.j.device)
        self.neighbour[self.j, slot] = torch.arange(len(self.j), device=self.j.device)
        padded = torch.cat([lever_shape, torch.zeros_like(lever_shape[:1])])[self.neighbour]
        # (55, 4 * nc, m * 3): row lever and coefficient, column neighbour and rest axis.
        self.lever_shape = padded.permute(0, 2, 4, 1, 3).reshape(N_JOINTS, 4 * nc, 3 * m).contiguous()
        flat = D.reshape(len(D), -1)
        shape2 = torch.stack([(flat * weighed[:, p : p + 1]).T @ flat for p in range(len(self.j))])
        shape2 = shape2.reshape(-1, 3, nc, 3, nc).permute(0, 1, 3, 2, 4)
        self.shape2 = shape2.reshape(-1, nc * nc).T.to(model.dtype).contiguous()  # (nc * nc, pairs * 9)
        self.mass = total.to(model.dtype)

    @staticmethod
    def _about(joint: Tensor) -> Tensor:
        """(pairs, 4, 4): homogeneous lever about `joint` (pairs, 3) from one about the origin."""
        out = torch.eye(4, dtype=joint.dtype, device=joint.device).repeat(len(joint), 1, 1)
        out[:, :3, 3] = -joint
        return out

    def shared(self, pair: Tensor) -> Tensor:
        """Weight of the points that pairs of joints share, (55, 55, B), of the pairs' factors (pairs, B)."""
        out = pair.new_zeros(N_JOINTS, N_JOINTS, pair.shape[-1])
        out[self.j, self.i] = pair * self.mass[:, None]
        return out

    def matrix(
        self, posed: Posed, weights: Tensor, shifted: Tensor | None, scale: bool, coherent: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """The matrix sum of w J^T J, (D, D, B). `weights`: (N, B), relative to `mass`; `shifted`: of
        `SkinModel.coef_motion`, or None to leave the shape out. With `coherent` also how the unknowns couple to a
        shift of the points of each joint: (D, 3, 55, B), the sum of w W_i J^T.

        Unknowns in order: 55 rotation increments about world axes, each of three, of all that hangs on a joint;
        three of the root; with `shifted` nc coefficients; with `scale` the log of the size.
        """
        model, B = self.model, weights.shape[-1]
        nc = 0 if shifted is None else model.coefs
        D = 3 * N_JOINTS + 3 + nc + bool(scale)
        pair = self.share @ weights  # (pairs, B)
        C = weights.new_zeros(D, 3, N_JOINTS, B) if coherent else None
        Y = self._accumulated(posed, pair, C)  # (55, 55, 4, 4, B)
        if C is not None:
            C[3 * N_JOINTS : 3 * N_JOINTS + 3] = self.shared(pair).sum(0) * model.eye[..., None, :]
        H = weights.new_empty(D, D, B)
        trace = Y[:, :, 0, 0] + Y[:, :, 1, 1] + Y[:, :, 2, 2]
        rot = H[: 3 * N_JOINTS, : 3 * N_JOINTS].view(N_JOINTS, 3, N_JOINTS, 3, B)
        for a in range(3):
            for c in range(3):
                rot[:, a, :, c] = trace - Y[:, :, a, a] if a == c else -Y[:, :, c, a]
        R, T = 3 * N_JOINTS, 3 * N_JOINTS + 3
        first = Y[:, 0, :3, 3]  # sum of w S_k
        arm = _skew(first).reshape(R, 3, B)
        H[:R, R:T], H[R:T, :R] = arm, arm.transpose(0, 1)
        total = Y[0, 0, 3, 3]
        H[R:T, R:T] = model.eye * total
        if shifted is not None:
            self._shape_block(H, C, posed, pair, shifted, scale)
        if scale:
            s = D - 1
            # The size moves a point by its arm from the pelvis.
            H[:R, s] = torch.stack(
                [Y[:, 0, b, c] - Y[:, 0, c, b] for b, c in ((1, 2), (2, 0), (0, 1))], 1
            ).reshape(R, B)
            H[R:T, s] = first[0]
            H[s, s] = trace[0, 0]
            H[s, :s] = H[:s, s]
        return H, C

    def _accumulated(self, posed: Posed, pair: Tensor, C: Tensor | None) -> Tensor:
        """Y[k, l] = sum over points of w (S_k, m_k) (S_l, m_l)^T, S_k the arm about joint k of what hangs on it."""
        B = pair.shape[-1]
        columns = transpose(posed.turn)  # (55, 3 of the lever, 3 of the world, B)
        right = torch.bmm(self.lever2[:, :, :3], columns[self.i].reshape(-1, 3, 3 * B)).reshape(-1, 4, 3, B)
        right = torch.cat([right, self.lever2[:, :, 3:, None].expand(-1, 4, 1, B)], 2) * pair[:, None, None]
        Z = torch.cat([mm(posed.turn[self.j], right[:, :3]), right[:, 3:]], 1)
        Y = pair.new_zeros(N_JOINTS, N_JOINTS, 4, 4, B)
        Y[self.j, self.i] = Z
        self.offset = offset = posed.joints - posed.joints[self.model.parent]
        for j in range(N_JOINTS - 1, 0, -1):
            p = int(PARENTS[j])
            Y[p] += Y[j]
            Y[p, :, :3].addcmul_(offset[j][:, None], Y[j, :, 3:])
        if C is not None:
            arm = _skew(Y[:, :, :3, 3])  # sum of w W_i [S_k]
            C[: 3 * N_JOINTS] = arm.permute(0, 2, 3, 1, 4).reshape(3 * N_JOINTS, 3, N_JOINTS, -1)
        for i in range(N_JOINTS - 1, 0, -1):
            p = int(PARENTS[i])
            Y[:, p] += Y[:, i]
            Y[:, p, :, :3].addcmul_(offset[i], Y[:, i, :, 3:])
        return Y

    def _shape_block(
        self, H: Tensor, C: Tensor | None, posed: Posed, pair: Tensor, shifted: Tensor, scale: bool
    ) -> None:
        """Fill in the rows and columns of the coefficients in `H`, and their coupling to shared shifts in `C`."""
        B, nc = pair.shape[-1], self.model.coefs
        R, T = 3 * N_JOINTS, 3 * N_JOINTS + 3
        S = slice(T, T + nc)
        turned = posed.turn[self.i] * pair[:, None, None]
        motion, carried = self._shape_moments(turned, pair, shifted)
        K = motion + carried
        if C is not None:
            C[S] = K[:, 3].permute(1, 2, 0, 3)
        turned_arm = mm(posed.turn, K[:, :3].reshape(N_JOINTS, 3, nc * 3, B)).reshape(N_JOINTS, 3, nc, 3, B)
        K = torch.cat([turned_arm, K[:, 3:]], 1)
        for j in range(N_JOINTS - 1, 0, -1):
            p = int(PARENTS[j])
            K[p] += K[j]
            K[p, :3].addcmul_(self.offset[j][:, None, None], K[j, 3:])
        block = [K[:, b, :, c] - K[:, c, :, b] for b, c in ((1, 2), (2, 0), (0, 1))]
        block = torch.stack(block, 1).reshape(R, nc, B)
        H[:R, S], H[S, :R] = block, block.transpose(0, 1)
        H[R:T, S], H[S, R:T] = K[0, 3].transpose(0, 1), K[0, 3]
        between = mm(transpose(posed.turn[self.j]), turned).reshape(-1, B)
        square = (self.shape2 @ between).reshape(nc, nc, B)
        side = shifted.permute(3, 2, 0, 1).reshape(B, nc, R)
        mixed = torch.bmm(side, motion[:, 3].permute(3, 0, 2, 1).reshape(B, R, nc)).permute(1, 2, 0)
        last = torch.bmm(side, carried[:, 3].permute(3, 0, 2, 1).reshape(B, R, nc)).permute(1, 2, 0)
        H[S, S] = square + mixed + mixed.transpose(0, 1) + last
        if scale:
            H[S, -1] = K[0, 0, :, 0] + K[0, 1, :, 1] + K[0, 2, :, 2]

    def _shape_moments(self, turned: Tensor, pair: Tensor, shifted: Tensor) -> tuple[Tensor, Tensor]:
        """(55, 4, nc, 3, B) each: the lever (4) of the points about every joint times what each coefficient does to
        them (3), through their places in the rest pose, and through the joints that carry them."""
        B, nc = pair.shape[-1], self.model.coefs
        rows = torch.cat([transpose(turned).reshape(-1, 9 * B), turned.new_zeros(1, 9 * B)])[self.neighbour]
        motion = torch.bmm(self.lever_shape, rows.reshape(N_JOINTS, -1, 3 * B)).reshape(N_JOINTS, 4, nc, 3, B)
        # First moments of the pairs times the shifts of the joints.
        first = pair.new_zeros(N_JOINTS, N_JOINTS, 4, B)
        first[self.j, self.i] = self.lever2[:, :, 3, None] * pair[:, None]
        flat = shifted.permute(3, 0, 2, 1).reshape(B, N_JOINTS, 3 * nc)
        carried = torch.bmm(first.permute(3, 0, 2, 1).reshape(B, -1, N_JOINTS), flat)
        return motion, carried.reshape(B, N_JOINTS, 4, nc, 3).permute(1, 2, 3, 4, 0)


def _skew(v: Tensor) -> Tensor:
    """(..., 3, B) -> (..., 3, 3, B), the matrix of the cross product."""
    x, y, z = v.unbind(-2)
    o = torch.zeros_like(x)
    return torch.stack([o, -z, y, z, o, -x, -y, x, o], -2).reshape(*v.shape[:-2], 3, 3, v.shape[-1])


__all__ = ["PairMoments", "cross"]

"""Where the iteration begins: rotations from the points alone, down the tree from the pelvis.

Each joint's own points are laid on their targets (Kabsch), with a pull towards what the parent's turn and the pose
prior's mean foresee, so that a part with few or no points follows its parent.
"""

from __future__ import annotations

import torch
from torch import Tensor

from backend.body.skeleton import JOINT, N_JOINTS
from backend.fit.solver.batchlast import mm, mv, nearest_rotation, transpose
from backend.fit.solver.skin import SkinModel, State

_TRUNK = [JOINT[n] for n in ("pelvis", "left_hip", "right_hip", "spine1", "spine2", "spine3", "left_collar",
                             "right_collar", "neck", "head", "left_shoulder", "right_shoulder")]  # fmt: skip
_SPREAD_M2 = 0.02**2
"""Variance of a target for which the pull towards the parent is set; the iteration that follows knows better."""


def start(model: SkinModel, targets: Tensor, weights: Tensor, shift: Tensor | None, mean: Tensor, pull: Tensor,
          coefs: Tensor | None = None) -> State:  # fmt: skip
    """First guess for targets (N, 3, B) with weights (N, B); `shift`: (N, 3, B) of the rest points or None;
    `mean`: (55, 3, 3, 1) foreseen rotations; `pull`: (55,) precision of them, 1/rad^2; `coefs`: (nc, B) or None."""
    N, _, B = targets.shape
    if coefs is None:
        coefs = targets.new_zeros(model.coefs, B)
    rest = model.positions[..., None] + (model.directions.reshape(-1, model.coefs) @ coefs).reshape(N, 3, -1)
    if shift is not None:
        rest = rest + shift
    rest = rest.expand(N, 3, B)
    heavy = weights[:, None]
    product = targets[:, :, None] * rest[:, None] * heavy[:, None]
    flat = torch.cat([product.reshape(N, 9, B), targets * heavy, rest * heavy, heavy], 1)
    sums = (model.weights.T @ flat.reshape(N, -1)).reshape(N_JOINTS, 16, B)
    # Whole subtrees tell a joint's turn more surely than its own few points when those are nearly on its axis.
    own = _centred(sums)
    trunk = _centred(sums[_TRUNK].sum(0, keepdim=True))[0]
    whole = nearest_rotation(trunk)
    scale = _SPREAD_M2 * (weights.sum(0) / (weights > 0).sum(0).clamp_min(1)).clamp_min(1e-12)
    # A target's weight of 1/sigma^2 and one of 1 must give the same start.
    R = torch.empty(N_JOINTS, 3, 3, B, dtype=targets.dtype, device=targets.device)
    world = torch.empty_like(R)
    world[0] = nearest_rotation(own[0] + trunk + 1e-3 * scale * whole)
    R[0] = world[0]
    for js, ps in model.levels:
        foreseen = mm(world[ps], mean[js])
        world[js] = nearest_rotation(own[js] + foreseen * pull[js, None, None, None] * scale)
        R[js] = mm(transpose(world[ps]), world[js])
    state = State(R, targets.new_zeros(3, B), coefs.expand(-1, B), targets.new_zeros(B))
    posed = model.pose(state)
    off = targets - posed.points
    if shift is not None:
        off = off - (posed.blend[:, :3] * shift[:, :, None]).sum(1)
    root = (off * heavy).sum(0) / heavy.sum(0).clamp_min(1e-12)
    return State(R, root, state.coefs, state.log_scale)


def _centred(sums: Tensor) -> Tensor:
    """(K, 16, B) weighted sums -> (K, 3, 3, B) covariance of targets and rest places."""
    both = sums[:, :9].reshape(-1, 3, 3, sums.shape[-1])
    total = sums[:, 15].clamp_min(1e-12)[:, None, None]
    return both - sums[:, 9:12, None] * sums[:, None, 12:15] / total


__all__ = ["mv", "start"]

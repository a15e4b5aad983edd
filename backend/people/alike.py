"""Which finds are one and the same person."""

from __future__ import annotations

import torch
from torch import Tensor

SIMILAR = 0.4
"""Poses more alike than this are one person."""
NEAR = 0.3
"""Metres at which two points are no longer alike."""


def pose_similarity(poses3d: Tensor) -> Tensor:
    """(n, P, 3) metres, camera space -> (n, n) in 0..1, 1 for equal poses at the same place.

    Two poses are brought to a common size about the camera first, so that one person seen at two depths stays
    one; then the fifth of the points that lie farthest apart decides.
    """
    square = poses3d.square().mean((-2, -1)).clamp_min(1e-12)
    common = (square[:, None] + square[None]) / 2
    first = torch.sqrt(common / square[:, None])[..., None, None] * poses3d[:, None]
    second = torch.sqrt(common / square[None])[..., None, None] * poses3d[None]
    distance = torch.linalg.vector_norm(first - second, dim=-1)
    farthest = distance.topk(max(1, poses3d.shape[1] // 5), dim=-1).values
    return (1 - farthest / NEAR).clamp_min(0).mean(-1)


def pose_scores(box_scores: Tensor, uncertainty: Tensor) -> Tensor:
    """(n,) detector's scores, (n, P) metres -> (n,) 1/m: the surer pose of two alike ones is kept."""
    return box_scores / uncertainty.mean(-1).clamp_min(1e-6)


def suppress_alike(poses3d: Tensor, scores: Tensor, valid: Tensor | None = None) -> Tensor:
    """Pose NMS: indices (m,) long of poses (n, P, 3) that are `valid` and not alike a better one, best first."""
    left = torch.arange(len(scores), device=scores.device) if valid is None else valid.nonzero()[:, 0]
    left = left[scores[left].argsort(descending=True, stable=True)]
    alike = (pose_similarity(poses3d[left]) > SIMILAR).cpu()
    kept: list[int] = []
    for i in range(len(left)):
        if not alike[i, kept].any():
            kept.append(i)
    return left[torch.tensor(kept, dtype=torch.long, device=left.device)]

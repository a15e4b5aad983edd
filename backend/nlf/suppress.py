"""Which of the found people are real: certain enough, inside their box, and found only once (dossier section 4)."""

from __future__ import annotations

import torch
from torch import Tensor

CERTAIN = 0.25
"""Metres: a point of less uncertainty counts as seen."""
SIMILAR = 0.4
"""Poses more alike than this are one person."""
NEAR = 0.3
"""Metres at which two points are no longer alike."""


def is_certain(uncertainty: Tensor) -> Tensor:
    """(n, P) metres -> (n,) bool: more than a third of the points are seen."""
    return (uncertainty < CERTAIN).float().mean(-1) > 1 / 3


def fits_box(points2d: Tensor, boxes: Tensor) -> Tensor:
    """(n, P, 2) pixels, (n, 4 or more: x, y, width, height) -> (n,) bool.

    True if the rectangle around the pose covers more than a quarter of the box.
    """
    low = torch.maximum(points2d.amin(-2), boxes[:, :2])
    high = torch.minimum(points2d.amax(-2), boxes[:, :2] + boxes[:, 2:4])
    return (high - low).clamp_min(0).prod(-1) > 0.25 * boxes[:, 2:4].prod(-1)


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


def plausible(poses3d: Tensor, points2d: Tensor, uncertainty: Tensor, boxes: Tensor) -> Tensor:
    """Indices (m,) of the people to keep, best first.

    `poses3d` (n, P, 3) metres, camera space; `points2d` (n, P, 2) pixels; `uncertainty` (n, P) metres;
    `boxes` (n, 5): x, y, width, height, score.
    """
    valid = is_certain(uncertainty) & fits_box(points2d, boxes)
    return suppress_alike(poses3d, pose_scores(boxes[:, 4], uncertainty), valid)


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

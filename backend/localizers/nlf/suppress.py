"""Which of the found people are real: certain enough, inside their box, and found only once (docs/nlf.md 9)."""

from __future__ import annotations

import torch
from torch import Tensor

from backend.people.alike import pose_scores, suppress_alike

CERTAIN = 0.25
"""Metres: a point of less uncertainty counts as seen."""


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


def plausible(poses3d: Tensor, points2d: Tensor, uncertainty: Tensor, boxes: Tensor) -> Tensor:
    """Indices (m,) of the people to keep, best first.

    `poses3d` (n, P, 3) metres, camera space; `points2d` (n, P, 2) pixels; `uncertainty` (n, P) metres;
    `boxes` (n, 5): x, y, width, height, score.
    """
    valid = is_certain(uncertainty) & fits_box(points2d, boxes)
    return suppress_alike(poses3d, pose_scores(boxes[:, 4], uncertainty), valid)

"""What a body pose looks like when nothing is seen: a mean, a spread and hard ranges for each rotation axis.

The figures are joint ranges of motion as found in anatomy tables, rounded, and written for SMPL-X joints in
T-pose (x to the subject's left, y up, z forward): a knee bends about +x, a left elbow about -y.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

BODY_JOINTS = 22
"""The joints that the fit moves: pelvis to wrists. Jaw, eyes and fingers keep their rest pose."""

_INF = float("inf")

# joint: (mean xyz, sigma xyz, lower xyz, upper xyz), radians, left side; the right side is its mirror image.
_SIDE: dict[str, tuple[tuple[float, ...], ...]] = {
    "hip": ((-0.25, 0, 0), (0.9, 0.45, 0.4), (-2.2, -0.9, -0.7), (0.7, 0.9, 1.2)),
    "knee": ((0.4, 0, 0), (0.9, 0.10, 0.08), (-0.02, -0.2, -0.15), (2.6, 0.2, 0.15)),
    "ankle": ((0, 0, 0), (0.35, 0.2, 0.2), (-0.6, -0.5, -0.5), (0.9, 0.5, 0.5)),
    "foot": ((0, 0, 0), (0.1, 0.03, 0.03), (-0.9, -0.1, -0.1), (0.5, 0.1, 0.1)),
    "collar": ((0, 0, -0.05), (0.12, 0.15, 0.15), (-0.4, -0.5, -0.5), (0.4, 0.5, 0.6)),
    "shoulder": ((0.1, -0.3, -1.0), (0.8, 0.8, 0.8), (-_INF, -_INF, -2.0), (_INF, _INF, 1.8)),
    "elbow": ((0, -0.5, 0), (0.35, 0.9, 0.15), (-1.2, -2.6, -0.4), (1.2, 0.02, 0.4)),
    "wrist": ((0, 0, 0), (0.4, 0.3, 0.4), (-1.2, -0.6, -1.2), (1.2, 0.6, 1.2)),
}
_MIDDLE: dict[int, tuple[tuple[float, ...], ...]] = {
    3: ((0.05, 0, 0), (0.25, 0.15, 0.15), (-0.5, -0.4, -0.4), (0.9, 0.4, 0.4)),
    6: ((0, 0, 0), (0.12, 0.12, 0.1), (-0.3, -0.4, -0.3), (0.5, 0.4, 0.3)),
    9: ((0, 0, 0), (0.1, 0.1, 0.1), (-0.3, -0.4, -0.3), (0.4, 0.4, 0.3)),
    12: ((0, 0, 0), (0.25, 0.25, 0.2), (-0.6, -0.7, -0.5), (0.7, 0.7, 0.5)),
    15: ((0, 0, 0), (0.25, 0.3, 0.2), (-0.6, -0.8, -0.5), (0.7, 0.8, 0.5)),
}
_PAIRS = {"hip": (1, 2), "knee": (4, 5), "ankle": (7, 8), "foot": (10, 11), "collar": (13, 14),
          "shoulder": (16, 17), "elbow": (18, 19), "wrist": (20, 21)}  # fmt: skip


@dataclass(frozen=True)
class PosePrior:
    """`mean`, `sigma`, `lower`, `upper`: (22, 3) radians, rows in SMPL-X joint order. The pelvis is free."""

    mean: torch.Tensor
    sigma: torch.Tensor
    lower: torch.Tensor
    upper: torch.Tensor


def range_of_motion_prior(dtype: torch.dtype = torch.float64, device: str = "cpu") -> PosePrior:
    """The prior built from the tables above; the right side mirrors the left (x kept, y and z negated)."""
    mean, sigma = torch.zeros(BODY_JOINTS, 3), torch.full((BODY_JOINTS, 3), _INF)
    lower, upper = torch.full((BODY_JOINTS, 3), -_INF), torch.full((BODY_JOINTS, 3), _INF)
    flip = torch.tensor([1.0, -1.0, -1.0])
    rows = dict(_MIDDLE)
    rows.update({_PAIRS[name][0]: row for name, row in _SIDE.items()})
    for j, row in rows.items():
        mean[j], sigma[j], lower[j], upper[j] = (torch.tensor(v, dtype=torch.float32) for v in row)
    for left, right in _PAIRS.values():
        mean[right], sigma[right] = mean[left] * flip, sigma[left]
        ends = torch.stack([lower[left] * flip, upper[left] * flip])
        lower[right], upper[right] = ends.min(0).values, ends.max(0).values
    return PosePrior(*(t.to(dtype=dtype, device=device) for t in (mean, sigma, lower, upper)))

"""Losses of the localizer field (NLF; docs/nlf.md 12.2): beta-NLL of positions in 3D, absolute 3D and pixels.

A point's loss is sg(s)^beta (|d| / (s q) + f log s), where d is its error, s its uncertainty and sg lets no
gradient through. The two published implementations disagree on q and f, so both can be had: see `Norm`.

B examples, P points; camera space of the crop: metres, x right, y down, z away; pixels of the crop.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backend.nets.absolute import in_view
from backend.nets.heatmaps import BOX_SIZE_M

NEAREST_M = 0.3
"""Points nearer than this to the camera have no say in pixels and absolute positions: both are unstable there."""
PROJECT_FROM_M = 0.1
"""The least depth that a projection divides by."""
FAR_M = 5.0
"""Beyond this distance, depth errors count as if the point were this far: they grow with distance by nature."""
ABS_UNCERTAINTY = 4.0
"""The absolute position is taken to be this much less certain than the relative one."""
ABS_WEIGHT = 0.1
ABS_FROM_STEP = 5000
"""Before this step, the absolute loss is reported and not learnt from."""
VIEW_STRIDES_256 = 20
"""Strides outside the picture where the pixel loss ends, for a crop of 256 pixels; grows with the crop."""


@dataclass(frozen=True)
class Norm:
    """Which of the published forms the loss has; q, f, D and beta as at the top of the file."""

    divide_by_sqrt: bool = False
    """q = sqrt(D) (TensorFlow reference) in place of q = D (PyTorch reference)."""
    fix_uncert_factor: bool = False
    """f = 1/sqrt(D) in place of sqrt(D). The released models have it False, and their uncertainty is a third of the
    error (see UNCERTAINTY_FACTOR); the PyTorch trainer's default is True."""
    beta: float = 1.0
    """Power of the uncertainty by which each point's loss is weighted."""


@dataclass(frozen=True)
class StreamWeights:
    """Shares of the four kinds of training data and of the regulariser in the total (the paper's values)."""

    parametric: float = 1.0
    """Of pictures with a body, on which any point is known."""
    keypoints3d: float = 0.75
    """Of 3D keypoints."""
    dense: float = 0.05
    """Of DensePose's points, known in the picture only."""
    keypoints2d: float = 0.1
    """Of 2D keypoints."""
    regularizer: float = 1e-4
    """Of `PointNetwork.regularizer()`."""


@dataclass(frozen=True)
class Loss3D:
    """The loss of examples whose points are known in 3D, and its parts; all scalars."""

    total: Tensor
    """relative + pixels + 0.1 absolute; before ABS_FROM_STEP nothing is learnt from the last term."""
    relative: Tensor
    """Of positions about the root joint, or about the points' mean."""
    pixels: Tensor
    """Of places in the picture, as metres of the box."""
    absolute: Tensor
    """Of positions in camera space."""


def beta_nll(difference: Tensor, uncertainty: Tensor, norm: Norm = Norm()) -> Tensor:
    """(…, D) metres, (…) metres -> (…)."""
    dims = difference.shape[-1]
    q = dims**0.5 if norm.divide_by_sqrt else dims
    f = dims**-0.5 if norm.fix_uncert_factor else dims**0.5
    loss = safe_norm(difference) / (uncertainty * q) + f * uncertainty.log()
    return loss * uncertainty.detach() ** norm.beta


def safe_norm(x: Tensor) -> Tensor:
    """(…, D) -> (…) Euclidean length, whose gradient is 0 at 0 and not NaN."""
    square = x.square().sum(-1)
    zero = square == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of all `x` where `mask`; 0 where there is none."""
    return torch.where(mask, x, 0.0).sum() / mask.sum().clamp_min(1)


def center_relative(difference: Tensor, validity: Tensor, root_index: Tensor) -> Tensor:
    """(B, P, 3) errors minus that of the root joint, or minus their mean over valid points where root_index is -1."""
    w = validity.to(difference.dtype)[..., None]
    mean = (difference * w).sum(1) / w.sum(1).clamp_min(1)
    index = root_index.clamp_min(0)[:, None, None].expand(-1, 1, 3)
    root = difference.gather(1, index)[:, 0]
    return difference - torch.where((root_index == -1)[:, None], mean, root)[:, None]


def loss_with_3d(
    true: Tensor,
    predicted: Tensor,
    uncertainty: Tensor,
    validity: Tensor,
    root_index: Tensor,
    K: Tensor,
    side: int,
    step: int,
    norm: Norm = Norm(),
) -> Loss3D:
    """Examples whose points are known in 3D.

    `true`, `predicted`: (B, P, 3) absolute, metres; `uncertainty`: (B, P) raw, metres; `validity`: (B, P) bool;
    `root_index`: (B,) int64, a valid point, or -1: relative to the mean; `K`: (B, 3, 3);
    `side`: pixels; `step`: of the training.
    """
    # What is not annotated may hold anything, NaN too; multiplied by a gradient of zero it would still be NaN.
    true = torch.where(validity[..., None], true, predicted.detach())
    difference = true - predicted
    relative = beta_nll(center_relative(difference, validity, root_index), uncertainty, norm)

    far_enough = validity & (true[..., 2] > NEAREST_M)
    shrink = (FAR_M / true[..., 2:].abs()).clamp_max(1.0)
    scaled = torch.cat([difference[..., :2], difference[..., 2:] * shrink], -1)
    absolute = masked_mean(beta_nll(scaled, ABS_UNCERTAINTY * uncertainty, norm), far_enough)

    pixels_true = project_from_afar(true, K)
    pixels = _pixel_loss(
        pixels_true, predicted, uncertainty, far_enough & near_view(pixels_true, side), K, side, norm
    )
    relative = masked_mean(relative, validity)
    learnt = absolute if step >= ABS_FROM_STEP else absolute.detach()
    return Loss3D(relative + pixels + ABS_WEIGHT * learnt, relative, pixels, absolute)


def loss_with_2d(
    true: Tensor,
    predicted: Tensor,
    uncertainty: Tensor,
    validity: Tensor,
    K: Tensor,
    side: int,
    norm: Norm = Norm(),
) -> Tensor:
    """Examples whose points are known in the picture only. `true`: (B, P, 2) pixels; others as in `loss_with_3d`."""
    return _pixel_loss(true, predicted, uncertainty, validity & near_view(true, side), K, side, norm)


def aggregate(
    parametric: Tensor,
    keypoints3d: Tensor,
    dense: Tensor,
    keypoints2d: Tensor,
    regularizer: Tensor,
    weights: StreamWeights = StreamWeights(),
) -> Tensor:
    """The training loss: totals of the four streams and `PointNetwork.regularizer()`, all scalars."""
    return (
        weights.parametric * parametric
        + weights.keypoints3d * keypoints3d
        + weights.dense * dense
        + weights.keypoints2d * keypoints2d
        + weights.regularizer * regularizer
    )


def project_from_afar(points: Tensor, K: Tensor) -> Tensor:
    """Pixels, never dividing by less than 0.1 m: points at or behind the camera get finite pixels.

    (B, P, 3) metres -> (B, P, 2) pixels. Such a prediction is pulled sideways; its depth is left to other losses.
    """
    return (points @ K.mT)[..., :2] / points[..., 2:].clamp_min(PROJECT_FROM_M)


def near_view(coords2d: Tensor, side: int) -> Tensor:
    """(…, 2) pixels -> (…) bool: inside the picture or within reach of it."""
    return in_view(coords2d, side, -VIEW_STRIDES_256 * side / 256)


def _pixel_loss(
    true: Tensor, predicted: Tensor, uncertainty: Tensor, mask: Tensor, K: Tensor, side: int, norm: Norm
) -> Tensor:
    """Pixel errors as metres of the box, so that one uncertainty serves both."""
    coords2d = project_from_afar(predicted, K)
    mask = mask & near_view(coords2d, side)
    # Masked before the difference: a ground truth of NaN would make a gradient of NaN even with a share of zero.
    difference = torch.where(mask[..., None], true - coords2d, 0.0) * (BOX_SIZE_M / side)
    return masked_mean(beta_nll(difference, uncertainty, norm), mask)

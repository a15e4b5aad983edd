"""Heat maps and what is read off them: the positions that NLF and our own field answer with."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from backend.nets.efficientnet import STRIDE

BOX_SIZE_M = 2.2
"""Metres that the width of a crop and the range of depth slices stand for."""
UNCERT_BIAS, UNCERT_BIAS2 = 0.0, 0.001


@dataclass(frozen=True)
class HeadOutput:
    """What the head says of P points on B crops."""

    coords2d: Tensor
    """(B, P, 2) pixels of the crop."""
    coords3d_rel: Tensor
    """(B, P, 3) metres, right, down, away, up to a translation common to the crop's points."""
    uncertainty: Tensor
    """(B, P) metres, raw (without the factor 3)."""


def decode_heatmaps(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`logits`: (…, 10, h, w) -> (…, 2) u, v; (…, 3) metric x, y and z, both in [0, 1]; (…) uncertainty in metres.

    Soft-argmax over cells at linspace(0, 1, n), both ends included; the 2.5D map has one softmax over depth, height
    and width. The uncertainty reads its map where the 2.5D map looks, without teaching it where to look.
    """
    h, w = logits.shape[-2:]
    # Autocast would put the sums below into 16 bits, whose steps are tenths of a pixel.
    with torch.autocast(logits.device.type, enabled=False):
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).flatten(-2)
        grid = _grid(h, w, logits)
        depth = torch.linspace(0, 1, CHANNELS - 2, dtype=logits.dtype, device=logits.device)
        metric = logits[..., 1, :].softmax(-1)
        volume = logits[..., 2:, :].flatten(-2).softmax(-1).unflatten(-1, (CHANNELS - 2, h * w))
        flat = volume.sum(-2)
        z = volume.sum(-1) @ depth
        seen = (logits[..., 0, :] * flat.detach()).sum(-1)
        uncertainty = F.softplus(seen + UNCERT_BIAS) + UNCERT_BIAS2
        return flat @ grid, torch.cat([metric @ grid, z[..., None]], -1), uncertainty


def _grid(h: int, w: int, like: Tensor) -> Tensor:
    """(h*w, 2) x, y of the cells in [0, 1]."""
    ys = torch.linspace(0, 1, h, dtype=like.dtype, device=like.device)
    xs = torch.linspace(0, 1, w, dtype=like.dtype, device=like.device)
    y, x = torch.meshgrid(ys, xs, indexing="ij")
    return torch.stack([x, y], -1).flatten(0, 1)


def to_pixels(unit: Tensor, side: int, stride: int = STRIDE) -> Tensor:
    """Heat-map position in [0, 1] -> pixels of the crop: 224 u + 16 at side 256, 352 u + 16 at 384."""
    last = side - 1
    return unit * (last - last % stride) + stride // 2


def to_metres(unit: Tensor, side: int, box_size: float = BOX_SIZE_M) -> Tensor:
    """(…, 3) positions in [0, 1] -> metres; the origin is left to the absolute reconstruction."""
    xy = to_pixels(unit[..., :2], side) * (box_size / side)
    return torch.cat([xy, unit[..., 2:] * box_size], -1)


CHANNELS = 10
"""Maps per point: uncertainty, metric xy, 8 depth slices."""

"""Network crops as the official recipe cuts them: the camera turned to the box, light averaged linearly.

The geometry of a crop is a few numbers, worked out in float64 on the CPU; pixels are sampled in float32 on the
device where the pictures lie (half precision is wrong there: dossier 9.2 and 9.3). The pictures of the caller
are never written to. `backend.roi` cuts the simpler crops of the tracker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from backend.nlf.augment import Augmentations, augmentations
from backend.nlf.lens import GAMMA, distort, lens_coefficients, linear_light, look_at, to_pixels, unproject

LEVELS = 3
"""Levels of the pyramid of pictures, each half the size of the one before."""
WORLD_UP = (0.0, -1.0, 0.0)
_SAMPLES = 1 << 24
"""Samples taken at once, which bounds the memory of the sampling positions (about 0.5 GB)."""


@dataclass(frozen=True)
class CropViews:
    """Cameras of A views of each of B boxes; same optical centre as the picture's camera, no distortion.

    `K`: (A, B, 3, 3) float64, pixels of the crop, principal point at side / 2; `R`: (A, B, 3, 3) float64,
    x_crop = R @ x_camera, a reflection where the view is mirrored; `zoom`: (A, B) crop pixels per picture pixel.
    """

    K: Tensor
    R: Tensor
    zoom: Tensor


@dataclass(frozen=True)
class CropImages:
    """`images`: (A, B, 3, side, side) float32 RGB 0..1 after gamma, ready for the network; `views`: their cameras."""

    images: Tensor
    views: CropViews


def camera_up(extrinsics: Tensor | None = None, world_up: Sequence[float] = WORLD_UP) -> Tensor:
    """(..., 3) float64: the world's up in camera space; `extrinsics` (..., 4, 4) takes world to camera."""
    up = torch.tensor(world_up, dtype=torch.float64)
    return up if extrinsics is None else extrinsics.cpu().double()[..., :3, :3] @ up


def crop_views(
    boxes: Tensor,
    K: Tensor,
    side: int,
    coeffs: Tensor | None = None,
    up: Tensor | None = None,
    views: Augmentations | None = None,
) -> CropViews:
    """Cameras that look at `boxes` (B, 4: x, y, width, height, pixels) so that each just fills a crop.

    `K`: (3, 3) or (B, 3, 3) pixels; `coeffs`: (k,) or (B, k) lens coefficients; `up`: (3,) or (B, 3), up in
    camera space. The box counts by its centre and the middles of its sides: the longer of the two distances
    between opposite sides, as the turned camera sees them, becomes `side` pixels.
    """
    boxes, K = boxes.cpu().double()[:, :4], K.cpu().double()
    coeffs = None if coeffs is None else coeffs.cpu().double()
    up = camera_up() if up is None else up.cpu().double()
    views = augmentations() if views is None else views
    K = K.expand(len(boxes), 3, 3)
    steps = torch.tensor([[0.5, 0.5], [0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]], dtype=torch.float64)
    rays = unproject(boxes[:, None, :2] + steps * boxes[:, None, 2:], K, coeffs)
    turn = look_at(rays[:, 0], up.expand(len(boxes), 3))
    seen = rays[:, 1:] @ (K @ turn).mT
    seen = seen[..., :2] / seen[..., 2:]
    height = torch.linalg.vector_norm(seen[:, 0] - seen[:, 2], dim=-1)
    width = torch.linalg.vector_norm(seen[:, 1] - seen[:, 3], dim=-1)
    # A box without an area would zoom for ever.
    zoom = views.scales[:, None] * side / torch.maximum(height, width).clamp_min(1e-3)
    new_K = zoom[..., None, None] * K
    new_K[..., :2, 2] = side / 2
    new_K[..., 2, :] = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    return CropViews(new_K, views.rotflip[:, None] @ turn, zoom)


def extract_crops(
    images: Tensor,
    image_ids: Tensor,
    boxes: Tensor,
    K: Tensor,
    side: int,
    *,
    coeffs: Tensor | None = None,
    up: Tensor | None = None,
    views: Augmentations | None = None,
    antialias: int = 1,
    white: bool = False,
) -> CropImages:
    """Cut every view of every box out of `images` (N, 3, H, W), RGB, uint8, uint16 or floats 0..1.

    `image_ids`: (B,) picture of each box; for the rest see `crop_views`. `antialias`: 1, 2 or 4, crops are
    sampled that many times finer and averaged; `white`: outside of the picture is white instead of black.
    """
    if antialias not in (1, 2, 4):
        raise ValueError(f"The antialias factor must be 1, 2 or 4, not {antialias}.")
    views = augmentations() if views is None else views
    cameras = crop_views(boxes, K, side, coeffs, up, views)
    A, B = cameras.zoom.shape
    coeffs = None if coeffs is None else coeffs.cpu().double()
    coeffs = lens_coefficients(coeffs)
    # Level l averages 2^l x 2^l pixels; the coarsest one that still has a pixel for every sample.
    levels = min(LEVELS, min(images.shape[-2:]).bit_length())
    level = torch.floor(-torch.log2(cameras.zoom * antialias)).clamp(0, levels - 1).long()
    full_K = K.cpu().double().expand(B, 3, 3)
    ids = image_ids.cpu().long()
    out = torch.zeros(A, B, 3, side, side, dtype=torch.float32, device=images.device)
    flat = out.view(A * B, 3, side, side)
    for picture in ids.unique().tolist():
        layer = linear_light(images[picture])[None]
        for lvl in range(levels):
            if lvl:
                layer = functional.avg_pool2d(layer, 2)
            chosen = ((ids == picture) & (level == lvl)).flatten().nonzero()[:, 0]
            if not len(chosen):
                continue
            for part in chosen.split(max(1, _SAMPLES // (side * antialias) ** 2)):
                b = part % B
                to_level = _resized(2.0**-lvl) @ full_K[b]
                from_crop = torch.linalg.inv(cameras.K.view(-1, 3, 3)[part]) @ _resized(1 / antialias)
                rays = cameras.R.view(-1, 3, 3)[part].mT @ from_crop
                lens = None if coeffs is None else coeffs.expand(B, coeffs.shape[-1])[b]
                flat[part.to(flat.device)] = _warp(
                    layer, rays, to_level, lens, side * antialias, white, antialias
                )
    power = (views.gammas / GAMMA).float().to(out.device)[:, None, None, None, None]
    # A value rounded below zero would have no power.
    return CropImages(out.clamp_(0.0, 1.0).pow(power), cameras)


def _resized(factor: float) -> Tensor:
    """(3, 3) pixel map of a picture resized by `factor`, where pixel centres are whole numbers."""
    shift = (factor - 1) / 2
    return torch.tensor([[factor, 0, shift], [0, factor, shift], [0, 0, 1]], dtype=torch.float64)


def _warp(layer, rays, K, coeffs, side: int, white: bool, pool: int) -> Tensor:
    """(n, 3, side / pool, side / pool) crops of one picture `layer` (1, 3, H, W) in linear light.

    `rays`: (n, 3, 3) from crop pixels to the directions of the camera with intrinsics `K` (n, 3, 3) and
    lens `coeffs` (n, k) or None. Positions are float32.
    """
    n = len(rays)
    height, width = layer.shape[-2:]
    edge = torch.arange(side, dtype=torch.float32, device=layer.device)
    v, u = torch.meshgrid(edge, edge, indexing="ij")
    # Without a lens the way is one homography, best multiplied out in float64. No matrix product for the pixels:
    # those may be cut to 10 bits on a GPU, where positions need all 24.
    m = _float(rays if coeffs is not None else K @ rays, layer)[..., None, None]
    x, y, w = (m[:, i, 0] * u + m[:, i, 1] * v + m[:, i, 2] for i in range(3))
    ahead = (w > 1e-6)[..., None]
    xy = torch.stack([x, y], -1) / torch.where(ahead, w[..., None], torch.ones_like(w[..., None]))
    if coeffs is not None:
        xy = distort(xy.flatten(1, 2), _float(coeffs, layer))
        xy = to_pixels(xy, _float(K, layer)).view(n, side, side, 2)
    size = torch.tensor([width, height], dtype=torch.float32, device=layer.device)
    grid = (2 * xy + 1) / size - 1
    # What lies behind the camera is outside the picture; far positions stay within what a sampler can count.
    grid = torch.where(ahead, grid, torch.full_like(grid, -3.0)).nan_to_num(-3.0).clamp(-3.0, 3.0)
    # All crops of a picture as one tall picture, so that the source is not repeated.
    grid = grid.reshape(1, n * side, side, 2)
    how = {"mode": "bilinear", "padding_mode": "zeros", "align_corners": False}
    out = functional.grid_sample(layer, grid, **how)
    if white:
        # As if 1 stood outside, without writing to the picture. Roundings of the weights' sum (6e-8, which gamma
        # makes 1e-2 in a black pixel) stay in, since the reference has them.
        out = out + (1 - functional.grid_sample(torch.ones_like(layer[:, :1]), grid, **how))
    out = out.view(3, n, side, side).transpose(0, 1)
    return functional.avg_pool2d(out, pool) if pool > 1 else out


def _float(x: Tensor, like: Tensor) -> Tensor:
    """`x` as float32 beside `like`; converted before it travels, since some devices have no float64."""
    return x.to(torch.float32).to(like.device)

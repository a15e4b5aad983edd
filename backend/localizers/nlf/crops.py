"""Network crops as the official recipe cuts them: the camera turned to the box, light averaged linearly.

All in float32 in the reference's own order of operations, so that crops are equal to the reference's but for a few
last bits; in a picture 4000 pixels wide positions are good to 0.001 pixels. The pictures of the caller are never
written to. `backend.camera.turned` cuts the simpler crops of the tracker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from backend.camera.lens import GAMMA, lens_coefficients, look_at, unproject
from backend.camera.matrices import applied, inverse, product
from backend.camera.sampling import Picture, cut, picture_size, positions, sample, seen_parts
from backend.localizers.nlf.augment import Augmentations, augmentations

LEVELS = 3
"""Levels of the pyramid of pictures, each half the size of the one before."""
WORLD_UP = (0.0, -1.0, 0.0)
_SAMPLES = 1 << 22
"""Samples taken at once, which bounds the memory of the sampling positions (about 0.2 GB)."""


@dataclass(frozen=True)
class CropViews:
    """Cameras of A views of each of B boxes; same optical centre as the picture's camera, no distortion.

    All tensors are float32 and on the CPU.
    """

    K: Tensor
    """(A, B, 3, 3) pixels of the crop, principal point at side / 2."""
    R: Tensor
    """(A, B, 3, 3), x_crop = R @ x_camera, a reflection where the view is mirrored."""
    zoom: Tensor
    """(A, B) crop pixels per picture pixel."""


@dataclass(frozen=True)
class CropImages:
    """A views of each of B boxes, cut out."""

    images: Tensor
    """(A, B, 3, side, side) float32 RGB 0..1 after gamma, ready for the network."""
    views: CropViews
    """Their cameras."""


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
    boxes, K = _float(boxes)[:, :4], _float(K).expand(len(boxes), 3, 3)
    coeffs = None if coeffs is None else _float(coeffs)
    up = camera_up() if up is None else up
    views = augmentations() if views is None else views
    steps = torch.tensor([[0.5, 0.5], [0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]])
    rays = unproject(boxes[:, None, :2] + steps * boxes[:, None, 2:], K, coeffs)
    turn = look_at(rays[:, 0], _float(up).expand(len(boxes), 3))
    seen = applied(product(K, turn), rays[:, 1:])
    seen = seen[..., :2] / seen[..., 2:]
    height = torch.linalg.vector_norm(seen[:, 0] - seen[:, 2], dim=-1)
    width = torch.linalg.vector_norm(seen[:, 1] - seen[:, 3], dim=-1)
    # A box without an area would zoom for ever.
    zoom = _float(views.scales)[:, None] * (side / torch.maximum(height, width).clamp_min(1e-3))
    new_K = zoom[..., None, None] * K
    new_K[..., :2, 2] = side / 2
    new_K[..., 2, :] = torch.tensor([0.0, 0.0, 1.0])
    return CropViews(new_K, product(_float(views.rotflip)[:, None], turn), zoom)


def extract_crops(
    images: Tensor | Sequence[Picture],
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
    device: torch.device | str | None = None,
) -> CropImages:
    """Cut every view of every box out of `images`, (N, 3, H, W) or N pictures of any sizes (see `Picture`).

    `image_ids`: (B,) picture of each box; for the rest see `crop_views`. `antialias`: 1, 2 or 4, crops are
    sampled that many times finer and averaged; `white`: outside of the picture is white instead of black;
    `device`: where to sample, None: where the pictures are. Of a picture only what a crop sees is touched.
    """
    if antialias not in (1, 2, 4):
        raise ValueError(f"The antialias factor must be 1, 2 or 4, not {antialias}.")
    views = augmentations() if views is None else views
    cameras = crop_views(boxes, K, side, coeffs, up, views)
    A, B = cameras.zoom.shape
    ids = image_ids.cpu().long()
    device = torch.device(device or next((p.device for p in images if isinstance(p, Tensor)), "cpu"))
    sizes = torch.tensor([picture_size(p)[::-1] for p in images]).view(-1, 2)[ids]
    # Level l averages 2^l x 2^l pixels; the coarsest one that still has a pixel for every sample.
    levels = torch.tensor([min(LEVELS, int(s).bit_length()) - 1 for s in sizes.amin(-1)], dtype=torch.long)
    level = torch.floor(-torch.log2(cameras.zoom * antialias)).clamp_min(0).long().minimum(levels)
    K = product(_resized(0.5 ** level.float()), _float(K).expand(B, 3, 3))
    rays = product(inverse(product(cameras.K, cameras.R)), _resized(torch.tensor(1 / antialias)))
    lens = None if coeffs is None else lens_coefficients(_float(coeffs))
    lens = None if lens is None else lens.expand(B, lens.shape[-1])
    out = torch.empty(A, B, 3, side, side, dtype=torch.float32, device=device)
    fine = side * antialias
    every = torch.cartesian_prod(torch.arange(B), torch.arange(A))
    for some in every.split(max(1, _SAMPLES // fine**2)):
        b, a = some.T
        whole = (sizes[b] >> level[a, b, None]).to(device)
        bent = None if lens is None else lens[b].to(device)
        xy = positions(rays[a, b].to(device), K[a, b].to(device), bent, whole, fine)
        rectangles = seen_parts(xy, whole)
        # The views of a box see much the same: what they need of one level is made once.
        alike = torch.stack([b, level[a, b]])
        for which in alike.unique(dim=1).T:
            same = (alike == which[:, None]).all(0).nonzero()[:, 0]
            x0, y0 = rectangles[same, :2].amin(0).tolist()
            x1, y1 = rectangles[same, 2:].amax(0).tolist()
            part = cut(images[int(ids[which[0]])], (x0, y0, x1, y1), int(which[1]), device)
            found = sample(part, xy[same.to(device)], white)
            found = functional.avg_pool2d(found, antialias) if antialias > 1 else found
            out[a[same].to(device), int(which[0])] = found
    power = (views.gammas / GAMMA).float().to(device)[:, None, None, None, None]
    # A value rounded below zero would have no power.
    return CropImages(out.clamp_(0.0, 1.0).pow(power), cameras)


def _resized(factor: Tensor) -> Tensor:
    """(..., 3, 3) pixel map of pictures resized by `factor` (...), pixel centres being whole numbers."""
    shift, o = (factor - 1) / 2, torch.zeros_like(factor)
    return torch.stack([factor, o, shift, o, factor, shift, o, o, o + 1], -1).unflatten(-1, (3, 3))


def _float(x: Tensor) -> Tensor:
    """On the CPU in float32, converted there too, since some devices have no float64."""
    return x.cpu().to(torch.float32)

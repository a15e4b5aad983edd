"""Pictures read between their pixels, in linear light; of a large picture only the part that is looked at.

Positions are float32 pixels, (0, 0) in the middle of the top left one. Nothing here is in half precision, which is
wrong for positions and, on a CPU, for sampling as a whole (docs/nlf.md 14.14). Pictures are never written to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from backend.camera.lens import distort, linear_light
from backend.camera.matrices import applied

Picture = Tensor | np.ndarray
"""RGB, uint8, uint16 or floats 0..1: a tensor (3, H, W), or an array (H, W, 3) as video readers give it."""
_FAR = -1e6
"""Pixels; where a ray that looks backwards is put."""


def picture_size(picture: Picture) -> tuple[int, int]:
    """Height and width. ValueError for anything but a picture."""
    shape = tuple(picture.shape)
    ordered = shape if isinstance(picture, Tensor) else (*shape[2:], *shape[:2])
    if len(shape) != 3 or ordered[0] != 3 or 0 in ordered:
        raise ValueError(f"A picture must be a tensor (3, H, W) or an array (H, W, 3), not {shape}.")
    return ordered[1], ordered[2]


def positions(inverse: Tensor, K: Tensor, coeffs: Tensor | None, sizes: Tensor, side: int) -> Tensor:
    """(n, side, side, 2): where the pixels of n crops lie in their pictures, x and y in pixels.

    `inverse`: (n, 3, 3) float32 from crop pixels to directions of the camera with intrinsics `K` (n, 3, 3) and lens
    `coeffs` (n, k) or None; `sizes`: (n, 2) width, height. Directions that look backwards are put far outside.
    """
    edge = torch.arange(side, dtype=torch.float32, device=K.device)
    v, u = torch.meshgrid(edge, edge, indexing="ij")
    ray = applied(inverse, torch.stack([u, v], -1).flatten(0, 1))
    ahead = ray[..., 2:] > 1e-6
    plane = distort(ray[..., :2] / torch.where(ahead, ray[..., 2:], torch.ones_like(ray[..., 2:])), coeffs)
    xy = applied(K, plane)[..., :2]
    # To -1 … 1 and back, as positions go to the sampler of the reference: its float32 steps are part of its crops.
    last = (sizes - 1).clamp_min(1)[:, None].to(xy.dtype)
    xy = (xy * (2 / last) - 1 + 1) * (last / 2)
    return torch.where(ahead, xy, torch.full_like(xy, _FAR)).nan_to_num(_FAR).unflatten(1, (side, side))


def seen_parts(xy: Tensor, sizes: Tensor) -> Tensor:
    """(n, 4) long x0, y0, x1, y1: the smallest rectangles with every pixel that positions `xy` (n, h, w, 2) touch
    in pictures of `sizes` (n, 2: width, height); x1 <= x0 where there is none.

    On the CPU. A union of several is that of their lower and upper bounds.
    """
    xy, whole = xy.flatten(1, 2), sizes[:, None].to(xy.device, xy.dtype)
    inside = ((xy > -1) & (xy < whole)).all(-1, keepdim=True)
    low = torch.where(inside, xy, whole).amin(1).floor()
    high = torch.where(inside, xy, torch.full_like(xy, -2.0)).amax(1).floor() + 2
    return torch.cat([low.clamp_min(0), torch.minimum(high, whole[:, 0])], -1).cpu().long()


@dataclass(frozen=True)
class Part:
    """A rectangle of a picture."""

    light: Tensor
    """(h, w, 3) float32, linear light."""
    x: int
    """Its first column."""
    y: int
    """Its first row."""


def cut(
    picture: Picture, rectangle: tuple[int, int, int, int], level: int, device: torch.device
) -> Part | None:
    """The `rectangle` x0, y0, x1, y1 of level `level` of the picture's pyramid; None if it is empty.

    Level l averages 2^l x 2^l pixels; rows and columns that fill no block are left out.
    """
    x0, y0, x1, y1 = rectangle
    if x1 <= x0 or y1 <= y0:
        return None
    pixels = picture.permute(1, 2, 0) if isinstance(picture, Tensor) else picture
    columns = slice(x0 << level, x1 << level)
    # Some rows at a time stay in the processor's cache from the first step to the last.
    rows = max(1, _BAND // ((x1 - x0) << 2 * level))
    bands = []
    for y in range(y0, y1, rows):
        band = pixels[y << level : min(y + rows, y1) << level, columns]
        if not isinstance(band, Tensor):
            # A copy, since an array may be read-only or run backwards.
            band = torch.from_numpy(np.array(band, order="C"))
        if band.dtype != torch.uint8:
            # Here and not on the device: few devices know uint16.
            band = linear_light(band)
        band = band.to(device)
        light = linear_light(band) if band.dtype == torch.uint8 else band
        for _ in range(level):
            light = (light[::2, ::2] + light[::2, 1::2] + light[1::2, ::2] + light[1::2, 1::2]) / 4
        bands.append(light)
    return Part(torch.cat(bands), x0, y0)


_BAND = 1 << 16
"""Pixels of the picture that go through `cut` at a time."""


def sample(part: Part | None, xy: Tensor, white: bool) -> Tensor:
    """Bilinear samples (n, 3, h, w) at positions `xy` (n, h, w, 2) in pixels of the part's whole picture.

    Outside of the picture is black or white. None: a part of which nothing is seen.
    """
    if part is None:
        return torch.full((*xy.shape[:-1], 3), float(white), device=xy.device).movedim(-1, 1)
    # Black stands outside in any case: white is the black of the inverted picture.
    light = functional.pad(1 - part.light if white else part.light, (0, 0, 1, 2, 1, 2))
    rows, columns = light.shape[:2]
    # Against the part's corner a position loses no digit, so that a crop does not depend on what is cut with it.
    xy = xy - xy.new_tensor([part.x, part.y])
    x, y = xy[..., 0].clamp(-1, columns - 3), xy[..., 1].clamp(-1, rows - 3)
    left, top = x.floor(), y.floor()
    right, below = x - left, y - top
    first = (top.int() + 1) * columns + left.int() + 1
    corners = (
        (0, (1 - below) * (1 - right)),
        (1, (1 - below) * right),
        (columns, below * (1 - right)),
        (columns + 1, below * right),
    )
    out = light.new_zeros(first.numel(), 3)
    for offset, share in corners:
        out += light.flatten(0, 1).index_select(0, (first + offset).flatten()) * share.view(-1, 1)
    out = out.view(*xy.shape[:-1], 3).movedim(-1, 1)
    return 1 - out if white else out

"""People in pictures, by given boxes: crops of several views, the crop model, one merged answer in world space.

The whole official recipe from boxes on (docs/nlf.md 2 to 8), with light made linear once and the caller's pictures
left alone, which recent upstream code does not always do (golden README 11). Lengths are metres throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backend.camera.lens import default_intrinsics, project
from backend.camera.pinhole import DEFAULT_FOV_DEG
from backend.camera.sampling import Picture, picture_size
from backend.localizers.nlf.augment import MAX_DEGREES, Augmentations, augmentations
from backend.localizers.nlf.crop_model import CropModel
from backend.localizers.nlf.crops import WORLD_UP, camera_up, extract_crops
from backend.localizers.nlf.head import PreparedPoints
from backend.localizers.nlf.merge import merge_views, to_world, turned_back


@dataclass(frozen=True)
class Recipe:
    """How a person is looked at."""

    num_aug: int = 1
    """Views that are merged into one answer."""
    max_degrees: float = MAX_DEGREES
    """How far the outermost views are rolled, degrees."""
    antialias: int = 1
    """Samples along each side of a crop's pixel: 1, 2 or 4."""
    white: bool = False
    """Whether white, not black, lies outside the picture, as the model was trained (docs/nlf.md 2.3)."""
    batch: int = 64
    """Crops that go through the network at a time."""


@dataclass(frozen=True)
class Poses:
    """P points of the n people of one picture, in the order of its boxes, on the model's device, float32."""

    points3d: Tensor
    """(n, P, 3) metres, world space (camera space without extrinsics)."""
    points2d: Tensor
    """(n, P, 2) pixels of the picture, lens included."""
    uncertainty: Tensor
    """(n, P) metres."""
    camera3d: Tensor
    """(n, P, 3) metres, camera space."""


@dataclass(frozen=True)
class Kept:
    """What was seen of B people."""

    linked: Tensor
    """(B, 512, h, w), the features that the head reads."""
    K: Tensor
    """(B, 3, 3) intrinsics of their crops, pixels."""
    R: Tensor
    """(B, 3, 3) rotations of their crops: x_crop = R @ x_camera."""
    translation: Tensor
    """(B, 3) metres, as it was solved."""


@torch.no_grad()
def estimate_poses(
    model: CropModel,
    images: Tensor | Sequence[Picture],
    boxes: Sequence[Tensor | np.ndarray],
    prepared: PreparedPoints,
    recipe: Recipe = Recipe(),
    *,
    K: Tensor | None = None,
    coeffs: Tensor | None = None,
    extrinsics: Tensor | None = None,
    world_up: Sequence[float] = WORLD_UP,
    fov_deg: float = DEFAULT_FOV_DEG,
    views: Augmentations | None = None,
    keep: Callable[[Kept], None] | None = None,
) -> list[Poses]:
    """Localize `prepared` points (with mirror images if views are mirrored) in every box of every picture.

    `images`: (N, 3, H, W), or N pictures of any sizes (see `Picture`), wherever they are: only what a crop sees
    goes to the model's device. `boxes`: N times (n_i, 4 or more: x, y, width, height, pixels); `K`: (3, 3) or
    (N, 3, 3), else `fov_deg` on the larger side; `coeffs`: (k,) or (N, k) of the lens; `extrinsics`: (4, 4) or
    (N, 4, 4) world to camera, metres; `views`: instead of the recipe's list; `keep`: is given what was seen of the
    people, in the order of the boxes, some at a time; needs a single view.
    """
    N = len(images)
    if len(boxes) != N:
        raise ValueError(f"There are boxes for {len(boxes)} pictures, but {N} pictures.")
    views = augmentations(recipe.num_aug, recipe.max_degrees) if views is None else views
    if K is None:
        K = torch.stack([default_intrinsics(*picture_size(p), fov_deg) for p in images] or [torch.eye(3)])
    K = K.cpu().double().expand(N, 3, 3)
    boxes = [torch.as_tensor(b).cpu().double() for b in boxes]
    counts = [len(b) for b in boxes]
    ids = torch.repeat_interleave(torch.arange(N), torch.tensor(counts, dtype=torch.long))
    every = torch.cat([b.reshape(len(b), -1)[:, :4] for b in boxes if len(b)] or [torch.zeros(0, 4)])
    lens = None if coeffs is None else coeffs.cpu().double().expand(N, coeffs.shape[-1])[ids]
    up = camera_up(extrinsics, world_up).expand(N, 3)[ids]
    weight = model.canonical_lefts
    points = torch.zeros(0, len(prepared), 3, device=weight.device)
    found, sigmas = [points], [points[..., 0]]
    for part in torch.arange(len(every)).split(max(1, recipe.batch // len(views))):
        crops = extract_crops(
            images, ids[part], every[part], K[ids[part]], model.side,
            coeffs=None if lens is None else lens[part], up=up[part], views=views,
            antialias=recipe.antialias, white=recipe.white, device=weight.device,
        )  # fmt: skip
        poses, sigma = _look(model, crops.images, crops.views.K, crops.views.R, prepared, views, keep)
        merged = merge_views(poses, sigma)
        found.append(merged[0])
        sigmas.append(merged[1])
    points, sigma = torch.cat(found), torch.cat(sigmas)
    flat = project(points, _like(K[ids], points), None if lens is None else _like(lens, points))
    world = points
    if extrinsics is not None:
        world = to_world(points, _like(extrinsics.cpu().expand(N, 4, 4)[ids], points))
    split = zip(*(x.split(counts) for x in (world, flat, sigma, points)), strict=True)
    return [Poses(*person) for person in split]


def _look(
    model: CropModel,
    images: Tensor,
    K: Tensor,
    R: Tensor,
    prepared: PreparedPoints,
    views: Augmentations,
    keep: Callable[[Kept], None] | None,
) -> tuple[Tensor, Tensor]:
    """Views of crops (A, B, 3, S, S) -> (B, A, P, 3) metres in the pictures' camera, (B, A, P) metres."""
    A, B = images.shape[:2]
    weight = next(model.backbone.parameters())
    mirrored = views.flips.repeat_interleave(B).to(weight.device)
    linked = model.link(images.flatten(0, 1).to(weight.device, weight.dtype))
    flat = _like(K.flatten(0, 1), weight, torch.float32)
    out = model.read(linked, flat, prepared, mirrored if bool(views.flips.any()) else None)
    if keep is not None and A == 1:
        keep(Kept(linked, K[0], R[0], out.translation))
    # The rotation holds the mirror, so that mirrored people come back as they are (docs/nlf.md 8.1, 14.12).
    camera = turned_back(out.points3d.float().unflatten(0, (A, B)), _like(R, weight, torch.float32))
    return camera.transpose(0, 1), out.uncertainty.float().unflatten(0, (A, B)).transpose(0, 1)


def _like(x: Tensor, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """`x` beside `like`, converted before it travels, since some devices have no float64."""
    return x.to(dtype or like.dtype).to(like.device)

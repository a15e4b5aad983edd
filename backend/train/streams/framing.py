"""How a person is framed: the localizer's own crops, laid by the true landmarks and shaken, and mirrored ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from backend.camera.pinhole import Camera, Roi
from backend.camera.turned import extract, image_to_crop
from backend.localizers.landmarks.region import landmark_region
from backend.train.streams.batch import Example

SIDE = 256
_PART = (0.35, 0.8)


@dataclass(frozen=True)
class Shake:
    """How far the crops are spread about where they should be."""

    shift: float = 0.04
    """One standard deviation, as a share of the region's side."""
    roll: float = 8.0
    """One standard deviation, degrees."""
    zoom: float = 1.2
    """Largest factor, log-uniform to either side."""
    any_roll: float = 0.05
    """Share of crops with any roll at all, up to half a turn."""
    upright: float = 0.2
    """Share of crops laid by a box instead of by the landmarks, as before a person is known."""
    mirror: float = 0.5
    """Share of mirrored crops."""
    part: float = 0.0
    """Share of crops that show only a part of the person."""


STILL = Shake(0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


def shaken_region(xy: np.ndarray, rng: np.random.Generator, shake: Shake) -> Roi:
    """A region as it might be laid in use. `xy`: (33, 2) pixels."""
    if rng.random() < shake.upright:
        low, high = xy.min(0), xy.max(0)
        roi = Roi.around(np.array([*low, *(high - low)]))
    else:
        roi = landmark_region(xy)
    return shake_region(roi, rng, shake)


def shake_region(roi: Roi, rng: np.random.Generator, shake: Shake) -> Roi:
    """`roi`, laid as inexactly as in use."""
    roll = rng.uniform(-180, 180) if rng.random() < shake.any_roll else rng.normal(0, 1) * shake.roll
    zoom = shake.zoom ** rng.uniform(-1, 1)
    center = roi.center + rng.normal(size=2) * shake.shift * roi.size
    shaken = Roi(center, roi.size * zoom, roi.angle + np.deg2rad(roll))
    # No number is drawn where nothing is asked for: recipes without it keep their pictures.
    return part_of(shaken, rng) if shake.part and rng.random() < shake.part else shaken


def part_of(roi: Roi, rng: np.random.Generator) -> Roi:
    """A square that lies within `roi` and has 0.35 to 0.8 of its side (NLF's partial views; docs/nlf.md 12.3)."""
    share = rng.uniform(*_PART)
    c, s = np.cos(roi.angle), np.sin(roi.angle)
    off = rng.uniform(-0.5, 0.5, 2) * (1 - share) * roi.size
    return Roi(roi.center + np.array([[c, -s], [s, c]]) @ off, roi.size * share, roi.angle)


def crop_example(image: np.ndarray, K: np.ndarray, roi: Roi, example: Example) -> Example:
    """`example`, whose targets are those of the whole picture (H, W, 3) with intrinsics `K`, seen in a crop."""
    camera = Camera(K, image.shape[1], image.shape[0])
    crop = extract(image, camera, roi, SIDE)
    return replace(
        example,
        image=crop.image,
        K=crop.K,
        points3d=example.points3d @ crop.R.T,
        points2d=image_to_crop(crop, camera, example.points2d),
    )


def mirror_example(example: Example) -> Example:
    """The picture seen in a mirror; what was at x is at -x."""
    K = example.K.copy()
    K[0, 2] = SIDE - 1 - K[0, 2]
    points2d = example.points2d * [-1, 1] + [SIDE - 1, 0]
    return replace(
        example,
        image=np.ascontiguousarray(example.image[:, ::-1]),
        K=K,
        points3d=example.points3d * [-1, 1, 1],
        points2d=points2d,
        mirrored=not example.mirrored,
    )

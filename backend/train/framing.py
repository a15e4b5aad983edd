"""How a person is framed: the localizer's own crops, laid by the true landmarks and shaken, and mirrored ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from backend.nlf.lite_region import landmark_region
from backend.records import Camera, Roi
from backend.roi import extract, image_to_crop
from backend.train.batch import Example

SIDE = 256


@dataclass(frozen=True)
class Shake:
    """Spread of the crops: `shift` of the region's side and `roll` degrees (standard deviations), `zoom` (factor,
    log-uniform to either side), `any_roll`: share of crops with any roll at all, `upright`: share laid by a box
    instead of by the landmarks, as before a person is known; `mirror`: share of mirrored ones."""

    shift: float = 0.04
    roll: float = 8.0
    zoom: float = 1.2
    any_roll: float = 0.05
    upright: float = 0.2
    mirror: float = 0.5


STILL = Shake(0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


def shaken_region(xy: np.ndarray, rng: np.random.Generator, shake: Shake) -> Roi:
    """A region as it might be laid in use. `xy`: (33, 2) pixels."""
    if rng.random() < shake.upright:
        low, high = xy.min(0), xy.max(0)
        roi = Roi.around(np.array([*low, *(high - low)]))
    else:
        roi = landmark_region(xy)
    roll = rng.uniform(-180, 180) if rng.random() < shake.any_roll else rng.normal(0, 1) * shake.roll
    zoom = shake.zoom ** rng.uniform(-1, 1)
    center = roi.center + rng.normal(size=2) * shake.shift * roi.size
    return Roi(center, roi.size * zoom, roi.angle + np.deg2rad(roll))


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

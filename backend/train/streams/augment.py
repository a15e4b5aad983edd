"""What lenses, light and networks do to pictures: colour, gamma, blur, noise, JPEG, things in front.

All take and give (H, W, 3) uint8 RGB and read their chance from `rng` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from backend.train.streams.cutouts import put_things


@dataclass(frozen=True)
class Looks:
    """Chance of each change; the ranges are the paper's where it has them (docs/nlf.md 12.3)."""

    colour: float = 0.8
    """Other brightness, contrast, saturation and hue."""
    gamma: float = 0.5
    """Another gamma curve."""
    grey: float = 0.05
    """Grey in place of colours."""
    blur: float = 0.2
    """Out of focus, moved, or enlarged from fewer pixels."""
    noise: float = 0.25
    """Grain."""
    jpeg: float = 0.3
    """Marks of JPEG compression."""
    occlusion: float = 0.35
    """One to three patches in front."""
    erase: float = 0.0
    """A rectangle of up to a third of the picture, filled with noise."""
    things: float = 0.0
    """One to six cut-out things in front."""
    things_from: str = ""
    """Folder of the things: pictures with transparency, or Pascal VOC 2012, whose segmented objects are cut out."""


PLAIN = Looks(0, 0, 0, 0, 0, 0, 0)


def change_looks(image: np.ndarray, rng: np.random.Generator, looks: Looks) -> np.ndarray:
    """One picture, changed at random."""
    if rng.random() < looks.occlusion:
        image = occlude(image, rng)
    # No number is drawn where nothing is asked for: recipes without these two keep their pictures.
    if looks.things and looks.things_from and rng.random() < looks.things:
        image = put_things(image, rng, looks.things_from)
    if looks.erase and rng.random() < looks.erase:
        image = erased(image, rng)
    if rng.random() < looks.blur:
        image = blurred(image, rng)
    if rng.random() < looks.colour:
        image = coloured(image, rng)
    if rng.random() < looks.gamma:
        curve = 255 * (np.arange(256) / 255) ** np.exp(rng.uniform(-0.5, 0.5))
        image = cv2.LUT(image, curve.round().astype(np.uint8))
    if rng.random() < looks.grey:
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    if rng.random() < looks.noise:
        grain = rng.standard_normal(image.shape, np.float32) * rng.uniform(2, 12)
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    if rng.random() < looks.jpeg:
        quality = int(rng.integers(15, 60))
        image = cv2.imdecode(
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR
        )
    return image


def coloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast, saturation and hue: one linear map of the colours."""
    grey = np.full((3, 3), 1 / 3)
    saturation = rng.uniform(0.5, 1.5)
    m = grey + saturation * (np.eye(3) - grey)
    # A turn about the grey axis changes the hue and leaves white white.
    turn, _ = cv2.Rodrigues(np.ones(3) / np.sqrt(3) * rng.normal(0, 0.35))
    m = rng.uniform(0.6, 1.4) * turn @ m * np.exp(rng.normal(0, 0.08, (3, 1)))
    middle = 127.5
    offset = middle - m @ np.full(3, middle) + rng.uniform(-32, 32)
    return cv2.transform(image, np.c_[m, offset])


def blurred(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Out of focus, moved, or enlarged from fewer pixels."""
    kind = rng.integers(3)
    if kind == 0:
        return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 2.0))
    if kind == 1:
        n = int(rng.integers(3, 10))
        kernel = np.zeros((n, n), np.float32)
        kernel[n // 2] = 1 / n
        turn = cv2.getRotationMatrix2D(((n - 1) / 2, (n - 1) / 2), rng.uniform(0, 180), 1)
        kernel = cv2.warpAffine(kernel, turn, (n, n))
        return cv2.filter2D(image, -1, kernel / max(kernel.sum(), 1e-6))
    size = int(image.shape[0] * rng.uniform(0.25, 0.7))
    small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def erased(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A rectangle of up to a third of the picture, 0.3 to 3.3 times as high as wide, filled with noise."""
    image, side = image.copy(), image.shape[0]
    area, aspect = rng.uniform(0.02, 1 / 3) * side * side, np.exp(rng.uniform(np.log(0.3), np.log(1 / 0.3)))
    w, h = (min(side, int(np.sqrt(area / aspect))), min(side, int(np.sqrt(area * aspect))))
    x, y = int(rng.integers(0, side - w + 1)), int(rng.integers(0, side - h + 1))
    image[y : y + h, x : x + w] = rng.integers(0, 256, (h, w, 3), np.uint8)
    return image


def occlude(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One to three patches in front: of one colour, of noise, or of another part of the same picture."""
    image = image.copy()
    side = image.shape[0]
    for _ in range(int(rng.integers(1, 4))):
        w, h = (side * rng.uniform(0.06, 0.35, 2)).astype(int)
        x, y = int(rng.integers(-w // 2, side - w // 2)), int(rng.integers(-h // 2, side - h // 2))
        mask = np.zeros((side, side), np.uint8)
        if rng.random() < 0.5:
            cv2.ellipse(mask, (x + w // 2, y + h // 2), (w // 2, h // 2), rng.uniform(0, 180), 0, 360, 1, -1)
        else:
            corners = cv2.boxPoints(((x + w / 2, y + h / 2), (float(w), float(h)), rng.uniform(-45, 45)))
            cv2.fillConvexPoly(mask, corners.astype(np.int32), 1)
        kind = rng.integers(3)
        if kind == 0:
            image[mask > 0] = rng.integers(0, 256, 3)
        elif kind == 1:
            image[mask > 0] = rng.integers(0, 256, (int(mask.sum()), 3))
        else:
            other = np.roll(image, tuple(rng.integers(side // 4, 3 * side // 4, 2)), (0, 1))
            image[mask > 0] = other[mask > 0]
    return image

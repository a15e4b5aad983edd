"""Flat backgrounds: photographs, panoramas and made-up pictures, as linear light."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")

import cv2
import numpy as np

from backend.errors import JobError
from backend.synth import dyes
from backend.synth.light import Light, of_panorama, turned

LINEAR = dyes.linear(np.arange(256)).astype(np.float32)
"""Linear light of each sRGB byte."""
_LARGEST = 1280
"""Photographs are shrunk to this longer side when they are read."""


@dataclass(frozen=True, eq=False)
class Panorama:
    """A view all around."""

    radiance: np.ndarray
    """(h, 2h, 3) float32 linear, median 0.2."""
    light: Light
    """What it sheds."""


def load(files: Sequence[Path], split: str) -> tuple[list[np.ndarray], list[Panorama]]:
    """Photographs ((h, w, 3) uint8 RGB) and panoramas of `split`; .hdr and .exr files are panoramas.

    One picture in six, chosen by name, is held out. Raises JobError("bad_background") for unreadable files.
    """
    photos, panoramas = [], []
    for file in sorted(files):
        share = hashlib.sha256(file.name.encode()).digest()[0] / 256
        if (share < 1 / 6) != (split == "held-out"):
            continue
        image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise JobError(
                "bad_background", f"{file} is not a picture: take it out of the folder of backgrounds."
            )
        if image.ndim == 2:
            image = np.repeat(image[..., None], 3, 2)
        image = np.ascontiguousarray(image[..., 2::-1])
        if image.dtype == np.float32:
            image = np.nan_to_num(np.maximum(image, 0))
            image = image * (0.2 / max(float(np.median(image)), 1e-6))
            small = cv2.resize(image, (128, 64), interpolation=cv2.INTER_AREA)
            panoramas.append(Panorama(image, of_panorama(small.astype(np.float64))))
        elif image.dtype == np.uint8:
            shrink = min(1.0, _LARGEST / max(image.shape[:2]))
            photos.append(cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA))
    return photos, panoramas


def photo(rng: np.random.Generator, images: Sequence[np.ndarray], side: int) -> np.ndarray:
    """(side, side, 3) linear: a random square of a random photograph, at times mirrored or out of focus."""
    image = images[rng.integers(len(images))]
    h, w = image.shape[:2]
    part = int(min(h, w) * np.exp(rng.uniform(np.log(0.25), 0)))
    y, x = int(rng.integers(h - part + 1)), int(rng.integers(w - part + 1))
    out = cv2.resize(image[y : y + part, x : x + part], (side, side), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        out = out[:, ::-1]
    out = LINEAR[out]
    return _defocused(rng, out * rng.uniform(0.5, 1.3))


def panorama(
    rng: np.random.Generator, all_: Sequence[Panorama], rays: np.ndarray
) -> tuple[np.ndarray, Light]:
    """A random panorama seen along the world directions `rays` (side, side, 3), turned at random."""
    chosen = all_[rng.integers(len(all_))]
    angle = rng.uniform(0, 2 * np.pi)
    d = rays
    if rng.random() < 0.7:
        # A long lens sees a few texels of a panorama; a wider look keeps shapes in the background.
        axis = rays[rays.shape[0] // 2, rays.shape[1] // 2]
        d = axis + (rays - axis) * rng.uniform(1.0, 4.0)
    return look_up(chosen, d, angle), turned(chosen.light, angle)


def look_up(chosen: Panorama, d: np.ndarray, angle: float) -> np.ndarray:
    """(h, w, 3) radiance of a panorama along the directions `d` (h, w, 3), after a turn as `light.turned` does it."""
    h, w = chosen.radiance.shape[:2]
    x, y, z = np.moveaxis(d, -1, 0)
    a = np.arctan2(x, -z) + angle
    e = np.arctan2(y, np.sqrt(x * x + z * z))
    u = ((a / (2 * np.pi) + 0.5) % 1 * w - 0.5).astype(np.float32)
    v = ((0.5 - e / np.pi) * h - 0.5).astype(np.float32)
    return cv2.remap(chosen.radiance, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def sharpened(rng: np.random.Generator, image: np.ndarray, images: Sequence[np.ndarray]) -> np.ndarray:
    """Panoramas are coarse: lend one the fine grain of a photograph, and more of it where it is busy itself."""
    side = len(image)
    if not images or rng.random() < 0.35:
        return _defocused(rng, image, 0.3)
    donor = images[rng.integers(len(images))]
    h, w = donor.shape[:2]
    part = min(h, w, int(side * rng.uniform(0.8, 2.5)))
    y, x = int(rng.integers(h - part + 1)), int(rng.integers(w - part + 1))
    fine = cv2.resize(donor[y : y + part, x : x + part], (side, side), interpolation=cv2.INTER_AREA)
    fine = np.log(LINEAR[cv2.cvtColor(fine, cv2.COLOR_RGB2GRAY)] + 0.02)
    fine -= cv2.blur(fine, (7, 7))
    return image * np.exp(np.clip(fine * rng.uniform(0.3, 1.1), -1.5, 1.2))[..., None]


def made_up(rng: np.random.Generator, side: int, split: str) -> np.ndarray:
    """(side, side, 3) linear: a plain studio, a gradient, clouds of noise, stripes or a heap of shapes."""
    a, b = (dyes.cloth(rng, split, k) for k in ("light" if rng.random() < 0.5 else "any", "any"))
    kind = rng.integers(5)
    v = np.linspace(0, 1, side, dtype=np.float32)
    if kind == 0:
        t = np.clip((v - rng.uniform(0.4, 0.8)) / rng.uniform(0.02, 0.5), 0, 1)[:, None, None]
        out = np.broadcast_to(a * (1 - t) + a * rng.uniform(0.5, 1.4) * t, (side, side, 3)).copy()
    elif kind == 1:
        t = (v[:, None] * rng.normal() + v[None] * rng.normal())[..., None]
        out = a + (b - a) * np.clip(t - t.min(), 0, 1)
    elif kind == 2:
        t = np.zeros((side, side), np.float32)
        for n in (3, 7, 17, 45):
            t += (
                cv2.resize(rng.random((n, n), np.float32) - 0.5, (side, side), interpolation=cv2.INTER_CUBIC)
                * 3
                / n**0.5
            )
        t = np.clip(t + 0.5, 0, 1)[..., None]
        out = a + (b - a) * t
    elif kind == 3:
        w = rng.uniform(4, 60)
        t = ((v[:, None] * rng.normal() + v[None] * rng.normal()) * side / w % 1 < rng.uniform(0.2, 0.8))[
            ..., None
        ]
        out = np.where(t, a, b)
    else:
        out = np.broadcast_to(a, (side, side, 3)).astype(np.float32)
    out = np.ascontiguousarray(out, np.float32)
    if kind == 4 or rng.random() < 0.35:
        for _ in range(rng.integers(5, 40)):
            colour = tuple(float(x) for x in dyes.cloth(rng, split))
            centre = rng.integers(-10, side + 10, 2)
            size = np.exp(rng.uniform(1.2, 4.2, 2))
            if rng.random() < 0.6:
                box = cv2.boxPoints(
                    (centre.astype(float).tolist(), size.tolist(), float(rng.choice([0, rng.uniform(0, 90)])))
                )
                cv2.fillConvexPoly(out, box.astype(np.int32), colour)
            else:
                cv2.ellipse(
                    out,
                    (centre.astype(float).tolist(), size.tolist(), float(rng.uniform(0, 180))),
                    colour,
                    -1,
                )
    return _defocused(rng, out * rng.uniform(0.4, 1.2))


def _defocused(rng: np.random.Generator, image: np.ndarray, chance: float = 0.45) -> np.ndarray:
    image = np.ascontiguousarray(image, np.float32)
    if rng.random() < chance:
        sigma = float(np.exp(rng.uniform(-0.5, 1.9)))
        n = 2 * int(sigma) + 1
        for _ in range(2):
            image = cv2.blur(image, (n, n))
    return image

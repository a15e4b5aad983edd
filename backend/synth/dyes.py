"""Colours of skin, hair and cloth in linear light, with some that only held-out people wear."""

from __future__ import annotations

import numpy as np

_SKIN = np.array(
    [[53, 36, 29], [78, 51, 38], [104, 69, 50], [135, 92, 68], [164, 118, 91], [191, 145, 118], [214, 172, 148],
     [228, 192, 172], [235, 206, 190]], float
)  # fmt: skip
_HAIR = np.array(
    [[16, 13, 12], [28, 21, 17], [48, 33, 24], [75, 50, 33], [105, 75, 48], [150, 115, 75], [190, 160, 115],
     [120, 60, 35], [130, 128, 125], [200, 198, 194]], float
)  # fmt: skip
_HAIR_CHANCE = np.array([0.27, 0.2, 0.16, 0.1, 0.07, 0.05, 0.04, 0.03, 0.05, 0.03])
_HUES = 24
"""Hues of the colour circle; every sixth is worn by held-out people only (greys and blues by all)."""


def linear(rgb) -> np.ndarray:
    """sRGB 0..255 -> linear 0..1."""
    c = np.asarray(rgb, float) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def from_hsv(h: float, s: float, v: float) -> np.ndarray:
    """Hue 0..1, saturation and value 0..1 of sRGB -> linear rgb."""
    k = (np.array([5, 3, 1]) + h * 6) % 6
    return linear(255 * (v - v * s * np.clip(np.minimum(k, 4 - k), 0, 1)))


def skin(rng: np.random.Generator) -> np.ndarray:
    """Linear rgb of some human's skin."""
    t = rng.uniform(0, len(_SKIN) - 1)
    i = min(int(t), len(_SKIN) - 2)
    c = _SKIN[i] + (t - i) * (_SKIN[i + 1] - _SKIN[i])
    return linear(np.clip(c * rng.normal(1, [0.03, 0.03, 0.05]), 5, 250))


def hair(rng: np.random.Generator) -> np.ndarray:
    """Linear rgb of hair, now and then dyed."""
    if rng.random() < 0.03:
        return from_hsv(rng.random(), 0.7, 0.6)
    c = _HAIR[rng.choice(len(_HAIR), p=_HAIR_CHANCE)]
    return linear(np.clip(c * rng.uniform(0.8, 1.2), 3, 250))


def cloth(rng: np.random.Generator, split: str, kind: str = "any") -> np.ndarray:
    """Linear rgb of a cloth. `kind`: "any", "dark", "light" or "denim"."""
    dice = rng.random()
    if kind == "denim":
        return from_hsv(rng.uniform(0.57, 0.64), rng.uniform(0.2, 0.65), rng.uniform(0.15, 0.7))
    if kind == "dark" or (kind == "any" and dice < 0.3):
        return from_hsv(rng.choice([rng.random(), 0.62]), rng.uniform(0, 0.35), rng.uniform(0.04, 0.28))
    if kind == "light" or (kind == "any" and dice < 0.45):
        return from_hsv(rng.uniform(0.05, 0.15), rng.uniform(0, 0.14), rng.uniform(0.65, 0.97))
    if dice < 0.58:
        return from_hsv(rng.random(), rng.uniform(0, 0.12), rng.uniform(0.25, 0.7))
    if dice < 0.66:
        return from_hsv(rng.uniform(0.57, 0.64), rng.uniform(0.3, 0.8), rng.uniform(0.15, 0.6))
    hue = int(rng.integers(_HUES))
    while (hue % 6 == 1) != (split == "held-out"):
        hue = int(rng.integers(_HUES))
    hue01 = (hue + rng.random()) / _HUES
    return from_hsv(hue01, rng.beta(2.2, 1.8), rng.uniform(0.2, 0.95))

"""Light of a scene: a sky as spherical harmonics, a sun, a rim light; made up, or taken from a panorama."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BANDS = np.array([1.0] + [2 / 3] * 3 + [0.25] * 5)
"""Cosine lobe over pi, by coefficient: turns radiance into irradiance over pi."""


@dataclass
class Light:
    """The light of a scene; irradiances are over pi."""

    sh: np.ndarray
    """(9, 3) the sky in spherical harmonics, world axes."""
    sun: np.ndarray
    """(3,) unit, towards the sun."""
    sun_rgb: np.ndarray
    """(3,) its irradiance at right angles."""
    rim: np.ndarray
    """(3,) unit, towards the rim light."""
    rim_rgb: np.ndarray
    """(3,) its irradiance at right angles."""
    soft: float
    """Texels over which shadows fade."""


def harmonics(n: np.ndarray) -> np.ndarray:
    """(..., 3) unit directions -> (..., 9) real spherical harmonics, in the order that `shade.sky` reads."""
    x, y, z = np.moveaxis(n, -1, 0)
    one = np.ones_like(x)
    return np.stack(
        [0.282095 * one, 0.488603 * y, 0.488603 * z, 0.488603 * x, 1.092548 * x * y, 1.092548 * y * z,
         0.315392 * (3 * z * z - 1), 1.092548 * x * z, 0.546274 * (x * x - y * y)], -1
    )  # fmt: skip


def gradient(up: np.ndarray, down: np.ndarray, side: np.ndarray, way: np.ndarray) -> np.ndarray:
    """(9, 3) sky that is `up` above and `down` below, with a broad glow `side` (a window) towards `way`."""
    sh = np.zeros((9, 3))
    sh[0] = (up + down) / 2 / 0.282095
    sh[1] = (up - down) / 2 / 0.488603
    Y = harmonics(np.asarray(way, float))
    return sh + (Y * BANDS)[:, None] * side * np.pi


def random_direction(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Unit vector in any compass direction, `low` to `high` degrees above the horizon."""
    a, h = rng.uniform(0, 2 * np.pi), np.deg2rad(rng.uniform(low, high))
    return np.array([np.cos(a) * np.cos(h), np.sin(h), np.sin(a) * np.cos(h)])


def tint(rng: np.random.Generator, amount: float = 0.12) -> np.ndarray:
    """(3,) colour of a light between warm and cold, mean about 1."""
    w = rng.normal(0, amount)
    return np.array([1 + w, 1 + rng.normal(0, 0.03), 1 - w]).clip(0.3)


def made_up(rng: np.random.Generator, indoors: bool, ground: np.ndarray) -> Light:
    """A plausible light over ground of linear colour `ground`; its strength is about 1 where it is brightest."""
    sun_share = rng.choice([0.0, rng.uniform(0.2, 0.6), rng.uniform(0.6, 0.85)], p=[0.3, 0.4, 0.3])
    strength = 1.0
    up = (1 - sun_share) * strength * tint(rng, 0.1 if indoors else 0.15)
    down = up * np.clip(ground, 0.03, 0.7) * rng.uniform(0.5, 1.2) + 0.03
    side = tint(rng) * rng.uniform(0, 0.5) * (1 - sun_share)
    sun = random_direction(rng, 15 if not indoors else 25, 80)
    rim = random_direction(rng, -10, 50)
    rim_rgb = tint(rng, 0.2) * (rng.uniform(0.1, 0.5) if rng.random() < 0.3 else 0.0)
    return Light(
        gradient(up, down, side, random_direction(rng, -5, 40)),
        sun,
        sun_share * tint(rng, 0.12) * 1.4,
        rim,
        rim_rgb,
        rng.uniform(2, 9) if indoors else rng.uniform(0.5, 2.5),
    )


def of_panorama(radiance: np.ndarray) -> Light:
    """Light of an equirectangular map (h, 2h, 3), linear: what is far brighter than the rest becomes the sun."""
    h, w = radiance.shape[:2]
    d = directions(h, w)
    area = np.cos((np.arange(h) + 0.5) / h * np.pi - np.pi / 2)[:, None] * (2 * np.pi / w) * (np.pi / h)
    lum = radiance.mean(-1)
    limit = max(6 * float(np.median(lum)), 1e-3)
    bright = lum > limit
    scale = np.where(bright, limit / np.maximum(lum, 1e-9), 1.0)
    calm = radiance * scale[..., None]
    extra = (radiance - calm) * area[..., None]
    sh = np.einsum("hwk,hwc->kc", harmonics(d) * area[..., None], calm) * BANDS[:, None]
    total = extra.sum((0, 1))
    # Only what comes from about the brightest place is the sun; the rest stays sky.
    peak = d.reshape(-1, 3)[(lum * area).argmax()]
    towards = (d @ peak) > 0.8
    sun = (d * (extra.mean(-1) * towards)[..., None]).sum((0, 1))
    length = np.linalg.norm(sun)
    sun_rgb = (extra * towards[..., None]).sum((0, 1)) / np.pi
    rest = np.einsum("hwk,hwc->kc", harmonics(d), extra * (1 - towards)[..., None]) * BANDS[:, None]
    sun = sun / length if length > 1e-9 else np.array([0.0, 1.0, 0.0])
    spread = 1 - length / max(float((extra.mean(-1) * towards).sum()), 1e-9) if total.sum() > 0 else 1.0
    return Light(sh + rest, sun, sun_rgb, peak, np.zeros(3), 0.8 + 30 * float(spread))


def directions(h: int, w: int) -> np.ndarray:
    """(h, w, 3) world directions of an equirectangular map: middle column towards -z, top row up."""
    a = ((np.arange(w) + 0.5) / w - 0.5) * 2 * np.pi
    e = np.pi / 2 - (np.arange(h) + 0.5) / h * np.pi
    return np.stack(
        [np.cos(e)[:, None] * np.sin(a), np.sin(e)[:, None] + 0 * a, -np.cos(e)[:, None] * np.cos(a)], -1
    )


def turned(light: Light, angle: float) -> Light:
    """The light turned about the vertical by `angle`, as a panorama whose directions d become R_y(angle) d."""
    c, s = np.cos(angle), np.sin(angle)
    R = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    # Refitting nine numbers on a few directions is exact, since they span what order 2 can say.
    d = _SPREAD
    back = harmonics(d @ R)
    sh = np.linalg.lstsq(harmonics(d), back @ light.sh, rcond=None)[0]
    return Light(sh, R @ light.sun, light.sun_rgb, R @ light.rim, light.rim_rgb, light.soft)


def _fibonacci(n: int) -> np.ndarray:
    i = np.arange(n) + 0.5
    y, a = 1 - 2 * i / n, np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - y * y)
    return np.stack([r * np.cos(a), y, r * np.sin(a)], 1)


_SPREAD = _fibonacci(48)

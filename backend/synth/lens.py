"""What a camera makes of light: exposure, blur, noise, tone, compression. Linear light in, sRGB bytes out."""

from __future__ import annotations

import cv2
import numpy as np

_STEPS = 4096


def noise_bank(side: int) -> np.ndarray:
    """(2 side, 2 side, 3) float32 of normal noise, from which pictures take windows."""
    return np.random.default_rng(7).standard_normal((2 * side, 2 * side, 3), np.float32)


def develop(rng: np.random.Generator, image: np.ndarray, subject: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """(S, S, 3) float32 linear -> uint8 sRGB. `subject`: (S, S) bool, the person, for the exposure."""
    side = len(image)
    # Metering weighs the person and the whole picture; bright things count, so that few pictures burn out.
    whole = _level(image.reshape(-1, 3)[::7])
    level = whole
    if subject.sum() > 50:
        share = rng.beta(1.5, 1.5)
        level = np.exp(share * np.log(_level(image[subject][::3])) + (1 - share) * np.log(whole))
    target = 0.17 * np.exp(rng.normal(0, 0.38))
    gain = target / max(level, 1e-3) * np.exp(rng.normal(0, [0.05, 0.02, 0.07]))
    image = image * gain.astype(np.float32)
    if rng.random() < 0.25:
        image = image * _vignette(side, rng.uniform(0.1, 0.6))
    if rng.random() < 0.06:
        image = image + _glare(rng, side)
    image = _blurred(rng, image)
    out = _tone(rng, image)
    sigma = rng.gamma(1.2, 3.0) if rng.random() < 0.75 else 0.0
    if sigma > 0.5:
        y, x = rng.integers(0, side, 2)
        grain = bank[y : y + side, x : x + side]
        if rng.random() < 0.4:
            grain = cv2.GaussianBlur(grain, (0, 0), 0.8) * 2
        out = out + min(sigma, 16) * grain
    out = np.clip(out, 0, 255).astype(np.uint8)
    dice = rng.random()
    if dice < 0.04:
        out = np.repeat(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    elif dice < 0.1:
        hsv = cv2.cvtColor(out, cv2.COLOR_RGB2HSV)
        hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.3, 1.5), 0, 255).astype(np.uint8)
        out = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if rng.random() < 0.6:
        quality = int(rng.integers(25, 95))
        data = cv2.imencode(".jpg", out[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        out = np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])
    return out


def _level(pixels: np.ndarray) -> float:
    """Brightness of (n, 3) linear pixels: between the mean, which lights rule, and the median."""
    grey = np.maximum(pixels.mean(-1), 1e-3)
    return float(0.4 * np.minimum(grey, 8 * np.median(grey)).mean() + 0.6 * np.exp(np.log(grey).mean()))


def _blurred(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    side = len(image)
    dice = rng.random()
    if dice < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3))
    elif dice < 0.42:
        n = int(rng.integers(3, 12)) | 1
        kernel = np.zeros((n, n), np.float32)
        a, h = rng.uniform(0, np.pi), (n - 1) / 2
        ends = [(round(float(h + s * h * np.cos(a))), round(float(h + s * h * np.sin(a)))) for s in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_AA)
        image = cv2.filter2D(image, -1, kernel / kernel.sum())
    elif dice < 0.66:
        # A small figure in a larger picture, enlarged.
        small = int(side * rng.uniform(0.25, 0.8))
        image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
        image = cv2.resize(
            image, (side, side), interpolation=int(rng.choice([cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
        )
    if rng.random() < 0.1:
        soft = cv2.GaussianBlur(image, (0, 0), 1.0)
        image = image + (image - soft) * rng.uniform(0.3, 1.2)
    return image


def _vignette(side: int, strength: float) -> np.ndarray:
    v = np.linspace(-1, 1, side, dtype=np.float32) ** 2
    return (1 - strength * 0.5 * (v[:, None] + v[None]))[..., None]


def _glare(rng: np.random.Generator, side: int) -> np.ndarray:
    """(side, side, 3) linear: a low sun or a lamp shines into the lens: a halo, and a streak across."""
    v = np.linspace(0, 1, side, dtype=np.float32)
    x, y = v[None] - rng.uniform(-0.1, 1.1), v[:, None] - rng.uniform(-0.1, 0.7)
    r2 = x * x + y * y
    a = rng.uniform(0, np.pi)
    across = np.abs(x * np.sin(a) - y * np.cos(a))
    out = rng.uniform(0.1, 0.8) * np.exp(-r2 / rng.uniform(0.01, 0.3)) + 0.15 * np.exp(
        -across / 0.015
    ) * np.exp(-r2 / 0.15)
    return (out[..., None] * (1 + np.array([0.15, 0, -0.2]) * rng.uniform(-0.5, 1))).astype(np.float32)


def _tone(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Linear -> 0..255 float32 through a random film curve."""
    x = np.linspace(0, 2.5, _STEPS)
    shoulder = rng.uniform(0.6, 0.95)
    y = np.where(x < shoulder, x, shoulder + (1 - shoulder) * (1 - np.exp(-(x - shoulder) / (1 - shoulder))))
    y = np.where(y <= 0.0031308, 12.92 * y, 1.055 * np.maximum(y, 1e-9) ** (1 / 2.4) - 0.055)
    s = rng.normal(0, 0.25)
    y = y + s * y * (1 - y) * (2 * y - 1)
    haze = rng.uniform(0, 0.25) if rng.random() < 0.15 else rng.uniform(0, 0.03)
    y = haze + y * (rng.uniform(0.7, 1.0) if rng.random() < 0.2 else 1.0) * (1 - haze)
    table = (255 * y).astype(np.float32)
    index = np.clip(image * ((_STEPS - 1) / 2.5), 0, _STEPS - 1).astype(np.int32)
    return table[index]

"""A small picture of a picture, by which two frames can be told to show the same place."""

from __future__ import annotations

import cv2
import numpy as np

SIDE = 48
"""Grey values along each side of a signature."""
_COLOURS = 8
"""Colours along each side of a signature."""
SIZE = SIDE * SIDE + 3 * _COLOURS**2
"""Bytes of a signature: grey values, then colours (RGB), both row by row."""
_SAMPLES = 4
"""Pixels of the picture along each side that make one grey value."""
_BLOCK = 12
"""Grey values along each side of what is looked for in the other signature."""
_REACH = 24
"""How far it is looked for, grey values: half of the picture."""
_LEAST = 6
"""Blocks that must lie in both pictures before a displacement counts."""
_AROUND = 9
"""Grey values along each side over which light is evened out."""
_FAINT = 3.0
"""Contrast (grey levels) below which there is more noise than picture."""


def signature(image: np.ndarray) -> np.ndarray:
    """(SIZE,) uint8 of a picture (H, W, 3) uint8 RGB, stretched to a square."""
    n = SIDE * _SAMPLES
    # Nearest pixels first: to average over all of a large picture takes ten times as long and tells nothing more.
    some = cv2.resize(image, (n, n), interpolation=cv2.INTER_NEAREST)
    small = cv2.resize(some, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    colours = cv2.resize(small, (_COLOURS, _COLOURS), interpolation=cv2.INTER_AREA)
    return np.concatenate([cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).reshape(-1), colours.reshape(-1)])


def grey(signature: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) uint8 grey values of a signature."""
    return signature[: SIDE * SIDE].reshape(SIDE, SIDE)


def repainted(a: np.ndarray, b: np.ndarray) -> float:
    """0..1, how much other colours two signatures have, wherever they are in the picture; brightness apart."""
    x, y = (np.sort(_chroma(s), axis=0) for s in (a, b))
    return float(np.abs(x - y).mean())


def _chroma(signature: np.ndarray) -> np.ndarray:
    """(n, 2) shares of red less green, and of blue less green."""
    rgb = signature[SIDE * SIDE :].reshape(-1, 3).astype(np.float32) + _FAINT
    rgb /= rgb.sum(1, keepdims=True)
    return rgb[:, ::2] - rgb[:, 1:2]


def evened(signature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What stays when the light changes: (SIDE, SIDE) float32 grey values less their surroundings, in units of the
    contrast there; and (SIDE, SIDE) 0..1, how much there is to see."""
    values = grey(signature).astype(np.float32)
    around = (_AROUND, _AROUND)
    mean = cv2.blur(values, around)
    contrast = np.sqrt(np.maximum(cv2.blur(values * values, around) - mean * mean, 0))
    return (values - mean) / (contrast + _FAINT), contrast / (contrast + _FAINT)


def alike(a: np.ndarray, b: np.ndarray) -> float:
    """How much two signatures show the same place, -1..1: 1 for the same picture, about 0.3 for two places.

    The picture may have moved by half of its width, grown a little, and changed its light."""
    (x, _), (y, seen) = evened(a), evened(b)
    wide = cv2.copyMakeBorder(x, _REACH, _REACH, _REACH, _REACH, cv2.BORDER_CONSTANT, value=0)
    n, size = SIDE // _BLOCK, 2 * _REACH + 1
    total = np.zeros((size, size), np.float32)
    weight = np.zeros((size, size), np.float32)
    inside = np.zeros((size, size), np.float32)
    steps = np.arange(-_REACH, _REACH + 1)
    for i in range(n):
        rows = (steps + i * _BLOCK >= 0) & (steps + (i + 1) * _BLOCK <= SIDE)
        for j in range(n):
            columns = (steps + j * _BLOCK >= 0) & (steps + (j + 1) * _BLOCK <= SIDE)
            at = np.s_[i * _BLOCK : (i + 1) * _BLOCK, j * _BLOCK : (j + 1) * _BLOCK]
            valid = (rows[:, None] & columns).astype(np.float32)
            worth = float(seen[at].mean()) ** 2 * valid
            part = wide[
                i * _BLOCK : (i + 1) * _BLOCK + 2 * _REACH, j * _BLOCK : (j + 1) * _BLOCK + 2 * _REACH
            ]
            found = np.nan_to_num(cv2.matchTemplate(part, y[at], cv2.TM_CCOEFF_NORMED), posinf=0, neginf=0)
            # A step to either side is free: pictures grow and turn.
            total += cv2.dilate(np.clip(found, -1, 1), np.ones((3, 3), np.uint8)) * worth
            weight += worth
            inside += valid
    score = np.where((inside >= _LEAST) & (weight > 1e-3), total / np.maximum(weight, 1e-3), -1)
    return float(score.max())

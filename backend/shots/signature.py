"""A small picture of a picture, by which two frames can be told to show the same place."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE = 48
"""Grey values along each side of a signature."""
SIZE = SIDE * SIDE
"""Bytes of a signature."""
_SAMPLES = 4
"""Pixels of the picture along each side that make one grey value."""
_BLOCK = 12
"""Grey values along each side of what is looked for in the other signature."""
_REACHES = (4, 24)
"""How far it is looked for, grey values: nearby first, then half of the picture."""
_CLEAR = (0.8, 0.9)
"""Likeness, without a displacement and after a near one, of what is clearly the same place."""
_STEP = np.ones((3, 3), np.uint8)
_LEAST = 6
"""Blocks that must lie in both pictures before a displacement counts."""
_AROUND = 9
"""Grey values along each side over which light is evened out."""
_FAINT = 3.0
"""Contrast (grey levels) below which there is more noise than picture."""


def signature(image: np.ndarray) -> np.ndarray:
    """(SIZE,) uint8 of a picture (H, W, 3) uint8 RGB: its grey values, stretched to a square, row by row."""
    n = SIDE * _SAMPLES
    # Nearest pixels first: to average over all of a large picture takes ten times as long and tells nothing more.
    some = cv2.resize(image, (n, n), interpolation=cv2.INTER_NEAREST)
    small = cv2.resize(some, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).reshape(-1)


def grey(signature: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) uint8 grey values of a signature."""
    return signature.reshape(SIDE, SIDE)


@dataclass(frozen=True, eq=False)
class Evened:
    """A signature whatever its light was."""

    values: np.ndarray
    """(SIDE, SIDE) float32 grey values less their surroundings, in units of the contrast there."""
    seen: np.ndarray
    """(SIDE, SIDE) 0..1, how much there is to see."""
    size: float
    """Length of `values`."""


def evened(signature: np.ndarray) -> Evened:
    """What stays of a signature when the light changes."""
    values = grey(signature).astype(np.float32)
    around = (_AROUND, _AROUND)
    mean = cv2.blur(values, around)
    contrast = np.sqrt(np.maximum(cv2.blur(values * values, around) - mean * mean, 0))
    even = (values - mean) / (contrast + _FAINT)
    return Evened(even, contrast / (contrast + _FAINT), float(np.linalg.norm(even)) + 1e-6)


def unmoved(a: Evened, b: Evened) -> float:
    """How alike two pictures are where they are, -1..1."""
    return float(np.vdot(a.values, b.values)) / (a.size * b.size)


def near(a: Evened, b: Evened) -> float:
    """How much two pictures show the same place, -1..1: 1 for the same picture, about 0.3 for two places.

    The picture may have moved by half of its width, grown a little, and changed its light. What is clearly the same
    after a smaller movement is not looked for any farther."""
    like = unmoved(a, b)
    for reach, clear in zip(_REACHES, _CLEAR, strict=True):
        if like > clear:
            break
        like = max(like, _alike(a, b, reach))
    return like


def _alike(a: Evened, b: Evened, reach: int) -> float:
    wide = cv2.copyMakeBorder(a.values, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    n, size = SIDE // _BLOCK, 2 * reach + 1
    total, weight, inside = (np.zeros((size, size), np.float32) for _ in range(3))
    steps = np.arange(-reach, reach + 1)
    fits = [(steps + i * _BLOCK >= 0) & (steps + (i + 1) * _BLOCK <= SIDE) for i in range(n)]
    for i in range(n):
        for j in range(n):
            y, x = i * _BLOCK, j * _BLOCK
            block = np.s_[y : y + _BLOCK, x : x + _BLOCK]
            part = wide[y : y + _BLOCK + 2 * reach, x : x + _BLOCK + 2 * reach]
            valid = (fits[i][:, None] & fits[j]).astype(np.float32)
            worth = float(b.seen[block].mean()) ** 2 * valid
            found = cv2.matchTemplate(part, b.values[block], cv2.TM_CCOEFF_NORMED)
            found = np.clip(np.nan_to_num(found, posinf=0, neginf=0), -1, 1)
            # A step to either side is free: pictures grow and turn.
            total += cv2.dilate(found, _STEP) * worth
            weight += worth
            inside += valid
    score = np.where((inside >= _LEAST) & (weight > 1e-3), total / np.maximum(weight, 1e-3), -1)
    return float(score.max())

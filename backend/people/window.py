"""Square windows of a picture, as the networks that look for people are given them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def whole_window(image: np.ndarray) -> tuple[float, float, float]:
    """The square (x, y, side) around the whole picture."""
    h, w = image.shape[:2]
    side = max(h, w)
    return (w - side) / 2, (h - side) / 2, side


def tiles(image: np.ndarray, parts: Sequence[int] = (1, 2)) -> list[tuple[float, float, float]]:
    """Squares (x, y, side) that cover the picture, overlapping by a quarter at least. Parts: 1 is as large as the
    picture's shorter side; 2, 4: that part of its larger side."""
    h, w = image.shape[:2]
    out = []
    for part in parts:
        side = max(h, w) / part if part > 1 else float(min(h, w))
        # A person in it would be smaller than anything the networks know, or it shows what the whole does.
        if side < 64 or side > 0.9 * max(h, w):
            continue
        xs, ys = (
            [(length - side) / 2]
            if length <= side
            else np.linspace(0, length - side, int(np.ceil((length - side) / (0.78 * side) - 1e-6)) + 1)
            for length in (w, h)
        )
        out += [(float(x), float(y), side) for y in ys for x in xs]
    return out


def cut_window(
    image: np.ndarray, x: float, y: float, side: float, pixels: int, around: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A square window as (`pixels`, `pixels`, 3) uint8, of the grey `around` outside the picture.

    -> picture, scale (2,), offset (2,): pixel of the picture = place in the window (0..`pixels`) * scale + offset.
    """
    h, w = image.shape[:2]
    x0, y0 = int(np.clip(np.floor(x), 0, w - 1)), int(np.clip(np.floor(y), 0, h - 1))
    x1, y1 = int(np.clip(np.ceil(x + side), x0 + 1, w)), int(np.clip(np.ceil(y + side), y0 + 1, h))
    zoom = pixels / side
    left, top = (round(min(max((a - b) * zoom, 0), pixels - 1)) for a, b in ((x0, x), (y0, y)))
    size = tuple(
        min(max(round((b - a) * zoom), 1), pixels - place) for a, b, place in ((x0, x1, left), (y0, y1, top))
    )
    out = np.full((pixels, pixels, 3), around, np.uint8)
    shrink = size[0] < x1 - x0
    part = cv2.resize(image[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    out[top : top + size[1], left : left + size[0]] = part
    scale = np.array([(x1 - x0) / size[0], (y1 - y0) / size[1]])
    # The network counts from the window's edge, we from the first pixel's centre: hence the half.
    return out, scale, np.array([x0, y0]) - np.array([left, top]) * scale - 0.5

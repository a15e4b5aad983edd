# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a picture and what belongs to it lie in a region of the window, and what the pointer is on. Pure functions.

Regions count from their lower left corner, x right and y up; pictures as everywhere: (0, 0) is the centre of the top
left pixel, y down. Lengths in the window are given for a scale of 1 and grow with Blender's resolution scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

HEAD, FOOT, MARGIN = 64.0, 74.0, 12.0
"""Room above the picture for two lines of text, below it for the bar and the button, and beside it."""
BUTTON = (120.0, 32.0)
BAR_HEIGHT = 22.0
LEAST = 40.0
"""Pixels that a picture takes at least, however small the region is."""
REACH = 8.0
"""Pixels beside an outline that still count as on it."""
_GRID = 20


@dataclass(frozen=True)
class Rect:
    """A rectangle in a region, pixels."""

    x: float
    """Left edge."""
    y: float
    """Lower edge."""
    w: float
    """Width."""
    h: float
    """Height."""

    def holds(self, x: float, y: float) -> bool:
        """Whether a place lies in it."""
        return self.x <= x < self.x + self.w and self.y <= y < self.y + self.h


@dataclass(frozen=True)
class Plane:
    """Where a picture is shown."""

    rect: Rect
    """The part of the region that it fills."""
    zoom: float
    """Pixels of the region for each pixel of the picture."""
    size: tuple[int, int]
    """Width and height of the picture, pixels."""

    def to_region(self, pixels: np.ndarray) -> np.ndarray:
        """(..., 2) pixels of the picture -> (..., 2) of the region."""
        pixels = np.asarray(pixels, float)
        x = self.rect.x + (pixels[..., 0] + 0.5) * self.zoom
        y = self.rect.y + self.rect.h - (pixels[..., 1] + 0.5) * self.zoom
        return np.stack([x, y], -1)

    def to_picture(self, x: float, y: float) -> tuple[float, float]:
        """A place of the region -> pixels of the picture."""
        return (x - self.rect.x) / self.zoom - 0.5, (self.rect.y + self.rect.h - y) / self.zoom - 0.5


@dataclass(frozen=True)
class Layout:
    """Where everything lies in a region."""

    area: Rect
    """What it is laid out in."""
    plane: Plane
    """The picture."""
    bar: Rect
    """The bar of the clip's frames."""
    button: Rect
    """The button that starts the import."""
    title: tuple[float, float]
    """Left end of the first line of text."""
    line: tuple[float, float]
    """Left end of the second line of text."""


def free_area(region: Rect, others: Iterable[Rect]) -> Rect:
    """What is left of `region` beside the bars `others` that lie over it. All are in coordinates of the window.

    Each bar takes the whole strip between it and the nearer edge: the upper or lower edge of the region for a wide bar,
    the left or right one for a high bar.
    """
    left, low, right, top = region.x, region.y, region.x + region.w, region.y + region.h
    for one in others:
        x0, x1 = max(one.x, region.x), min(one.x + one.w, region.x + region.w)
        y0, y1 = max(one.y, region.y), min(one.y + one.h, region.y + region.h)
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        if x1 - x0 > y1 - y0:
            below = y0 + y1 < 2 * region.y + region.h
            low, top = (max(low, y1), top) if below else (low, min(top, y0))
        else:
            first = x0 + x1 < 2 * region.x + region.w
            left, right = (max(left, x1), right) if first else (left, min(right, x0))
    return Rect(left, low, max(right - left, 1.0), max(top - low, 1.0))


def layout(area: Rect, size: tuple[int, int], scale: float = 1.0) -> Layout:
    """Fit a picture of `size` (width, height) pixels into `area`, its shape kept, in the middle of what text leaves."""
    head, foot, margin = HEAD * scale, FOOT * scale, MARGIN * scale
    width = max(area.w - 2 * margin, LEAST)
    height = max(area.h - head - foot, LEAST)
    zoom = min(width / size[0], height / size[1])
    w, h = size[0] * zoom, size[1] * zoom
    rect = Rect(area.x + (area.w - w) / 2, area.y + foot + (height - h) / 2, w, h)
    bw, bh = BUTTON[0] * scale, BUTTON[1] * scale
    button = Rect(area.x + area.w - margin - bw, area.y + foot - bh - 6 * scale, bw, bh)
    bar_width = max(button.x - 3 * margin - area.x, LEAST)
    bar = Rect(area.x + margin, button.y + (bh - BAR_HEIGHT * scale) / 2, bar_width, BAR_HEIGHT * scale)
    top = area.y + area.h
    return Layout(
        area,
        Plane(rect, zoom, size),
        bar,
        button,
        (area.x + margin, top - 28 * scale),
        (area.x + margin, top - 52 * scale),
    )


def frame_at(bar: Rect, x: float, count: int) -> int:
    """The frame of a clip of `count` frames that a place on its bar means."""
    share = (x - bar.x) / max(bar.w, 1.0)
    return int(np.clip(round(share * (count - 1)), 0, max(count - 1, 0)))


def bar_place(bar: Rect, frame: int, count: int) -> float:
    """Where frame `frame` lies on the bar; the inverse of `frame_at`."""
    return bar.x + bar.w * min(max(frame, 0) / max(count - 1, 1), 1.0)


def holds(polygon: np.ndarray, x: float, y: float) -> bool:
    """Whether a closed polygon (k, 2) holds a place: a ray from it crosses the border an odd number of times."""
    a, b = np.asarray(polygon, float), np.roll(polygon, -1, 0).astype(float)
    across = (a[:, 1] > y) != (b[:, 1] > y)
    a, b = a[across], b[across]
    at = a[:, 0] + (y - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])
    return bool((at > x).sum() % 2)


def distance(polygon: np.ndarray, x: float, y: float) -> float:
    """From a place to the border of a closed polygon (k, 2)."""
    a = np.asarray(polygon, float)
    way = np.roll(a, -1, 0) - a
    to = np.array([x, y]) - a
    share = np.clip((to * way).sum(1) / np.maximum((way**2).sum(1), 1e-12), 0, 1)
    return float(np.linalg.norm(to - share[:, None] * way, axis=1).min())


def under(outlines: Sequence[np.ndarray], x: float, y: float, reach: float) -> int | None:
    """Which of some outlines a place of the picture lies on: the smallest that holds it, for somebody small may stand
    before somebody large; else the nearest within `reach`. None for none."""
    held = [i for i, one in enumerate(outlines) if holds(one, x, y)]
    if held:
        return min(held, key=lambda i: _area(outlines[i]))
    near = [(distance(one, x, y), i) for i, one in enumerate(outlines)]
    best = min(near, default=(np.inf, -1))
    return best[1] if best[0] <= reach else None


def middle(polygon: np.ndarray) -> tuple[np.ndarray, float]:
    """The place (2,) within a closed polygon (k, 2) that is farthest from its border, roughly, and how far that is."""
    low, high = polygon.min(0), polygon.max(0)
    shares = np.arange(1, _GRID) / _GRID
    places = [low + (high - low) * (i, j) for i in shares for j in shares]
    best = max(((distance(polygon, *p), tuple(p)) for p in places if holds(polygon, *p)), default=(0.0, None))
    return (polygon.mean(0) if best[1] is None else np.array(best[1])), best[0]


def ribbon(points: np.ndarray, width: float, soft: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A closed line through `points` (k, 2) as triangles: their corners (n, 2), and how much each is covered (n,) 0..1,
    which falls to 0 over `soft` pixels beside the line's `width`."""
    before, after = points - np.roll(points, 1, 0), np.roll(points, -1, 0) - points
    ways = [way / np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-9) for way in (before, after)]
    across = [np.stack([-way[:, 1], way[:, 0]], 1) for way in ways]
    out = across[0] + across[1]
    out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    # A corner is wider than the line, a sharp one not endlessly.
    out /= np.maximum((out * across[0]).sum(1, keepdims=True), 0.5)
    steps = (-width / 2 - soft, -width / 2, width / 2, width / 2 + soft)
    rows = np.stack([points + step * out for step in steps])
    covered = np.broadcast_to(np.array([0.0, 1.0, 1.0, 0.0])[:, None], rows.shape[:2])
    places, shares = [], []
    for r in range(3):
        a, b = rows[r], rows[r + 1]
        x, y = covered[r], covered[r + 1]
        places.append(np.stack([a, b, np.roll(b, -1, 0), a, np.roll(b, -1, 0), np.roll(a, -1, 0)], 1))
        shares.append(np.stack([x, y, y, x, y, x], 1))
    return np.concatenate(places).reshape(-1, 2), np.concatenate(shares).ravel()


def shrunken(image: np.ndarray, most: int) -> np.ndarray:
    """`image` (H, W, 3) uint8 averaged down by a whole number, so that its larger side has about `most` pixels."""
    factor = max(image.shape[:2]) // max(most, 1)
    if factor < 2:
        return image
    h, w = (side // factor * factor for side in image.shape[:2])
    blocks = image[:h, :w].reshape(h // factor, factor, w // factor, factor, 3)
    return blocks.mean((1, 3)).astype(np.uint8)


def _area(polygon: np.ndarray) -> float:
    x, y = np.asarray(polygon, float).T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2

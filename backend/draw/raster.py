"""Triangles to pixels, the nearest wins: numpy only, quick for many small triangles.

Pixel (0, 0) is the centre of the picture's top left pixel; x points right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SLACK = 1e-3
"""Pixels that a triangle is taken wider on each side, so that two that share an edge leave no pixel between them."""
_LEVEL = 1e-4
"""Pixels: an edge whose ends differ by less in height is level."""
_THIN = 1e-3
"""Square pixels of a triangle's doubled area, at least: thinner ones are seen from their edge."""


@dataclass(frozen=True, eq=False)
class Corners:
    """V projected vertices."""

    xy: np.ndarray
    """(V, 2) pixels, float32; not finite for what cannot be seen."""
    near: np.ndarray
    """(V,) the larger, the nearer, and linear on the picture: 1 / depth in a perspective view; float32."""
    colour: np.ndarray
    """(V, 3) RGB in 0..255, float32."""

    def scaled(self, factor: float, left: float, top: float) -> Corners:
        """On a picture whose top left corner lies at (left, top), in pixels, and that has `factor` times the size;
        pixel centres stay pixel centres."""
        moved = (self.xy - np.float32([left - 0.5, top - 0.5])) * np.float32(factor) - np.float32(0.5)
        return Corners(moved, self.near, self.colour)


@dataclass(frozen=True, eq=False)
class _Spans:
    """S rows of pixels, each of one triangle."""

    start: np.ndarray
    """(S,) the first pixel, counted row by row over the picture."""
    length: np.ndarray
    """(S,) pixels."""
    first: np.ndarray
    """(S, 4) nearness and colour of the first pixel."""
    step: np.ndarray
    """(S, 4) how they change from one pixel to the next."""


def facing(corners: Corners, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which triangles (G, 3) turn their outside to the viewer: their numbers (n,), and doubled areas (n,), square
    pixels. Those with a corner that cannot be seen are left out."""
    a, b, c = (corners.xy[faces[:, k]] for k in range(3))
    ab, ac = b - a, c - a
    area = ab[:, 1] * ac[:, 0] - ab[:, 0] * ac[:, 1]
    # Of what is not finite every comparison is false.
    numbers = np.flatnonzero((area > _THIN) & (area < np.inf))
    return numbers, area[numbers]


def draw(corners: Corners, faces: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """The triangles (n, 3), which face the viewer, on a picture of width × height pixels.

    -> places (P,) of the pixels that are covered, counted row by row, and their colours (P, 3) uint8. A place may come
    twice where two triangles are equally near; both have the colour of this place.
    """
    spans = _spans(corners, faces, width, height)
    span = np.repeat(np.arange(len(spans.length)), spans.length)
    begin = np.cumsum(spans.length) - spans.length
    along = np.arange(len(span)) - begin[span]
    place = spans.start[span] + along
    along = along.astype(np.float32)
    near = spans.first[span, 0] + along * spans.step[span, 0]
    nearest = np.full(width * height, -np.inf, np.float32)
    np.maximum.at(nearest, place, near)
    shown = np.flatnonzero(near == nearest[place])
    span, along = span[shown], along[shown, None]
    colour = spans.first[span, 1:] + along * spans.step[span, 1:]
    return place[shown], np.clip(colour, 0, 255, out=colour).astype(np.uint8)


def _spans(corners: Corners, faces: np.ndarray, width: int, height: int) -> _Spans:
    xy = corners.xy[faces]
    order = np.argsort(xy[..., 1], 1)
    xy = np.take_along_axis(xy, order[..., None], 1)
    faces = np.take_along_axis(faces, order, 1)
    top = np.maximum(np.ceil(xy[:, 0, 1] - _SLACK), 0).astype(np.int64)
    bottom = np.minimum(np.floor(xy[:, 2, 1] + _SLACK), height - 1).astype(np.int64)
    rows = np.maximum(bottom - top + 1, 0)
    t = np.repeat(np.arange(len(rows)), rows)
    y = (top - (np.cumsum(rows) - rows))[t] + np.arange(len(t))
    left, right = _ends(xy, t, y.astype(np.float32))
    left = np.maximum(np.ceil(left - _SLACK), 0).astype(np.int64)
    right = np.minimum(np.floor(right + _SLACK), width - 1).astype(np.int64)
    full = np.flatnonzero(right >= left)
    t, y, left, length = t[full], y[full], left[full], (right - left + 1)[full]
    first, along, down = _planes(corners, faces, xy)
    at = np.stack([left, y], 1).astype(np.float32) - xy[t, 0]
    first = first[t] + at[:, :1] * along[t] + at[:, 1:] * down[t]
    return _Spans(y * width + left, length, first, along[t])


def _ends(xy: np.ndarray, t: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where row y (S,) enters and leaves triangle t (S,); `xy`: (n, 3, 2), corners from the top down."""
    high, middle, low = xy[:, 0], xy[:, 1], xy[:, 2]
    y = np.clip(y, high[t, 1], low[t, 1])
    long = high[t, 0] + (y - high[t, 1]) * _slope(high, low)[t]
    upper = high[t, 0] + (y - high[t, 1]) * _slope(high, middle)[t]
    lower = low[t, 0] + (y - low[t, 1]) * _slope(middle, low)[t]
    # A level edge on top has no side of its own.
    below = (y > middle[t, 1]) | (middle[t, 1] - high[t, 1] < _LEVEL)
    short = np.where(below, lower, upper)
    return np.minimum(long, short), np.maximum(long, short)


def _slope(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of the edges a to b, (n, 2) each: x for each step of y; 0 for level ones."""
    d = b - a
    return d[:, 0] / np.where(d[:, 1] < _LEVEL, np.inf, d[:, 1])


def _planes(
    corners: Corners, faces: np.ndarray, xy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearness and colour of each triangle as planes: at its first corner, for each pixel to the right, for each
    pixel down; (n, 4) each. `xy`: (n, 3, 2) of `faces` (n, 3)."""
    value = np.concatenate([corners.near[:, None], corners.colour], 1)[faces]
    ab, ac = xy[:, 1] - xy[:, 0], xy[:, 2] - xy[:, 0]
    one, two = value[:, 1] - value[:, 0], value[:, 2] - value[:, 0]
    area = (ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0])[:, None]
    along = (one * ac[:, 1:] - two * ab[:, 1:]) / area
    down = (two * ab[:, :1] - one * ac[:, :1]) / area
    return value[:, 0], along, down

"""Triangles to pixels, the nearest wins: arithmetic on whole arrays, quick for many small triangles.

Pixel (0, 0) is the centre of the picture's top left pixel; x points right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
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
    """(V, 4) RGB times cover, and cover, in 0..255, float32."""

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
    near: np.ndarray
    """(S,) of the first pixel."""
    nearing: np.ndarray
    """(S,) how much nearer each pixel is than the one before."""
    colour: np.ndarray
    """(S, 4) of the first pixel."""
    changing: np.ndarray
    """(S, 4) how it changes from one pixel to the next."""


def facing(corners: Corners, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which triangles (G, 3) turn their outside to the viewer: their numbers (n,), and doubled areas (n,), square
    pixels. Those with a corner that cannot be seen are left out."""
    x, y = (corners.xy[:, k].take(faces.T) for k in range(2))
    area = (y[1] - y[0]) * (x[2] - x[0]) - (x[1] - x[0]) * (y[2] - y[0])
    # Of what is not finite every comparison is false.
    numbers = np.flatnonzero((area > _THIN) & (area < np.inf))
    return numbers, area[numbers]


def draw(corners: Corners, faces: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """The triangles (n, 3), which face the viewer, on a picture of width × height pixels.

    -> places (P,) of the pixels that are covered, counted row by row, and their colours (P, 4) uint8. A place may come
    twice where two triangles are equally near; the last is as good as the first.
    """
    spans = _spans(corners, faces, width, height)
    # `take` is several times as quick here as brackets, and whole rows as parts of them.
    span = np.repeat(np.arange(len(spans.length)), spans.length)
    begin = np.cumsum(spans.length) - spans.length
    place = np.arange(len(span)) + (spans.start - begin).take(span)
    along = (place - spans.start.take(span)).astype(np.float32)
    near = spans.near.take(span) + along * spans.nearing.take(span)
    nearest = np.full(width * height, -np.inf, np.float32)
    np.maximum.at(nearest, place, near)
    shown = np.flatnonzero(near == nearest.take(place))
    span, along = span.take(shown), along.take(shown)[:, None]
    colour = spans.colour.take(span, axis=0) + along * spans.changing.take(span, axis=0)
    if not len(shown):
        return shown, np.zeros((0, 4), np.uint8)
    # Rounds and saturates.
    return place.take(shown), cv2.convertScaleAbs(colour)


def _spans(corners: Corners, faces: np.ndarray, width: int, height: int) -> _Spans:
    down = corners.xy[:, 1].take(faces)
    order = np.argsort(down, 1) + 3 * np.arange(len(faces))[:, None]
    # From here on the corners of each triangle, (3, n), come from the top down.
    at = faces.take(order.T)
    x, y = corners.xy[:, 0].take(at), corners.xy[:, 1].take(at)
    top = np.maximum(np.ceil(y[0] - _SLACK), 0).astype(np.int64)
    bottom = np.minimum(np.floor(y[2] + _SLACK), height - 1).astype(np.int64)
    rows = np.maximum(bottom - top + 1, 0)
    t = np.repeat(np.arange(len(rows)), rows)
    row = (top - (np.cumsum(rows) - rows)).take(t) + np.arange(len(t))
    left, right = _ends(x, y, t, row.astype(np.float32))
    left = np.maximum(np.ceil(left - _SLACK), 0).astype(np.int64)
    right = np.minimum(np.floor(right + _SLACK), width - 1).astype(np.int64)
    full = np.flatnonzero(right >= left)
    t, row, left, right = (v.take(full) for v in (t, row, left, right))
    value, along, downward = _planes(corners, x, y, at)
    right_by = (left - x[0].take(t)).astype(np.float32)[:, None]
    down_by = (row - y[0].take(t)).astype(np.float32)[:, None]
    along = along.take(t, axis=0)
    value = value.take(t, axis=0) + right_by * along + down_by * downward.take(t, axis=0)
    near, nearing = value[:, 0].copy(), along[:, 0].copy()
    return _Spans(
        row * width + left, right - left + 1, near, nearing, value[:, 1:].copy(), along[:, 1:].copy()
    )


def _ends(x: np.ndarray, y: np.ndarray, t: np.ndarray, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where row of pixels `row` (S,) enters and leaves triangle `t` (S,); `x`, `y`: (3, n), corners from the top."""
    x0, y0 = x[0].take(t), y[0].take(t)
    x2, y2 = x[2].take(t), y[2].take(t)
    y1 = y[1].take(t)
    row = np.clip(row, y0, y2)
    long = x0 + (row - y0) * _slope(x, y, 0, 2).take(t)
    upper = x0 + (row - y0) * _slope(x, y, 0, 1).take(t)
    lower = x2 + (row - y2) * _slope(x, y, 1, 2).take(t)
    # A level edge on top has no side of its own.
    below = (row > y1) | (y1 - y0 < _LEVEL)
    short = np.where(below, lower, upper)
    return np.minimum(long, short), np.maximum(long, short)


def _slope(x: np.ndarray, y: np.ndarray, a: int, b: int) -> np.ndarray:
    """Of the edges from corner a to b: x for each step of y; 0 for level ones; (n,)."""
    height = y[b] - y[a]
    return (x[b] - x[a]) / np.where(height < _LEVEL, np.float32(np.inf), height)


def _planes(
    corners: Corners, x: np.ndarray, y: np.ndarray, at: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearness and colour of each triangle as planes: at its first corner, for each pixel to the right, for each
    pixel down; (n, 5) each. `x`, `y`, `at`: (3, n), pixels and number of each corner."""
    value = np.concatenate([corners.near[:, None], corners.colour], 1).take(at, axis=0)
    abx, aby, acx, acy = ((v[k] - v[0])[:, None] for k in (1, 2) for v in (x, y))
    one, two = value[1] - value[0], value[2] - value[0]
    area = abx * acy - aby * acx
    return value[0], (one * acy - two * aby) / area, (two * abx - one * acx) / area

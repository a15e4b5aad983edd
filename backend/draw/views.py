"""Views of points in space on one drawing, laid as engineers do: above over front, side to the right of it, and in
the corner that is left the whole turned by 45 degrees.

The first three have the same scale, so that a point has the same height in front and side view and stands at the same
place across in front view and seen from above. What is near the camera lies towards the front view.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from backend.draw.colours import GUESS, SURE, colours

GROUND, GRID, INK, PAPER = (24, 24, 24), (46, 46, 46), (190, 190, 190), (245, 245, 245)
FONT = cv2.FONT_HERSHEY_SIMPLEX
LEGEND = 34
"""Pixels of its height."""
_GAP = 8
"""Pixels between the views."""
_TOP, _FOOT = 24, 14
"""Pixels of a view that are kept free for its title, and at its foot."""
_NARROW = 96
"""Pixels of a view at least."""
_DOWN = (_TOP - _FOOT) / 2
"""Pixels by which the middle of what is drawn lies below the middle of the view."""
_LEAST = np.array([0.9, 1.2, 0.7])
"""Metres that are shown at least: across, up and down, in depth."""
_MARGIN = 0.1
"""Metres around the points."""
_STEPS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50)
"""Metres that may lie between the lines of the grid."""
_TURNED = np.deg2rad([45, 20])
"""The view in the corner: turned to the side, and seen from above; radians."""
_SMALLEST = 150
"""A corner of fewer pixels than that stays empty."""
_SKIN = 1.8
"""Square metres of a body's surface."""
_RIMS = 80
"""Dots get a dark rim on bodies with so many points or fewer."""
_FAR = 20000
"""Pixels: what is drawn beyond would overflow OpenCV's fixed point numbers."""
_BITS = 4
"""Of those numbers, behind the point."""


@dataclass(frozen=True)
class Shown:
    """One person's points."""

    points3d: np.ndarray
    """(P, 3) metres, camera space."""
    uncertainty: np.ndarray
    """(P,) metres."""
    mark: str = ""
    """A short text beside the person, if any."""


@dataclass(frozen=True)
class _View:
    """One view, and where it lies on the drawing. An axis is (number, sign) of camera space."""

    title: str
    """Its words on the drawing."""
    right: tuple[int, int]
    """The axis that points to the right."""
    up: tuple[int, int]
    """The axis that points up."""
    near: tuple[int, int]
    """The axis that points towards the viewer."""
    place: tuple[int, int, int, int]
    """x, y, width, height in pixels."""


def _bounds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest (3,) of points (K, 3); of very many all but a few, which may have gone astray."""
    points = points[np.isfinite(points).all(-1)]
    if not len(points):
        return np.zeros(3), np.zeros(3)
    share = 0.5 if len(points) >= 400 else 0
    low, high = np.percentile(points, [share, 100 - share], axis=0)
    return low, high


def _reach(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.maximum(high - low + 2 * _MARGIN, _LEAST)


class Views:
    """The drawing, `width` x `height` pixels, in a scale at which all of `points` (K, 3) metres, camera space, are
    on it; NaN are left out."""

    def __init__(self, points: np.ndarray, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.low, self.high = _bounds(points)
        self.middle = (self.low + self.high) / 2
        x, y, z = _reach(self.low, self.high)
        pad = _TOP + _FOOT
        free = np.array([width - _GAP, height - _GAP - 2 * pad])
        self.px_per_m = float(min(free[0] / (x + z), free[1] / (y + z)))
        if z * self.px_per_m < _NARROW:
            self.px_per_m = float(min((free - _NARROW) / [x, y]))
        depth = max(int(z * self.px_per_m), _NARROW)
        across, tall = width - _GAP - depth, height - _GAP - depth - pad
        self.step = next((s for s in _STEPS if s * self.px_per_m >= 28), _STEPS[-1])
        self.label_step = next((s for s in (0.2, 0.5, 1, 2, 5, 10, 20) if s * self.px_per_m >= 56), 50)
        self.views = [
            _View("from above", (0, 1), (2, 1), (1, -1), (0, 0, across, depth + pad)),
            _View("from the front", (0, 1), (1, -1), (2, -1), (0, depth + pad + _GAP, across, tall)),
            _View(
                "from the right", (2, 1), (1, -1), (0, 1), (across + _GAP, depth + pad + _GAP, depth, tall)
            ),
        ]

    @staticmethod
    def width_for(points: np.ndarray, height: int, least: int, most: int) -> int:
        """The width at which a drawing of these points is filled, in bounds."""
        x, y, z = _reach(*_bounds(points))
        scale = (height - _GAP - 2 * (_TOP + _FOOT)) / (y + z)
        return int(np.clip(scale * (x + z) + _GAP, least, most))

    def pixels(self, view: int, points: np.ndarray) -> np.ndarray:
        """(..., 3) metres -> (..., 2) pixels of the drawing, in view 0 (above), 1 (front) or 2 (side)."""
        v = self.views[view]
        x, y, w, h = v.place
        offset = (points - self.middle) * self.px_per_m
        across, up = (sign * offset[..., axis] for axis, sign in (v.right, v.up))
        return np.stack([x + w / 2 + across, y + h / 2 + _DOWN - up], -1)

    def draw(self, people: Sequence[Shown], edges: np.ndarray) -> np.ndarray:
        """(height, width, 3) uint8 RGB. `edges`: (E, 2) rows of the points to be joined."""
        canvas = np.full((self.height, self.width, 3), 0, np.uint8)
        canvas[:] = GROUND
        count = len(people[0].points3d) if people else 1
        for k, view in enumerate(self.views):
            x, y, w, h = view.place
            window = canvas[y : y + h, x : x + w]
            self._lines(window, view)
            shift = np.array([x, y])
            drawn = [
                (
                    self.pixels(k, p.points3d) - shift,
                    view.near[1] * p.points3d[:, view.near[0]],
                    p.uncertainty,
                )
                for p in people
            ]
            draw_points(window, drawn, edges, dot_radius(count, self.px_per_m, self.height))
            for person, (uv, *_) in zip(people, drawn, strict=True):
                seen = uv[np.isfinite(uv).all(-1)]
                if person.mark and len(seen):
                    top = seen[:, 1].min()
                    text(window, person.mark, (seen[:, 0].mean() - 5, max(top - 10, 34)), 0.5, PAPER)
            self._words(window, view)
        self._corner(canvas, people, edges)
        return canvas

    def _corner(self, canvas: np.ndarray, people: Sequence[Shown], edges: np.ndarray) -> None:
        across, depth = self.views[0].place[2:]
        window = canvas[:depth, across + _GAP :]
        if depth < _SMALLEST or window.shape[1] < _SMALLEST:
            return
        turn = _turn(*_TURNED)
        # All that the other views show fits in, whoever is there.
        box = np.stack(np.meshgrid(*zip(self.low, self.high, strict=True)), -1).reshape(-1, 3) - self.middle
        reach = np.maximum(np.abs(box @ turn.T).max(0), 0.3)
        scale = 0.92 * min(window.shape[1] / 2 / reach[0], (depth - 24) / 2 / reach[1])
        centre = np.array([window.shape[1] / 2, depth / 2 + 12])
        drawn = []
        for person in people:
            places = (person.points3d - self.middle) @ turn.T
            drawn.append((places[:, :2] * scale + centre, -places[:, 2], person.uncertainty))
        floor = np.array([[x, self.high[1], z] for x, z in zip(*_ring(self.low, self.high), strict=True)])
        for a, b in zip(floor, np.roll(floor, 1, 0), strict=True):
            _line(window, ((np.stack([a, b]) - self.middle) @ turn.T)[:, :2] * scale + centre, GRID, 1)
        count = len(people[0].points3d) if people else 1
        draw_points(window, drawn, edges, dot_radius(count, scale, depth))
        text(window, "turned by 45 deg", (8, 19), 0.45, INK)

    def _steps(self, axis: int, sign: int, length: int, shift: float = 0) -> Iterator[tuple[float, float]]:
        """Whole steps of camera space along a side of `length` pixels, its middle moved by `shift`: metres, pixels."""
        half = (length / 2 + abs(shift)) / self.px_per_m
        first = int(np.ceil((self.middle[axis] - half) / self.step))
        for k in range(first, int(np.floor((self.middle[axis] + half) / self.step)) + 1):
            metres = k * self.step
            yield metres, (metres - self.middle[axis]) * self.px_per_m * sign + length / 2 + shift

    def _lines(self, window: np.ndarray, view: _View) -> None:
        height, width = window.shape[:2]
        for _, x in self._steps(*view.right, width):
            _line(window, np.array([[x, 0], [x, height]]), GRID, 1)
        for _, y in self._steps(view.up[0], -view.up[1], height, _DOWN):
            _line(window, np.array([[0, y], [width, y]]), GRID, 1)

    def _words(self, window: np.ndarray, view: _View) -> None:
        """Title, and metres from the camera where depth is on the paper, and where the camera stands."""
        height, width = window.shape[:2]
        text(window, view.title, (8, 19), 0.45, INK)
        whole = lambda m: abs(m / self.label_step - round(m / self.label_step)) < 1e-6  # noqa: E731
        if view.right[0] == 2:
            for metres, x in self._steps(*view.right, width):
                if whole(metres) and 14 < x < width - 18:
                    text(window, f"{metres:.1f} m", (x - 14, height - 8), 0.38, INK)
            text(window, "< camera", (8, height - 26), 0.38, INK)
        elif view.up[0] == 2:
            for metres, y in self._steps(view.up[0], -view.up[1], height, _DOWN):
                if whole(metres) and 34 < y < height - 6:
                    text(window, f"{metres:.1f} m", (6, y - 4), 0.38, INK)
            if width > 150:
                text(window, "v camera", (width - 66, height - 8), 0.38, INK)
        else:
            text(window, f"grid {self.step:g} m", (8, height - 8), 0.38, INK)


def dot_radius(count: int, px_per_m: float, height: int) -> float:
    """Pixels, for `count` points on each body drawn at this scale on a canvas of this height: dots that are spread
    over the whole skin leave half of it free."""
    apart = px_per_m * np.sqrt(_SKIN / max(count, 1))
    return float(np.clip(0.3 * apart, 1.0, 4.2 * np.clip(height / 720, 0.55, 1)))


def draw_points(canvas: np.ndarray, people: Sequence[tuple], edges: np.ndarray, radius: float) -> None:
    """People as (pixels (P, 2), nearness (P,), uncertainty (P,)) onto `canvas`, in place: edges, then dots from far
    to near, coloured by uncertainty. NaN is left out."""
    # OpenCV's small discs are diamonds; those of twice the size, averaged down, are round.
    big = cv2.resize(canvas, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    _draw_points(big, [(2 * uv + 0.5, near, sigma) for uv, near, sigma in people], edges, 2 * radius)
    canvas[:] = cv2.resize(big, canvas.shape[1::-1], interpolation=cv2.INTER_AREA)


def _draw_points(canvas: np.ndarray, people: Sequence[tuple], edges: np.ndarray, radius: float) -> None:
    bold = max(1, round(radius / 2.2))
    for uv, _, sigma in people:
        paint = _paint((sigma[edges[:, 0]] + sigma[edges[:, 1]]) / 2)
        for thickness, dark in ((bold + 3, True), (bold, False)):
            for (a, b), colour in zip(edges, paint, strict=True):
                _line(
                    canvas,
                    uv[[a, b]],
                    (0, 0, 0) if dark else tuple(int(c) * 4 // 5 for c in colour),
                    thickness,
                )
    every = (
        [np.concatenate([person[k] for person in people]) for k in range(3)] if people else [np.zeros(0)] * 3
    )
    uv, near, sigma = every
    paint = _paint(sigma)
    for i in np.argsort(near):
        if len(sigma) <= _RIMS * len(people):
            _dot(canvas, uv[i], radius + 2, (0, 0, 0))
        _dot(canvas, uv[i], radius, paint[i].tolist())


def _paint(sigma: np.ndarray) -> np.ndarray:
    """A point without an uncertainty is a guess."""
    return colours(np.where(np.isfinite(sigma), sigma, GUESS))


def text(canvas: np.ndarray, words: str, place, size: float, colour) -> None:
    """Letters with a dark rim, `place` the left end of their base line; OpenCV knows no others than ASCII."""
    words = words.encode("ascii", "replace").decode()
    at = (round(float(place[0])), round(float(place[1])))
    for thickness, paint in ((3, (0, 0, 0)), (1, colour)):
        cv2.putText(canvas, words, at, FONT, size, paint, thickness, cv2.LINE_AA)


def legend(width: int) -> np.ndarray:
    """(LEGEND, width, 3): what the colours mean."""
    canvas = np.full((LEGEND, width, 3), 0, np.uint8)
    canvas[:] = GROUND
    left, bar = 210, int(np.clip(width - 460, 60, 240))
    sigma = np.linspace(SURE, GUESS, bar)
    canvas[LEGEND // 2 - 6 : LEGEND // 2 + 6, left : left + bar] = colours(sigma)[None]
    base = LEGEND // 2 + 5
    text(canvas, "uncertainty", (12, base), 0.45, INK)
    text(canvas, f"{100 * SURE:g} cm or less", (left - 96, base), 0.42, INK)
    text(canvas, f"{100 * GUESS:g} cm or more", (left + bar + 8, base), 0.42, INK)
    return canvas


def _turn(side: float, above: float) -> np.ndarray:
    """(3, 3) camera space to the axes of a viewer `side` radians to the camera's right and `above` it."""
    c, s = np.cos(side), np.sin(side)
    yaw = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    c, s = np.cos(above), np.sin(above)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ yaw


def _ring(low: np.ndarray, high: np.ndarray) -> tuple[list, list]:
    """x and z of the corners of a box, around."""
    return [low[0], high[0], high[0], low[0]], [low[2], low[2], high[2], high[2]]


def _line(canvas: np.ndarray, ends: np.ndarray, colour, thickness: int) -> None:
    if np.isfinite(ends).all() and np.abs(ends).max() < _FAR:
        a, b = (tuple(round(float(v) * 2**_BITS) for v in end) for end in ends)
        cv2.line(canvas, a, b, colour, thickness, cv2.LINE_AA, _BITS)


def _dot(canvas: np.ndarray, xy: np.ndarray, radius: float, colour) -> None:
    if np.isfinite(xy).all() and np.abs(xy).max() < _FAR:
        centre = tuple(round(float(v) * 2**_BITS) for v in xy)
        cv2.circle(canvas, centre, round(radius * 2**_BITS), colour, -1, cv2.LINE_AA, _BITS)

"""Pictures of a posed body as a camera sees it: colours at the vertices, drawn and smoothed, and the ground.

Camera space: metres, x right, y down, z forward. World: z up. Colours are linear RGB until `encoded`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from backend.synth.raster import draw_triangles, project, vertex_normals

FINE, GROUND_FINE = 3, 2
"""Samples on a side of each pixel, where the body and where the ground is drawn."""

SKIN = np.array([0.24, 0.52, 0.88])
RIM, GLOSS = np.array([0.55, 0.80, 1.0]), 0.10
"""Colour of the light along the body's outline, and strength of the lamp's reflection."""

GROUND, LINE = np.array([0.060, 0.066, 0.076]), np.array([0.16, 0.18, 0.21])
"""Colours of the ground and of its lines."""

FAR = np.array([0.0105, 0.012, 0.0155])
"""The darkness in which both end."""

STEP_M, LINE_M = 0.5, 0.012
"""Metres between the ground's lines, and their width."""

DISC_M = (0.9, 3.4)
"""Metres from the middle at which the ground begins to fade and has faded."""


@dataclass(frozen=True)
class View:
    """A pinhole camera somewhere in the world."""

    turn: np.ndarray
    """(3, 3) from the world's axes to camera space."""
    place: np.ndarray
    """(3,) where it stands, metres, world."""
    focal: float
    """Pixels."""
    centre: tuple[float, float]
    """x, y of the optical axis, pixels."""
    size: tuple[int, int]
    """Width and height, pixels."""

    def seen(self, places: np.ndarray) -> np.ndarray:
        """(n, 3) world -> (n, 3) camera space."""
        return (places - self.place) @ self.turn.T


def looking_at(
    target: np.ndarray, away: np.ndarray, distance: float, focal: float, size: tuple[int, int]
) -> View:
    """A camera that stands `distance` metres from `target` in the direction `away` (3,), world, upright."""
    forward = -away / np.linalg.norm(away)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    turn = np.stack([right, np.cross(forward, right), forward])
    return View(turn, target - forward * distance, focal, ((size[0] - 1) / 2, (size[1] - 1) / 2), size)


def normals_of(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals that point outwards."""
    out = np.empty((len(vertices), 3), np.float32)
    vertex_normals(vertices.astype(np.float32), faces, out)
    return out


def skin_colours(light: np.ndarray, normals: np.ndarray, sight: np.ndarray, lamp: np.ndarray) -> np.ndarray:
    """(V, 3) colours of the body. `light`: (V, 3) that reaches it; `sight`: (V, 3) unit vectors to the eye;
    `lamp`: (3,) unit vector to the lamp."""
    facing = np.clip((normals * sight).sum(1, keepdims=True), 0, 1)
    half = sight + lamp
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    shine = np.clip((normals * half).sum(1, keepdims=True), 0, 1) ** 28
    brightness = light.mean(1, keepdims=True)
    return light * SKIN + brightness * (GLOSS * shine + 0.35 * (1 - facing) ** 3 * RIM)


def draw(view: View, vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """(height, width, 4) float32: colour times cover, and the cover 0..1, of a body (V, 3) in world space."""
    fine_size = (view.size[1] * FINE, view.size[0] * FINE)
    seen = view.seen(vertices).astype(np.float32)
    cx, cy = (np.float32(c * FINE + (FINE - 1) / 2) for c in view.centre)
    sx, sy, w = np.empty((3, len(seen)), np.float32)
    project(seen, np.float32(view.focal * FINE), cx, cy, sx, sy, w)
    depth, ids = np.zeros(fine_size, np.float32), np.full(fine_size, -1, np.int32)
    draw_triangles(sx, sy, w, faces, 0, 0, depth, ids)
    row, column = np.nonzero(ids >= 0)
    corners = faces[ids[row, column]]
    shares = _shares(sx[corners], sy[corners], column, row)
    fine = np.zeros((*ids.shape, 4), np.float32)
    fine[row, column, :3] = (shares[:, :, None] * colours.astype(np.float32)[corners]).sum(1)
    fine[row, column, 3] = 1
    return cv2.resize(fine, view.size, interpolation=cv2.INTER_AREA)


def _shares(x: np.ndarray, y: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    """(n, 3) shares of a triangle's corners, `x`, `y` (n, 3), at a sample; across the screen, which is close enough
    for triangles of a few pixels."""
    ax, ay = x[:, 1] - x[:, 0], y[:, 1] - y[:, 0]
    bx, by = x[:, 2] - x[:, 0], y[:, 2] - y[:, 0]
    px, py = column - x[:, 0], row - y[:, 0]
    area = ax * by - bx * ay
    second, third = (px * by - bx * py) / area, (ax * py - px * ay) / area
    return np.stack([1 - second - third, second, third], -1)


class Ground:
    """The ground as one view sees it. `middle`: (2,) metres, where it is brightest."""

    def __init__(self, view: View, middle: np.ndarray) -> None:
        steps = [np.arange(n * GROUND_FINE, dtype=np.float32) for n in view.size]
        rays = [(step - (GROUND_FINE - 1) / 2) / GROUND_FINE for step in steps]
        x, y = ((ray - c) / view.focal for ray, c in zip(rays, view.centre, strict=True))
        turn = view.turn.astype(np.float32)
        way = x[None, :, None] * turn[0] + y[:, None, None] * turn[1] + turn[2]
        below = way[..., 2] < -1e-6
        reach = np.float32(-view.place[2]) / np.where(below, way[..., 2], -1)
        self.places = view.place[:2].astype(np.float32) + way[..., :2] * reach[..., None]
        off = np.hypot(*np.moveaxis(self.places - middle.astype(np.float32), -1, 0))
        fade = np.clip((off - DISC_M[0]) / (DISC_M[1] - DISC_M[0]), 0, 1)
        self.strength = np.where(below, (1 - fade) ** 2, 0)
        apart = np.abs(self.places - STEP_M * np.rint(self.places / STEP_M))
        on_line = np.minimum(apart[..., 0], apart[..., 1]) < LINE_M / 2
        self.paint = np.where(on_line[..., None], LINE, GROUND).astype(np.float32)
        self.size = view.size

    def draw(self, light: np.ndarray, low: np.ndarray, step: float) -> np.ndarray:
        """(height, width, 3) float32. `light`: (h, w, 3) on a raster of the ground from `low` (2,) metres, a point
        every `step` metres; beyond it the light is that at its rim."""
        at = (self.places - low.astype(np.float32)) / np.float32(step)
        # OpenCV wants small coordinates; far out and above the horizon nothing is drawn anyway.
        at = np.clip(at, -1e4, 1e4)
        here = cv2.remap(
            light.astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE
        )
        far = FAR.astype(np.float32)
        fine = far + self.strength[..., None] * (self.paint * here - np.float32(0.4) * far)
        return cv2.resize(fine, self.size, interpolation=cv2.INTER_AREA)


def decoded(picture: np.ndarray) -> np.ndarray:
    """uint8 sRGB -> float32 linear."""
    return _TO_LINEAR[picture]


def encoded(linear: np.ndarray) -> np.ndarray:
    """Linear -> uint8 sRGB, rounded; what is brighter than white becomes white."""
    v = np.clip(linear, 0, 1)
    return np.rint(255 * np.where(v < 0.0031308, 12.92 * v, 1.055 * v ** (1 / 2.4) - 0.055)).astype(np.uint8)


_GRAY = np.arange(256) / 255
_TO_LINEAR = np.where(_GRAY <= 0.04045, _GRAY / 12.92, ((_GRAY + 0.055) / 1.055) ** 2.4).astype(np.float32)

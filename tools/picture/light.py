"""Soft light on a body and on the ground below it: many distant lights, each with its own map of what it sees.

World: metres, z up, the ground at z = 0. Light is linear, not gamma-encoded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.synth.raster import draw_depth

SKY, KEY = 44, 20
"""Lights spread over the sky, and lights in the disc of the lamp."""

KEY_DIRECTION = np.array([0.75, -0.55, 1.35])
"""Towards the lamp: to the right of the camera that took the clip, and from above."""

KEY_SPREAD = 0.16
"""Radius of the lamp, as the tangent of its angle: the softness of the shadows' edges."""

KEY_COLOUR, SKY_COLOUR = np.array([1.0, 0.95, 0.88]), np.array([0.80, 0.90, 1.0])
KEY_SHARE = 0.74
"""Share of the light on open ground that comes from the lamp."""

BOUNCE = np.array([0.10, 0.11, 0.13])
"""Light that the ground throws back, on what looks straight down."""

MAP_PX, MARGIN_M, NEAR_M = 288, 0.05, 0.018
"""Samples on a side of each map, the rim around the body on it, and how far in front a shadow's caster must lie."""


@dataclass(frozen=True)
class Lights:
    """Distant lights."""

    directions: np.ndarray
    """(L, 3) unit vectors towards each light."""
    colours: np.ndarray
    """(L, 3) linear RGB; on open ground all of them together give the mean colour 1."""


def lights(seed: int = 0) -> Lights:
    """The sky and one lamp. `seed`: how the sky's spiral of lights is turned."""
    turn = np.random.default_rng(seed).uniform(0, 2 * np.pi)
    spiral = np.arange(SKY)
    height = (spiral + 0.5) / SKY
    angle = turn + spiral * np.pi * (3 - np.sqrt(5))
    flat = np.sqrt(1 - height**2)
    sky = np.stack([flat * np.cos(angle), flat * np.sin(angle), height], -1)
    key = KEY_DIRECTION / np.linalg.norm(KEY_DIRECTION)
    across, along = _across(key)
    disc = np.arange(KEY)
    radius, angle = KEY_SPREAD * np.sqrt((disc + 0.5) / KEY), turn + disc * np.pi * (3 - np.sqrt(5))
    lamp = key + radius[:, None] * (np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * along)
    lamp /= np.linalg.norm(lamp, axis=1, keepdims=True)
    parts = []
    for directions, colour, share in ((sky, SKY_COLOUR, 1 - KEY_SHARE), (lamp, KEY_COLOUR, KEY_SHARE)):
        parts.append(np.tile(share * colour / colour.mean() / directions[:, 2].sum(), (len(directions), 1)))
    return Lights(np.concatenate([sky, lamp]), np.concatenate(parts))


class Shade:
    """What keeps each light from where: the maps of one posed body. `vertices`: (V, 3); `faces`: (F, 3) int32."""

    def __init__(self, lit: Lights, vertices: np.ndarray, faces: np.ndarray) -> None:
        self.lights, self.maps = lit, []
        for direction in lit.directions:
            frame = np.stack([*_across(direction), direction], -1)
            places = vertices @ frame
            low, high = places.min(0) - MARGIN_M, places.max(0) + MARGIN_M
            scale = (MAP_PX - 1) / float((high - low)[:2].max())
            at = ((places - low) * [scale, scale, 1]).astype(np.float32)
            depth = np.full((MAP_PX, MAP_PX), -np.inf, np.float32)
            draw_depth(*(np.ascontiguousarray(at[:, k]) for k in range(3)), faces, 0, depth)
            self.maps.append((frame, low, scale, depth))

    def light(self, places: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """Light (n, 3), linear RGB, that reaches `places` (n, 3) with unit `normals` (n, 3)."""
        places, normals = places.astype(np.float32), normals.astype(np.float32)
        total = np.clip(-normals[:, 2:], 0, 1) * BOUNCE.astype(np.float32)
        for colour, (frame, low, scale, depth) in zip(self.lights.colours, self.maps, strict=True):
            slope = np.clip(normals @ frame[:, 2].astype(np.float32), 0, 1)
            at = places @ frame.astype(np.float32) - low.astype(np.float32)
            column, row = np.rint(at[:, :2] * np.float32(scale)).astype(np.int32).T
            inside = (column >= 0) & (column < MAP_PX) & (row >= 0) & (row < MAP_PX)
            nearest = np.full(len(at), -np.inf, np.float32)
            nearest[inside] = depth[row[inside], column[inside]]
            # A surface that the light only grazes changes its depth within one sample of the map.
            reach = NEAR_M + (1 - slope) / np.float32(scale)
            total += np.where(nearest <= at[:, 2] + reach, slope, 0)[:, None] * colour.astype(np.float32)
        return total


def _across(direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors at right angles to `direction` and to each other."""
    aside = np.array([1.0, 0, 0]) if abs(direction[0]) < 0.7 else np.array([0, 1.0, 0])
    first = np.cross(aside, direction)
    first /= np.linalg.norm(first)
    return first, np.cross(direction, first)

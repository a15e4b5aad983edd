"""Places that are worked out pixel by pixel: rooms with four walls, streets and fields under a sky.

A room is a box around the scene; a ray leaves it through a wall, the ground or the top. Outdoors the walls are
far and the top is the sky.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.synth import dyes
from backend.synth.kernels import helper, kernel
from backend.synth.noise import clouds, fract, hash01, noise
from backend.synth.rays import lit, sky

(
    PAINT,
    BRICKS,
    TILES,
    PLANKS,
    WALLPAPER,
    FOLIAGE,
    FACADE,
    GRASS,
    ASPHALT,
    CLUTTER,
    CURTAIN,
    PICTURES,
    CARPET,
) = range(13)
_FLOORS = {True: (TILES, PLANKS, CARPET, ASPHALT, PAINT), False: (GRASS, ASPHALT, TILES, ASPHALT, CARPET)}
_WALLS = {True: (PAINT, PAINT, WALLPAPER, CLUTTER, CURTAIN, PICTURES, PICTURES, BRICKS, PLANKS),
          False: (FOLIAGE, FOLIAGE, FACADE, FACADE, BRICKS, PLANKS, PAINT, CLUTTER)}  # fmt: skip
SURFACE = 16
"""Numbers of one surface: texture, scale, phase, roughness of tone, then three linear colours."""


@dataclass
class Room:
    """`low`, `high`: (3,) corners in the room's axes; `turn`: (3, 3) world -> room; `surfaces`: (6, 16) for
    -x, +x, ground, top, -z, +z; `indoors`: the top is a ceiling."""

    low: np.ndarray
    high: np.ndarray
    turn: np.ndarray
    surfaces: np.ndarray
    indoors: bool


def build(rng: np.random.Generator, camera: np.ndarray, reach: float, split: str) -> Room:
    """A random place that holds the camera (3,) and everything within `reach` metres of the origin."""
    indoors = bool(rng.random() < 0.6)
    a = rng.uniform(-np.pi, np.pi) if rng.random() < 0.5 else rng.normal(0, 0.25)
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    c = turn @ camera
    spare = rng.uniform(0.3, 4, 4) if indoors else rng.uniform(3, 40, 4)
    low = np.array([min(-reach, c[0] - 0.3) - spare[0], 0, min(-reach, c[2] - 0.3) - spare[1]])
    high = np.array([max(reach, c[0] + 0.3) + spare[2], 0, max(reach, c[2] + 0.3) + spare[3]])
    high[1] = (
        max(rng.uniform(2.3, 3.6), camera[1] + 0.3, 2 * reach * 0.6)
        if indoors
        else rng.uniform(2, 25) + camera[1]
    )
    surfaces = np.zeros((6, SURFACE), np.float32)
    shared = _surface(rng, _WALLS[indoors], split)
    for i in (0, 1, 4, 5):
        surfaces[i] = shared if rng.random() < 0.4 else _surface(rng, _WALLS[indoors], split)
    surfaces[2] = _surface(rng, _FLOORS[indoors], split)
    # Real grounds are seldom lighter than half grey.
    surfaces[2, 4:13] *= rng.uniform(0.35, 0.8)
    surfaces[3] = _surface(rng, (PAINT, PAINT, TILES), split)
    if not indoors:
        # Horizon and zenith.
        base = dyes.from_hsv(rng.uniform(0.53, 0.62), rng.uniform(0, 0.6), rng.uniform(0.6, 1))
        surfaces[3, 4:7], surfaces[3, 7:10] = (
            base,
            dyes.from_hsv(rng.uniform(0.02, 0.6), rng.uniform(0, 0.15), 0.95),
        )
        surfaces[3, 3] = rng.uniform(0, 0.8)
    return Room(low, high, turn, surfaces, indoors)


def _surface(rng, kinds, split: str) -> np.ndarray:
    out = np.zeros(SURFACE, np.float32)
    kind = int(rng.choice(kinds))
    colours = [dyes.cloth(rng, split, k) for k in ("light" if rng.random() < 0.4 else "any", "any", "any")]
    if kind in (GRASS, FOLIAGE):
        green = rng.uniform(0.16, 0.36)
        colours = [
            dyes.from_hsv(green + rng.normal(0, 0.02), rng.uniform(0.3, 0.8), v) for v in (0.45, 0.25, 0.6)
        ]
    elif kind in (PLANKS, BRICKS):
        colours = [
            dyes.from_hsv(rng.uniform(0.03, 0.1), rng.uniform(0.2, 0.7), v) for v in rng.uniform(0.2, 0.8, 3)
        ]
    elif kind == ASPHALT:
        colours = [dyes.from_hsv(rng.random(), rng.uniform(0, 0.15), v) for v in rng.uniform(0.15, 0.7, 3)]
    elif kind in (PAINT, WALLPAPER, PICTURES, CURTAIN) and rng.random() < 0.7:
        colours[0] = dyes.from_hsv(rng.random(), rng.uniform(0, 0.2), rng.uniform(0.35, 0.95))
    out[:4] = [kind, np.exp(rng.uniform(-0.7, 0.7)), rng.uniform(0, 100), rng.uniform(0.03, 0.3)]
    out[4:13] = np.concatenate(colours)
    return out


@helper
def surface(p, k, u, v, fine):
    """Linear rgb of surface `k` of `p` (6, 16) at (u, v) metres; `fine`: metres that one pixel covers there."""
    kind = int(p[k, 0])
    s, ph = p[k, 1], p[k, 2]
    shade = 1 + p[k, 3] * clouds(u * 0.8 + ph, v * 0.8, ph)
    shade += 0.5 * p[k, 3] * noise(u * 9, v * 9, ph) * min(0.05 / fine, 1.0)
    near = min(0.012 / fine, 1.0)
    mix, third = 0.0, 0.0
    if kind == 1 or kind == 2 or kind == 3:
        w, h = (
            (0.25 * s, 0.08 * s) if kind == 1 else ((0.4 * s, 0.4 * s) if kind == 2 else (1.4 * s, 0.13 * s))
        )
        row = np.floor(v / h)
        col = u / w + (0.5 * row if kind == 1 else (hash01(np.int32(row), 7, 1) if kind == 3 else 0.0))
        tone = hash01(np.int32(np.floor(col)), np.int32(row), np.int32(ph))
        mix = tone * (0.25 if kind == 2 else 0.7)
        joint = min(fract(v / h) * h, fract(col) * w)
        if joint < 0.012 * s:
            third = near * (1.0 if kind != 3 else 0.5)
        if kind == 3:
            shade += 0.25 * noise(u * 6, v * 60, tone * 9) * min(0.03 / fine, 1.0)
    elif kind == 4:
        mix = 1.0 if fract(u / (0.18 * s)) < 0.5 else 0.0
    elif kind == 5 or kind == 7:
        n = clouds(u * 2 / s + ph, v * 2 / s, ph) + 0.6 * noise(u * 17, v * 17, ph) * min(0.06 / fine, 1.0)
        n += 0.5 * noise(u * 60, v * 60, ph) * near
        mix = min(max(0.5 + (0.9 if kind == 5 else 0.5) * n, 0.0), 1.0)
        third = max(0.0, n - 0.5) * 0.8
        shade *= 0.75 + 0.4 * n if kind == 5 else 1.0
    elif kind == 6:
        a, b = fract(u / (2.2 * s) + ph), fract(v / (2.8 * s))
        cell = hash01(np.int32(np.floor(u / (2.2 * s) + ph)), np.int32(np.floor(v / (2.8 * s))), 3)
        if a > 0.25 and a < 0.75 and b > 0.3 and b < 0.8:
            mix = 1.0
            shade *= 0.3 + 1.2 * cell
            if abs(a - 0.5) < 0.02 or abs(b - 0.5) < 0.015:
                mix = 0.0
    elif kind == 8 or kind == 12:
        shade += 0.35 * noise(u * 90, v * 90, ph) * near + 0.12 * noise(u * 25, v * 25, ph) * min(
            0.03 / fine, 1.0
        )
        mix = 0.6 * max(0.0, clouds(u * 0.35, v * 0.35 + ph, 2.0))
        if kind == 12 and (fract(u / (1.1 * s)) < 0.06 or fract(v / (1.1 * s)) < 0.06):
            third = 0.8
    elif kind == 9:
        # Shelves, stalls, parked things: rectangles of all sizes.
        a, b = u / (0.7 * s), v / (0.45 * s)
        i, j = np.floor(a), np.floor(b)
        m = 1 + int(3 * hash01(np.int32(i), np.int32(j), np.int32(ph)))
        a2, b2 = a * m, b * (1 + int(2 * hash01(np.int32(i), np.int32(j), 17)))
        i2, j2 = np.int32(np.floor(a2)), np.int32(np.floor(b2))
        mix = hash01(i2, j2, 5)
        third = 1.0 if hash01(i2, j2, 6) > 0.75 else 0.0
        shade *= 0.25 + 1.3 * hash01(i2, j2, 9)
        if fract(a2) < 0.08 or fract(b2) < 0.08:
            shade *= 0.4
    elif kind == 10:
        shade *= 0.75 + 0.3 * np.sin(u * 22 / s + 2 * noise(u * 2, v * 0.4, ph))
    elif kind == 11:
        i, j = np.floor(u / (1.3 * s) + ph), np.floor(v / 1.6)
        h = hash01(np.int32(i), np.int32(j), 2)
        a, b = fract(u / (1.3 * s) + ph) - 0.5, fract(v / 1.6) - 0.5
        if h > 0.35 and abs(a) < 0.15 + 0.25 * h and abs(b) < 0.32 * h:
            mix = 1.0
            if abs(a) > 0.12 + 0.25 * h or abs(b) > 0.32 * h - 0.02:
                third = 1.0
            else:
                third = 0.5 + 0.5 * noise(u * 7, v * 7, h * 50)
    r = p[k, 4] + mix * (p[k, 7] - p[k, 4])
    g = p[k, 5] + mix * (p[k, 8] - p[k, 5])
    b3 = p[k, 6] + mix * (p[k, 9] - p[k, 6])
    r, g, b3 = r + third * (p[k, 10] - r), g + third * (p[k, 11] - g), b3 + third * (p[k, 12] - b3)
    shade = max(shade, 0.05)
    return r * shade, g * shade, b3 * shade


@kernel
def paint(
    f,
    R,
    camera,
    low,
    high,
    turn,
    p,
    indoors,
    sh,
    sun,
    sun_rgb,
    shadow,
    view,
    soft,
    seed,
    contact,
    need,
    image,
):
    """Fill `image` (S, S, 3) where `need` (S, S) is true. `R`: camera -> world; `contact`: see `contact_map`."""
    side = image.shape[0]
    M = np.empty((3, 3), np.float64)
    for a in range(3):
        for b in range(3):
            M[a, b] = turn[a, 0] * R[0, b] + turn[a, 1] * R[1, b] + turn[a, 2] * R[2, b]
    o = np.empty(3, np.float64)
    for a in range(3):
        o[a] = turn[a, 0] * camera[0] + turn[a, 1] * camera[1] + turn[a, 2] * camera[2]
    d, q, n, w = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    for j in range(side):
        for i in range(side):
            if not need[j, i]:
                continue
            px, py = (i - side * 0.5) / f, (j - side * 0.5) / f
            best, axis = 1e9, 1
            for a in range(3):
                d[a] = M[a, 0] * px + M[a, 1] * py + M[a, 2]
                if d[a] > 1e-9:
                    t = (high[a] - o[a]) / d[a]
                elif d[a] < -1e-9:
                    t = (low[a] - o[a]) / d[a]
                else:
                    t = 1e9
                if t < best:
                    best, axis = t, a
            plus = d[axis] > 0
            k = 2 * axis + (1 if plus else 0)
            if k == 3 and indoors == 0:
                up = d[1] / np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
                t = min(max(up * 1.6, 0.0), 1.0)
                c = (
                    max(0.0, clouds(d[0] / (d[1] + 0.15) * 1.1 + p[3, 2], d[2] / (d[1] + 0.15) * 1.1, 0.0))
                    * p[3, 3]
                )
                e = (
                    1.1
                    * (sky(sh, 0.0, 1.0, 0.0, 0) + sky(sh, 0.0, 1.0, 0.0, 1) + sky(sh, 0.0, 1.0, 0.0, 2))
                    / 3
                )
                for m in range(3):
                    v = p[3, 7 + m] + t * (p[3, 4 + m] - p[3, 7 + m])
                    image[j, i, m] = 1.3 * e * (v + c * (0.95 - v))
                continue
            for a in range(3):
                q[a] = o[a] + best * d[a]
                n[a] = 0.0
            n[axis] = -1.0 if plus else 1.0
            if axis == 1:
                u, v = q[0], q[2]
            elif axis == 0:
                u, v = q[2], q[1]
            else:
                u, v = q[0], q[1]
            fine = best / f / max(abs(d[axis]) / np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]), 0.1)
            r, g, b = surface(p, k, u, v, fine)
            # Corners of a room are darker.
            ao = 1.0
            for a in range(3):
                if a != axis and (a != 1 or indoors == 1 or q[1] < 0.5 * high[1]):
                    edge = min(q[a] - low[a], high[a] - q[a])
                    ao *= 1 - 0.35 * max(0.0, 1 - edge / 0.5)
            for a in range(3):
                w[a] = turn[0, a] * n[0] + turn[1, a] * n[1] + turn[2, a] * n[2]
            gx = turn[0, 0] * q[0] + turn[1, 0] * q[1] + turn[2, 0] * q[2]
            gy = q[1]
            gz = turn[0, 2] * q[0] + turn[1, 2] * q[1] + turn[2, 2] * q[2]
            light = max(0.0, w[0] * sun[0] + w[1] * sun[1] + w[2] * sun[2])
            if light > 0:
                light *= lit(shadow, view, gx, gy, gz, soft, i, j, seed)
            if k == 2:
                ao *= under(contact, gx, gz)
            image[j, i, 0] = r * (sky(sh, w[0], w[1], w[2], 0) * ao + light * sun_rgb[0])
            image[j, i, 1] = g * (sky(sh, w[0], w[1], w[2], 1) * ao + light * sun_rgb[1])
            image[j, i, 2] = b * (sky(sh, w[0], w[1], w[2], 2) * ao + light * sun_rgb[2])


CELL = 0.04
"""Metres of a cell of the contact map, which is centred on the origin."""


@helper
def under(contact, x, z):
    """Share of the sky that the ground at (x, z) sees past what stands or lies on it."""
    n = contact.shape[0]
    i, j = int(x / 0.04 + 0.5 * n), int(z / 0.04 + 0.5 * n)
    if i < 0 or j < 0 or i >= n or j >= n:
        return 1.0
    return 1 - 0.8 * contact[j, i]


@kernel
def splat(x, contact):
    """Mark on the ground what is close above it: `contact` (n, n) = max of exp(-height / 8 cm)."""
    n = contact.shape[0]
    for v in range(x.shape[0]):
        h = x[v, 1]
        if h > 0.35:
            continue
        i, j = int(x[v, 0] / 0.04 + 0.5 * n), int(x[v, 2] / 0.04 + 0.5 * n)
        if i >= 0 and j >= 0 and i < n and j < n:
            contact[j, i] = max(contact[j, i], np.exp(-max(h, 0.0) / 0.08))


@kernel
def catch_shadow(f, R, camera, sh, sun, sun_rgb, shadow, view, soft, seed, contact, need, image):
    """Darken a photograph where an invisible ground y = 0 would lie in shade."""
    side = image.shape[0]
    e = sky(sh, 0.0, 1.0, 0.0, 1)
    s = max(sun[1], 0.0) * sun_rgb[1]
    for j in range(side):
        for i in range(side):
            if not need[j, i]:
                continue
            px, py = (i - side * 0.5) / f, (j - side * 0.5) / f
            dy = R[1, 0] * px + R[1, 1] * py + R[1, 2]
            if dy > -0.01:
                continue
            t = -camera[1] / dy
            x = camera[0] + t * (R[0, 0] * px + R[0, 1] * py + R[0, 2])
            z = camera[2] + t * (R[2, 0] * px + R[2, 1] * py + R[2, 2])
            if x * x + z * z > 9:
                continue
            light = lit(shadow, view, x, 0.0, z, soft, i, j, seed) if s > 0 else 0.0
            k = (e * under(contact, x, z) + s * light) / (e + s + 1e-9)
            for m in range(3):
                image[j, i, m] *= k

"""Places that are worked out pixel by pixel: rooms with four walls, streets and fields under a sky.

A room is a box around the scene; a ray leaves it through a wall, the ground or the top. Outdoors the walls are
far and the top is the sky.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backend.synth import dyes
from backend.synth.kernels import helper, kernel, piece
from backend.synth.noise import clouds, fract, hash01, noise
from backend.synth.rays import lit, sky, sunlight

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


class Room(NamedTuple):
    """A box around a scene, with a surface on each side."""

    low: np.ndarray
    """(3,) lowest corner in the room's own axes, metres."""
    high: np.ndarray
    """(3,) highest corner."""
    turn: np.ndarray
    """(3, 3) world -> room."""
    surfaces: np.ndarray
    """(6, SURFACE) for -x, +x, ground, top, -z, +z."""
    indoors: bool
    """The top is a ceiling; outdoors it is the sky."""


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
def laid(kind, s, ph, u, v, near):
    """Bricks, tiles and planks at (u, v): tone of the piece as a share of the second colour, and share of the third,
    the joints'. `s`: scale, `ph`: phase, `near`: share of fine detail that can be seen."""
    if kind == BRICKS:
        w, h = 0.25 * s, 0.08 * s
    elif kind == TILES:
        w, h = 0.4 * s, 0.4 * s
    else:
        w, h = 1.4 * s, 0.13 * s
    row = np.floor(v / h)
    shift = 0.0
    if kind == BRICKS:
        shift = 0.5 * row
    elif kind == PLANKS:
        shift = hash01(np.int32(row), 7, 1)
    col = u / w + shift
    tone = hash01(np.int32(np.floor(col)), np.int32(row), np.int32(ph))
    joint = min(fract(v / h) * h, fract(col) * w)
    third = 0.0
    if joint < 0.012 * s:
        third = near * (1.0 if kind != PLANKS else 0.5)
    return tone, third


@helper
def window(s, ph, u, v):
    """A house front at (u, v): share of the second colour, the glass, and brightness."""
    a, b = fract(u / (2.2 * s) + ph), fract(v / (2.8 * s))
    if a <= 0.25 or a >= 0.75 or b <= 0.3 or b >= 0.8:
        return 0.0, 1.0
    cell = hash01(np.int32(np.floor(u / (2.2 * s) + ph)), np.int32(np.floor(v / (2.8 * s))), 3)
    bar = abs(a - 0.5) < 0.02 or abs(b - 0.5) < 0.015
    return 0.0 if bar else 1.0, 0.3 + 1.2 * cell


@helper
def clutter(s, ph, u, v):
    """Shelves, stalls, parked things at (u, v), rectangles of all sizes: shares of the second and the third colour,
    and brightness."""
    a, b = u / (0.7 * s), v / (0.45 * s)
    i, j = np.floor(a), np.floor(b)
    m = 1 + int(3 * hash01(np.int32(i), np.int32(j), np.int32(ph)))
    a2, b2 = a * m, b * (1 + int(2 * hash01(np.int32(i), np.int32(j), 17)))
    i2, j2 = np.int32(np.floor(a2)), np.int32(np.floor(b2))
    third = 1.0 if hash01(i2, j2, 6) > 0.75 else 0.0
    shade = 0.25 + 1.3 * hash01(i2, j2, 9)
    if fract(a2) < 0.08 or fract(b2) < 0.08:
        shade *= 0.4
    return hash01(i2, j2, 5), third, shade


@helper
def pictures(s, ph, u, v):
    """Framed pictures on a wall at (u, v): shares of the second and the third colour."""
    i, j = np.floor(u / (1.3 * s) + ph), np.floor(v / 1.6)
    h = hash01(np.int32(i), np.int32(j), 2)
    a, b = fract(u / (1.3 * s) + ph) - 0.5, fract(v / 1.6) - 0.5
    if h <= 0.35 or abs(a) >= 0.15 + 0.25 * h or abs(b) >= 0.32 * h:
        return 0.0, 0.0
    if abs(a) > 0.12 + 0.25 * h or abs(b) > 0.32 * h - 0.02:
        return 1.0, 1.0
    return 1.0, 0.5 + 0.5 * noise(u * 7, v * 7, h * 50)


@helper
def plants(kind, s, ph, u, v, near, fine):
    """Foliage and grass at (u, v): shares of the second and the third colour, and brightness."""
    n = clouds(u * 2 / s + ph, v * 2 / s, ph) + 0.6 * noise(u * 17, v * 17, ph) * min(0.06 / fine, 1.0)
    n += 0.5 * noise(u * 60, v * 60, ph) * near
    mix = min(max(0.5 + (0.9 if kind == FOLIAGE else 0.5) * n, 0.0), 1.0)
    return mix, max(0.0, n - 0.5) * 0.8, 0.75 + 0.4 * n if kind == FOLIAGE else 1.0


@helper
def pattern(kind, s, ph, u, v, near, fine):
    """The pattern of a surface at (u, v): shares of its second and third colour, what is added to its brightness,
    and what that is then multiplied by. Arguments as of `laid` and `surface`."""
    if kind in (BRICKS, TILES, PLANKS):
        tone, third = laid(kind, s, ph, u, v, near)
        grain = 0.25 * noise(u * 6, v * 60, tone * 9) * min(0.03 / fine, 1.0) if kind == PLANKS else 0.0
        return tone * (0.25 if kind == TILES else 0.7), third, grain, 1.0
    if kind == WALLPAPER:
        return 1.0 if fract(u / (0.18 * s)) < 0.5 else 0.0, 0.0, 0.0, 1.0
    if kind in (FOLIAGE, GRASS):
        mix, third, shade = plants(kind, s, ph, u, v, near, fine)
        return mix, third, 0.0, shade
    if kind == FACADE:
        mix, shade = window(s, ph, u, v)
        return mix, 0.0, 0.0, shade
    if kind in (ASPHALT, CARPET):
        grain = 0.35 * noise(u * 90, v * 90, ph) * near
        grain += 0.12 * noise(u * 25, v * 25, ph) * min(0.03 / fine, 1.0)
        line = kind == CARPET and (fract(u / (1.1 * s)) < 0.06 or fract(v / (1.1 * s)) < 0.06)
        return 0.6 * max(0.0, clouds(u * 0.35, v * 0.35 + ph, 2.0)), 0.8 if line else 0.0, grain, 1.0
    if kind == CLUTTER:
        mix, third, shade = clutter(s, ph, u, v)
        return mix, third, 0.0, shade
    if kind == CURTAIN:
        return 0.0, 0.0, 0.0, 0.75 + 0.3 * np.sin(u * 22 / s + 2 * noise(u * 2, v * 0.4, ph))
    if kind == PICTURES:
        mix, third = pictures(s, ph, u, v)
        return mix, third, 0.0, 1.0
    return 0.0, 0.0, 0.0, 1.0


@helper
def surface(p, k, u, v, fine):
    """Linear rgb of surface `k` of `p` (6, 16) at (u, v) metres; `fine`: metres that one pixel covers there."""
    s, ph = p[k, 1], p[k, 2]
    near = min(0.012 / fine, 1.0)
    mix, third, grain, times = pattern(int(p[k, 0]), s, ph, u, v, near, fine)
    shade = 1 + p[k, 3] * clouds(u * 0.8 + ph, v * 0.8, ph)
    shade += 0.5 * p[k, 3] * noise(u * 9, v * 9, ph) * min(0.05 / fine, 1.0)
    shade = max((shade + grain) * times, 0.05)
    r = p[k, 4] + mix * (p[k, 7] - p[k, 4])
    g = p[k, 5] + mix * (p[k, 8] - p[k, 5])
    b = p[k, 6] + mix * (p[k, 9] - p[k, 6])
    r, g, b = r + third * (p[k, 10] - r), g + third * (p[k, 11] - g), b + third * (p[k, 12] - b)
    return r * shade, g * shade, b * shade


@piece
def way_out(room, o, d):
    """Where the ray from `o` along `d` (3,), in the room's axes, leaves the box: distance in lengths of `d`, and
    axis of the side."""
    best, axis = 1e9, 1
    for a in range(3):
        if d[a] > 1e-9:
            t = (room.high[a] - o[a]) / d[a]
        elif d[a] < -1e-9:
            t = (room.low[a] - o[a]) / d[a]
        else:
            t = 1e9
        if t < best:
            best, axis = t, a
    return best, axis


@piece
def open_air(p, sh, d, image, i, j):
    """Colour the pixel (i, j) of `image` with the sky along `d` (3,), from horizon to zenith, with clouds. `p`: the
    surfaces."""
    up = d[1] / np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    t = min(max(up * 1.6, 0.0), 1.0)
    far = d[1] + 0.15
    c = max(0.0, clouds(d[0] / far * 1.1 + p[3, 2], d[2] / far * 1.1, 0.0)) * p[3, 3]
    e = 1.1 * (sky(sh, 0.0, 1.0, 0.0, 0) + sky(sh, 0.0, 1.0, 0.0, 1) + sky(sh, 0.0, 1.0, 0.0, 2)) / 3
    for m in range(3):
        v = p[3, 7 + m] + t * (p[3, 4 + m] - p[3, 7 + m])
        image[j, i, m] = 1.3 * e * (v + c * (0.95 - v))


@piece
def corners(room, q, axis):
    """Share of the light at the place `q` (3,) of the side `axis` that the room's own corners leave."""
    ao = 1.0
    for a in range(3):
        if a != axis and (a != 1 or room.indoors or q[1] < 0.5 * room.high[1]):
            edge = min(q[a] - room.low[a], room.high[a] - q[a])
            ao *= 1 - 0.35 * max(0.0, 1 - edge / 0.5)
    return ao


@piece
def wall(room, lights, contact, f, d, q, best, axis, i, j, image):
    """Colour the pixel (i, j) of `image` with the place `q` (3,) where a ray along `d` leaves the room on the side
    `axis`, after `best` lengths of `d`. `f`: pixels."""
    side, turn = d[axis] > 0, room.turn
    k = 2 * axis + (1 if side else 0)
    if axis == 1:
        u, v = q[0], q[2]
    elif axis == 0:
        u, v = q[2], q[1]
    else:
        u, v = q[0], q[1]
    fine = best / f / max(abs(d[axis]) / np.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]), 0.1)
    r, g, b = surface(room.surfaces, k, u, v, fine)
    ao = corners(room, q, axis)
    # Normal and place in the world.
    n = -1.0 if side else 1.0
    nx, ny, nz = turn[axis, 0] * n, turn[axis, 1] * n, turn[axis, 2] * n
    gx = turn[0, 0] * q[0] + turn[1, 0] * q[1] + turn[2, 0] * q[2]
    gz = turn[0, 2] * q[0] + turn[1, 2] * q[1] + turn[2, 2] * q[2]
    light = sunlight(lights, nx, ny, nz, gx, q[1], gz, i, j, 0.0)
    if k == 2:
        ao *= under(contact, gx, gz)
    sh, sun_rgb = lights.sh, lights.sun_rgb
    image[j, i, 0] = r * (sky(sh, nx, ny, nz, 0) * ao + light * sun_rgb[0])
    image[j, i, 1] = g * (sky(sh, nx, ny, nz, 1) * ao + light * sun_rgb[1])
    image[j, i, 2] = b * (sky(sh, nx, ny, nz, 2) * ao + light * sun_rgb[2])


@kernel
def paint(room, camera, lights, contact, need, image):
    """Fill `image` (S, S, 3) with the room where `need` (S, S) is true.

    `room`: `Room`; `camera`: `rays.Pinhole` in pixels; `lights`: `rays.Lights`; `contact`: what `splat` marked.
    """
    turn, R, C = room.turn, camera.R, camera.centre
    f, c, indoors, surfaces, sh = camera.f, camera.c, room.indoors, room.surfaces, lights.sh
    M, o = np.empty((3, 3)), np.empty(3)
    for a in range(3):
        for b in range(3):
            M[a, b] = turn[a, 0] * R[0, b] + turn[a, 1] * R[1, b] + turn[a, 2] * R[2, b]
        o[a] = turn[a, 0] * C[0] + turn[a, 1] * C[1] + turn[a, 2] * C[2]
    d, q = np.empty(3), np.empty(3)
    for j in range(image.shape[0]):
        for i in range(image.shape[1]):
            if not need[j, i]:
                continue
            px, py = (i - c) / f, (j - c) / f
            for a in range(3):
                d[a] = M[a, 0] * px + M[a, 1] * py + M[a, 2]
            best, axis = way_out(room, o, d)
            if axis == 1 and d[1] > 0 and not indoors:
                open_air(surfaces, sh, d, image, i, j)
                continue
            for a in range(3):
                q[a] = o[a] + best * d[a]
            wall(room, lights, contact, f, d, q, best, axis, i, j, image)


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
def catch_shadow(camera, lights, contact, need, image):
    """Darken a photograph where an invisible ground y = 0 would lie in shade. Arguments as of `paint`."""
    R, C, f, c, seed = camera.R, camera.centre, camera.f, camera.c, lights.seed
    shadow, to_sun, soft = lights.shadow, lights.to_sun, lights.soft
    e = sky(lights.sh, 0.0, 1.0, 0.0, 1)
    s = max(lights.sun[1], 0.0) * lights.sun_rgb[1]
    for j in range(image.shape[0]):
        for i in range(image.shape[1]):
            if not need[j, i]:
                continue
            px, py = (i - c) / f, (j - c) / f
            dy = R[1, 0] * px + R[1, 1] * py + R[1, 2]
            if dy > -0.01:
                continue
            t = -C[1] / dy
            x = C[0] + t * (R[0, 0] * px + R[0, 1] * py + R[0, 2])
            z = C[2] + t * (R[2, 0] * px + R[2, 1] * py + R[2, 2])
            if x * x + z * z > 9:
                continue
            light = lit(shadow, to_sun, x, 0.0, z, soft, i, j, seed) if s > 0 else 0.0
            k = (e * under(contact, x, z) + s * light) / (e + s + 1e-9)
            for m in range(3):
                image[j, i, m] *= k

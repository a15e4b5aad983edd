"""What the compiled loops share: the camera and the lights, as tuples of numbers and arrays; and light at a place.

Light at a place is what comes from the sky, what of the sun is let through, and how much of the sky is open.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backend.synth.kernels import helper
from backend.synth.noise import hash01


class Pinhole(NamedTuple):
    """A camera as the loops know it, in pixels, or in samples of which a pixel has two a side."""

    f: float
    """Focal length."""
    c: float
    """Both coordinates of the principal point."""
    R: np.ndarray
    """(3, 3) camera -> world."""
    centre: np.ndarray
    """(3,) the camera's place in the world, metres."""


class Lights(NamedTuple):
    """The light of a scene, in linear rgb; see `light.Light`."""

    sh: np.ndarray
    """(9, 3) the sky: irradiance over pi in spherical harmonics, world axes."""
    sun: np.ndarray
    """(3,) unit, towards the sun, world axes."""
    sun_rgb: np.ndarray
    """(3,) irradiance over pi at right angles to the sun."""
    rim: np.ndarray
    """(3,) unit, towards the light that edges shine in; it casts no shadow."""
    rim_rgb: np.ndarray
    """(3,) its irradiance over pi at right angles."""
    shadow: np.ndarray
    """(n, n) depth of what the sun sees, greater is nearer to it."""
    to_sun: np.ndarray
    """(3, 4) world -> texels and depth of `shadow`."""
    soft: float
    """Texels over which shadows fade."""
    seed: int
    """Of the grain that soft shadows are made of."""


@helper
def sky(sh, x, y, z, k):
    """Irradiance over pi of colour `k` on a surface with the unit normal (x, y, z)."""
    v = sh[0, k] * 0.282095 + 0.488603 * (sh[1, k] * y + sh[2, k] * z + sh[3, k] * x)
    v += 1.092548 * (sh[4, k] * x * y + sh[5, k] * y * z + sh[7, k] * x * z)
    v += 0.315392 * sh[6, k] * (3 * z * z - 1) + 0.546274 * sh[8, k] * (x * x - y * y)
    return max(v, 0.0)


@helper
def lit(shadow, view, x, y, z, soft, i, j, seed):
    """Share 0..1 of the sun that reaches the world place (x, y, z). `view`: (3, 4) world -> texels and depth;
    `seed`: of the grain that the soft edge is made of."""
    u = view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3]
    v = view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3]
    d = view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3]
    side = shadow.shape[0]
    a = 6.2832 * hash01(i, j, seed)
    ca, sa = np.cos(a) * soft, np.sin(a) * soft
    free = 0.0
    for k in range(4):
        # Four places around, turned at random from pixel to pixel.
        r = 0.5 + 0.25 * k
        ca, sa = -sa, ca
        p, q = int(u + r * ca + 0.5), int(v + r * sa + 0.5)
        if p < 0 or q < 0 or p >= side or q >= side or shadow[q, p] <= d + 0.008:
            free += 0.25
    return free


@helper
def sunlight(lights, nx, ny, nz, x, y, z, i, j, wrap):
    """Share 0..1 of the sun's light on a surface with the unit normal (nx, ny, nz) at the world place (x, y, z).
    `wrap`: how far light reaches round an edge; `i`, `j`: the sample, for the grain of the shadow's edge."""
    sun = lights.sun
    light = max(0.0, (nx * sun[0] + ny * sun[1] + nz * sun[2] + wrap) / (1 + wrap))
    if light > 0:
        light *= lit(lights.shadow, lights.to_sun, x, y, z, lights.soft, i, j, lights.seed)
    return light


@helper
def open_sky(wbuf, i, j, w, radius, seed):
    """Share of the surroundings that is not closed in by what stands close in front, 0..1."""
    height, width = wbuf.shape
    z = 1.0 / w
    closed = 0.0
    a = 6.2832 * hash01(i, j, seed + 1)
    c, s = np.cos(a), np.sin(a)
    for k in range(8):
        c, s = 0.7071 * (c - s), 0.7071 * (s + c)
        r = radius * (0.25 + 0.75 * hash01(i, j, seed + k + 2))
        p, q = int(i + c * r), int(j + s * r)
        if p < 0 or q < 0 or p >= width or q >= height:
            continue
        n = wbuf[q, p]
        if n > w:
            d = z - 1.0 / n
            closed += min(d * 25, 1.0) * max(0.0, 1 - d * 3)
    return 1 - 0.75 * closed / 8

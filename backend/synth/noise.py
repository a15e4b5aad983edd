"""Smooth random fields in three dimensions, for cloth, skin, ground and walls."""

from __future__ import annotations

import numpy as np

from backend.synth.kernels import helper


@helper
def hash01(i, j, k):
    """A fixed random number 0..1 for each cell of a grid of whole numbers."""
    h = np.uint32(i) * np.uint32(374761393) + np.uint32(j) * np.uint32(668265263)
    h = h + np.uint32(k) * np.uint32(2246822519)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(1274126177)
    h = h ^ (h >> np.uint32(16))
    return np.float32(h & np.uint32(0xFFFFFF)) * np.float32(1.0 / 16777216.0)


@helper
def noise(x, y, z):
    """Smooth value -1..1 with features of about one unit."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    i, j, k = np.int32(fx), np.int32(fy), np.int32(fz)
    u, v, w = np.float32(x - fx), np.float32(y - fy), np.float32(z - fz)
    three, two = np.float32(3.0), np.float32(2.0)
    u, v, w = u * u * (three - two * u), v * v * (three - two * v), w * w * (three - two * w)
    a = hash01(i, j, k) + u * (hash01(i + 1, j, k) - hash01(i, j, k))
    b = hash01(i, j + 1, k) + u * (hash01(i + 1, j + 1, k) - hash01(i, j + 1, k))
    c = hash01(i, j, k + 1) + u * (hash01(i + 1, j, k + 1) - hash01(i, j, k + 1))
    d = hash01(i, j + 1, k + 1) + u * (hash01(i + 1, j + 1, k + 1) - hash01(i, j + 1, k + 1))
    a, c = a + v * (b - a), c + v * (d - c)
    return two * (a + w * (c - a)) - np.float32(1.0)


@helper
def clouds(x, y, z):
    """Noise of three sizes, about -1..1."""
    a = noise(x, y, z) + np.float32(0.5) * noise(2.03 * x + 5.1, 2.03 * y + 1.3, 2.03 * z)
    return np.float32(0.62) * (a + np.float32(0.25) * noise(4.1 * x, 4.1 * y + 7.7, 4.1 * z + 3.2))


@helper
def step(a, b, x):
    """0 below a, 1 above b, smooth between."""
    t = min(max((x - a) / (b - a), np.float32(0.0)), np.float32(1.0))
    return t * t * (np.float32(3.0) - np.float32(2.0) * t)


@helper
def fract(x):
    return x - np.floor(x)

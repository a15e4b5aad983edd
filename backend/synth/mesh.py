"""Triangles that are drawn, and simple solids of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from backend.synth import shade


@dataclass(eq=False)
class Mesh:
    """Triangles of one object."""

    x: np.ndarray
    """(n, 3) float32 world places, metres."""
    faces: np.ndarray
    """(F, 3) int32, outward."""
    canon: np.ndarray
    """(n, 3) float32 places that patterns hang on."""
    row: np.ndarray
    """The outfit vector; see `outfit`."""
    kind: int = shade.THING
    """What it is, of `shade`'s kinds."""
    layer: int = 0
    """Start of its layer in `row`."""
    closed: bool = False
    """It bounds a solid."""
    casts: bool = True
    """It throws shadows."""
    eyes: np.ndarray | None = None
    """(n,) uint8, 1 on eyeballs; None for none."""
    owner: int = -1
    """Number of the person it belongs to, -1 for none."""


@cache
def grid_faces(rows: int, columns: int, around: bool) -> np.ndarray:
    """(F, 3) int32 triangles of a sheet of rows x columns points; `around`: the last column joins the first."""
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns if around else columns - 1), indexing="ij")
    i, j = i.ravel(), j.ravel()
    k = (j + 1) % columns
    a, b, c, d = i * columns + j, i * columns + k, (i + 1) * columns + j, (i + 1) * columns + k
    return np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]).astype(np.int32)


@cache
def unit_ball(rows: int = 9, columns: int = 14) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n, 3) and outward triangles of the unit sphere about 0."""
    e = np.linspace(np.pi / 2, -np.pi / 2, rows)[:, None]
    a = np.arange(columns) * 2 * np.pi / columns
    v = np.stack([np.cos(e) * np.sin(a), np.sin(e) + 0 * a, np.cos(e) * np.cos(a)], -1)
    return v.reshape(-1, 3), grid_faces(rows, columns, True)


@cache
def unit_box() -> tuple[np.ndarray, np.ndarray]:
    """Vertices (24, 3) and outward triangles of the cube [-1, 1]; corners are not shared between sides."""
    v, f = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            u, w = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
            n = len(v)
            v += [sign * np.eye(3)[axis] + s * u + t * w for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
            quad = [(n, n + 1, n + 2), (n, n + 2, n + 3)]
            f += quad if sign > 0 else [q[::-1] for q in quad]
    return np.array(v), np.array(f, np.int32)


@cache
def unit_rod(columns: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Open cylinder of radius 1 about y, from -1 to 1, its ends drawn to a point."""
    a = np.arange(columns) * 2 * np.pi / columns
    rings = [(0.0, 1.0), (1.0, 1.0), (1.0, -1.0), (0.0, -1.0)]
    v = np.concatenate([np.stack([r * np.sin(a), 0 * a + y, r * np.cos(a)], 1) for r, y in rings])
    return v, grid_faces(4, columns, True)


def solid(shape: tuple[np.ndarray, np.ndarray], size, R, centre, row, **more) -> Mesh:
    """A unit solid stretched by `size` (3,), turned by `R` (3, 3) and moved to `centre` (3,)."""
    v, f = shape
    local = v * np.asarray(size)
    x = local @ np.asarray(R).T + centre
    return Mesh(x.astype(np.float32), f, local.astype(np.float32), row, closed=True, **more)

"""What a body's surface encloses: its inside as the places of a grid, and skin that nobody sees."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from backend.body.model import Body
from backend.body.skeleton import JOINT
from backend.body.surface import Surface

_OPEN_SHARE = 0.02
"""Share of edges without a neighbour from which on a surface counts as open. SMPL-X itself has a few holes."""
_CELL = 0.003
"""Metres; the grid in which the inside of the mouth is found. Gaps up to twice as wide are taken for closed lips."""
_HOLLOW = 1e-6
"""Cubic metres; less than this is a fold of an ear."""
_MAX_CELLS = 1_000_000


class NoInsideError(Exception):
    """There is no inside to put points in; says why."""


def along_a_curve(p: np.ndarray) -> np.ndarray:
    """Order of the places `p` (P, 3) along a Morton curve: neighbours follow each other."""
    low, size = p.min(0), max(float(np.ptp(p, 0).max()), 1e-9)
    cell = np.minimum((p - low) / size * 1024, 1023).astype(np.int64)
    code = np.zeros(len(p), np.int64)
    for bit in range(10):
        for axis in range(3):
            code |= ((cell[:, axis] >> bit) & 1) << (3 * bit + axis)
    return np.argsort(code, kind="stable")


def grid_inside(surface: Surface, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """About `wanted` places of a cubic grid inside the left half of the body whose mirror images are inside too, in
    the order of a curve, and the inner places of the grid in the plane x = 0. NoInsideError for an open surface."""
    _check_closed(surface)
    enclosed = abs(np.einsum("fc,fc->f", surface.corners[:, 0], surface.face_normals).sum()) / 6
    low, high = surface.v.min(0), surface.v.max(0)
    box = float(np.prod(high - low))
    # A mesh that is not closed may enclose nothing, or more than its box.
    h = (np.clip(enclosed, 0.001 * box, box) / (2 * wanted)) ** (1 / 3)
    across = np.arange(int(max(high[0], -low[0]) / h) + 1) + 0.5
    xs = h * np.concatenate([-across[::-1], [0.0], across])
    ys, zs = (np.arange(low[a] + h / 2, high[a], h) for a in (1, 2))
    full = layers(surface, xs, ys, zs) > 0
    k = len(across)
    both = full[k + 1 :] & full[:k][::-1]
    i, j, m = np.nonzero(both)
    places = np.stack([xs[k + 1 + i], ys[j], zs[m]], 1)
    j, m = np.nonzero(full[k])
    middle = np.stack([np.zeros(len(j)), ys[j], zs[m]], 1)
    if len(places):
        places = places[along_a_curve(places)]
    return places, middle


def layers(surface: Surface, xs: np.ndarray, ys: np.ndarray, zs: np.ndarray) -> np.ndarray:
    """How often the surface winds around each place of a grid, (X, Y, Z): crossings of a ray towards +z, outward
    ones less inward ones."""
    # A hair aside, so that no ray runs exactly through the vertices of the midline.
    gx, gy = xs + 1.7e-7, ys + 2.3e-7
    tri = surface.corners
    low, high = tri[..., :2].min(1), tri[..., :2].max(1)
    x0, x1 = np.searchsorted(gx, low[:, 0]), np.searchsorted(gx, high[:, 0])
    y0, y1 = np.searchsorted(gy, low[:, 1]), np.searchsorted(gy, high[:, 1])
    nx, ny = x1 - x0, y1 - y0
    face = np.repeat(np.arange(len(tri)), nx * ny)
    slot = np.arange(len(face)) - np.repeat(np.cumsum(nx * ny) - nx * ny, nx * ny)
    i, j = x0[face] + slot // ny[face], y0[face] + slot % ny[face]
    a, b, c = (tri[face, q] for q in range(3))
    x, y = gx[i], gy[j]
    side = lambda p, q: (q[:, 0] - p[:, 0]) * (y - p[:, 1]) - (q[:, 1] - p[:, 1]) * (x - p[:, 0])  # noqa: E731
    wa, wb, wc = side(b, c), side(c, a), side(a, b)
    det = wa + wb + wc
    meets = ((wa >= 0) & (wb >= 0) & (wc >= 0) | (wa <= 0) & (wb <= 0) & (wc <= 0)) & (det != 0)
    z = (wa * a[:, 2] + wb * b[:, 2] + wc * c[:, 2])[meets] / det[meets]
    below = np.searchsorted(zs, z)
    change = np.zeros((len(xs), len(ys), len(zs) + 1), np.int32)
    np.add.at(change, (i[meets], j[meets], below), np.where(det[meets] > 0, 1, -1).astype(np.int32))
    # Every crossing above a place counts for it.
    return np.cumsum(change[..., ::-1], 2)[..., ::-1][..., 1:]


def _check_closed(surface: Surface) -> None:
    V = len(surface.v)
    start, end = surface.faces.astype(np.int64).ravel(), surface.faces[:, [1, 2, 0]].astype(np.int64).ravel()
    lonely = ~np.isin(start * V + end, end * V + start)
    if lonely.mean() > _OPEN_SHARE:
        raise NoInsideError("its surface is not closed")


def hidden_faces(body: Body, surface: Surface) -> np.ndarray:
    """(F,) bool, triangles that face a hollow of the head which is cut off from the outside: mouth, teeth, tongue."""
    none = np.zeros(len(surface.faces), bool)
    head = body.weights[:, [JOINT["head"], JOINT["jaw"]]].sum(1) > 0.5
    if not head.any():
        return none
    low, high = surface.v[head].min(0) - 5 * _CELL, surface.v[head].max(0) + 5 * _CELL
    h = max(_CELL, float(np.prod(high - low) / _MAX_CELLS) ** (1 / 3))
    axes = [np.arange(low[k], high[k], h) for k in range(3)]
    full = layers(surface, *axes) > 0
    # The corner in front of the head's top is outside; what is not joined to it, once gaps are closed, is a hollow.
    free, _ = ndimage.label(~ndimage.binary_dilation(full))
    small = np.bincount(free.ravel()) < _HOLLOW / h**3
    hollow = (free > 0) & (free != free[0, -1, -1]) & ~small[free]
    hollow = ndimage.binary_dilation(hollow, iterations=2) & ~full
    unit = surface.face_normals / np.maximum(np.linalg.norm(surface.face_normals, axis=1), 1e-30)[:, None]
    ahead = surface.corners.mean(1) + h * unit
    cell = np.rint((ahead - low) / h).astype(int)
    near = ((cell >= 0) & (cell < hollow.shape)).all(1)
    none[near] = hollow[tuple(cell[near].T)]
    return none

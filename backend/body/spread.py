"""Points spread evenly over the surface or through the inside of a body, the right half as the left.

Places are drawn on the left half (x > 0) from a fixed pattern, moved apart by Lloyd's method (each point to the
middle of the places nearest to it) and mirrored. No random number is used: the same body gives the same points.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from backend.body.inside import NoInsideError, along_a_curve, grid_inside, hidden_faces
from backend.body.model import Body, CanonicalPoints
from backend.body.points import canonical_points, combine, on_triangles
from backend.body.skeleton import JOINT
from backend.body.surface import Surface, surface_of

_PER_POINT = 16
_PER_INNER_POINT = 40
"""Candidate places for each point: how finely Lloyd's method can move it."""
_MIN_CANDIDATES = 20_000
_MOST_INNER = 150_000
_ROUNDS = 6
_BAND = 0.01
"""Height in metres of the bands whose foremost and rearmost skin in the plane x = 0 may be the odd point."""
# Roberts' R2 sequence: fractions that fill the unit square evenly, from the plastic number.
_R2 = np.array([0.7548776662466927, 0.5698402909980532])


def even_surface(body: Body, count: int) -> CanonicalPoints:
    """`count` points spread evenly by area over the skin that can be seen. Rows 2i and 2i + 1 are a left and a right
    one at mirrored places (the nearest skin to it on a body that is not symmetric); an odd `count` ends with one in
    the middle.
    """
    surface = surface_of(body)
    n = count // 2
    area = np.linalg.norm(surface.face_normals, axis=1) / 2
    area[hidden_faces(body, surface)] = 0
    p = _strewn(surface, area, max(_MIN_CANDIDATES, 2 * _PER_POINT * n))
    p = p[p[:, 0] > 0]
    places = _pairs(p[spread(p, n)])
    if count % 2:
        places = np.concatenate([places, [_loneliest(body, _profile(surface), places)]])
    _, face, barycentric = surface.nearest(places)
    L = on_triangles(body, face, barycentric)
    return combine(body, L, L @ surface.v)


def even_inside(body: Body, count: int) -> CanonicalPoints:
    """`count` points spread evenly through the inside; rows paired as by `even_surface`.

    backend.body.inside.NoInsideError when the surface does not enclose enough places for them.
    """
    n = count // 2
    wanted = max(_MIN_CANDIDATES, min(_PER_INNER_POINT * n, _MOST_INNER), n)
    places, middle = grid_inside(surface_of(body), wanted)
    if len(places) < n or (count % 2 and len(middle) == 0):
        raise NoInsideError("its surface encloses too little room")
    pairs = _pairs(places[spread(places, n)])
    if count % 2:
        pairs = np.concatenate([pairs, [_loneliest(body, middle, pairs)]])
    return canonical_points(body, pairs)


def spread(candidates: np.ndarray, count: int) -> np.ndarray:
    """`count` different rows of `candidates` (M, 3), M >= count, spread evenly among them (M places of one
    weight each, in an order in which neighbours follow each other)."""
    M = len(candidates)
    if count == 0:
        return np.zeros(0, int)
    centres = candidates[((np.arange(count) + 0.5) * M / count).astype(int)]
    for _ in range(_ROUNDS):
        _, owner = cKDTree(centres).query(candidates)
        size = np.bincount(owner, minlength=count)[:, None]
        mean = np.stack([np.bincount(owner, c, minlength=count) for c in candidates.T], 1) / np.maximum(
            size, 1
        )
        centres = np.where(size > 0, mean, centres)
    far, owner = cKDTree(centres).query(candidates)
    order = np.lexsort((far, owner))
    owners, first = np.unique(owner[order], return_index=True)
    rows = order[first]
    if len(owners) < count:
        spare = np.setdiff1d(np.arange(M), rows)
        rows = np.concatenate([rows, spare[np.argsort(-far[spare], kind="stable")][: count - len(owners)]])
    return rows


def _pairs(left: np.ndarray) -> np.ndarray:
    """(2n, 3): each place followed by its mirror image."""
    return np.stack([left, left * [-1, 1, 1]], 1).reshape(-1, 3)


def _strewn(surface: Surface, area: np.ndarray, count: int) -> np.ndarray:
    """`count` places on the triangles, (count, 3), one for each equal share of `area` (F,)."""
    order = along_a_curve(surface.corners.mean(1))
    ends = np.cumsum(area[order])
    step = (np.arange(count) + 0.5) / count
    face = order[np.minimum(np.searchsorted(ends, step * ends[-1]), len(order) - 1)]
    u, v = ((np.arange(1, count + 1)[:, None] * _R2) % 1).T
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    barycentric = np.stack([1 - u - v, u, v], 1)
    return (surface.corners[face] * barycentric[..., None]).sum(1)


def _profile(surface: Surface) -> np.ndarray:
    """(M, 3) places where the skin crosses the plane x = 0: the foremost and the rearmost of each band of height."""
    a, b = surface.corners.reshape(-1, 3), surface.corners[:, [1, 2, 0]].reshape(-1, 3)
    crosses = (a[:, 0] * b[:, 0] <= 0) & (a[:, 0] != b[:, 0])
    if not crosses.any():
        return a
    a, b = a[crosses], b[crosses]
    p = a + (a[:, 0] / (a[:, 0] - b[:, 0]))[:, None] * (b - a)
    band = np.floor(p[:, 1] / _BAND)
    order = np.lexsort((p[:, 2], band))
    last = np.flatnonzero(np.diff(band[order], append=np.inf))
    first = np.concatenate([[0], last[:-1] + 1])
    return p[order[np.unique(np.concatenate([first, last]))]]


def _loneliest(body: Body, candidates: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The candidate furthest from the other points; the one nearest to the chest when there are none."""
    if len(others) == 0:
        return candidates[np.linalg.norm(candidates - body.joints_template[JOINT["spine3"]], axis=1).argmin()]
    return candidates[cKDTree(others).query(candidates)[0].argmax()]

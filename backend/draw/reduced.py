"""A body's mesh with fewer triangles, for drawing it small: found once for each body and kept in memory."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

from backend.body.model import Body

COUNT = 2000
"""Vertices that are kept, of all that a body has; there are about twice as many triangles."""
TURN_M = 0.05
"""Metres of surface that a turn of its normal by one radian counts for: thin parts keep more vertices."""

_kept: weakref.WeakKeyDictionary[Body, dict[int, Reduced]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class Reduced:
    """N vertices of a body and the G triangles between them."""

    rows: np.ndarray
    """(N,) int: which of the body's vertices."""
    faces: np.ndarray
    """(G, 3) int32 numbers in 0..N-1, normals outward."""


def reduced(body: Body, count: int = COUNT) -> Reduced:
    """The body with about `count` of its own vertices.

    Seeds are spread over the surface, every vertex belongs to the seed that is nearest along the mesh, and where three
    cells meet there is a triangle of their seeds. So a closed surface stays closed, and parts that only lie close to
    each other, as fingers do, do not grow together.
    """
    kept = _kept.setdefault(body, {})
    if count not in kept:
        kept[count] = _reduce(body, count)
    return kept[count]


def _reduce(body: Body, count: int) -> Reduced:
    faces = np.asarray(body.faces, np.int64)
    places = np.asarray(body.v_template, np.float64)
    if count >= len(places):
        return Reduced(np.arange(len(places)), faces.astype(np.int32))
    bent = np.concatenate([places, TURN_M * vertex_normals(places, faces)], 1)
    seeds = _spread(bent, count)
    a, b = faces.ravel(), faces[:, [1, 2, 0]].ravel()
    # Two vertices in one place would else be no neighbours: a length of 0 means that there is no edge.
    length = np.maximum(np.linalg.norm(bent[a] - bent[b], axis=1), 1e-9)
    # Two triangles run through an edge in opposite ways; at a rim there is only one.
    edges = coo_matrix((length, (a, b)), shape=(len(places),) * 2).tocsr()
    _, _, nearest = dijkstra(edges.maximum(edges.T), indices=seeds, min_only=True, return_predecessors=True)
    number = np.full(len(places), -1)
    number[seeds] = np.arange(len(seeds))
    corners = np.where(nearest[faces] >= 0, number[nearest[faces]], -1)
    real = (corners >= 0).all(1) & (corners != np.roll(corners, 1, 1)).all(1)
    return Reduced(seeds, _once(corners[real]).astype(np.int32))


def _spread(points: np.ndarray, count: int) -> np.ndarray:
    """(count,) rows of points (V, D) that are far from each other, by greedy farthest points."""
    chosen = np.zeros(count, int)
    far = np.full(len(points), np.inf)
    for k in range(1, count):
        offset = points - points[chosen[k - 1]]
        np.minimum(far, np.einsum("vd,vd->v", offset, offset), out=far)
        chosen[k] = far.argmax()
    return chosen


def _once(faces: np.ndarray) -> np.ndarray:
    """Triangles (G, 3) without those that say the same corners in the same turn again."""
    first = faces.argmin(1)
    turned = np.take_along_axis(faces, (first[:, None] + np.arange(3)) % 3, 1)
    return np.unique(turned, axis=0)


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) unit normals of vertices (V, 3), means of the triangles around weighted by their area; 0 without any."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    total = np.stack(
        [np.bincount(faces.ravel(), np.repeat(normal[:, k], 3), len(vertices)) for k in range(3)], -1
    )
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)

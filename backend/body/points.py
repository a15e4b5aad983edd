"""Canonical points: any place on or inside the rest body as a fixed linear combination of its vertices."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from scipy.sparse import csr_array, issparse

from backend.body.model import Body, CanonicalPoints
from backend.body.skeleton import JOINT, N_JOINTS
from backend.body.surface import Surface, closest_on_triangles, surface_of

__all__ = ["canonical_points", "closest_on_triangles", "combine", "on_triangles"]

_SKIN_DEPTH = 0.02
"""Depth in metres over which a point's carrier fades from its nearest triangle to the whole wall around it."""
_CHUNK = 256
_BLOCK = 16
"""Points whose walls are weighed at once: their arrays stay in the processor's cache."""
_movers: WeakKeyDictionary[Body, np.ndarray] = WeakKeyDictionary()


def canonical_points(body: Body, positions: np.ndarray) -> CanonicalPoints:
    """Points at `positions` (P, 3), metres, in the rest T-pose of the mean body.

    On the surface a point is carried by the corners of its triangle (barycentric; exact at vertices). Inside, it is
    carried by the vertices of the walls around it, weighted by 1/distance^4 and by how squarely they face it, so
    that a point deep in the thigh follows the whole thigh and never the other leg. A point that is not exactly
    the combination of its carriers keeps its offset from it in the rest pose. Points outside are carried by the
    nearest triangle.
    """
    p = np.atleast_2d(np.asarray(positions, np.float64))
    if p.ndim != 2 or p.shape[1] != 3 or not np.isfinite(p).all():
        raise ValueError("canonical points must be finite positions of shape (P, 3)")
    surface = surface_of(body)
    near, face, barycentric = surface.nearest(p)
    inside = surface.inside(p, near, face, barycentric)
    t = np.clip(np.linalg.norm(near - p, axis=1) / _SKIN_DEPTH, 0, 1) * inside
    t = t * t * (3 - 2 * t)
    points = combine(body, on_triangles(body, face, barycentric), p)
    # Walls are dense rows of V weights, so only the points that have them pay, a chunk at a time.
    deep = np.flatnonzero(t > 0)
    for start in range(0, len(deep), _CHUNK):
        rows = deep[start : start + _CHUNK]
        L = _walls(surface, p[rows], t[rows])
        slots = np.arange(len(rows))
        rest = 1 - L.sum(1)
        for k in range(3):
            np.add.at(L, (slots, body.faces[face[rows], k]), rest * barycentric[rows, k])
        _put(points, rows, combine(body, L, p[rows]))
    return points


def on_triangles(body: Body, face: np.ndarray, barycentric: np.ndarray) -> csr_array:
    """(P, V) sparse combination of vertices for places on the triangles `face` (P,), `barycentric` (P, 3)."""
    P = len(face)
    shares = np.asarray(barycentric, np.float32).ravel()
    return csr_array((shares, body.faces[face].ravel(), 3 * np.arange(P + 1)), (P, len(body.v_template)))


def combine(body: Body, L: np.ndarray | csr_array, positions: np.ndarray) -> CanonicalPoints:
    """The points `positions` (P, 3), carried by the combinations `L` (P, V, dense or sparse) of vertices."""
    L = L.astype(np.float32) if issparse(L) else np.asarray(L, np.float32)
    weights = L @ body.weights
    return CanonicalPoints(
        np.ascontiguousarray(positions, np.float32),
        weights / weights.sum(1, keepdims=True),
        _mix(L, body.shapedirs),
        _mix(L, body.exprdirs),
        None if body.posedirs is None else _mix_correctives(body, L),
    )


def _mix(L: np.ndarray | csr_array, directions: np.ndarray) -> np.ndarray:
    V, _, k = directions.shape
    return (L @ directions.reshape(V, 3 * k)).reshape(L.shape[0], 3, k)


def _mix_correctives(body: Body, L: np.ndarray | csr_array) -> np.ndarray:
    """(486, P * 3) pose correctives of the combinations. Most joints move few vertices: only these are mixed."""
    P, V = L.shape
    if body not in _movers:
        _movers[body] = body.posedirs.reshape(-1, 9, V, 3).any((1, 3))
    out = np.zeros((len(body.posedirs), 3 * P), np.float32)
    carriers = np.unique(L.indices) if issparse(L) else np.flatnonzero(L.any(0))
    for j, moves in enumerate(_movers[body]):
        mine = carriers[moves[carriers]]
        if len(mine):
            rows = slice(9 * j, 9 * j + 9)
            block = body.posedirs[rows].reshape(9, V, 3)[:, mine].transpose(1, 0, 2).reshape(len(mine), 27)
            mixed = L[:, mine] @ block
            out[rows] = mixed.reshape(P, 9, 3).transpose(1, 0, 2).reshape(9, 3 * P)
    return out


def _walls(surface: Surface, p: np.ndarray, t: np.ndarray) -> np.ndarray:
    """(P, V) float32 shares of the walls around the inner points `p` (P, 3); row i sums to `t[i]`, or to 0 where
    no wall faces the point."""
    L = np.empty((len(p), len(surface.v)), np.float32)
    one, v, n = np.ones((len(p), 1)), surface.v, surface.normals
    # |v - p|^2 and (v - p).n times the vertex's area, each as one matrix product.
    to_square = np.concatenate([-2 * v, np.ones((len(v), 1)), (v**2).sum(1, keepdims=True)], 1).T
    to_facing = (np.concatenate([-n, (v * n).sum(1, keepdims=True)], 1) * surface.areas[:, None]).T
    from_square = np.concatenate([p, (p**2).sum(1, keepdims=True), one], 1)
    from_facing = np.concatenate([p, one], 1)
    for i in range(0, len(p), _BLOCK):
        block = slice(i, i + _BLOCK)
        square = np.maximum(from_square[block] @ to_square, 1e-18)
        wall = np.maximum(from_facing[block] @ to_facing, 0)
        wall /= square
        wall /= square
        wall /= np.sqrt(square, out=square)
        total = wall.sum(1)
        wall *= np.where(total > 0, t[block] / np.where(total > 0, total, 1), 0)[:, None]
        L[block] = wall
    return L


def _put(points: CanonicalPoints, rows: np.ndarray, some: CanonicalPoints) -> None:
    """Write the points `some` over the rows `rows` of `points`, which is not given out yet."""
    for name in ("weights", "shapedirs", "exprdirs"):
        getattr(points, name)[rows] = getattr(some, name)
    if points.posedirs is not None:
        R = len(points.posedirs)
        points.posedirs.reshape(R, -1, 3)[:, rows] = some.posedirs.reshape(R, -1, 3)


def joint_point(
    body: Body, joint: str, offset=(0.0, 0.0, 0.0), carrier: str | None = None
) -> CanonicalPoints:
    """The centre of `joint` (plus a rest-pose `offset`, metres) as a canonical point that moves with `carrier`
    (the joint itself if not given)."""
    j = JOINT[joint]
    weights = np.zeros((1, N_JOINTS), np.float32)
    weights[0, JOINT[carrier or joint]] = 1
    posedirs = None if body.posedirs is None else np.zeros((len(body.posedirs), 3), np.float32)
    position = body.joints_template[j][None] + np.asarray(offset, np.float32)
    return CanonicalPoints(
        position, weights, body.joints_shapedirs[j][None], body.joints_exprdirs[j][None], posedirs
    )


def joint_place(body: Body, joint: str) -> CanonicalPoints:
    """Where `joint` is, as a canonical point to look for: one that the body has not moves as the skin around it."""
    if body.present[JOINT[joint]]:
        return joint_point(body, joint)
    return canonical_points(body, body.joints_template[JOINT[joint]][None])


def stack(points: list[CanonicalPoints]) -> CanonicalPoints:
    """Several sets of canonical points of one body as one."""
    names = ("positions", "weights", "shapedirs", "exprdirs")
    arrays = [
        np.ascontiguousarray(np.concatenate([getattr(p, n) for p in points]), np.float32) for n in names
    ]
    posedirs = None
    if points[0].posedirs is not None:
        posedirs = np.ascontiguousarray(np.concatenate([p.posedirs for p in points], 1), np.float32)
    return CanonicalPoints(*arrays, posedirs)

"""Canonical points: any place on or inside the rest body as a fixed linear combination of its vertices."""

from __future__ import annotations

import numpy as np

from backend.body.model import Body, CanonicalPoints

_SKIN_DEPTH = 0.02
"""Depth in metres over which a point's carrier fades from its nearest triangle to the whole wall around it."""
_CHUNK = 64


def canonical_points(body: Body, positions: np.ndarray) -> CanonicalPoints:
    """Points at `positions` (P, 3), metres, in the rest T-pose of the mean body.

    On the surface a point is carried by the corners of its triangle (barycentric; exact at vertices). Inside, it is
    carried by the vertices of the walls around it, weighted by 1/distance^4 and by how squarely they face it, so
    that a point deep in the thigh follows the whole thigh and never the other leg. A point that is not exactly
    the combination of its carriers keeps its offset from it in the rest pose. Points outside are carried by the
    nearest triangle.
    """
    positions = np.atleast_2d(np.asarray(positions, np.float64))
    if positions.ndim != 2 or positions.shape[1] != 3 or not np.isfinite(positions).all():
        raise ValueError("canonical points must be finite positions of shape (P, 3)")
    surface = _Surface(body)
    blends = [surface.carriers(positions[i : i + _CHUNK]) for i in range(0, len(positions), _CHUNK)]
    L = np.concatenate(blends) if blends else np.zeros((0, len(body.v_template)))
    return combine(body, L, positions)


def combine(body: Body, L: np.ndarray, positions: np.ndarray) -> CanonicalPoints:
    """The points `positions` (P, 3), carried by the combinations `L` (P, V) of vertices."""
    L = np.asarray(L, np.float32)
    posedirs = None
    if body.posedirs is not None:
        posedirs = np.zeros((len(body.posedirs), 3 * len(L)), np.float32)
        carriers = np.flatnonzero(L.any(0))
        few = np.ascontiguousarray(L[:, carriers])
        for row in np.flatnonzero(body.posedirs.any(1)):
            posedirs[row] = (few @ body.posedirs[row].reshape(-1, 3)[carriers]).ravel()
    weights = L @ body.weights
    return CanonicalPoints(
        np.ascontiguousarray(positions, np.float32),
        weights / weights.sum(1, keepdims=True),
        _mix(L, body.shapedirs),
        _mix(L, body.exprdirs),
        posedirs,
    )


def _mix(L: np.ndarray, directions: np.ndarray) -> np.ndarray:
    V, _, k = directions.shape
    return (L @ directions.reshape(V, 3 * k)).reshape(len(L), 3, k)


class _Surface:
    """The rest surface, ready for nearest-point questions."""

    def __init__(self, body: Body) -> None:
        self.v = body.v_template.astype(np.float64)
        self.faces = body.faces
        self.corners = self.v[self.faces]
        a, b, c = self.corners.transpose(1, 0, 2)
        self.face_normals = np.cross(b - a, c - a)
        self.normals = np.zeros_like(self.v)
        for k in range(3):
            np.add.at(self.normals, self.faces[:, k], self.face_normals)
        # A vertex normal's length is six times the area around it: it weighs sparse walls as much as dense ones.
        self.areas = np.linalg.norm(self.normals, axis=1)
        self.normals /= np.maximum(self.areas, 1e-12)[:, None]

    def carriers(self, p: np.ndarray) -> np.ndarray:
        """(P, V) combination of vertices for each of the points `p` (P, 3); rows sum to 1."""
        near, face, barycentric = self._nearest(p)
        away = near - p
        depth = np.linalg.norm(away, axis=1)
        # Inside, the way to the nearest surface point goes along the outward normal.
        outward = self.normals[self.faces[face]]
        outward = (outward * barycentric[..., None]).sum(1)
        inside = (away * outward).sum(1) > 0
        t = np.clip(depth / _SKIN_DEPTH, 0, 1) * inside
        t = (t * t * (3 - 2 * t))[:, None]
        L = np.zeros((len(p), len(self.v)))
        rows = np.arange(len(p))
        for k in range(3):
            np.add.at(L, (rows, self.faces[face, k]), barycentric[:, k])
        if t.any():
            way = self.v[None] - p[:, None]
            distance = np.maximum(np.linalg.norm(way, axis=2), 1e-9)
            facing = np.maximum((way * self.normals).sum(2) / distance, 0)
            wall = facing * self.areas / distance**4
            total = wall.sum(1, keepdims=True)
            t = np.where(total > 0, t, 0)
            L = (1 - t) * L + t * wall / np.where(total > 0, total, 1)
        return L

    def _nearest(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Nearest surface point (P, 3) of each p, its triangle (P,) and barycentric coordinates (P, 3)."""
        # The nearest triangle lies within reach of the nearest vertex plus one longest edge.
        to_vertex = np.linalg.norm(self.v[None] - p[:, None], axis=2).min(1)
        centre = self.corners.mean(1)
        reach = np.linalg.norm(self.corners - centre[:, None], axis=2).max(1)
        near, face, bary = np.empty_like(p), np.empty(len(p), int), np.empty_like(p)
        for i, x in enumerate(p):
            close = np.flatnonzero(np.linalg.norm(centre - x, axis=1) - reach <= to_vertex[i] + 1e-9)
            q, b = closest_on_triangles(x, self.corners[close])
            k = int(((q - x) ** 2).sum(1).argmin())
            near[i], face[i], bary[i] = q[k], close[k], b[k]
        return near, face, bary


def closest_on_triangles(x: np.ndarray, tri: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Point of each triangle (T, 3, 3) closest to `x` (3,), and its barycentric coordinates (T, 3)."""
    a, b, c = tri[:, 0], tri[:, 1], tri[:, 2]
    e0, e1, d = b - a, c - a, x - a
    dot = lambda u, v: (u * v).sum(1)  # noqa: E731
    d00, d01, d11, d20, d21 = dot(e0, e0), dot(e0, e1), dot(e1, e1), dot(d, e0), dot(d, e1)
    det = np.maximum(d00 * d11 - d01 * d01, 1e-30)
    v, w = (d11 * d20 - d01 * d21) / det, (d00 * d21 - d01 * d20) / det
    candidates = [np.stack([1 - v - w, v, w], 1)]
    # Outside the triangle the closest point lies on one of the three edges.
    for i, j in ((0, 1), (1, 2), (2, 0)):
        edge = tri[:, j] - tri[:, i]
        s = np.clip(dot(x - tri[:, i], edge) / np.maximum(dot(edge, edge), 1e-30), 0, 1)
        on_edge = np.zeros((len(tri), 3))
        on_edge[:, i], on_edge[:, j] = 1 - s, s
        candidates.append(on_edge)
    bary = np.stack(candidates)
    points = (bary[..., None] * tri).sum(2)
    far = ((points - x) ** 2).sum(2)
    far[0, (bary[0] < 0).any(1)] = np.inf
    best, rows = far.argmin(0), np.arange(len(tri))
    return points[best, rows], bary[best, rows]

"""The rest surface of a body: the nearest place on it, its smooth normal, where a ray comes out of it."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
from scipy.spatial import cKDTree

from backend.body.model import Body

_CHUNK = 512
"""Points looked up at once: bounds the memory of the candidates."""
_RAYS = 64
_START = 1e-5
"""Metres of a ray in which the surface it starts from is not counted as crossed."""
_cache: WeakKeyDictionary[Body, Surface] = WeakKeyDictionary()


def surface_of(body: Body) -> Surface:
    """The rest surface of `body`; made once per body."""
    if body not in _cache:
        _cache[body] = Surface(body.v_template, body.faces)
    return _cache[body]


class Surface:
    """A triangle mesh with outward normals, ready for questions.

    `v`: (V, 3) float64 metres; `faces`: (F, 3); `corners`: (F, 3, 3); `face_normals`: (F, 3), twice the triangle's
    area long; `normals`: (V, 3) unit, mean of the triangles around by area (0 at a vertex without triangle);
    `areas`: (V,) six times the mean area around, so that sparse walls weigh as much as dense ones.
    """

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        self.v = vertices.astype(np.float64)
        self.faces = faces
        self.corners = self.v[faces]
        a, b, c = self.corners.transpose(1, 0, 2)
        self.face_normals = np.cross(b - a, c - a)
        self.normals = np.zeros_like(self.v)
        for k in range(3):
            np.add.at(self.normals, faces[:, k], self.face_normals)
        self.areas = np.linalg.norm(self.normals, axis=1)
        self.normals /= np.maximum(self.areas, 1e-12)[:, None]
        self._centres = self.corners.mean(1)
        self._reach = np.linalg.norm(self.corners - self._centres[:, None], axis=2).max(1)
        self._vertex_tree = cKDTree(self.v[np.unique(faces)])
        self._classes = _by_size(self._centres, self._reach)

    def normals_at(self, face: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
        """(P, 3) outward mix of the corners' normals at places on the triangles `face` (P,); not of unit length."""
        return (self.normals[self.faces[face]] * barycentric[..., None]).sum(1)

    def nearest(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Nearest surface point (P, 3) of each of `p` (P, 3), its triangle (P,) and barycentric coordinates (P, 3)."""
        parts = [self._nearest(p[i : i + _CHUNK]) for i in range(0, len(p), _CHUNK)]
        if not parts:
            return np.zeros((0, 3)), np.zeros(0, int), np.zeros((0, 3))
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def _nearest(self, p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        near, bary, face = np.zeros_like(p), np.zeros_like(p), np.full(len(p), len(self.faces))
        best = np.full(len(p), np.inf)
        bound = self._vertex_tree.query(p)[0] + 1e-9
        for reach, tree, rows in self._classes:
            todo, seen, k = np.arange(len(p)), 0, min(8, len(rows))
            while len(todo):
                distance, found = tree.query(p[todo], np.arange(seen + 1, k + 1))
                # A triangle whose centre is further away than this cannot hold the nearest point.
                limit = bound[todo, None] + reach
                i, slot = np.nonzero(distance <= limit)
                triangle, i = rows[found[i, slot]], todo[i]
                q, b = closest_on_triangles(p[i], self.corners[triangle])
                square = ((q - p[i]) ** 2).sum(1)
                order = np.lexsort((triangle, square, i))
                order = order[np.unique(i[order], return_index=True)[1]]
                i, q, b, square, triangle = (a[order] for a in (i, q, b, square, triangle))
                nearer = (square < best[i]) | ((square == best[i]) & (triangle < face[i]))
                i = i[nearer]
                near[i], bary[i], face[i] = q[nearer], b[nearer], triangle[nearer]
                best[i] = square[nearer]
                bound[i] = np.minimum(bound[i], np.sqrt(best[i]) + 1e-9)
                todo = todo[distance[:, -1] <= limit[:, 0]] if k < len(rows) else todo[:0]
                seen, k = k, min(4 * k, len(rows))
        return near, face, bary

    def inside(
        self, p: np.ndarray, near: np.ndarray, face: np.ndarray, barycentric: np.ndarray
    ) -> np.ndarray:
        """(P,) bool, whether `p` lies behind its nearest surface point, which is what `nearest` says of it."""
        # Inside, the way to the nearest surface point goes along the outward normal.
        return ((near - p) * self.normals_at(face, barycentric)).sum(1) > 0

    def way_out(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """How far one can go through the inside, (P,) metres, from `origin` (P, 3) on the surface along the unit
        vectors `direction` (P, 3). Parts of the mesh within each other (eyeballs) count as inside; infinite where
        the mesh is open and never left."""
        parts = [
            self._way_out(origin[i : i + _RAYS], direction[i : i + _RAYS])
            for i in range(0, len(origin), _RAYS)
        ]
        return np.concatenate(parts) if parts else np.zeros(0)

    def _way_out(self, origin: np.ndarray, direction: np.ndarray) -> np.ndarray:
        # Only triangles whose surrounding ball the ray meets are worth an exact look.
        along = direction @ self._centres.T - (origin * direction).sum(1)[:, None]
        square = (origin**2).sum(1)[:, None] + (self._centres**2).sum(1) - 2 * origin @ self._centres.T
        close = (square - along**2 <= self._reach**2 + 1e-9) & (along >= -self._reach)
        ray, triangle = np.nonzero(close)
        at, leaves = _cross(origin[ray], direction[ray], self.corners[triangle], self.face_normals[triangle])
        hit = at > _START
        ray, at, leaves = ray[hit], at[hit], leaves[hit]
        out = np.full(len(origin), np.inf)
        for r in range(len(origin)):
            mine = ray == r
            # A ray through an edge meets both its triangles: one crossing.
            crossings = sorted({(round(t, 7), bool(s)) for t, s in zip(at[mine], leaves[mine], strict=True)})
            layers = 1
            for t, leaving in crossings:
                layers += -1 if leaving else 1
                if layers <= 0:
                    out[r] = t
                    break
        return out


def _by_size(centres: np.ndarray, reach: np.ndarray) -> list[tuple[float, cKDTree, np.ndarray]]:
    """Triangles in classes of like size, small ones first: (largest reach, tree of the centres, rows). A search
    that allows for the longest triangle of the trunk would see a thousand of the hand."""
    octave = np.floor(np.log2(np.maximum(reach, 1e-6)))
    classes = []
    for value in np.unique(octave):
        rows = np.flatnonzero(octave == value)
        classes.append((float(reach[rows].max()), cKDTree(centres[rows]), rows))
    return classes


def _cross(origin, direction, tri, normal) -> tuple[np.ndarray, np.ndarray]:
    """Distance (T,) at which each ray meets its triangle (NaN: never) and whether it goes out there.

    Source: Möller and Trumbore, Fast, minimum storage ray/triangle intersection, 1997.
    """
    e1, e2, s = tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0], origin - tri[:, 0]
    h = np.cross(direction, e2)
    det = (e1 * h).sum(1)
    det = np.where(np.abs(det) < 1e-18, np.nan, det)
    q = np.cross(s, e1)
    u, v = (s * h).sum(1) / det, (direction * q).sum(1) / det
    meets = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9)
    return np.where(meets, (e2 * q).sum(1) / det, np.nan), (direction * normal).sum(1) > 0


def closest_on_triangles(x: np.ndarray, tri: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Point of each triangle (T, 3, 3) closest to `x` (3,) or (T, 3), and its barycentric coordinates (T, 3)."""
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

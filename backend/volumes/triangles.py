"""Triangles between places on a surface: for vertices that come without them.

Every vertex of the finely divided surface belongs to the place nearest along the surface; where three places' patches
meet, they make a triangle (the dual of a geodesic Voronoi diagram).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import dijkstra

from backend.body.surface import Surface
from backend.volumes.carriers import Carriers
from backend.volumes.map import VolumeMap

_DIVISIONS = 2


def triangulate(found: VolumeMap, vertices: np.ndarray) -> np.ndarray:
    """(T, 3) int32 triangles for all `vertices` (N, 3) of the volume that `found` maps to, normals outward."""
    return triangles_between(found.vertices(), found.body.faces, vertices)


def triangles_between(vertices: np.ndarray, faces: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(T, 3) int32 triangles, rows of `places` (N, 3), which lie on or next to the mesh `vertices` (V, 3),
    `faces` (F, 3); wound as its faces are. Places that share a patch with a nearer one stay without a triangle."""
    near, face, _ = Carriers(Surface(vertices, faces)).nearest(np.asarray(places, np.float64))
    v, f, children = np.asarray(vertices, np.float64), np.asarray(faces), np.arange(len(faces))[:, None]
    for _ in range(_DIVISIONS):
        v, f, children = _divide(v, f, children)
    # Each place takes the nearest corner of its triangle's parts; of two that take the same the nearer stays.
    corners = f[children[face]].reshape(len(places), -1)
    gap = np.linalg.norm(v[corners] - near[:, None], axis=2)
    slot = gap.argmin(1)
    taken, gap = corners[np.arange(len(places)), slot], gap.min(1)
    order = np.lexsort((gap, taken))
    seeds, first = np.unique(taken[order], return_index=True)
    place = order[first]
    patch = _patches(v, f, seeds)
    own = place[patch[f]]
    meets = (own[:, 0] != own[:, 1]) & (own[:, 1] != own[:, 2]) & (own[:, 2] != own[:, 0])
    found = own[meets]
    turned = np.take_along_axis(found, (found.argmin(1)[:, None] + np.arange(3)) % 3, axis=1)
    return np.unique(turned, axis=0).astype(np.int32)


def _patches(v: np.ndarray, f: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """(V,) number of the seed nearest along the edges."""
    e = np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]])
    length = np.linalg.norm(v[e[:, 0]] - v[e[:, 1]], axis=1)
    graph = sp.coo_matrix((length, e.T), (len(v), len(v))).tocsr()
    _, _, source = dijkstra(graph, directed=False, indices=seeds, min_only=True, return_predecessors=True)
    number = np.zeros(len(v) + 1, int)
    number[seeds] = np.arange(len(seeds))
    return number[source]


def _divide(v: np.ndarray, f: np.ndarray, children: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each triangle in four; `children` (F0, n) names the parts of the first triangles."""
    e = np.sort(np.concatenate([f[:, [0, 1]], f[:, [1, 2]], f[:, [2, 0]]]), axis=1)
    edges, which = np.unique(e, axis=0, return_inverse=True)
    ab, bc, ca = which.reshape(3, -1) + len(v)
    a, b, c = f.T
    new = np.stack([
        np.stack([a, ab, ca], 1), np.stack([ab, b, bc], 1), np.stack([ca, bc, c], 1), np.stack([ab, bc, ca], 1),
    ], 1)  # fmt: skip
    parts = (4 * children[..., None] + np.arange(4)).reshape(len(children), -1)
    return np.concatenate([v, v[edges].mean(1)]), new.reshape(-1, 3), parts

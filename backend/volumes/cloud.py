"""A canonical volume's surface as oriented points: what our body is laid onto, with or without known triangles."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial import ConvexHull, cKDTree

from backend.volumes.volume import MIRROR, CanonicalVolume

_NEIGHBOURS = 10
_SMALL = 0.10
"""Metres: loose parts of a mesh smaller than this are eyeballs, teeth and the like, not skin."""
_VIEWS = 13
_FLIP = 10**2.75
"""Radius of the flipping sphere, in sizes of the cloud: larger lets more of a fold count as seen."""
_SYMMETRIC = 0.003
"""Metres between a surface and its mirror image up to which a volume counts as symmetric."""


@dataclass(frozen=True, eq=False)
class Cloud:
    """N points of a skin."""

    points: np.ndarray
    """(N, 3) metres."""
    normals: np.ndarray
    """(N, 3) unit, outward."""
    areas: np.ndarray
    """(N,) share of the surface, sum 1."""
    symmetric: bool
    """The points hold the mirror image of each of them."""

    @cached_property
    def tree(self) -> cKDTree:
        return cKDTree(self.points)


def match(
    tree: cKDTree, normals: np.ndarray, places: np.ndarray, facing: np.ndarray, cosine: float, k: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """For `places` (P, 3) that face `facing` (P, 3): row of the nearest point of `tree` whose normal is within
    `cosine` of that, looked for among the `k` nearest; (P,) False where none is."""
    near = tree.query(places, k=k)[1]
    fits = np.einsum("pkc,pc->pk", normals[near], facing) > cosine
    first = fits.argmax(1)
    return near[np.arange(len(places)), first], fits.any(1)


def cloud_of(volume: CanonicalVolume) -> Cloud:
    """The skin of `volume`. A volume that is symmetric up to its vertices' places gets its mirror image too, which
    doubles what is known of it."""
    v = volume.vertices.astype(np.float64)
    if volume.faces is None:
        v = v[seen_from_outside(v)]
        normals, areas = estimate_normals(v)
    else:
        keep = skin_faces(v, volume.faces)
        used = np.unique(keep)
        normals, areas = vertex_normals(v, keep)
        used = used[seen_from_outside(v[used])]
        v, normals, areas = v[used], normals[used], areas[used]
    solid = np.linalg.norm(normals, axis=1) > 0.5
    v, normals, areas = v[solid], normals[solid], areas[solid]
    symmetric = _is_symmetric(v, normals)
    if symmetric:
        other = v * MIRROR
        new = cKDTree(v).query(other)[0] > 1e-5
        # Vertices that are each other's image stay single and are their own halves.
        areas = np.where(new, areas / 2, areas)
        v = np.concatenate([v, other[new]])
        normals = np.concatenate([normals, (normals * MIRROR)[new]])
        areas = np.concatenate([areas, areas[new]])
    return Cloud(v, normals, areas / areas.sum(), symmetric)


def seen_from_outside(v: np.ndarray) -> np.ndarray:
    """(N,) False for the points (N, 3) of a cloud that no far eye sees: mouth, teeth, backs of the eyeballs.

    Source: Katz, Tal, Basri 2007, "Direct visibility of point sets": seen points are those on the hull of the cloud
    turned inside out about the eye. The eyes stand all around, in mirrored pairs.
    """
    i = np.arange(_VIEWS) + 0.5
    up, turn = 1 - 2 * i / _VIEWS, np.pi * (1 + 5**0.5) * i
    eyes = np.stack([np.cos(turn) * np.sqrt(1 - up**2), up, np.sin(turn) * np.sqrt(1 - up**2)], 1)
    middle, size = (v.max(0) + v.min(0)) / 2, np.ptp(v, axis=0).max()
    seen = np.zeros(len(v), bool)
    for eye in np.concatenate([eyes, eyes * MIRROR]):
        way = v - (middle + 2 * size * eye)
        r = np.linalg.norm(way, axis=1, keepdims=True)
        flipped = way + 2 * (_FLIP * r.max() - r) * way / r
        hull = ConvexHull(np.concatenate([flipped, np.zeros((1, 3))])).vertices
        seen[hull[hull < len(v)]] = True
    return seen


def vertex_normals(v: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals (V, 3), mean of the triangles around by area, and a third of those triangles' areas (V,)."""
    a, b, c = v[faces].transpose(1, 0, 2)
    cross = np.cross(b - a, c - a)
    size = np.linalg.norm(cross, axis=1)
    corners = faces.ravel()
    normals = np.stack([np.bincount(corners, np.repeat(cross[:, k], 3), len(v)) for k in range(3)], 1)
    areas = np.bincount(corners, np.repeat(size, 3), len(v)) / 6
    return normals / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)[:, None], areas


def skin_faces(v: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The triangles of `faces` without small loose parts."""
    edges = np.concatenate([faces[:, :2], faces[:, 1:]])
    graph = sp.coo_matrix((np.ones(len(edges)), edges.T), (len(v), len(v)))
    count, part = connected_components(graph, directed=False)
    low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
    np.minimum.at(low, part, v)
    np.maximum.at(high, part, v)
    large = np.linalg.norm(high - low, axis=1) > _SMALL
    return faces[large[part[faces[:, 0]]]]


def estimate_normals(v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outward unit normals (N, 3) and areas (N,) of a cloud of surface points.

    The plane through a point's neighbours gives the line; signs are handed on along the flattest way from point
    to point (Hoppe et al. 1992), and the whole is turned so that it encloses a positive volume.
    """
    distance, near = cKDTree(v).query(v, k=_NEIGHBOURS + 1)
    near, distance = near[:, 1:], distance[:, 1:]
    rings = v[near] - v[:, None]
    # Near neighbours say most: across a finger the next wall is hardly further than the next vertex.
    w = np.exp(-((distance / np.maximum(distance[:, 5:6], 1e-9)) ** 2))
    mean = (w[..., None] * rings).sum(1) / w.sum(1)[:, None]
    spread = rings - mean[:, None]
    normals = np.linalg.eigh(np.einsum("nk,nka,nkb->nab", w, spread, spread))[1][:, :, 0]
    N = len(v)
    rows, cols = np.repeat(np.arange(N), near.shape[1]), near.ravel()
    bend = 1 - np.abs((normals[rows] * normals[cols]).sum(1))
    # Between walls that face each other the way from one to the other leaves both tangent planes.
    way = v[cols] - v[rows]
    way /= np.maximum(np.linalg.norm(way, axis=1), 1e-12)[:, None]
    lift = np.abs((way * normals[rows]).sum(1)) + np.abs((way * normals[cols]).sum(1))
    cost = sp.coo_matrix((1e-3 + bend + lift, (rows, cols)), (N, N)).tocsr()
    tree = minimum_spanning_tree(cost)
    count, part = connected_components(tree, directed=False)
    areas = distance[:, 5] ** 2
    for c in range(count):
        members = np.flatnonzero(part == c)
        order, parent = breadth_first_order(tree, members[0], directed=False)
        for i in order[1:]:
            if normals[i] @ normals[parent[i]] < 0:
                normals[i] *= -1
        # Gauss: over a closed surface place times outward normal adds up to three times the volume.
        around = v[members] - v[members].mean(0)
        if (areas[members] * (around * normals[members]).sum(1)).sum() < 0:
            normals[members] *= -1
    return normals, areas


def _is_symmetric(v: np.ndarray, normals: np.ndarray) -> bool:
    other, facing = v * MIRROR, normals * MIRROR
    row, ok = match(cKDTree(v), normals, other, facing, 0.5)
    apart = np.abs(((other - v[row]) * normals[row]).sum(1))
    return bool(ok.mean() > 0.9 and np.percentile(apart[ok], 90) < _SYMMETRIC)

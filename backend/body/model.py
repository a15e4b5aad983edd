"""A body in SMPL-X layout: numpy arrays (`Body`) and the same on a torch device (`BodyTensors`).

Axes of the rest pose: metres, y up, +x the subject's left, +z forward, T-pose with the palms down.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import torch

from backend.body.skeleton import JOINT_NAMES, N_JOINTS

_NAMES = {"smplx": "SMPL-X", "smplh": "SMPL-H", "smpl": "SMPL"}


@dataclass(frozen=True, eq=False)
class CanonicalPoints:
    """P points of the body's rest volume, each a fixed linear combination of vertices.

    `positions`: (P, 3) in the T-pose of the mean body; `weights`: (P, 55) skinning; `shapedirs`: (P, 3, nb) and
    `exprdirs`: (P, 3, ne) metres per unit; `posedirs`: (486, P * 3) or None. All float32.
    """

    positions: np.ndarray
    weights: np.ndarray
    shapedirs: np.ndarray
    exprdirs: np.ndarray
    posedirs: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, rows) -> CanonicalPoints:
        """The points `rows` (integers or a mask)."""
        posedirs = self.posedirs
        if posedirs is not None:
            posedirs = posedirs.reshape(len(posedirs), -1, 3)[:, rows].reshape(len(posedirs), -1)
        return CanonicalPoints(
            self.positions[rows], self.weights[rows], self.shapedirs[rows], self.exprdirs[rows], posedirs
        )

    def to(self, device: torch.device | str = "cpu") -> PointTensors:
        """The same on a torch device."""
        return PointTensors(**{f.name: _tensor(getattr(self, f.name), device) for f in fields(self)})


@dataclass(frozen=True, eq=False)
class PointTensors:
    """`CanonicalPoints` as torch tensors of the same names and shapes."""

    positions: torch.Tensor
    weights: torch.Tensor
    shapedirs: torch.Tensor
    exprdirs: torch.Tensor
    posedirs: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, eq=False)
class Body:
    """A skinned body with a linear shape space. V vertices, F triangles, T texture points; float32 and int32.

    `name`: "open" for the shipped body, "smplx", "smplh" or "smpl" for a user's licensed file; `v_template`: (V, 3)
    mean body;
    `faces`: (F, 3), normals outward; `weights`: (V, 55), rows sum to 1; `parents`: (55,), -1 at the root;
    `shapedirs`: (V, 3, nb) and `exprdirs`: (V, 3, ne) metres per unit of betas / expression;
    `posedirs`: (486, V * 3) pose correctives times the elements of (R - I) of joints 1..54, or None;
    `joints_*`: what `J_regressor` (55, V) makes of the vertex arrays; `uv`: (T, 2), `faces_uv`: (F, 3);
    `present`: (55,) bool, the joints that the file has. The others (SMPL: fingers but for `skeleton.SMPL_ROWS`, jaw,
    eyes; SMPL-H: jaw, eyes) carry no skin and stay at rest, at places estimated from the skin (`missing`), and
    move with their parents.
    """

    name: str
    v_template: np.ndarray
    faces: np.ndarray
    weights: np.ndarray
    parents: np.ndarray
    shapedirs: np.ndarray
    exprdirs: np.ndarray
    posedirs: np.ndarray | None
    joints_template: np.ndarray
    joints_shapedirs: np.ndarray
    joints_exprdirs: np.ndarray
    J_regressor: np.ndarray
    uv: np.ndarray
    faces_uv: np.ndarray
    present: np.ndarray = field(default_factory=lambda: np.ones(N_JOINTS, bool))

    @property
    def joint_names(self) -> list[str]:
        """The 55 names in SMPL-X order."""
        return list(JOINT_NAMES)

    @property
    def n_betas(self) -> int:
        return self.shapedirs.shape[2]

    @property
    def n_expressions(self) -> int:
        return self.exprdirs.shape[2]

    @property
    def licence_note(self) -> str:
        """One sentence on what the body's data may be used for."""
        if self.name == "open":
            return "The built-in body is made from MakeHuman data under CC0: its results may be used for anything."
        kind = _NAMES.get(self.name, self.name)
        return f"This body is your own {kind} file: its licence also covers meshes and files made from it."

    def vertices_as_points(self, rows) -> CanonicalPoints:
        """The vertices `rows` as canonical points (exact)."""
        return CanonicalPoints(
            self.v_template, self.weights, self.shapedirs, self.exprdirs, self.posedirs
        ).take(rows)

    def to(self, device: torch.device | str = "cpu") -> BodyTensors:
        """The arrays that forward kinematics needs, on a torch device."""
        names = [f.name for f in fields(BodyTensors)]
        return BodyTensors(**{n: _tensor(getattr(self, n), device) for n in names})


@dataclass(frozen=True, eq=False)
class BodyTensors:
    """What `kinematics.forward` reads of a `Body`, as tensors of the same names and shapes."""

    v_template: torch.Tensor
    weights: torch.Tensor
    parents: torch.Tensor
    shapedirs: torch.Tensor
    exprdirs: torch.Tensor
    posedirs: torch.Tensor | None
    joints_template: torch.Tensor
    joints_shapedirs: torch.Tensor
    joints_exprdirs: torch.Tensor


def _tensor(array: np.ndarray | None, device) -> torch.Tensor | None:
    if array is None:
        return None
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)

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
    """P points of the body's rest volume, each a fixed linear combination of vertices. All float32."""

    positions: np.ndarray
    """(P, 3) metres, in the T-pose of the mean body."""
    weights: np.ndarray
    """(P, 55) skinning."""
    shapedirs: np.ndarray
    """(P, 3, nb) metres per unit of betas."""
    exprdirs: np.ndarray
    """(P, 3, ne) metres per unit of expression."""
    posedirs: np.ndarray | None = None
    """(486, P * 3) pose correctives as in `Body`, or None."""

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
    """(P, 3)."""
    weights: torch.Tensor
    """(P, 55)."""
    shapedirs: torch.Tensor
    """(P, 3, nb)."""
    exprdirs: torch.Tensor
    """(P, 3, ne)."""
    posedirs: torch.Tensor | None = None
    """(486, P * 3) or None."""

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, eq=False)
class Body:
    """A skinned body with a linear shape space. V vertices, F triangles, T texture points; float32 and int32."""

    name: str
    """Which kind: "open" for the shipped body, "smplx", "smplh" or "smpl" for a user's licensed file."""
    v_template: np.ndarray
    """(V, 3) metres, mean body."""
    faces: np.ndarray
    """(F, 3), normals outward."""
    weights: np.ndarray
    """(V, 55) skinning, rows sum to 1."""
    parents: np.ndarray
    """(55,) rows, -1 at the root."""
    shapedirs: np.ndarray
    """(V, 3, nb) metres per unit of betas."""
    exprdirs: np.ndarray
    """(V, 3, ne) metres per unit of expression."""
    posedirs: np.ndarray | None
    """(486, V * 3) pose correctives, multiplied by the elements of (R - I) of joints 1..54; or None."""
    joints_template: np.ndarray
    """(55, 3), what `J_regressor` makes of `v_template`."""
    joints_shapedirs: np.ndarray
    """(55, 3, nb), what `J_regressor` makes of `shapedirs`."""
    joints_exprdirs: np.ndarray
    """(55, 3, ne), what `J_regressor` makes of `exprdirs`."""
    J_regressor: np.ndarray
    """(55, V)."""
    uv: np.ndarray
    """(T, 2) texture points."""
    faces_uv: np.ndarray
    """(F, 3) rows of `uv`."""
    present: np.ndarray = field(default_factory=lambda: np.ones(N_JOINTS, bool))
    """(55,) bool, the joints that the file has. The others (SMPL: fingers but for `skeleton.SMPL_ROWS`, jaw, eyes;
    SMPL-H: jaw, eyes) carry no skin and stay at rest, at places estimated from the skin (`missing`), and move with
    their parents."""

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
    """(V, 3)."""
    weights: torch.Tensor
    """(V, 55)."""
    parents: torch.Tensor
    """(55,)."""
    shapedirs: torch.Tensor
    """(V, 3, nb)."""
    exprdirs: torch.Tensor
    """(V, 3, ne)."""
    posedirs: torch.Tensor | None
    """(486, V * 3) or None."""
    joints_template: torch.Tensor
    """(55, 3)."""
    joints_shapedirs: torch.Tensor
    """(55, 3, nb)."""
    joints_exprdirs: torch.Tensor
    """(55, 3, ne)."""


def _tensor(array: np.ndarray | None, device) -> torch.Tensor | None:
    if array is None:
        return None
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)

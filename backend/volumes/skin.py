"""Linear blend skinning in numpy float64 for any tree of joints: what posing a canonical volume needs."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def rotations(rotvecs: np.ndarray) -> np.ndarray:
    """(J, 3) radians -> (J, 3, 3)."""
    return Rotation.from_rotvec(rotvecs).as_matrix()


def transforms(
    R: np.ndarray, joints: np.ndarray, parents: np.ndarray, scales: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(J, 12) row-major matrix and shift of each joint's space (x -> A x + t), and the joints' places (J, 3).

    `R`: (J, 3, 3) relative to the parent; `joints`: (J, 3) rest places; `scales`: (J,) by how much a joint enlarges
    all that hangs on it. The root (parent below 0) stays at its own place; every parent comes before its children.
    """
    world = R if scales is None else R * scales[:, None, None]
    world, places = world.copy(), joints.copy()
    for j, p in enumerate(parents):
        if p >= 0:
            world[j] = world[p] @ world[j]
            places[j] = places[p] + world[p] @ (joints[j] - joints[p])
    shift = places - (world @ joints[..., None])[..., 0]
    return np.concatenate([world.reshape(-1, 9), shift], 1), places


def apply(T: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Blended transforms `T` (N, 12) at `x` (N, 3) -> (N, 3)."""
    return (T[:, :9].reshape(-1, 3, 3) @ x[..., None])[..., 0] + T[:, 9:]


def pose_feature(R: np.ndarray) -> np.ndarray:
    """(9 * (J - 1),) elements of R - I of all joints but the root: what pose correctives are times."""
    return (R[1:] - np.eye(3)).ravel()

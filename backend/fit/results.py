"""What a fit gives back, and what can be asked of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass
class BodyFit:
    """A body in n frames, metres and radians, in the axes of the targets."""

    pose: np.ndarray
    """(n, 55, 3) rotation vectors relative to the parent, continuous in time."""
    betas: np.ndarray
    """(n, nb), equal rows for a shared shape."""
    expression: np.ndarray
    """(n, ne)."""
    trans: np.ndarray
    """(n, 3), added after posing (SMPL-X convention)."""
    scale: np.ndarray
    """(n,) factor about the pelvis, 1 unless it was asked for."""
    joints: np.ndarray
    """(n, 55, 3)."""
    rotation_covariance: np.ndarray
    """(n, 55, 3, 3) rad^2 of each joint's turn, in the parent's axes."""
    joint_uncertainty: np.ndarray
    """(n, 55) one sigma of the 3D distance."""
    noise_m: np.ndarray
    """(n,) one sigma per axis of a target of mean weight, as found."""
    shared_m: np.ndarray
    """(n,) one sigma per axis of the errors that the points of a part share, 0 where none were found."""
    uncertainty: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """(n, Q) metres, one sigma of the points that were asked for with `report`."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything for an npz file; `poses` (n, 165) as in AMASS files."""
        out = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "pose"}
        if not out["uncertainty"].size:
            del out["uncertainty"]
        return {"poses": self.pose.reshape(len(self.pose), -1), **out}


def continuous(pose: np.ndarray) -> np.ndarray:
    """Rotation vectors (n, ..., 3) without jumps: each is the one of its rotation that is nearest to the frame before,
    which may be longer than pi."""
    out = np.array(pose, np.float64)
    for t in range(1, len(out)):
        v = out[t]
        angle = np.linalg.norm(v, axis=-1, keepdims=True)
        axis = v / np.maximum(angle, 1e-12)
        before = (out[t - 1] * axis).sum(-1, keepdims=True)
        turns = np.round((before - angle) / (2 * np.pi))
        moved = v + 2 * np.pi * turns * axis
        # A vector near zero has no axis of its own: it goes along with the frame before.
        still = angle < 1e-6
        size = np.linalg.norm(out[t - 1], axis=-1, keepdims=True)
        whole = out[t - 1] / np.maximum(size, 1e-12) * 2 * np.pi * np.round(size / (2 * np.pi))
        out[t] = np.where(still, v + whole, moved)
    return out.astype(pose.dtype)

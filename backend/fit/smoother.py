"""The plain smoother: second differences of finished rotations and places, all frames alike (Whittaker).

The baseline that ties in time (`backend.fit.solver.timing`) are measured against, and what can be laid over any motion.
Source: Eilers, "A perfect smoother" (2003).
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded

from backend.fit.results import continuous
from blender_addon.shared.axes import matrix_to_rotvec, rotvec_to_matrix


def plain_smoother(pose: np.ndarray, trans: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """`pose`: (n, 165) or (n, 55, 3) rotation vectors, `trans`: (n, 3) metres, evenly spaced frames -> the same,
    smoothed; `strength`: weight of a squared second difference against a squared deviation."""
    n = len(pose)
    if n < 3:
        return pose, trans
    joints = pose.reshape(n, -1, 3)
    # Logs about a middle rotation of each joint: short vectors, far from where they jump.
    u, _, vh = np.linalg.svd(rotvec_to_matrix(joints).sum(0))
    u[..., -1] *= np.linalg.det(u @ vh)[..., None]
    middle = u @ vh
    about = continuous(matrix_to_rotvec(middle.swapaxes(-1, -2) @ rotvec_to_matrix(joints)))
    flat = _smooth(about.reshape(n, -1), strength).reshape(about.shape)
    out = matrix_to_rotvec(middle @ rotvec_to_matrix(flat))
    return continuous(out).reshape(pose.shape), _smooth(trans, strength)


def _smooth(y: np.ndarray, strength: float) -> np.ndarray:
    n = len(y)
    a = np.zeros(n)
    a[: n - 2] += 1
    a[1 : n - 1] += 4
    a[2:] += 1
    near = np.zeros(n)
    near[1 : n - 1] -= 2
    near[2:] -= 2
    band = np.zeros((3, n))
    band[2], band[1], band[0, 2:] = 1 + strength * a, strength * near, strength
    return solveh_banded(band, np.asarray(y, np.float64))

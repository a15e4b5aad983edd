# SPDX-License-Identifier: GPL-3.0-or-later
"""A pelvis' way through the world, split into a root on the floor and the pelvis relative to it. No bpy.

Everything in SMPL-X axes (y up), metres, quaternions (w, x, y, z).
"""

import numpy as np

from ..shared.axes import continuous, quaternion_multiply, quaternion_to_matrix


def heading(rotation: np.ndarray) -> np.ndarray:
    """(n, 4) rotations over time -> (n, 4) of their turn about the vertical alone (the twist), without jumps.

    Where a body stands on its head the turn is not defined; it stays as it was before.
    """
    q = np.asarray(rotation, np.float64)
    twist = np.zeros_like(q)
    twist[:, [0, 2]] = q[:, [0, 2]]
    size = np.linalg.norm(twist, axis=1)
    known = np.flatnonzero(size > 1e-3)
    if not len(known):
        return np.tile([1.0, 0, 0, 0], (len(q), 1))
    # The last known one before each frame; before the first, that one.
    latest = known[np.maximum(np.searchsorted(known, np.arange(len(q)), side="right") - 1, 0)]
    return continuous(twist[latest] / size[latest, None])


def split_root(
    rotation: np.ndarray, position: np.ndarray, rest_pelvis: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """World rotations (n, 4) and places (n, 3) of the pelvis joint, whose rest place is `rest_pelvis` (3,) ->
    (root quaternions (n, 4), root places (n, 3) on the floor, pelvis quaternions (n, 4) and locations (n, 3) relative
    to a root bone at the origin), as pose bones take them."""
    root = heading(rotation)
    place = np.asarray(position, np.float64) * [1, 0, 1]
    back = root * [1, -1, -1, -1]
    upright = np.einsum("nij,nj->ni", quaternion_to_matrix(back), position - place)
    return root, place, quaternion_multiply(back, rotation), upright - rest_pelvis

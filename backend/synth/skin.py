"""Fast posing of one body: the same kinematics as `backend.body.kinematics`, for numpy and one person.

Weights and pose correctives are kept sparse, which makes a picture's posing about 2 ms in place of 25.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.body import PARENTS, Body
from backend.synth.kernels import kernel

_CARRIERS = 8
"""Most joints that one vertex hangs on; the open body has 7, of a user's body the largest are kept."""


@dataclass(frozen=True, eq=False)
class Skin:
    """A body's arrays for the compiled loops."""

    template: np.ndarray
    """(V, 3) rest vertices, metres."""
    basis: np.ndarray
    """(V * 3, nb + ne) of betas and expression."""
    joints: np.ndarray
    """(55, 3) rest joints."""
    joint_basis: np.ndarray
    """(165, nb + ne) theirs."""
    carriers: np.ndarray
    """(V, 8) joints that carry a vertex."""
    weights: np.ndarray
    """(V, 8) how much each does."""
    corrected: np.ndarray
    """(n,) vertices of the pose correctives of all joints in a row."""
    first: np.ndarray
    """(56,) where each joint's begin."""
    correctives: np.ndarray
    """(n, 3, 9) metres per element of R - I."""
    n_betas: int
    """nb."""
    n_expressions: int
    """ne."""


def prepare(body: Body) -> Skin:
    """The arrays of `body`, once."""
    order = np.argsort(-body.weights, 1)[:, :_CARRIERS]
    weights = np.take_along_axis(body.weights, order, 1)
    both = np.concatenate([body.shapedirs, body.exprdirs], 2)
    joint_both = np.concatenate([body.joints_shapedirs, body.joints_exprdirs], 2)
    rows, blocks, first = [], [], [0, 0]
    for j in range(54):
        if body.posedirs is not None:
            block = body.posedirs[9 * j : 9 * j + 9].reshape(9, -1, 3)
            moved = np.flatnonzero(np.abs(block).max((0, 2)) > 1e-5)
            rows.append(moved)
            blocks.append(block[:, moved].transpose(1, 2, 0))
        first.append(first[-1] + (len(rows[-1]) if rows else 0))
    return Skin(
        body.v_template,
        np.ascontiguousarray(both.reshape(-1, both.shape[2])),
        body.joints_template,
        np.ascontiguousarray(joint_both.reshape(-1, both.shape[2])),
        order.astype(np.int32),
        np.ascontiguousarray(weights / weights.sum(1, keepdims=True), np.float32),
        np.concatenate(rows).astype(np.int32) if rows else np.zeros(0, np.int32),
        np.array(first, np.int32),
        np.ascontiguousarray(np.concatenate(blocks), np.float32) if rows else np.zeros((0, 3, 9), np.float32),
        body.n_betas,
        body.n_expressions,
    )


def rest(skin: Skin, betas: np.ndarray, expression: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (V, 3) and joints (55, 3) of the rest pose of this person; float32 metres."""
    c = np.zeros(skin.n_betas + skin.n_expressions, np.float32)
    c[: len(betas)] = betas
    c[skin.n_betas : skin.n_betas + len(expression)] = expression
    return (
        skin.template + (skin.basis @ c).reshape(-1, 3),
        skin.joints + (skin.joint_basis @ c).reshape(-1, 3),
    )


def rotations(pose: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) -> matrices (..., 3, 3), float64."""
    pose = np.asarray(pose, np.float64)
    angle = np.linalg.norm(pose, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(pose, -1, 0)
    zero = np.zeros_like(x)
    K = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*pose.shape[:-1], 3, 3)
    small = angle < 1e-4
    safe = np.where(small, 1.0, angle)
    a = np.where(small, 1 - angle**2 / 6, np.sin(safe) / safe)
    b = np.where(small, 0.5 - angle**2 / 24, (1 - np.cos(safe)) / safe**2)
    return np.eye(3) + a * K + b * (K @ K)


def chain(local: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World rotations (55, 3, 3) and places (55, 3), float32, of the joints, before translation.

    `local`: (55, 3, 3) relative to the parent; `joints`: (55, 3) rest places.
    """
    world, places = np.empty((55, 3, 3), np.float32), np.empty((55, 3), np.float32)
    _chain(local.astype(np.float32), joints.astype(np.float32), PARENTS, world, places)
    return world, places


@kernel
def _chain(local, joints, parents, world, places):
    for j in range(len(parents)):
        p = parents[j]
        if p < 0:
            world[j] = local[j]
            places[j] = joints[j]
            continue
        for a in range(3):
            s = places[p, a]
            for b in range(3):
                s += world[p, a, b] * (joints[j, b] - joints[p, b])
                t = world[p, a, 0] * local[j, 0, b]
                world[j, a, b] = t + world[p, a, 1] * local[j, 1, b] + world[p, a, 2] * local[j, 2, b]
            places[j, a] = s


def transforms(world: np.ndarray, places: np.ndarray, joints: np.ndarray, trans: np.ndarray) -> np.ndarray:
    """(55, 3, 4) float32: x_posed = T[:, :3] @ x_rest + T[:, 3] for a point that hangs on one joint alone."""
    shift = places - np.einsum("jab,jb->ja", world, joints) + trans
    return np.concatenate([world, shift[..., None]], 2).astype(np.float32)


@kernel
def correct(local, corrected, first, correctives, rest):
    """Add the pose correctives to the rest vertices (V, 3), in place. `local`: (55, 3, 3) float32."""
    f = np.empty(9, np.float32)
    for j in range(1, 55):
        if first[j] == first[j + 1]:
            continue
        for a in range(3):
            for b in range(3):
                f[3 * a + b] = local[j, a, b] - (1.0 if a == b else 0.0)
        for i in range(first[j], first[j + 1]):
            v = corrected[i]
            for a in range(3):
                s = np.float32(0.0)
                for k in range(9):
                    s += correctives[i, a, k] * f[k]
                rest[v, a] += s


@kernel
def skin_points(T, carriers, weights, x, out):
    """Linear blend skinning of `x` (n, 3) by the transforms `T` (55, 3, 4) into `out` (n, 3)."""
    n, k = carriers.shape
    M = np.empty((3, 4), np.float32)
    for v in range(n):
        M[:] = 0
        for i in range(k):
            w = weights[v, i]
            if w == 0:
                break
            j = carriers[v, i]
            for a in range(3):
                for b in range(4):
                    M[a, b] += w * T[j, a, b]
        for a in range(3):
            out[v, a] = M[a, 0] * x[v, 0] + M[a, 1] * x[v, 1] + M[a, 2] * x[v, 2] + M[a, 3]

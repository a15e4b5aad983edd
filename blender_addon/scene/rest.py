# SPDX-License-Identifier: GPL-3.0-or-later
"""One person's body at rest, from the backend's shape space and that person's betas. No bpy."""

from dataclasses import dataclass

import numpy as np

from ..link.job import BodyMessage


class BodyError(ValueError):
    """The backend's body cannot be built. The message is one sentence."""


@dataclass(frozen=True, eq=False)
class RestBody:
    """One person's body in a T-pose with the shape baked in: metres, SMPL-X axes (y up)."""

    joint_names: list[str]
    """The 55 joints, in SMPL-X's order."""
    parents: np.ndarray
    """(55,) the joint above each joint, which stands before it; -1 for the pelvis."""
    joints: np.ndarray
    """(55, 3)."""
    vertices: np.ndarray
    """(V, 3)."""
    faces: np.ndarray
    """(F, 3) vertices of each triangle."""
    uv: np.ndarray
    """(T, 2) places on the texture."""
    faces_uv: np.ndarray
    """(F, 3) rows of `uv` at the corners of each triangle; (0, 3) without a texture."""
    weights_index: np.ndarray
    """(V, K) joints that carry a vertex."""
    weights_value: np.ndarray
    """(V, K) how much each of them carries, 0 for the rest."""
    exprdirs: np.ndarray
    """(V, 3, e) metres by which a unit of each expression moves the vertices."""


def rest_body(body: BodyMessage, betas: np.ndarray) -> RestBody:
    """`body` in the shape `betas` (nb,), of which as many are used as the body knows. Raises BodyError."""
    _check(body)
    count = min(len(betas), body.shapedirs.shape[-1])
    betas = np.asarray(betas[:count], np.float64)
    if not np.isfinite(betas).all():
        raise BodyError("The backend sent a body shape that is not a number; run the import again.")
    return RestBody(
        list(body.joint_names),
        body.parents,
        body.joints_template + body.joints_shapedirs[..., :count] @ betas,
        body.v_template + body.shapedirs[..., :count] @ betas,
        body.faces,
        body.uv,
        body.faces_uv,
        body.weights_index,
        body.weights_value,
        body.exprdirs,
    )


def _check(body: BodyMessage) -> None:
    """Indices out of range would crash Blender, so they are refused here."""
    vertices, joints = len(body.v_template), len(body.joint_names)
    numbers = np.arange(len(body.parents))
    good = (
        vertices > 0
        and body.joints_template.shape == (joints, 3)
        and len(set(body.joint_names)) == joints == len(body.parents)
        and body.parents[0] == -1
        and bool(np.all((body.parents[1:] >= 0) & (body.parents[1:] < numbers[1:])))
        and _within(body.faces, vertices)
        and _within(body.weights_index, joints)
        and len(body.faces_uv) in (0, len(body.faces))
        and _within(body.faces_uv, len(body.uv))
        and bool(np.isfinite(body.v_template).all() and np.isfinite(body.joints_template).all())
    )
    if not good:
        raise BodyError(
            "The backend sent a body that does not fit together; install the same release of both."
        )


def _within(indices: np.ndarray, size: int) -> bool:
    return indices.size == 0 or (int(indices.min()) >= 0 and int(indices.max()) < size)

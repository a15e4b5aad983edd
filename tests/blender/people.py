"""Bodies and motions for the tests in Blender, and what they must come to, computed with numpy alone.

Runs where torch is missing (Blender 5.2's Python), so the shipped body is read here as a plain npz file.
"""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np

from blender_addon.link.job import BodyMessage, CameraInfo, Result

ROOT = Path(__file__).resolve().parents[2]
CAMERA = CameraInfo(640, 360, 700.0, 700.0, 310.0, 190.0)


@cache
def open_body() -> BodyMessage:
    """The shipped body as a `body` message, with 16 betas and 10 expression coefficients."""
    path = ROOT / "backend" / "body" / "skeleton.py"
    spec = importlib.util.spec_from_file_location("skeleton", path)
    skeleton = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(skeleton)
    with np.load(ROOT / "backend" / "assets" / "body_open.npz") as data:
        weights = data["weights"]
        shapedirs = data["shapedirs"].astype(np.float32)
        regressor = data["J_regressor"]
        joints_dirs = np.einsum("jv,vkb->jkb", regressor, shapedirs)
        joints_template = (regressor @ data["v_template"]).astype(np.float32)
        index = np.argsort(-weights, 1)[:, : (weights > 0).sum(1).max()]
        return BodyMessage(
            name="open",
            joint_names=list(skeleton.JOINT_NAMES),
            licence_note="CC0.",
            v_template=data["v_template"],
            faces=data["f"].astype(np.int32),
            uv=data["vt"].astype(np.float32),
            faces_uv=data["ft"].astype(np.int32),
            weights_index=index.astype(np.int16),
            weights_value=np.take_along_axis(weights, index, 1),
            joints_template=joints_template,
            joints_shapedirs=np.ascontiguousarray(joints_dirs[..., :16]),
            joints_exprdirs=np.ascontiguousarray(joints_dirs[..., 300:310]),
            shapedirs=np.ascontiguousarray(shapedirs[..., :16]),
            exprdirs=np.ascontiguousarray(shapedirs[..., 300:310]),
            parents=skeleton.PARENTS,
            # Two are enough here: on the skin, and within the body where a joint is.
            landmark_names=["nose", "left_elbow"],
            landmarks=np.array([[0, 0.272, 0.185], joints_template[18]], np.float32),
            posedirs=np.ascontiguousarray(data["posedirs"].transpose(2, 0, 1)),
        )


def betas_of(seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1.2, 16).astype(np.float32)


def motion(
    count: int = 12,
    *,
    track: int = 1,
    final: bool = True,
    seed: int = 0,
    first: int = 0,
    fps: float = 30.0,
    expression: float = 0.0,
    times: np.ndarray | None = None,
) -> Result:
    """A person turning and gesturing in front of the camera; `joints` are the true ones of this pose."""
    rng = np.random.default_rng(seed)
    t = (first + np.arange(count))[:, None, None] / 30.0
    pose = (
        0.5 * rng.normal(size=(55, 3)) * np.sin(rng.uniform(1, 6, (55, 3)) * t + rng.uniform(0, 6, (55, 3)))
    )
    # Upright in camera space (y down) is half a turn about x; on top of it the person spins.
    spin = 4.0 * t[:, 0, 0]
    pose[:, 0] = np.pi * np.stack([np.cos(spin / 2), np.zeros(count), -np.sin(spin / 2)], -1)
    trans = np.stack([0.3 * np.sin(t[:, 0, 0]), 0.1 * np.cos(t[:, 0, 0]) - 0.3, 4 + 0 * t[:, 0, 0]], -1)
    frames = np.arange(first, first + count, dtype=np.int32)
    betas = betas_of(seed)
    joints, _ = posed(betas, pose, trans)
    return Result(
        track=track,
        final=final,
        camera=CAMERA,
        frames=frames,
        times=frames / fps if times is None else times,
        boxes=np.zeros((count, 4), np.float32),
        pose=pose.astype(np.float32),
        trans=trans.astype(np.float32),
        betas=betas,
        expression=(expression * rng.normal(size=(count, 10))).astype(np.float32),
        joints=joints.astype(np.float32),
        joint_uncertainty=np.full((count, 55), 0.02, np.float32),
    )


def rodrigues(rotvec: np.ndarray) -> np.ndarray:
    """(..., 3) -> (..., 3, 3), by the textbook formula (not by blender_addon.shared.axes, which is under test)."""
    angle = np.linalg.norm(rotvec, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(rotvec / np.maximum(angle[..., 0], 1e-12), -1, 0)
    zero = np.zeros_like(x)
    k = np.stack([np.stack(r, -1) for r in ([zero, -z, y], [z, zero, -x], [-y, x, zero])], -2)
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * (k @ k)


def posed(betas, pose, trans, vertices: bool = False, expression=None):
    """SMPL-X forward kinematics and linear blend skinning of the open body in float64, camera axes.

    -> (joints (n, 55, 3), vertices (n, V, 3) or None).
    """
    body = open_body()
    betas = np.asarray(betas, np.float64)
    rest = body.joints_template + body.joints_shapedirs @ betas
    local = rodrigues(np.asarray(pose, np.float64))
    rotation, origin = np.empty_like(local), np.empty((*local.shape[:2], 3))
    for joint, parent in enumerate(body.parents):
        if parent < 0:
            rotation[:, joint], origin[:, joint] = local[:, joint], rest[joint]
        else:
            rotation[:, joint] = rotation[:, parent] @ local[:, joint]
            origin[:, joint] = origin[:, parent] + rotation[:, parent] @ (rest[joint] - rest[parent])
    joints = origin + np.asarray(trans, np.float64)[:, None]
    if not vertices:
        return joints, None
    shaped = body.v_template + body.shapedirs @ betas
    skinned = np.zeros((len(local), *shaped.shape))
    for i in range(len(local)):
        own = shaped if expression is None else shaped + body.exprdirs @ np.asarray(expression[i], np.float64)
        moved = np.einsum("jab,vb->vja", rotation[i], own) + (
            joints[i] - np.einsum("jab,jb->ja", rotation[i], rest)
        )
        picked = np.take_along_axis(moved, body.weights_index[..., None].astype(int), 1)
        skinned[i] = (picked * body.weights_value[..., None]).sum(1)
    return joints, skinned

# SPDX-License-Identifier: Apache-2.0
"""Where the axes change: camera space, SMPL-X body space and Blender's world; rotations in three spellings.

Camera: x right, y down, z forward (OpenCV). SMPL-X: x the subject's left, y up, z forward out of the chest.
Blender: x right, y into the picture, z up. All in metres. Quaternions are (w, x, y, z), rotations act on
column vectors. Everything here is numpy, pure, and works on any leading dimensions in float64.
"""

from collections.abc import Sequence

import numpy as np

CAMERA_TO_BLENDER = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
"""(x, y, z) of the camera -> (x, z, -y)."""

SMPL_TO_BLENDER = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""(x, y, z) of SMPL-X -> (x, -z, y); also the rest matrix of every bone, whose tail points along +Z."""

CAMERA_TO_SMPL = np.diag([1.0, -1.0, -1.0])
"""M of the house rules: the same camera space with y up. SMPL_TO_BLENDER @ M == CAMERA_TO_BLENDER."""

_HALF_TURN_X = np.array([0.0, 1.0, 0.0, 0.0])
"""CAMERA_TO_SMPL as a quaternion."""

_SMPL_JOINTS = (*range(22), 28, 43)
_SMPLH_JOINTS = (*range(22), *range(25, 55))

FOOT_JOINTS = (7, 8, 10, 11)
"""left_ankle, right_ankle, left_foot, right_foot in SMPL-X order."""


def camera_to_blender(points: np.ndarray) -> np.ndarray:
    """(..., 3) camera space -> (..., 3) Blender world of a camera at the origin."""
    return np.asarray(points, np.float64) @ CAMERA_TO_BLENDER.T


def blender_to_camera(points: np.ndarray) -> np.ndarray:
    """Inverse of `camera_to_blender`."""
    return np.asarray(points, np.float64) @ CAMERA_TO_BLENDER


def smpl_to_blender(points: np.ndarray) -> np.ndarray:
    """(..., 3) SMPL-X body space -> (..., 3) Blender axes."""
    return np.asarray(points, np.float64) @ SMPL_TO_BLENDER.T


def blender_to_smpl(points: np.ndarray) -> np.ndarray:
    """Inverse of `smpl_to_blender`."""
    return np.asarray(points, np.float64) @ SMPL_TO_BLENDER


def rotvec_to_quaternion(rotvec: np.ndarray) -> np.ndarray:
    """(..., 3) axis times angle (radians, any size) -> (..., 4) unit quaternions."""
    rotvec = np.asarray(rotvec, np.float64)
    half = 0.5 * np.linalg.norm(rotvec, axis=-1, keepdims=True)
    # np.sinc(x) = sin(pi x) / (pi x): exact at zero.
    return np.concatenate([np.cos(half), 0.5 * rotvec * np.sinc(half / np.pi)], -1)


def quaternion_to_rotvec(quaternion: np.ndarray) -> np.ndarray:
    """(..., 4), of any length and sign -> (..., 3) with angles in 0..pi."""
    q = _unit(quaternion)
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, q[..., :1])
    # angle / sine tends to 2 for small angles.
    scale = np.where(sine > 1e-9, angle / np.where(sine > 1e-9, sine, 1.0), 2.0)
    return q[..., 1:] * scale


def quaternion_to_matrix(quaternion: np.ndarray) -> np.ndarray:
    """(..., 4), of any length -> (..., 3, 3)."""
    w, x, y, z = np.moveaxis(_unit(quaternion), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)


def matrix_to_quaternion(matrix: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations -> (..., 4) with w >= 0; stable at every angle (Shepperd's choice of pivot)."""
    m = np.asarray(matrix, np.float64)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    # Row k is 4 q_k q, so the row with the largest q_k gives q with the least cancellation.
    rows = np.stack(
        [
            np.stack([1 + xx + yy + zz, wx, wy, wz], -1),
            np.stack([wx, 1 + xx - yy - zz, xy, xz], -1),
            np.stack([wy, xy, 1 - xx + yy - zz, yz], -1),
            np.stack([wz, xz, yz, 1 - xx - yy + zz], -1),
        ],
        -2,
    )
    pivot = np.argmax(np.diagonal(rows, axis1=-2, axis2=-1), -1)
    q = _unit(np.take_along_axis(rows, pivot[..., None, None], -2)[..., 0, :])
    return np.where(q[..., :1] < 0, -q, q)


def rotvec_to_matrix(rotvec: np.ndarray) -> np.ndarray:
    """(..., 3) -> (..., 3, 3)."""
    return quaternion_to_matrix(rotvec_to_quaternion(rotvec))


def matrix_to_rotvec(matrix: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (..., 3) with angles in 0..pi."""
    return quaternion_to_rotvec(matrix_to_quaternion(matrix))


def quaternion_multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Hamilton product: the rotation `b` followed by `a`; leading dimensions broadcast."""
    aw, ax, ay, az = np.moveaxis(np.asarray(a, np.float64), -1, 0)
    bw, bx, by, bz = np.moveaxis(np.asarray(b, np.float64), -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        -1,
    )


def continuous(quaternions: np.ndarray) -> np.ndarray:
    """(n, ..., 4) over time -> the same rotations with signs chosen so that neighbours never jump.

    q and -q are one rotation, but curves between them would pass through zero.
    """
    q = np.asarray(quaternions, np.float64)
    if len(q) == 0:
        return q
    turns = np.where(np.sum(q[1:] * q[:-1], -1, keepdims=True) < 0, -1.0, 1.0)
    first = np.where(q[:1, ..., :1] < 0, -1.0, 1.0)
    return q * np.cumprod(np.concatenate([first, turns]), 0)


def level_rotation(up: np.ndarray) -> np.ndarray:
    """The smallest turn (3, 3), in y-up axes, that makes `up` (3,), a direction in camera space, point along +y.

    It turns the world of a tilted camera level. A direction of no length, or straight down, gives no turn.
    """
    direction = CAMERA_TO_SMPL @ np.asarray(up, np.float64)
    length = np.linalg.norm(direction)
    if not np.isfinite(length) or length < 1e-6:
        return np.eye(3)
    x, y, z = direction / length
    if y < -1 + 1e-6:
        return np.eye(3)
    # Rodrigues' formula for the turn from (x, y, z) to (0, 1, 0); its axis is (-z, 0, x).
    k = 1 / (1 + y)
    return np.array([[1 - k * x * x, -x, -k * x * z], [x, y, z], [-k * x * z, -z, 1 - k * z * z]])


def root_in_smpl_axes(
    root_rotvec: np.ndarray, trans: np.ndarray, rest_pelvis: np.ndarray, level: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The root of a body fitted in camera space, in y-up axes where a Blender pelvis bone lives.

    `root_rotvec`: (n, 3) rotation 0 of the pose; `trans`: (n, 3) SMPL-X translation, camera space, metres;
    `rest_pelvis`: (3,) pelvis joint of the shaped rest body; `level`: see `level_rotation`.
    -> (quaternions (n, 4) of the pelvis, positions (n, 3) of the pelvis joint, metres, y up).
    """
    rotation = quaternion_multiply(_HALF_TURN_X, rotvec_to_quaternion(root_rotvec))
    position = (np.asarray(rest_pelvis, np.float64) + np.asarray(trans, np.float64)) @ CAMERA_TO_SMPL.T
    if level is not None:
        rotation, position = quaternion_multiply(matrix_to_quaternion(level), rotation), position @ level.T
    return rotation, position


def floor_offset(joints: np.ndarray, level: np.ndarray | None = None) -> float:
    """How far a scene must be raised, metres, so that the lowest foot joint of the clip stands at height 0.

    `joints`: (n, 55, 3) camera space; `level`: see `level_rotation`. Joints that are not finite are left out; 0.0
    without any.
    """
    feet = np.asarray(joints, np.float64)[:, list(FOOT_JOINTS)] @ CAMERA_TO_SMPL.T
    height = (feet if level is None else feet @ level.T)[..., 1]
    height = height[np.isfinite(height)]
    return float(-height.min()) if height.size else 0.0


def world_shift(
    people: Sequence[np.ndarray], level: np.ndarray | None = None, floor: float | np.ndarray = np.nan
) -> np.ndarray:
    """Where camera space lies in the world, (3,) metres in levelled y-up axes: added to every place.

    The first of `people` starts above the world's origin, and height 0 is the floor: `floor` metres below the camera
    (`TrackMotion.floor`), or the lowest foot joint of all where that is NaN.
    `people`: one (n, 55, 3) of joints in camera space each; `level`: see `level_rotation`.
    """
    if not len(people):
        return np.zeros(3)
    turn = CAMERA_TO_SMPL if level is None else level @ CAMERA_TO_SMPL
    start = turn @ np.asarray(people[0], np.float64)[0, 0]
    start = np.where(np.isfinite(start), start, 0.0)
    height = float(np.asarray(floor, np.float64).reshape(-1)[0])
    if not np.isfinite(height):
        height = max(floor_offset(joints, level) for joints in people)
    return np.array([-start[0], height, -start[2]])


def camera_to_world(points: np.ndarray, shift: np.ndarray, level: np.ndarray) -> np.ndarray:
    """(..., 3) camera space -> (..., 3) Blender's world of a clip with this `shift` (`world_shift`) and `level`
    (`level_rotation`)."""
    return smpl_to_blender(np.asarray(points, np.float64) @ (level @ CAMERA_TO_SMPL).T + shift)


def _unit(q: np.ndarray) -> np.ndarray:
    q = np.asarray(q, np.float64)
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def amass_poses(pose: np.ndarray, body: str) -> dict[str, np.ndarray]:
    """Rotation vectors (n, 55, 3) as the arrays of an AMASS file: `poses` and its parts, and `surface_model_type`. A
    `body` called smplh or smpl has 52 and 24 joints (156 and 72 numbers a frame), every other one SMPL-X's 55."""
    pose = np.asarray(pose, np.float32)
    rows = {"smplh": _SMPLH_JOINTS, "smpl": _SMPL_JOINTS}.get(body, tuple(range(55)))
    flat = pose[:, rows].reshape(len(pose), -1)
    out = {
        "surface_model_type": np.array(body if body in ("smplh", "smpl") else "smplx"),
        "poses": flat,
        "root_orient": flat[:, :3],
        "pose_body": flat[:, 3:72] if body == "smpl" else flat[:, 3:66],
    }
    if body == "smplh":
        return out | {"pose_hand": flat[:, 66:]}
    if body == "smpl":
        return out
    return out | {"pose_jaw": flat[:, 66:69], "pose_eye": flat[:, 69:75], "pose_hand": flat[:, 75:]}

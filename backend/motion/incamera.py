"""A motion of a shot as the camera of each frame sees it: for drawing over pictures, and for looking again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from backend.camera.pinhole import Camera
from backend.records import Shot, TrackMotion
from blender_addon.shared.axes import matrix_to_rotvec, rotvec_to_matrix

if TYPE_CHECKING:
    from backend.body.model import Body


def camera_of(shot: Shot) -> Camera:
    """The camera of a shot, with the lens of its first frame."""
    fx, fy, cx, cy = (float(v) for v in shot.lens[0])
    return Camera(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), shot.width, shot.height)


def held(motion: TrackMotion, shots: Sequence[Shot]) -> tuple[np.ndarray, np.ndarray] | None:
    """Turns (n, 3, 3) from the shot's space to the camera's and places (n, 3) of the camera in the frames of `motion`;
    None where the camera stands still, or no shot is known."""
    shot = next((s for s in shots if s.number == int(motion.shot[0])), None)
    if shot is None or not shot.moving:
        return None
    rows = np.clip(motion.frames - shot.frames[0], 0, len(shot.frames) - 1)
    return rotvec_to_matrix(shot.turns[rows]), shot.places[rows].astype(np.float64)


def in_camera(motion: TrackMotion, shots: Sequence[Shot], body: Body) -> TrackMotion:
    """`motion` of `body` in camera space."""
    way = held(motion, shots)
    if way is None:
        return motion
    turns, places = way
    pose = motion.pose.copy()
    pose[:, 0] = matrix_to_rotvec(turns @ rotvec_to_matrix(motion.pose[:, 0]))
    rest = body.joints_template[0] + body.joints_shapedirs[0][:, : len(motion.betas)] @ motion.betas
    # SMPL-X turns about the pelvis and then adds trans: the pelvis is carried over, not trans itself.
    trans = np.einsum("nij,nj->ni", turns, motion.trans + rest - places) - rest
    joints = np.einsum("nij,nqj->nqi", turns, motion.joints - places[:, None])
    return replace(motion, pose=pose, trans=trans.astype(np.float32), joints=joints.astype(np.float32))


def out_of_camera(points: np.ndarray, motion: TrackMotion, shots: Sequence[Shot], rows: slice) -> np.ndarray:
    """Places (k, P, 3) of camera space in `rows` of `motion` -> in its shot's space."""
    way = held(motion, shots)
    if way is None:
        return points
    turns, places = way[0][rows], way[1][rows]
    return (np.einsum("nji,npj->npi", turns, points) + places[:, None]).astype(points.dtype)


__all__ = ["camera_of", "held", "in_camera", "out_of_camera"]

# SPDX-License-Identifier: GPL-3.0-or-later
"""The clip's camera through all shots: a still one stands without keys, every other one is keyed.

Place, turn and lens change linearly within a shot and at once at a cut. As on people, a later result replaces our keys
and leaves the user's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import bpy
import numpy as np

from ..geometry.timing import FIRST_FRAME, scene_frames
from ..link.job import CameraInfo
from ..shared.axes import (
    CAMERA_TO_SMPL,
    SMPL_TO_BLENDER,
    camera_to_world,
    matrix_to_quaternion,
    rotvec_to_matrix,
)
from ..shared.shot import Shot
from .camera import lens_of, place_camera, set_intrinsics
from .keys import Channel, curves_of, key_steps, remove_curves, users_key_count
from .shots import World
from .steps import Mark, Steps, VanishedError

PLACE, TURN, LENS = "location", "rotation_quaternion", ("lens", "shift_x", "shift_y")


@dataclass(frozen=True, eq=False)
class Views:
    """The camera at n scene frames."""

    frames: np.ndarray
    """(n,) scene frames."""
    places: np.ndarray
    """(n, 3) metres in the world."""
    turns: np.ndarray
    """(n, 4) quaternions of the camera object."""
    lens: np.ndarray
    """(n, 4) fx, fy, cx, cy, pixels."""
    holds: np.ndarray
    """(n,) whether everything stays as it is until the next one."""
    size: tuple[int, int]
    """Width and height of the picture, pixels."""

    @property
    def info(self) -> CameraInfo:
        """The lens at the beginning."""
        return CameraInfo(*self.size, *(float(v) for v in self.lens[0]))


def views_of(shots: Mapping[int, Shot], worlds: Mapping[int, World], fps: float) -> Views | None:
    """The camera in all frames of the shots, but of a shot with a still camera only in its first; None for no shots."""
    found = [shot for _, shot in sorted(shots.items()) if len(shot.frames)]
    if not found:
        return None
    frames, times = (np.concatenate([getattr(shot, name) for shot in found]) for name in ("frames", "times"))
    at = scene_frames(frames, times, fps)
    rows, first = [], 0
    for shot in found:
        kept = np.arange(len(shot.frames) if _changes(shot) else 1)
        world = worlds[shot.number]
        rows.append(
            (
                at[first + kept],
                camera_to_world(shot.places[kept], world.shift, world.level),
                _turns(shot.turns[kept], world.level),
                shot.lens[kept],
                kept == kept[-1],
            )
        )
        first += len(shot.frames)
    columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
    return Views(*columns, (found[0].width, found[0].height))


def still_view(info: CameraInfo, world: World) -> Views:
    """A camera that was never said to move."""
    lens = np.array([[info.fx, info.fy, info.cx, info.cy]])
    place = camera_to_world(np.zeros((1, 3)), world.shift, world.level)
    turn = _turns(np.zeros((1, 3)), world.level)
    return Views(
        np.array([float(FIRST_FRAME)]), place, turn, lens, np.ones(1, bool), (info.width, info.height)
    )


def _changes(shot: Shot) -> bool:
    return any(np.ptp(rows, axis=0).max() > 1e-6 for rows in (shot.turns, shot.places, shot.lens))


def _turns(turns: np.ndarray, level: np.ndarray) -> np.ndarray:
    """(n, 3) rotation vectors from a shot's space to the camera -> (n, 4) turns of the camera object, whose own axes
    are x right, y up, z backward."""
    back = np.swapaxes(rotvec_to_matrix(turns), -1, -2)
    return matrix_to_quaternion(SMPL_TO_BLENDER @ level @ CAMERA_TO_SMPL @ back @ CAMERA_TO_SMPL)


def camera_steps(find: Callable[[], bpy.types.Object | None], views: Views, world: World) -> Steps[None]:
    """Let the camera that `find()` gives stand, turn and see as in `views`, whose first shot is in `world`. Raises
    VanishedError when it is gone."""
    mark = Mark(find)
    camera = mark.block()
    set_intrinsics(camera.data, views.info)
    if len(views.frames) == 1 and not _users(camera):
        _forget(camera, (PLACE, TURN))
        place_camera(camera, world.shift, world.level)
        _forget(camera.data, LENS)
        return
    camera.rotation_mode = "QUATERNION"
    camera.location, camera.rotation_quaternion = views.places[0], views.turns[0]
    channels = [
        Channel(PLACE, views.places, "Location", holds=views.holds),
        Channel(TURN, views.turns, "Rotation", quaternion=True, holds=views.holds),
    ]
    name = camera.name
    yield from key_steps(mark.block, f"{name} motion", channels, views.frames, mark.pause)
    camera = mark.block()
    if np.ptp(views.lens, axis=0).max() <= 1e-6 and not users_key_count(camera.data):
        _forget(camera.data, LENS)
        return
    values = lens_of(views.lens, views.size)
    channels = [
        Channel(path, column[:, None], "Lens", holds=views.holds)
        for path, column in zip(LENS, values.T, strict=True)
    ]
    yield from key_steps(lambda: _data(mark), f"{name} lens", channels, views.frames, mark.pause)


def _data(mark: Mark) -> bpy.types.Camera:
    data = mark.block().data
    if data is None:
        raise VanishedError
    return data


def _users(camera: bpy.types.Object) -> int:
    return users_key_count(camera) + users_key_count(camera.data)


def _forget(owner: bpy.types.ID, paths: tuple[str, ...]) -> None:
    """Take away the keys of an earlier result; an action that has nothing else goes too."""
    if not any(curve.data_path in paths for curve in curves_of(owner)):
        return
    remove_curves(owner, paths)
    if not curves_of(owner):
        action = owner.animation_data.action
        owner.animation_data_clear()
        if action.users == 0:
            bpy.data.actions.remove(action)

# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's own camera, as Blender's tracker or a hand has set it up, as the backend's option `camera_path`."""

import bpy
import numpy as np

from ..geometry.timing import FIRST_FRAME
from ..shared.axes import CAMERA_TO_BLENDER, CAMERA_TO_SMPL, blender_to_camera, matrix_to_rotvec
from ..shared.frames import ClipError
from .baking import undisturbed
from .clip import Footage

MOST = 12_000
"""Frames whose rows are sure to fit into a message to the backend."""


def camera_path(scene: bpy.types.Scene, footage: Footage) -> list[list[float]]:
    """A row for each frame of the clip, the first shown at scene frame 1: frame from 0, rotation vector from the world
    to the camera (3), place of the camera (3), metres, focal length in pixels. The world's axes are x right, y down,
    z forward; those of the camera as OpenCV's. Raises ClipError with one sentence."""
    camera = scene.camera
    if camera is None or camera.type != "CAMERA" or camera.data.type != "PERSP":
        raise ClipError("The scene has no perspective camera: set one up, or switch Use Scene Camera off.")
    count = footage.length or scene.frame_end
    if count > MOST:
        raise ClipError(f"The camera of a clip of more than {MOST} frames cannot be handed on: cut the clip.")
    worlds, focal = _sampled(scene, camera, (footage.width, footage.height), count)
    # A Blender camera has y up and looks backward along its z.
    turns = CAMERA_TO_SMPL @ np.swapaxes(worlds[:, :3, :3], 1, 2) @ CAMERA_TO_BLENDER
    rows = np.concatenate([matrix_to_rotvec(turns), blender_to_camera(worlds[:, :3, 3])], 1)
    return [
        [i, *(round(v, 5) for v in row), round(f, 3)]
        for i, (row, f) in enumerate(zip(rows.tolist(), focal.tolist(), strict=True))
    ]


def _sampled(
    scene: bpy.types.Scene, camera: bpy.types.Object, size: tuple[int, int], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Matrices (n, 4, 4) without scale, and focal lengths (n,) in pixels of a picture of `size` (width, height)."""
    worlds, focal = np.empty((count, 4, 4)), np.empty(count)
    # In a scene of its own, with what the camera depends on and nothing else: bodies would take most of the time.
    alone = bpy.data.scenes.new("Bodyfield temporary")
    alone.render.fps, alone.render.fps_base = scene.render.fps, scene.render.fps_base
    alone.active_clip = scene.active_clip
    with undisturbed(scene, [camera]):
        try:
            alone.collection.objects.link(camera)
            alone.camera = camera
            with bpy.context.temp_override(scene=alone, view_layer=alone.view_layers[0]):
                for i in range(count):
                    alone.frame_set(FIRST_FRAME + i)
                    graph = bpy.context.evaluated_depsgraph_get()
                    seen = camera.evaluated_get(graph)
                    place, turn, _ = seen.matrix_world.decompose()
                    worlds[i] = np.eye(4)
                    worlds[i, :3, :3], worlds[i, :3, 3] = np.array(turn.to_matrix()), place
                    projection = seen.calc_matrix_camera(graph, x=size[0], y=size[1])
                    focal[i] = projection[0][0] * size[0] / 2
        finally:
            bpy.data.scenes.remove(alone)
    return worlds, focal

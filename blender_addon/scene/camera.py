# SPDX-License-Identifier: GPL-3.0-or-later
"""A Blender camera with the clip's intrinsics, the footage behind it, and the scene's size, rate and range."""

import math
import re
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from ..geometry.timing import FIRST_FRAME, blender_rate
from ..link.job import CameraInfo
from ..shared.axes import SMPL_TO_BLENDER, smpl_to_blender

SENSOR_MM = 36.0


def set_intrinsics(camera: bpy.types.Camera, info: CameraInfo) -> None:
    """Lens and shift of `camera` so that it projects like `info` at a picture of info.width x info.height.

    Blender measures shift in sensor widths (HORIZONTAL fit) from the picture's middle, which lies at pixel
    ((W - 1) / 2, (H - 1) / 2); shifting the camera right or up moves its picture left or down.
    """
    camera.type = "PERSP"
    camera.sensor_fit = "HORIZONTAL"
    camera.sensor_width = SENSOR_MM
    camera.lens_unit = "MILLIMETERS"
    row = np.array([[info.fx, info.fy, info.cx, info.cy]])
    camera.lens, camera.shift_x, camera.shift_y = lens_of(row, (info.width, info.height))[0].tolist()
    camera.clip_start, camera.clip_end = 0.01, 1000.0


def lens_of(lens: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n, 4) fx, fy, cx, cy of a picture of `size` (width, height), pixels -> (n, 3) millimetres, shift along x and y,
    of a camera as `set_intrinsics` leaves it."""
    (width, height), (fx, fy, cx, cy) = size, np.asarray(lens, np.float64).T
    shift_x = ((width - 1) / 2 - cx) / width
    # Vertical shift is counted in widths of the picture as shown, where pixels may not be square.
    shift_y = (cy - (height - 1) / 2) / width * (fx / fy)
    return np.stack([fx * SENSOR_MM / width, shift_x, shift_y], 1)


def place_camera(ob: bpy.types.Object, shift: np.ndarray, level: np.ndarray | None = None) -> None:
    """Put the camera where camera space begins: at `shift` ((3,) metres, y-up axes, see `axes.world_shift`),
    looking along +Y, tilted as it was held (`level`, see `axes.level_rotation`)."""
    turn = Matrix.Rotation(math.pi / 2, 3, "X")
    if level is not None:
        turn = Matrix((SMPL_TO_BLENDER @ level @ SMPL_TO_BLENDER.T).tolist()) @ turn
    ob.rotation_mode = "XYZ"
    ob.rotation_euler = turn.to_euler("XYZ")
    ob.location = smpl_to_blender(shift)


def set_picture(scene: bpy.types.Scene, info: CameraInfo) -> None:
    """Render size of the clip; a pixel aspect where fx and fy differ (Blender wants both numbers >= 1)."""
    scene.render.resolution_x, scene.render.resolution_y = info.width, info.height
    scene.render.resolution_percentage = 100
    scene.render.pixel_aspect_x = max(1.0, info.fy / info.fx)
    scene.render.pixel_aspect_y = max(1.0, info.fx / info.fy)


def set_time(scene: bpy.types.Scene, fps: float, last_frame: int) -> None:
    """Rate of the clip (29.97 is 30 / 1.001) and the range from its first to its last picture."""
    scene.render.fps, scene.render.fps_base = blender_rate(fps)
    scene.frame_start, scene.frame_end = FIRST_FRAME, max(FIRST_FRAME, last_frame)


def show_footage(
    camera: bpy.types.Camera,
    file: Path,
    size: tuple[int, int],
    pictures: int | None,
    length: int | None = None,
    turned: bool = True,
) -> bool:
    """Show the clip behind everything in the camera's view; False when Blender cannot show it upright.

    `file`: the movie of `length` frames, or the first picture of a sequence of `pictures`; `size`: (width, height),
    upright; `turned`: whether the file may lie on its side. An image and no movie clip: Blender draws the colours of a
    movie clip in the background too bright (seen in 4.3).
    """
    try:
        image = bpy.data.images.load(str(file), check_existing=True)
    except RuntimeError:
        return False
    # To tell its size or length Blender decodes a picture, 0.1 s and more for a large one, so it is asked only if need
    # be. Before 4.5 it did not obey the display matrix of phone videos.
    asked = turned and bpy.app.version < (4, 5, 0) and size[0] != size[1]
    if asked and tuple(image.size) == size[::-1]:
        return False
    if pictures is not None and pictures > 1:
        image.source = "SEQUENCE"
    background = next((b for b in camera.background_images if b.source == "IMAGE"), None)
    background = background or camera.background_images.new()
    background.source = "IMAGE"
    background.image = image
    user = background.image_user
    user.frame_start = FIRST_FRAME
    user.frame_duration = pictures or length or max(image.frame_duration, 1)
    # A sequence is shown by the numbers in its file names, a movie by its own count from 1.
    user.frame_offset = _last_number(file.stem) - 1 if image.source == "SEQUENCE" else 0
    user.use_auto_refresh = True
    background.display_depth = "BACK"
    background.frame_method = "STRETCH"
    background.alpha = 1.0
    camera.show_background_images = True
    return True


def _last_number(stem: str) -> int:
    """12 of "shot.0012", as Blender reads the number of a picture in a sequence; 1 without any digit."""
    digits = re.findall(r"\d+", stem)
    return int(digits[-1]) if digits else 1

"""Shots with cameras that stand, turn, walk and zoom, for the tests in Blender."""

import numpy as np

from blender_addon.shared.shot import Shot

from .people import CAMERA, rodrigues


def shot(first: int, count: int, *, number: int = 1, moving: bool = False, zooms: bool = False,
         up=(0.0, -1.0, 0.0), floor: float = 1.4, fps: float = 30.0, **more) -> Shot:  # fmt: skip
    """A shot of `count` frames. A moving camera turns by up to 0.3 rad a second about every axis and walks a metre."""
    frames = np.arange(first, first + count, dtype=np.int32)
    t = np.arange(count)[:, None] / fps
    turns = 0.3 * np.sin([[1.0, 2.0, 0.5]] * t) * moving
    places = np.concatenate([t, 0.2 * np.sin(3 * t), -0.3 * t], 1) * moving
    lens = np.tile(np.array([CAMERA.fx, CAMERA.fy, CAMERA.cx, CAMERA.cy]), (count, 1))
    if zooms:
        lens[:, :2] *= 1 + 0.5 * t
    return Shot(
        number, CAMERA.width, CAMERA.height, frames, frames / fps, turns.astype(np.float32),
        places.astype(np.float32), lens.astype(np.float32), np.ones(count, np.uint8), np.float32(up),
        np.float32([floor]), moving=moving, zooms=zooms, **more,
    )  # fmt: skip


def pixels(shot: Shot, row: int, points: np.ndarray) -> np.ndarray:
    """(k, 3) places in the shot's space -> (k, 2) pixels of its row-th frame, by K [R | t] in the textbook's way."""
    seen = (points - shot.places[row]) @ rodrigues(shot.turns[row].astype(float)).T
    fx, fy, cx, cy = shot.lens[row].astype(float)
    return np.stack([fx * seen[:, 0] / seen[:, 2] + cx, fy * seen[:, 1] / seen[:, 2] + cy], 1)

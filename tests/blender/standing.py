"""People on a floor, with contacts, gaps and markers, for the tests in Blender."""

from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np

from blender_addon.scene.clip import ClipScene, Footage
from blender_addon.shared.motion import PER_FRAME

from .people import open_body
from .seen import curves_of

UP = np.array([0.1, -0.95, -0.3]) / np.linalg.norm([0.1, -0.95, -0.3])


def built(*results, length=None, job="job-1", **more) -> ClipScene:
    clip = ClipScene(Footage("walk", Path("nowhere.mp4"), 640, 360, 30.0, length=length), job, **more)
    clip.set_body(open_body())
    clip.add(results)
    clip.refresh(force=True)
    bpy.context.view_layer.update()
    return clip


def on_floor(result, floor: float = 1.4):
    """The result with a known floor."""
    return replace(result, up=UP.astype(np.float32), floor=np.float32([floor]))


def resting(result, seed: int = 0):
    """The result with contacts and bridged frames."""
    n, rng = len(result.frames), np.random.default_rng(seed)
    touch = rng.uniform(0, 0.4, (n, 8)).astype(np.float32)
    # Left foot on the ground in the first third, right foot from there on.
    touch[: n // 3, 0], touch[n // 3 :, 3] = 1.0, 0.9
    return replace(result, contacts=touch, bridged=(np.arange(n) % 5 == 2).astype(np.uint8))


def without(result, gone: slice):
    """The result with a gap: these rows are not there."""
    rows = np.delete(np.arange(len(result.frames)), gone)
    return replace(result, **{name: getattr(result, name)[rows] for name in PER_FRAME})


def curve_of(owner, path: str):
    return next(c for c in curves_of(owner) if c.data_path == path)


def keys_of(owner, path: str) -> np.ndarray:
    return np.array([key.co[:] for key in curve_of(owner, path).keyframe_points])


def mesh_of(clip: ClipScene, track: int = 1) -> bpy.types.Object:
    return next(ob for ob in clip.armature(track).children if ob.type == "MESH")

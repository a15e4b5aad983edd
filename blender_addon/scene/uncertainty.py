# SPDX-License-Identifier: GPL-3.0-or-later
"""How sure the result is: F-curves on the armature, colours on the mesh.

`armature["uncertainty_m"]`, mean of the 22 body joints, and `armature["joint_uncertainty"]`, one value a joint in the
order of SMPL-X, are keyed, metres (one sigma). The mesh's colour attribute `Uncertainty` shows the mean over the clip,
or, while `scene.bodyfield.live_uncertainty` is on, the current frame.
"""

import bpy
import numpy as np

from ..link.job import Result
from .body_surface import body_mesh
from .clip_keys import TRACK_KEY
from .keys import Channel
from .rest import RestBody

ATTRIBUTE, JOINTS, MEAN = "Uncertainty", "joint_uncertainty", "uncertainty_m"
BODY_JOINTS = 22
SURE, HALF, UNSURE = (0.02, 0.13, 0.41), (0.98, 0.71, 0.13), (0.45, 0.01, 0.02)
"""Blue, yellow, dark red (linear RGB): also those who do not see red and green can tell them apart."""
WORST_M = 0.10
_weights: dict[str, tuple[np.ndarray, np.ndarray]] = {}


def channels(result: Result) -> list[Channel]:
    """What to key on the armature object."""
    joints = np.nan_to_num(result.joint_uncertainty)
    group = "Uncertainty"
    return [
        Channel(f'["{MEAN}"]', joints[:, :BODY_JOINTS].mean(1, keepdims=True), group),
        Channel(f'["{JOINTS}"]', joints, group),
    ]


def declare(armature: bpy.types.Object, result: Result) -> None:
    """Give the armature the properties that `channels` keys."""
    joints = np.nan_to_num(result.joint_uncertainty).mean(0)
    armature[MEAN], armature[JOINTS] = float(joints[:BODY_JOINTS].mean()), joints.tolist()
    said = {MEAN: "Mean over the body's joints", JOINTS: "One value a joint, in SMPL-X's order"}
    for name, text in said.items():
        armature.id_properties_ui(name).update(min=0.0, description=f"{text}: one sigma in metres")


def on_vertices(index: np.ndarray, value: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """(V, K) joints that carry a vertex, (V, K) their weights, (55,) metres -> (V,) metres: variances are mixed."""
    return np.sqrt((value * np.square(np.asarray(joints, np.float64))[index]).sum(1))


def colours(metres: np.ndarray) -> np.ndarray:
    """(V,) metres -> (V, 4) linear RGBA: blue at 0, yellow at 5 cm, dark red from 10 cm on."""
    share = np.clip(metres / WORST_M, 0, 1)[:, None]
    low, high = np.minimum(2 * share, 1), np.maximum(2 * share - 1, 0)
    rgb = np.array(SURE) + low * (np.array(HALF) - SURE) + high * (np.array(UNSURE) - HALF)
    return np.concatenate([rgb, np.ones_like(share)], 1)


def paint(mesh: bpy.types.Object, metres: np.ndarray) -> None:
    """Colour the mesh by (V,) metres."""
    data = mesh.data
    layer = data.color_attributes.get(ATTRIBUTE) or data.color_attributes.new(
        ATTRIBUTE, "FLOAT_COLOR", "POINT"
    )
    layer.data.foreach_set("color", np.ascontiguousarray(colours(metres), np.float32).ravel())
    data.color_attributes.active_color = layer
    data.update()


def paint_mean(mesh: bpy.types.Object, rest: RestBody, result: Result) -> None:
    """Colour a new result by its mean over the clip."""
    joints = np.nan_to_num(result.joint_uncertainty).mean(0)
    paint(mesh, on_vertices(rest.weights_index, rest.weights_value, joints))


def paint_frame(scene: bpy.types.Scene) -> None:
    """Colour everybody in the scene by the current frame."""
    for armature in (ob for ob in scene.objects if TRACK_KEY in ob and JOINTS in ob):
        mesh = body_mesh(armature)
        if mesh is not None and mesh.mode == "OBJECT":
            paint(mesh, on_vertices(*_carriers(mesh, armature), np.array(armature[JOINTS])))


def on_frame(scene: bpy.types.Scene, _depsgraph: object = None) -> None:
    """Handler of frame changes."""
    settings = getattr(scene, "bodyfield", None)
    if settings is not None and settings.live_uncertainty:
        paint_frame(scene)


def add_handler() -> None:
    """Follow frame changes, also in files that are loaded later; a second time nothing is added."""
    remove_handler()
    bpy.app.handlers.frame_change_post.append(bpy.app.handlers.persistent(on_frame))


def remove_handler() -> None:
    """Undo `add_handler`. By name: a reloaded add-on's function is another one."""
    handlers = bpy.app.handlers.frame_change_post
    for handler in [h for h in handlers if h.__module__ == __name__ and h.__name__ == on_frame.__name__]:
        handlers.remove(handler)
    _weights.clear()


def _carriers(mesh: bpy.types.Object, armature: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    """(V, K) joints and (V, K) weights of a mesh, read once from its vertex groups."""
    key = f"{mesh.name_full} {len(mesh.data.vertices)}"
    if key not in _weights:
        rows = [sorted(((g.weight, g.group) for g in v.groups), reverse=True) for v in mesh.data.vertices]
        width = max(1, *(len(row) for row in rows))
        index, value = np.zeros((len(rows), width), np.int32), np.zeros((len(rows), width))
        last = len(armature[JOINTS]) - 1
        for vertex, row in enumerate(rows):
            for k, (weight, group) in enumerate(row):
                index[vertex, k], value[vertex, k] = min(group, last), weight
        _weights[key] = index, value / np.maximum(value.sum(1, keepdims=True), 1e-9)
    return _weights[key]

# SPDX-License-Identifier: GPL-3.0-or-later
"""A person made ready for an exporter: copies in a temporary scene, so that the user's own stays untouched."""

import contextlib
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from ..scene.baking import Take, bone_channels, root_motion, sample_take, without_root
from ..scene.bodykeys import POSE, SHAPE, keys_of
from ..scene.clip_keys import ROOT_BONE
from ..scene.keys import Channel, write_keys
from ..scene.visibility import show_always
from ..shared.axes import SMPL_TO_BLENDER, quaternion_to_matrix
from ..shared.whole import aside

SHAPES = ("bake", "keep")
ROOT_LENGTH = 0.3


class ExportError(RuntimeError):
    """Nothing was written. The message is one sentence."""


@dataclass(frozen=True)
class Look:
    """How the copy stands in its file."""

    y_up: bool = True
    """Whether bones are turned to y up and the object is turned back, so that an exporter's own change of axes cancels
    out and no node is turned at rest."""
    centimetres: bool = False
    """Whether lengths are in centimetres, the scene's unit too; metres otherwise."""
    root: str = "keep"
    """The way over the floor: "keep" it where it is, put it on a "root", or drop it: "in_place"."""
    root_node: bool = False
    """Whether the root is the armature's own node, called `root`, and no bone."""
    shape: str = "bake"
    """"bake" the shape sliders in and drop the pose correctives (expressions stay keys), or "keep" all as keys."""


def write_staged(
    armature: bpy.types.Object, path: Path, look: Look, export: Callable[[str, bpy.types.Scene], object]
) -> Path:
    """Stage the person and let `export(file, scene)` write `file`, whose name becomes `path` only when it is complete.
    Raises ExportError."""
    with staged(armature, look) as context:
        try:
            # The exporters print; the caller's standard output may be read by a program.
            with (
                aside(path) as part,
                bpy.context.temp_override(**context),
                contextlib.redirect_stdout(io.StringIO()),
            ):
                export(str(part), context["scene"])
        except (RuntimeError, OSError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split()).removeprefix("Error: ")
            raise ExportError(
                f"{path} could not be written ({reason.rstrip('.')}); choose a folder that can be written to."
            ) from error
    return path


@contextlib.contextmanager
def staged(armature: bpy.types.Object, look: Look) -> Iterator[dict]:
    """Copies of the armature and its meshes, alone in a temporary scene of the same rate and range, the motion baked.

    -> the context members for an override. The copies bear the originals' names, as a file should.
    """
    source = next((s for s in bpy.data.scenes if armature.name in s.objects), None)
    if armature.type != "ARMATURE" or source is None:
        raise ExportError(f"{armature.name} is not an armature in a scene; select the armature of a person.")
    take = sample_take(source, armature)
    meshes = [ob for ob in armature.children if ob.type == "MESH"]
    names = [(block, block.name) for ob in (armature, *meshes) for block in (ob, ob.data)]
    scene = bpy.data.scenes.new(armature.name)
    copies: list[bpy.types.Object] = []
    actions = set(bpy.data.actions)
    windows = [(window, window.scene) for window in bpy.context.window_manager.windows]
    try:
        for block, name in names:
            block.name = f"{name} original"
        copies = [_copy(ob, scene) for ob in (armature, *meshes)]
        for block, (_, name) in zip((b for ob in copies for b in (ob, ob.data)), names, strict=True):
            block.name = name
        _copy_time(source, scene)
        _adopt(copies[0], copies[1:])
        for mesh in copies[1:]:
            _settle_shape(mesh, look.shape)
        _pose(scene, copies, take, look)
        layer = scene.view_layers[0]
        layer.objects.active = copies[0]
        for ob in copies:
            ob.select_set(True, view_layer=layer)
        yield {
            "scene": scene,
            "view_layer": layer,
            "object": copies[0],
            "active_object": copies[0],
            "selected_objects": copies,
        }
    finally:
        made = [action for action in bpy.data.actions if action not in actions]
        # The exporter of glTF makes the scene it exports a window's own and leaves it there.
        for window, shown in windows:
            if window.scene != shown:
                window.scene = shown
        bpy.data.scenes.remove(scene)
        bpy.data.batch_remove([*copies, *(ob.data for ob in copies), *made])
        for block, name in names:
            block.name = name


def _copy(ob: bpy.types.Object, scene: bpy.types.Scene) -> bpy.types.Object:
    copy = ob.copy()
    copy.data = ob.data.copy()
    # Nothing that is hidden can be selected, and in a file nobody goes out of view.
    show_always(copy)
    scene.collection.objects.link(copy)
    return copy


def _adopt(armature: bpy.types.Object, meshes: list[bpy.types.Object]) -> None:
    """Tie the copied meshes to the copied armature."""
    for mesh in meshes:
        mesh.parent = armature
        for modifier in mesh.modifiers:
            if modifier.type == "ARMATURE":
                modifier.object = armature


def _copy_time(source: bpy.types.Scene, scene: bpy.types.Scene) -> None:
    scene.render.fps, scene.render.fps_base = source.render.fps, source.render.fps_base
    scene.frame_start, scene.frame_end = source.frame_start, source.frame_end
    scene.unit_settings.system, scene.unit_settings.scale_length = "METRIC", 1.0


def _settle_shape(mesh: bpy.types.Object, shape: str) -> None:
    """Bake the shape sliders into the rest body and drop the correctives; the expression's keys stay."""
    keys = mesh.data.shape_keys
    if keys is None or shape == "keep":
        return
    sliders, basis = keys_of(mesh, SHAPE), _coordinates(keys.key_blocks[0])
    offset = sum((block.value * (_coordinates(block) - basis) for block in sliders), np.zeros_like(basis))
    for block in (*sliders, *keys_of(mesh, POSE)):
        block.driver_remove("value")
        mesh.shape_key_remove(block)
    for block in mesh.data.shape_keys.key_blocks:
        block.points.foreach_set("co", _coordinates(block) + offset)
    if len(mesh.data.shape_keys.key_blocks) == 1:
        mesh.shape_key_remove(mesh.data.shape_keys.key_blocks[0])
    mesh.data.vertices.foreach_set("co", basis + offset)
    mesh.data.update()


def _coordinates(block: bpy.types.ShapeKey) -> np.ndarray:
    out = np.empty(3 * len(block.points), np.float32)
    block.points.foreach_get("co", out)
    return out


def _pose(scene: bpy.types.Scene, copies: list[bpy.types.Object], take: Take, look: Look) -> None:
    """Turn and scale the copies, give the skeleton its root, and key the take on it."""
    armature, meshes = copies[0], copies[1:]
    scale = 100.0 if look.centimetres else 1.0
    scene.unit_settings.scale_length = 1 / scale
    turn = Matrix.Rotation(math.radians(-90), 4, "X") if look.y_up else Matrix.Identity(4)
    change = turn @ Matrix.Scale(scale, 4)
    world = armature.matrix_world.copy()
    world.translation *= scale
    if look.root != "keep":
        take = without_root(take)
        _set_root_bone(scene, armature, look.root == "root" and not look.root_node)
    armature.animation_data_clear()
    armature.data.transform(change)
    for mesh in meshes:
        mesh.data.transform(change, shape_keys=True)
    armature.matrix_world = world @ turn.inverted()
    if look.root_node:
        armature.name = ROOT_BONE
    scene.view_layers[0].update()
    for bone in armature.pose.bones:
        bone.rotation_mode = "QUATERNION"
        for constraint in list(bone.constraints):
            bone.constraints.remove(constraint)
    channels = _channels(armature, take, look, world @ turn.inverted(), scale)
    write_keys(armature, f"{armature.name} take", channels, take.frames)


def _channels(armature, take: Take, look: Look, world: Matrix, scale: float) -> list[Channel]:
    if look.root == "keep":
        return _scaled(bone_channels(take), scale)
    channels, turns, places = root_motion(take, look.root)
    channels = _scaled(channels, scale)
    if look.root == "in_place":
        return channels
    if not look.root_node:
        return [
            Channel(f'pose.bones["{ROOT_BONE}"].location', scale * places, ROOT_BONE),
            Channel(f'pose.bones["{ROOT_BONE}"].rotation_quaternion', turns, ROOT_BONE, quaternion=True),
            *channels,
        ]
    # The armature's own node goes along: its place in the world, times the root's in the turned-back axes.
    moved = np.tile(np.eye(4), (len(places), 1, 1))
    moved[:, :3, :3], moved[:, :3, 3] = quaternion_to_matrix(turns), scale * places
    if not look.y_up:
        axes = np.eye(4)
        axes[:3, :3] = SMPL_TO_BLENDER
        moved = axes @ moved @ axes.T
    matrices = [Matrix(m.tolist()) for m in np.array(world) @ moved]
    armature.rotation_mode = "QUATERNION"
    return [
        Channel("location", np.array([m.to_translation() for m in matrices]), ROOT_BONE),
        Channel(
            "rotation_quaternion", np.array([m.to_quaternion() for m in matrices]), ROOT_BONE, quaternion=True
        ),
        *channels,
    ]


def _scaled(channels: list[Channel], scale: float) -> list[Channel]:
    return [
        Channel(c.path, scale * c.values, c.group) if c.path.endswith(".location") else c for c in channels
    ]


def _set_root_bone(scene: bpy.types.Scene, armature: bpy.types.Object, wanted: bool) -> None:
    """Add or remove the root bone of the copied skeleton."""
    if wanted == (ROOT_BONE in armature.data.bones):
        return
    layer = scene.view_layers[0]
    layer.objects.active = armature
    with bpy.context.temp_override(scene=scene, view_layer=layer, object=armature, active_object=armature):
        bpy.ops.object.mode_set(mode="EDIT")
        bones = armature.data.edit_bones
        if wanted:
            root = bones.new(ROOT_BONE)
            root.head, root.tail, root.roll = (0, 0, 0), (0, 0, ROOT_LENGTH), 0.0
            for bone in bones:
                if bone.parent is None and bone != root:
                    bone.parent = root
        else:
            bones.remove(bones[ROOT_BONE])
        bpy.ops.object.mode_set(mode="OBJECT")

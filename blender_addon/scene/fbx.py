# SPDX-License-Identifier: GPL-3.0-or-later
"""FBX and BVH of one person, exported from a temporary scene so that the user's own stays untouched.

Presets:
- "unity": all nodes and all bones without rest rotation and at scale 1, y up, metres: what game engines and
  SMPL-X tools expect. The bones are turned to y up and the object back, so that the exporter's own axis
  conversion cancels out.
- "blender": the objects as they are; imports back into Blender unchanged.
"""

import contextlib
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
from mathutils import Matrix

PRESETS = ("unity", "blender")


class ExportError(RuntimeError):
    """Nothing was written. The message is one sentence."""


def export_fbx(armature: bpy.types.Object, path: Path, preset: str = "unity") -> Path:
    """Write armature, skinned mesh and one take over the scene's frame range; every frame of every bone.

    The file appears under its name only when it is complete. Raises ExportError.
    """
    if preset not in PRESETS:
        raise ExportError(f"There is no FBX preset '{preset}'; choose one of {', '.join(PRESETS)}.")
    with _staged(armature, y_up=preset == "unity") as context:
        _write(path, ".fbx", context, lambda file: bpy.ops.export_scene.fbx(
            filepath=file,
            check_existing=False,
            object_types={"ARMATURE", "MESH"},
            apply_scale_options="FBX_SCALE_ALL" if preset == "unity" else "FBX_SCALE_NONE",
            add_leaf_bones=False,
            bake_anim=True,
            bake_anim_use_all_bones=True,
            bake_anim_use_nla_strips=False,
            bake_anim_use_all_actions=False,
            bake_anim_force_startend_keying=True,
            # The default of 1.0 drops keys and lets feet shake.
            bake_anim_simplify_factor=0.0,
        ))  # fmt: skip
    return path


def export_bvh(armature: bpy.types.Object, path: Path) -> Path:
    """Write skeleton and motion as BVH: metres, y up, one take over the scene's frame range. Raises ExportError."""
    with _staged(armature, y_up=True) as context:
        scene = context["scene"]
        _write(path, ".bvh", context, lambda file: bpy.ops.export_anim.bvh(
            filepath=file,
            check_existing=False,
            frame_start=scene.frame_start,
            frame_end=scene.frame_end,
            root_transform_only=True,
        ))  # fmt: skip
    return path


def _write(path: Path, suffix: str, context: dict, export: Callable[[str], set[str]]) -> None:
    """Run an exporter into a temporary file beside `path`, then give it its name."""
    temporary = path.with_name(f".{path.stem}.part{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The exporters print; the caller's standard output may be read by a program.
        with bpy.context.temp_override(**context), contextlib.redirect_stdout(io.StringIO()):
            export(str(temporary))
        temporary.replace(path)
    except (RuntimeError, OSError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()).removeprefix("Error: ")
        raise ExportError(
            f"{path} could not be written ({reason.rstrip('.')}); choose a folder that can be written to."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _staged(armature: bpy.types.Object, y_up: bool) -> Iterator[dict]:
    """Copies of the armature and its meshes, alone in a temporary scene of the same rate and range.

    -> the context members for an override. The copies bear the originals' names, as a file should.
    """
    source = next((s for s in bpy.data.scenes if armature.name in s.objects), None)
    if armature.type != "ARMATURE" or source is None:
        raise ExportError(f"{armature.name} is not an armature in a scene; select the armature of a person.")
    meshes = [ob for ob in armature.children if ob.type == "MESH"]
    names = [(block, block.name) for ob in (armature, *meshes) for block in (ob, ob.data)]
    scene = bpy.data.scenes.new(armature.name)
    copies: list[bpy.types.Object] = []
    try:
        for block, name in names:
            block.name = f"{name} original"
        copies = [_copy(ob, scene) for ob in (armature, *meshes)]
        for block, (_, name) in zip((b for ob in copies for b in (ob, ob.data)), names, strict=True):
            block.name = name
        _adopt(copies[0], copies[1:])
        if y_up:
            turn = Matrix.Rotation(math.radians(-90), 4, "X")
            copies[0].data.transform(turn)
            for mesh in copies[1:]:
                mesh.data.transform(turn, shape_keys=True)
            copies[0].matrix_world = copies[0].matrix_world @ turn.inverted()
        _copy_time(source, scene)
        layer = scene.view_layers[0]
        layer.objects.active = copies[0]
        copies[0].select_set(True, view_layer=layer)
        yield {
            "scene": scene,
            "view_layer": layer,
            "object": copies[0],
            "active_object": copies[0],
            "selected_objects": copies,
        }
    finally:
        bpy.data.batch_remove([*copies, *(ob.data for ob in copies), scene])
        for block, name in names:
            block.name = name


def _copy(ob: bpy.types.Object, scene: bpy.types.Scene) -> bpy.types.Object:
    copy = ob.copy()
    copy.data = ob.data.copy()
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
    scene.unit_settings.scale_length = source.unit_settings.scale_length

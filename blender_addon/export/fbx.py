# SPDX-License-Identifier: GPL-3.0-or-later
"""FBX of one person, for the program that is to read it.

Presets, all with one take that holds every frame of every bone, T-pose at rest, no leaf bones:
- "unity": metres, y up, no rotation and scale 1 on every node at rest.
- "unreal": the same in centimetres, which Unreal takes as they are; a root is the armature's own node, called `root`,
  which Unreal makes the first bone of the skeleton.
- "maya": for Maya and MotionBuilder: the same in centimetres, their unit; a root is a bone.
- "blender": Blender's own axes and units; imports back unchanged.
"""

from dataclasses import dataclass
from pathlib import Path

import bpy

from ..scene.baking import ROOT_MOTIONS
from .staging import SHAPES, ExportError, Look, write_staged

__all__ = ["PRESETS", "ExportError", "export_fbx"]


@dataclass(frozen=True)
class _Preset:
    """What differs from program to program."""

    y_up: bool
    """See `staging.Look`."""
    centimetres: bool
    """See `staging.Look`."""
    root_node: bool
    """Whether a root is the armature's own node."""
    scale: str
    """Where Blender's exporter puts the scale of units."""


_PRESETS = {
    "unity": _Preset(True, False, False, "FBX_SCALE_ALL"),
    "unreal": _Preset(True, True, True, "FBX_SCALE_ALL"),
    "maya": _Preset(True, True, False, "FBX_SCALE_ALL"),
    "blender": _Preset(False, False, False, "FBX_SCALE_NONE"),
}
PRESETS = tuple(_PRESETS)


def export_fbx(
    armature: bpy.types.Object, path: Path, preset: str = "unity", root: str = "keep", shape: str = "bake"
) -> Path:
    """Write armature, skinned mesh and one take over the scene's frame range. `root`, `shape`: see `staging.Look`.

    The file appears under its name only when it is complete. Raises ExportError.
    """
    if preset not in _PRESETS:
        raise ExportError(f"There is no FBX preset '{preset}'; choose one of {', '.join(PRESETS)}.")
    if root not in ROOT_MOTIONS or shape not in SHAPES:
        raise ExportError(
            f"Choose the root motion from {', '.join(ROOT_MOTIONS)} and the shape from {', '.join(SHAPES)}."
        )
    kind = _PRESETS[preset]
    look = Look(kind.y_up, kind.centimetres, root, kind.root_node and root == "root", shape)
    return write_staged(armature, path, look, lambda file, scene: bpy.ops.export_scene.fbx(
        filepath=file,
        check_existing=False,
        object_types={"ARMATURE", "MESH"},
        apply_scale_options=kind.scale,
        add_leaf_bones=False,
        bake_anim=True,
        bake_anim_use_all_bones=True,
        bake_anim_use_nla_strips=False,
        bake_anim_use_all_actions=False,
        bake_anim_force_startend_keying=True,
        # The default of 1.0 drops keys and lets feet shake.
        bake_anim_simplify_factor=0.0,
    ))  # fmt: skip

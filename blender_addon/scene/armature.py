# SPDX-License-Identifier: GPL-3.0-or-later
"""The armature: one bone a joint, head at the joint, tail along +Z.

With that tail and no roll a bone's rest axes are SMPL-X's axes (x left, y up, z forward), so an SMPL-X rotation
vector *is* the pose bone's rotation, and the pelvis bone's location is metres in SMPL-X axes.
"""

from collections.abc import Callable

import bpy
import numpy as np

from ..shared.axes import smpl_to_blender
from .clip_keys import ROOT_BONE
from .rest import RestBody

LONGEST_BONE = 0.1
SHORTEST_BONE = 0.01
ROOT_LENGTH = 0.3


def new_armature(name: str, rest: RestBody, root: bool = False) -> bpy.types.Armature:
    """A new armature with the bones of `rest`, and a root bone on the floor above them if `root`; not linked to
    anything yet.

    Bones can be made in edit mode only. That happens on a temporary object in a temporary scene, so the
    user's mode, selection and active object stay as they are.
    """
    return build_armature(name, lambda armature: _add_bones(armature, rest, root))


def build_armature(name: str, add_bones: Callable[[bpy.types.Armature], None]) -> bpy.types.Armature:
    """A new armature whose bones are made by `add_bones(armature)` in edit mode; see `new_armature`."""
    armature = bpy.data.armatures.new(name)
    scene = bpy.data.scenes.new("Bodyfield temporary")
    holder = bpy.data.objects.new("Bodyfield temporary", armature)
    try:
        scene.collection.objects.link(holder)
        layer = scene.view_layers[0]
        layer.objects.active = holder
        with bpy.context.temp_override(scene=scene, view_layer=layer, object=holder, active_object=holder):
            bpy.ops.object.mode_set(mode="EDIT")
            add_bones(armature)
            bpy.ops.object.mode_set(mode="OBJECT")
    finally:
        bpy.data.objects.remove(holder)
        bpy.data.scenes.remove(scene)
    armature.show_axes = False
    return armature


def _add_bones(armature: bpy.types.Armature, rest: RestBody, root: bool) -> None:
    heads = smpl_to_blender(rest.joints)
    lengths = _bone_lengths(rest)
    bones, above = [], None
    if root:
        above = armature.edit_bones.new(ROOT_BONE)
        above.head, above.tail, above.roll = (0, 0, 0), (0, 0, ROOT_LENGTH), 0.0
    for name, head, length, parent in zip(rest.joint_names, heads, lengths, rest.parents, strict=True):
        bone = armature.edit_bones.new(name)
        bone.head = head
        bone.tail = (head[0], head[1], head[2] + length)
        bone.roll = 0.0
        bone.parent = bones[parent] if parent >= 0 else above
        bones.append(bone)


def _bone_lengths(rest: RestBody) -> np.ndarray:
    """(55,) metres: only for the eye, half the way to the parent so that fingers get small bones."""
    to_parent = np.linalg.norm(rest.joints[1:] - rest.joints[rest.parents[1:]], axis=-1)
    return np.clip(np.concatenate([[LONGEST_BONE], 0.5 * to_parent]), SHORTEST_BONE, LONGEST_BONE)

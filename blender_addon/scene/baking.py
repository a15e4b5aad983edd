# SPDX-License-Identifier: GPL-3.0-or-later
"""A person's motion as it is seen, frame by frame, and the keys that give a plain skeleton the same motion.

Exporters get these keys on a copy without constraints and drivers, so that what the user built on top is in the file.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from ..geometry.rootmotion import split_root
from ..shared.axes import SMPL_TO_BLENDER, matrix_to_quaternion
from .clip_keys import ROOT_BONE
from .keys import Channel, bone_path

ROOT_MOTIONS = ("keep", "root", "in_place")
"""On the pelvis or on whatever bone it is now; on a root; nowhere: the body stays above the origin."""


@dataclass(frozen=True, eq=False)
class Take:
    """The motion of B bones over n frames, in the armature's space: metres, Blender's axes."""

    frames: np.ndarray
    """(n,) whole frames of the scene."""
    names: list[str]
    """The bones, parents first."""
    parents: np.ndarray
    """(B,) the bone above each bone, -1 where there is none."""
    rest: np.ndarray
    """(B, 4, 4) matrices of the bones at rest."""
    matrices: np.ndarray
    """(n, B, 4, 4) matrices of the bones in each frame."""


@contextlib.contextmanager
def undisturbed(scene: bpy.types.Scene, objects: Sequence[bpy.types.Object]) -> Iterator[None]:
    """Evaluate `objects` at other frames, in another scene, and leave them as they are in the user's: Blender writes
    what it evaluates back into the objects themselves, over poses that were not keyed yet, too."""
    kept = [
        (ob, ob.matrix_basis.copy(), [b.matrix_basis.copy() for b in ob.pose.bones] if ob.pose else [])
        for ob in objects
    ]
    try:
        yield
    finally:
        scene.frame_set(scene.frame_current, subframe=scene.frame_subframe)
        for ob, own, bones in kept:
            ob.matrix_basis = own
            for bone, basis in zip(ob.pose.bones if bones else (), bones, strict=True):
                bone.matrix_basis = basis


def sample_take(scene: bpy.types.Scene, armature: bpy.types.Object) -> Take:
    """Every whole frame of the scene's range; the pose in the user's scene stays as it is."""
    bones = list(armature.data.bones)
    row = {bone.name: i for i, bone in enumerate(bones)}
    parents = np.array([row[bone.parent.name] if bone.parent else -1 for bone in bones])
    frames = np.arange(scene.frame_start, scene.frame_end + 1)
    matrices = np.empty((len(frames), len(bones), 4, 4))
    # Alone in a scene: evaluating the skinned mesh for every frame would take most of the time.
    alone = bpy.data.scenes.new("Bodyfield temporary")
    alone.render.fps, alone.render.fps_base = scene.render.fps, scene.render.fps_base
    with undisturbed(scene, [armature]):
        try:
            alone.collection.objects.link(armature)
            with bpy.context.temp_override(scene=alone, view_layer=alone.view_layers[0]):
                for i, frame in enumerate(frames.tolist()):
                    alone.frame_set(frame)
                    pose = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
                    matrices[i] = [pose[bone.name].matrix for bone in bones]
        finally:
            bpy.data.scenes.remove(alone)
    rest = np.array([bone.matrix_local for bone in bones])
    return Take(frames, [bone.name for bone in bones], parents, rest, matrices)


def without_root(take: Take) -> Take:
    """The same motion of a skeleton that begins with the pelvis."""
    if ROOT_BONE not in take.names:
        return take
    keep = [i for i, name in enumerate(take.names) if name != ROOT_BONE]
    number = {old: new for new, old in enumerate(keep)}
    parents = np.array([number.get(int(take.parents[i]), -1) for i in keep])
    names = [take.names[i] for i in keep]
    return Take(take.frames, names, parents, take.rest[keep], take.matrices[:, keep])


def bone_channels(take: Take) -> list[Channel]:
    """Location, rotation and scale-free keys of all bones that give `take`."""
    basis = _basis(take)
    return [c for i, name in enumerate(take.names) for c in _bone(name, basis[:, i])]


def root_motion(take: Take, way: str) -> tuple[list[Channel], np.ndarray, np.ndarray]:
    """(channels of all bones but the root, root quaternions (n, 4), root places (n, 3)) of a take without root bone;
    the root in SMPL-X axes (y up). `way`: "root" or "in_place", where the root stays still."""
    (pelvis,) = (i for i, parent in enumerate(take.parents) if parent < 0)
    to_smpl = SMPL_TO_BLENDER.T
    turns = matrix_to_quaternion(to_smpl @ take.matrices[:, pelvis, :3, :3])
    places, rest = (
        take.matrices[:, pelvis, :3, 3] @ SMPL_TO_BLENDER,
        take.rest[pelvis, :3, 3] @ SMPL_TO_BLENDER,
    )
    if way == "in_place":
        still = np.tile([1.0, 0, 0, 0], (len(turns), 1))
        root, place, turn, location = still, np.zeros_like(places), turns, places * [0, 1, 0] - rest
    else:
        root, place, turn, location = split_root(turns, places, rest)
    name = take.names[pelvis]
    channels = [
        Channel(bone_path(name, "location"), location, name),
        Channel(bone_path(name, "rotation_quaternion"), turn, name, quaternion=True),
    ]
    basis = _basis(take)
    others = [i for i in range(len(take.names)) if i != pelvis]
    return channels + [c for i in others for c in _bone(take.names[i], basis[:, i])], root, place


def _basis(take: Take) -> np.ndarray:
    """(n, B, 4, 4) of each bone relative to its rest place under its parent."""
    back, rest_back = np.linalg.inv(take.matrices), np.linalg.inv(take.rest)
    out = np.empty_like(take.matrices)
    for i, parent in enumerate(take.parents.tolist()):
        if parent < 0:
            out[:, i] = rest_back[i] @ take.matrices[:, i]
        else:
            under = np.linalg.inv(rest_back[parent] @ take.rest[i])
            out[:, i] = under @ back[:, parent] @ take.matrices[:, i]
    return out


def _bone(name: str, basis: np.ndarray) -> list[Channel]:
    turns = matrix_to_quaternion(basis[:, :3, :3] / np.linalg.norm(basis[:, :3, :3], axis=1, keepdims=True))
    return [
        Channel(bone_path(name, "location"), basis[:, :3, 3], name),
        Channel(bone_path(name, "rotation_quaternion"), turns, name, quaternion=True),
    ]

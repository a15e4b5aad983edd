# SPDX-License-Identifier: GPL-3.0-or-later
"""One person of a clip, built or brought up to date in steps: armature, mesh, weights, keys.

A new person is put together outside of any collection and shown when it is whole, so that nobody, and no undo, sees
half of one. One that is there already is changed in place: its keys curve by curve.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import bpy
import numpy as np

from ..geometry.rootmotion import split_root
from ..geometry.timing import scene_frames
from ..link.job import BodyMessage, Result
from ..shared.axes import root_in_smpl_axes, rotvec_to_quaternion
from . import contacts, doubt, naming, uncertainty
from .armature import new_armature
from .body_surface import remember_body
from .clip_keys import (
    BETAS_KEY,
    FLOOR_KEY,
    JOB_KEY,
    NAME_KEY,
    PERSON_KEY,
    ROOT_BONE,
    ROOT_KEY,
    SHOT_KEY,
    TRACK_KEY,
    WORLD_KEY,
)
from .keys import Channel, bone_path, key_steps
from .mesh import add_expressions, add_weights, new_mesh, set_rest_shape
from .rest import RestBody, rest_body
from .shots import World
from .steps import Mark, Steps, VanishedError
from .visibility import visibility_steps

VERTICES = 4000
"""Whose weights are written in one step."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a person is to become."""

    job: str
    """The backend's id of the clip's job."""
    name: str
    """What the person's armature is called, unless the user has renamed it."""
    colour: tuple[float, ...]
    """Of the person, linear RGBA."""
    fps: float
    """The clip's rate."""
    root_bone: bool
    """Whether a new armature gets a root bone."""
    body: BodyMessage
    """The body to build."""
    result: Result
    """The motion to key."""
    world: World
    """Where the shot's space lies."""
    last: float
    """The scene frame at which the clip ends."""


def find_collection(job: str) -> bpy.types.Collection | None:
    """The collection of a job's clip."""
    return next((c for c in bpy.data.collections if c.get(JOB_KEY) == job), None)


def objects_of(job: str) -> list[bpy.types.Object]:
    """What the job's collection holds of ours."""
    found = find_collection(job)
    return [ob for ob in found.objects if ob.get(JOB_KEY) == job] if found else []


def armature_of(job: str, track: int) -> bpy.types.Object | None:
    """The armature of a person that is in the scene."""
    found = (ob for ob in objects_of(job) if ob.type == "ARMATURE" and ob.get(TRACK_KEY) == track)
    return next(found, None)


def person_steps(plan: Plan, collection: Callable[[], bpy.types.Collection]) -> Steps[str]:
    """Write one person; -> its mark (see `steps`). `collection()`: where a new one goes, made when missing. Raises
    BodyError, and VanishedError when the user took the person away meanwhile."""
    rest = rest_body(plan.body, plan.result.betas)
    if armature_of(plan.job, plan.result.track) is not None:
        return (yield from _update(plan, rest))
    return (yield from _create(plan, rest, collection))


def _create(plan: Plan, rest: RestBody, collection: Callable[[], bpy.types.Collection]) -> Steps[str]:
    name = plan.name
    armature = bpy.data.objects.new(name, new_armature(name, rest, root=plan.root_bone))
    armature[ROOT_KEY], armature[NAME_KEY] = plan.root_bone, armature.name
    mesh = bpy.data.objects.new(f"{armature.name} body", new_mesh(f"{armature.name} body", rest))
    for ob in (armature, mesh):
        ob[JOB_KEY], ob[TRACK_KEY] = plan.job, plan.result.track
    mesh.parent = armature
    # Not in any collection yet, so they are found again by their names.
    names = [armature.name, mesh.name]
    mark, skin = (Mark(lambda name=name: _loose(name, plan)) for name in names)

    def pause() -> Steps[None]:
        return _both(mark, skin)

    try:
        yield from pause()
        for first in range(0, len(rest.vertices), VERTICES):
            add_weights(skin.block(), rest, slice(first, first + VERTICES))
            yield from pause()
        armature, mesh = mark.block(), skin.block()
        mesh.modifiers.new("Armature", "ARMATURE").object = armature
        remember_body(mesh, armature, plan.body)
        _describe(armature, [mesh], plan, rest)
        yield from pause()
        yield from _keys(plan, rest, mark.block, pause)
        if np.any(plan.result.expression):
            yield from _expression(plan, rest, skin.block, pause)
        yield from _visibility(plan, skin.block, pause)
        value = mark.put()
        for ob in (mark.block(), skin.block()):
            collection().objects.link(ob)
        return value
    finally:
        for name in names:
            if (ob := _loose(name, plan)) is not None:
                remove_object(ob)


def _update(plan: Plan, rest: RestBody) -> Steps[str]:
    track = plan.result.track
    mark = Mark(lambda: armature_of(plan.job, track))
    armature = mark.block()
    old, name = armature.data, armature.name
    # As it was chosen first: keys of the user's on the pelvis are meant relative to what it hangs on.
    armature.data = new_armature(name, rest, root=bool(armature.get(ROOT_KEY)))
    bpy.data.armatures.remove(old)
    armature.data.name = name
    meshes = _meshes(plan)
    for child in meshes:
        set_rest_shape(child.data, rest)
    _describe(armature, meshes, plan, rest)
    yield from mark.pause()
    yield from _keys(plan, rest, mark.block, mark.pause)
    if np.any(plan.result.expression):
        for name in [mesh.name for mesh in _meshes(plan)]:
            yield from _expression(plan, rest, lambda name=name: _mesh(plan, name), mark.pause)
    for name in [mesh.name for mesh in _meshes(plan)]:
        yield from _visibility(plan, lambda name=name: _there(_mesh(plan, name)), mark.pause)
    return mark.put()


def _describe(armature: bpy.types.Object, meshes: list[bpy.types.Object], plan: Plan, rest: RestBody) -> None:
    for key, text in (("body", plan.body.name), ("licence", plan.body.licence_note)):
        armature[f"bodyfield_{key}"] = text
    armature[WORLD_KEY] = plan.world.values()
    armature[SHOT_KEY], armature[PERSON_KEY] = int(plan.result.shot[0]), int(plan.result.person[0])
    naming.give_colour((armature, *meshes), plan.colour)
    doubt.declare(armature, plan.result)
    armature[BETAS_KEY] = np.asarray(plan.result.betas, float).tolist()
    uncertainty.declare(armature, plan.result)
    contacts.declare(armature, rest)
    if not np.isfinite(plan.result.floor).all():
        if armature.get(FLOOR_KEY) == 0:
            del armature[FLOOR_KEY]
    elif FLOOR_KEY not in armature:
        armature[FLOOR_KEY] = 0.0
    for mesh in meshes:
        uncertainty.paint_mean(mesh, rest, plan.result)
    # A new armature has no pose until Blender next evaluates it; its bones then start as QUATERNION.
    for bone in armature.pose.bones if armature.pose else ():
        bone.rotation_mode = "QUATERNION"


def _keys(plan: Plan, rest: RestBody, find: Callable, pause: Callable) -> Steps[None]:
    frames = scene_frames(plan.result.frames, plan.result.times, plan.fps)
    armature = find()
    channels = _channels(plan, rest, bool(armature.get(ROOT_KEY)))
    yield from key_steps(find, armature.name, channels, frames, pause)
    action = find().animation_data.action
    if action is None:
        raise VanishedError
    contacts.mark_footsteps(action, plan.result, frames)
    yield from _visibility(plan, find, pause)


def _visibility(plan: Plan, find: Callable, pause: Callable) -> Steps[None]:
    name = f"{find().name} visibility"
    yield from visibility_steps(find, name, plan.result, plan.fps, plan.last, pause)


def _channels(plan: Plan, rest: RestBody, root_bone: bool) -> Iterator[Channel]:
    """One after the other, so that no step computes all rotations of a long clip."""
    result, names = plan.result, rest.joint_names
    turn, position = root_in_smpl_axes(result.pose[:, 0], result.trans, rest.joints[0], plan.world.level)
    position += plan.world.shift
    location = position - rest.joints[0]
    if root_bone:
        way, place, turn, location = split_root(turn, position, rest.joints[0])
        yield Channel(bone_path(ROOT_BONE, "location"), place, ROOT_BONE)
        yield Channel(bone_path(ROOT_BONE, "rotation_quaternion"), way, ROOT_BONE, quaternion=True)
    yield Channel(bone_path(names[0], "location"), location, names[0])
    for i, name in enumerate(names):
        rotation = rotvec_to_quaternion(result.pose[:, i]) if i else turn
        yield Channel(bone_path(name, "rotation_quaternion"), rotation, name, quaternion=True)
    yield from uncertainty.channels(result)
    yield from contacts.channels(result)
    yield from doubt.channels(result)


def _expression(plan: Plan, rest: RestBody, find: Callable, pause: Callable) -> Steps[None]:
    mesh = find()
    name, names = f"{mesh.name} expression", add_expressions(mesh, rest)
    channels = [
        Channel(f'key_blocks["{key}"].value', column[:, None], "Expression")
        for key, column in zip(names, plan.result.expression.T, strict=False)
    ]
    frames = scene_frames(plan.result.frames, plan.result.times, plan.fps)
    yield from pause()
    yield from key_steps(lambda: _shape_keys(find()), name, channels, frames, pause)


def _shape_keys(mesh: bpy.types.Object | None) -> bpy.types.Key:
    if _there(mesh).data.shape_keys is None:
        raise VanishedError
    return mesh.data.shape_keys


def _there(mesh: bpy.types.Object | None) -> bpy.types.Object:
    if mesh is None:
        raise VanishedError
    return mesh


def _meshes(plan: Plan) -> list[bpy.types.Object]:
    return [ob for ob in objects_of(plan.job) if ob.type == "MESH" and ob.get(TRACK_KEY) == plan.result.track]


def _mesh(plan: Plan, name: str) -> bpy.types.Object | None:
    return next((ob for ob in _meshes(plan) if ob.name == name), None)


def _loose(name: str, plan: Plan) -> bpy.types.Object | None:
    """An object that is still being made: in no collection."""
    ob = bpy.data.objects.get(name)
    if ob is None or (ob.get(JOB_KEY), ob.get(TRACK_KEY)) != (plan.job, plan.result.track):
        return None
    return None if ob.users_collection else ob


def _both(mark: Mark, skin: Mark) -> Steps[None]:
    mark.put()
    yield from skin.pause()
    mark.block()


def chosen_person(context: bpy.types.Context) -> bpy.types.Object | None:
    """The armature of the active object (or its parent), else the only one that we made."""
    for ob in naming.active_of(context):
        if ob.type == "ARMATURE":
            return ob
    ours = [ob for ob in context.scene.objects if ob.type == "ARMATURE" and TRACK_KEY in ob]
    return ours[0] if len(ours) == 1 else None


def remove_object(ob: bpy.types.Object) -> None:
    """Remove an object of ours with what nothing else uses of it."""
    data, action = ob.data, ob.animation_data.action if ob.animation_data else None
    keys = data.shape_keys if ob.type == "MESH" else None
    faces = keys.animation_data.action if keys is not None and keys.animation_data else None
    bpy.data.objects.remove(ob)
    for block in (data, action, faces):
        if block is not None and block.users == 0:
            bpy.data.batch_remove([block])

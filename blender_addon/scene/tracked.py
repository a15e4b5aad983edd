# SPDX-License-Identifier: GPL-3.0-or-later
"""Tracked points: an animated empty per point and person, with its uncertainty as an F-curve of a custom property.

Empties are children of the person's armature object, so that they go along when the user moves it. Bones and
constraints that follow them, and their places over time for an export, are made from them here too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from ..geometry.timing import scene_frames
from ..link.pointsjob import TrackedPoints
from ..shared.axes import camera_to_world
from .armature import build_armature
from .baking import undisturbed
from .clip_keys import FOLLOWS_KEY, JOB_KEY, RATE_KEY, TRACK_KEY, WORLD_KEY
from .keys import PIECE, Channel, key_steps
from .points import POINT_KEY, points_collection
from .shots import world_of
from .steps import Mark, Steps, VanishedError, run

TRACKED_KEY = "bodyfield_tracked"
UNCERTAINTY = "uncertainty_m"
SIZE, BONE_LENGTH = 0.015, 0.05


@dataclass(frozen=True, eq=False)
class Sampled:
    """P tracked points at n whole frames."""

    names: list[str]
    """What the user calls the points."""
    frames: np.ndarray
    """(n,) whole frames of the scene."""
    positions: np.ndarray
    """(n, P, 3) metres in the world, z up."""
    uncertainty: np.ndarray
    """(n, P) metres, one sigma."""
    rate: float
    """Frames per second."""


def clip_collection(job: str) -> bpy.types.Collection | None:
    """The collection of a job's clip."""
    return next((c for c in bpy.data.collections if c.get(JOB_KEY) == job and WORLD_KEY in c), None)


def write_tracked(
    armature: bpy.types.Object, names: Sequence[str], ids: Sequence[int], points: TrackedPoints
) -> list[bpy.types.Object]:
    """Key one empty a point for the person `armature`; earlier ones of the same points are brought up to date, and
    keys that the user made or changed on them stay. `names`, `ids`: of the points, in their order."""
    run(tracked_steps(lambda: armature, names, ids, points))
    known = _by_point(armature)
    return [known[uid] for uid in ids]


def tracked_steps(
    find: Callable[[], bpy.types.Object | None],
    names: Sequence[str],
    ids: Sequence[int],
    points: TrackedPoints,
) -> Steps[None]:
    """`write_tracked` in steps; `find()` gives the armature, also after an undo. Raises VanishedError when it is
    gone."""
    mark = Mark(find)
    while True:
        try:
            return (yield from _tracked_steps(mark, names, ids, points))
        except VanishedError:
            if mark.value is None or find() is None:
                raise
            # An undo took some of them away: all once more.
            mark.value = None
            yield


def _tracked_steps(
    mark: Mark, names: Sequence[str], ids: Sequence[int], points: TrackedPoints
) -> Steps[None]:
    armature = mark.block()
    clip = clip_collection(armature[JOB_KEY])
    if clip is None:
        raise VanishedError
    world = world_of(armature, clip)
    frames = scene_frames(points.frames, points.times, clip[RATE_KEY])
    written = 0
    for i, (name, uid) in enumerate(zip(names, ids, strict=True)):
        armature = mark.block()
        empty = _by_point(armature).get(uid) or _new_empty(armature, uid)
        empty.name = f"{name} person {armature[TRACK_KEY]}"
        empty[TRACKED_KEY] = name
        places = camera_to_world(points.positions[:, i], world.shift, world.level)
        channels = [
            Channel("location", places, "Location"),
            Channel(f'["{UNCERTAINTY}"]', points.uncertainty[:, i, None], "Uncertainty"),
        ]
        yield from key_steps(lambda uid=uid: _empty_of(mark, uid), empty.name, channels, frames, mark.pause)
        # Making an empty and its action takes about as long as a thousand keys.
        written += 4 * len(frames) + 1000
        if written >= PIECE:
            written = 0
            yield from mark.pause()


def _by_point(armature: bpy.types.Object) -> dict[int, bpy.types.Object]:
    return {ob[POINT_KEY]: ob for ob in tracked(armature)}


def _empty_of(mark: Mark, uid: int) -> bpy.types.Object:
    found = _by_point(mark.block()).get(uid)
    if found is None:
        raise VanishedError
    return found


def tracked(armature: bpy.types.Object) -> list[bpy.types.Object]:
    """The tracked points of a person, in the order in which they were made."""
    found = [ob for ob in armature.children if TRACKED_KEY in ob and ob.type == "EMPTY"]
    return sorted(found, key=lambda ob: ob[POINT_KEY])


def sample(scene: bpy.types.Scene, armature: bpy.types.Object) -> Sampled | None:
    """Where the tracked points of a person are at every whole frame that they are keyed for, as Blender evaluates
    them: with what the user changed. None when there are none."""
    empties = tracked(armature)
    spans = [
        ob.animation_data.action.frame_range
        for ob in empties
        if ob.animation_data and ob.animation_data.action
    ]
    if not spans:
        return None
    first, last = int(np.ceil(min(s[0] for s in spans))), int(np.floor(max(s[1] for s in spans)))
    frames = np.arange(first, last + 1)
    positions, uncertainty = np.empty((len(frames), len(empties), 3)), np.empty((len(frames), len(empties)))
    # In a scene of their own: evaluating the skinned bodies for every frame would take most of the time.
    alone = bpy.data.scenes.new("Bodyfield temporary")
    with undisturbed(scene, [armature, *empties]):
        try:
            for ob in empties:
                alone.collection.objects.link(ob)
            with bpy.context.temp_override(scene=alone, view_layer=alone.view_layers[0]):
                for row, frame in enumerate(frames.tolist()):
                    alone.frame_set(frame)
                    depsgraph = bpy.context.evaluated_depsgraph_get()
                    for column, ob in enumerate(empties):
                        seen = ob.evaluated_get(depsgraph)
                        positions[row, column] = seen.matrix_world.translation
                        uncertainty[row, column] = seen[UNCERTAINTY]
        finally:
            bpy.data.scenes.remove(alone)
    rate = scene.render.fps / scene.render.fps_base
    return Sampled([ob[TRACKED_KEY] for ob in empties], frames, positions, uncertainty, rate)


def bones_for(armature: bpy.types.Object) -> bpy.types.Object:
    """An armature with a bone for each tracked point of a person, which copies the empty's place. One that was made
    before is replaced; what the user has built on it, constraints to its bones say, finds the new one by name."""
    empties = tracked(armature)
    name = f"{armature.name} points"
    data = build_armature(name, lambda made: _add_bones(made, [ob[TRACKED_KEY] for ob in empties]))
    rig = next((ob for ob in armature.children if FOLLOWS_KEY in ob), None)
    if rig is None:
        rig = bpy.data.objects.new(name, data)
        rig[FOLLOWS_KEY], rig.parent = True, armature
        armature.users_collection[0].objects.link(rig)
    else:
        old, rig.data = rig.data, data
        bpy.data.armatures.remove(old)
        data.name = name
    bpy.context.view_layer.update()
    for ob in empties:
        bone = rig.pose.bones[ob[TRACKED_KEY]]
        follow = next((c for c in bone.constraints if c.type == "COPY_LOCATION"), None)
        follow = follow or bone.constraints.new("COPY_LOCATION")
        follow.target = ob
    return rig


def _add_bones(armature: bpy.types.Armature, names: Sequence[str]) -> None:
    for name in names:
        bone = armature.edit_bones.new(name)
        bone.head, bone.tail = (0, 0, 0), (0, 0, BONE_LENGTH)


def _new_empty(armature: bpy.types.Object, uid: int) -> bpy.types.Object:
    clip = clip_collection(armature[JOB_KEY])
    collection = points_collection(None, f"{clip.name} points", clip)
    empty = bpy.data.objects.new("point", None)
    empty[JOB_KEY], empty[TRACK_KEY], empty[POINT_KEY] = armature[JOB_KEY], armature[TRACK_KEY], uid
    empty[UNCERTAINTY] = 0.0
    empty.id_properties_ui(UNCERTAINTY).update(
        min=0.0, subtype="DISTANCE", description="How far off this point may be, one sigma in metres"
    )
    empty.empty_display_type, empty.empty_display_size = "PLAIN_AXES", SIZE
    empty.show_in_front = True
    empty.parent = armature
    collection.objects.link(empty)
    return empty

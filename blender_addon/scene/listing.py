# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of a clip as a list: who is in it, what they are called, who is left out.

Whoever is excluded stays in the file, in a hidden collection within the clip's, with all keys: taking him back brings
them back.
"""

from collections.abc import Iterable

import bpy

from .clip_keys import EXCLUDED_KEY, JOB_KEY, NAME_KEY, SHOT_KEY, TRACK_KEY
from .edits import edits_of, renamed
from .keys import users_key_count
from .naming import is_person
from .person import find_collection, objects_of

EXCLUDED = "excluded"


def label_of(armature: bpy.types.Object) -> str:
    """What the list calls a person."""
    if armature.name != armature.get(NAME_KEY):
        return armature.name
    clip = find_collection(armature.get(JOB_KEY, ""))
    track, shot = int(armature.get(TRACK_KEY, 0)), int(armature.get(SHOT_KEY, 1))
    return renamed(edits_of(clip), track) or f"Person {track}" + (f" (shot {shot})" if shot > 1 else "")


def people_in(clip: bpy.types.Collection | None, left_out: bool = False) -> list[bpy.types.Object]:
    """The armatures of a clip by their tracks; `left_out`: also of those who are excluded."""
    if clip is None:
        return []
    found = list(clip.objects)
    if left_out and (parked := excluded_collection(clip)) is not None:
        found += list(parked.objects)
    return sorted((ob for ob in found if is_person(ob)), key=lambda ob: ob[TRACK_KEY])


def clip_of(context: bpy.types.Context) -> bpy.types.Collection | None:
    """The clip of the active person, else the newest one in the scene."""
    active = context.active_object
    for ob in (active, active.parent if active is not None else None):
        if ob is not None and JOB_KEY in ob and (clip := find_collection(ob[JOB_KEY])) is not None:
            return clip
    here = [c for c in context.scene.collection.children_recursive if JOB_KEY in c]
    return max(here, key=lambda c: str(c[JOB_KEY]), default=None)


def active_person(context: bpy.types.Context) -> bpy.types.Object | None:
    """The armature of ours that is active, or whose body is; the only one of the clip."""
    active = context.active_object
    for ob in (active, active.parent if active is not None else None):
        if ob is not None and is_person(ob):
            return ob
    found = people_in(clip_of(context))
    return found[0] if len(found) == 1 else None


def excluded_collection(clip: bpy.types.Collection) -> bpy.types.Collection | None:
    """Where a clip keeps whoever is excluded; None while nobody is."""
    return next((c for c in clip.children if EXCLUDED_KEY in c), None)


def is_excluded(armature: bpy.types.Object) -> bool:
    """Whether a person was left out."""
    return any(EXCLUDED_KEY in c for c in armature.users_collection)


def leave_out(clip: bpy.types.Collection, armature: bpy.types.Object, out: bool) -> None:
    """Take a person, with everything that hangs on the armature, out of sight, or back."""
    parked = excluded_collection(clip)
    if parked is None:
        if not out:
            return
        parked = bpy.data.collections.new(f"{clip.name} {EXCLUDED}")
        parked[EXCLUDED_KEY] = clip[JOB_KEY]
        clip.children.link(parked)
    parked.hide_viewport = parked.hide_render = True
    source, target = (clip, parked) if out else (parked, clip)
    for ob in (armature, *armature.children_recursive):
        if ob.name in source.objects:
            source.objects.unlink(ob)
            target.objects.link(ob)
    if not parked.objects:
        bpy.data.collections.remove(parked)


def without_users_keys(job: str, tracks: Iterable[int]) -> list[bpy.types.Object]:
    """The armatures of these tracks on which nothing was keyed by hand."""
    wanted = set(tracks)
    found = [ob for ob in objects_of(job) if is_person(ob) and ob[TRACK_KEY] in wanted]
    return [ob for ob in found if not users_key_count(ob)]

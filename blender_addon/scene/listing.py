# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of a clip as a list: who is in it, what they are called, who is left out.

Whoever is excluded stays in the file, in a hidden collection within the clip's, with all keys: taking him back brings
them back.
"""

import bpy
import numpy as np

from .clip_keys import EXCLUDED_KEY, FOLLOWS_KEY, JOB_KEY, NAME_KEY, SHOT_KEY, TRACK_KEY
from .doubt import DOUBTFUL, marks
from .edits import edits_of, renamed
from .keys import curves_of
from .markers import DOUBT, put_markers
from .naming import active_of, is_person
from .person import find_collection, remove_object

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
    for ob in active_of(context):
        if JOB_KEY in ob and (clip := find_collection(ob[JOB_KEY])) is not None:
            return clip
    here = [c for c in context.scene.collection.children_recursive if JOB_KEY in c]
    return max(here, key=lambda c: str(c[JOB_KEY]), default=None)


def active_person(context: bpy.types.Context) -> bpy.types.Object | None:
    """The armature of ours that is active, or whose body is; the only one of the clip."""
    for ob in active_of(context):
        if is_person(ob):
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


def remove_person(armature: bpy.types.Object) -> None:
    """Remove somebody with everything of ours that hangs on the armature: bodies, tracked points, bones for points."""
    job = armature[JOB_KEY]
    for ob in [*armature.children_recursive, armature]:
        if ob.get(JOB_KEY) == job or FOLLOWS_KEY in ob:
            remove_object(ob)


def span_of(armature: bpy.types.Object) -> tuple[float, float] | None:
    """The scene frames in which a person is known first and last; None when there are no keys."""
    known = known_frames(armature)
    return (min(known), max(known)) if known else None


def known_frames(armature: bpy.types.Object) -> set[float]:
    """The scene frames in which a person is known."""
    curve = next((c for c in curves_of(armature) if c.data_path == f'["{DOUBTFUL}"]'), None)
    if curve is None:
        return set()
    flat = np.empty(2 * len(curve.keyframe_points), np.float32)
    curve.keyframe_points.foreach_get("co", flat)
    return set(flat[::2].tolist())


def mark_doubt(scene: bpy.types.Scene) -> None:
    """Bring the markers of doubtful frames up to date in a scene; its settings say whether there are any."""
    settings = getattr(scene, "bodyfield_people", None)
    shown = settings is None or settings.doubt_markers
    for clip in [c for c in scene.collection.children_recursive if JOB_KEY in c]:
        people = [(label_of(ob), ob) for ob in people_in(clip)] if shown else []
        put_markers(scene, clip[JOB_KEY], DOUBT, marks(people))

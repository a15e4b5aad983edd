# SPDX-License-Identifier: GPL-3.0-or-later
"""What the list of people shows and changes: names, which one is active, whether doubtful frames are marked."""

import bpy
from bpy.props import BoolProperty, IntProperty, PointerProperty, StringProperty

from .clip_keys import JOB_KEY, SHOT_KEY, TRACK_KEY
from .edits import edits_of, keep_edits, with_name
from .listing import active_person, clip_of, is_excluded, label_of, mark_doubt
from .naming import automatic_name, is_person, rename_objects
from .person import find_collection


def _label(self: "BODYFIELD_PG_person") -> str:
    return label_of(self.id_data) if is_person(self.id_data) else ""


def _set_label(self: "BODYFIELD_PG_person", value: str) -> None:
    rename(self.id_data, value)


def rename(armature: bpy.types.Object, name: str) -> None:
    """Call somebody by another name: armature, bodies, markers, and the corrections of the clip."""
    name, clip = name.strip(), find_collection(armature.get(JOB_KEY, ""))
    if not is_person(armature) or clip is None or name == label_of(armature):
        return
    track, shot = int(armature[TRACK_KEY]), int(armature.get(SHOT_KEY, 1))
    keep_edits(clip, with_name(edits_of(clip), track, name))
    rename_objects(armature, name or automatic_name(clip.name, track, shot))
    for scene in bpy.data.scenes:
        if armature.name in scene.objects:
            mark_doubt(scene)


def _active(_self: "BODYFIELD_PG_people") -> int:
    clip, person = clip_of(bpy.context), active_person(bpy.context)
    if clip is None or person is None:
        return -1
    return next((i for i, ob in enumerate(clip.all_objects) if ob == person), -1)


def _set_active(_self: "BODYFIELD_PG_people", index: int) -> None:
    clip = clip_of(bpy.context)
    if clip is not None and 0 <= index < len(clip.all_objects):
        select(bpy.context, clip.all_objects[index])


def select(context: bpy.types.Context, armature: bpy.types.Object) -> None:
    """Make somebody the active and the only selected object; not while another one is in a mode of its own."""
    layer, active = context.view_layer, context.view_layer.objects.active
    if armature.name not in layer.objects or is_excluded(armature):
        return
    if active is not None and active.mode != "OBJECT":
        return
    for ob in layer.objects:
        ob.select_set(ob == armature, view_layer=layer)
    layer.objects.active = armature


def _markers_changed(_self: "BODYFIELD_PG_people", context: bpy.types.Context) -> None:
    mark_doubt(context.scene)


class BODYFIELD_PG_person(bpy.types.PropertyGroup):
    """Somebody of a clip"""

    label: StringProperty(
        name="Person",
        description="What this person is called: the armature and the body get this name too",
        get=_label,
        set=_set_label,
    )


class BODYFIELD_PG_people(bpy.types.PropertyGroup):
    """The list of people"""

    active: IntProperty(name="Active Person", description="Who is selected", get=_active, set=_set_active)
    doubt_markers: BoolProperty(
        name="Mark Doubtful Frames",
        description="Put a marker on the timeline where it begins to be doubtful who somebody is",
        default=True,
        update=_markers_changed,
    )


def add_people_settings() -> None:
    """After the classes are registered."""
    bpy.types.Object.bodyfield_person = PointerProperty(type=BODYFIELD_PG_person)
    bpy.types.Scene.bodyfield_people = PointerProperty(type=BODYFIELD_PG_people)


def remove_people_settings() -> None:
    """Undo `add_people_settings`; before the classes go."""
    del bpy.types.Object.bodyfield_person, bpy.types.Scene.bodyfield_people

# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel "People": everybody in a clip, and the corrections of who is who."""

import bpy

from ..languages.words import iface
from ..ops import people_edits
from ..scene.clip_keys import DOUBTFUL_KEY, FRAMES_KEY, JOB_KEY, PERSON_KEY, RATE_KEY, SHOT_KEY, TRACK_KEY
from ..scene.edits import edits_of, excluded
from ..scene.listing import active_person, clip_of, is_excluded, label_of, people_in
from ..scene.naming import is_person
from ..scene.person import find_collection
from ..work import running
from .viewcolours import SwitchesColours, shows


class BODYFIELD_OT_show_colours(SwitchesColours, bpy.types.Operator):
    """Show in this view everybody in a colour of their own; again: off"""

    bl_idname = "bodyfield.show_colours"
    bl_label = "Show Colours"
    colours = "OBJECT"


class BODYFIELD_UL_people(bpy.types.UIList):
    """People of a clip; double-click to rename"""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index=0) -> None:
        """One row: colour, name, who that is in an earlier shot, seconds, doubtful frames, whether taken in."""
        row, out = layout.row(align=True), is_excluded(item)
        swatch = row.row()
        swatch.ui_units_x = 0.8
        swatch.prop(item, "color", text="")
        name = row.row()
        name.active = not out
        name.prop(item.bodyfield_person, "label", text="", emboss=False)
        row.label(text=summary(item))
        if doubtful := int(item.get(DOUBTFUL_KEY, 0)):
            mark = row.row()
            mark.ui_units_x = 2.2
            mark.label(text=str(doubtful), icon="ERROR")
        box = row.operator(
            people_edits.BODYFIELD_OT_exclude_person.bl_idname,
            text="",
            icon="CHECKBOX_DEHLT" if out else "CHECKBOX_HLT",
            emboss=False,
        )
        box.track, box.out = int(item[TRACK_KEY]), not out

    def filter_items(self, context, data, property) -> tuple[list[int], list[int]]:
        """Armatures of people only, by their tracks."""
        objects = list(getattr(data, property))
        shown = [self.bitflag_filter_item * is_person(ob) for ob in objects]
        order = sorted(range(len(objects)), key=lambda i: int(objects[i].get(TRACK_KEY, 0)))
        place = [0] * len(objects)
        for new, old in enumerate(order):
            place[old] = new
        return shown, place


def summary(armature: bpy.types.Object) -> str:
    """Who that is in an earlier shot, and for how long somebody is seen."""
    clip = find_collection(armature.get(JOB_KEY, ""))
    rate = clip.get(RATE_KEY, 0.0) if clip is not None else 0.0
    parts = []
    if earlier := int(armature.get(PERSON_KEY, 0)):
        parts.append(iface("= person {track}", track=earlier))
    if rate and FRAMES_KEY in armature:
        parts.append(iface("{seconds:.1f} s", seconds=armature[FRAMES_KEY] / rate))
    return "  ".join(parts)


class BODYFIELD_PT_people(bpy.types.Panel):
    """Who is who in a clip"""

    bl_idname = "BODYFIELD_PT_people"
    bl_parent_id = "BODYFIELD_PT_main"
    bl_label = "People"
    bl_category = "Bodyfield"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """The list, what it says of the active one, corrections."""
        layout, clip = self.layout, clip_of(context)
        layout.use_property_decorate = False
        if clip is None:
            layout.label(text="Import a video first", icon="INFO")
            return
        settings = context.scene.bodyfield_people
        layout.template_list("BODYFIELD_UL_people", "", clip, "all_objects", settings, "active", rows=4)
        person = active_person(context)
        if person is not None:
            layout.label(text=described(person), icon="ARMATURE_DATA")
        column = layout.column(align=True)
        column.operator_context = "INVOKE_DEFAULT"
        for cls, icon in (
            (people_edits.BODYFIELD_OT_merge_people, "AUTOMERGE_ON"),
            (people_edits.BODYFIELD_OT_split_person, "UNLINKED"),
            (people_edits.BODYFIELD_OT_swap_people, "UV_SYNC_SELECT"),
            (people_edits.BODYFIELD_OT_same_person, "LINKED"),
        ):
            column.operator(cls.bl_idname, icon=icon)
        _draw_missing(layout, clip)
        row = layout.row(align=True)
        row.operator(people_edits.BODYFIELD_OT_next_doubtful.bl_idname, icon="NEXT_KEYFRAME")
        row.prop(settings, "doubt_markers", text="", icon="MARKER_HLT")
        row = layout.row(align=True)
        row.operator(BODYFIELD_OT_show_colours.bl_idname, icon="COLOR", depress=shows(context, "OBJECT"))
        row.operator(people_edits.BODYFIELD_OT_reset_corrections.bl_idname, icon="LOOP_BACK")


def described(armature: bpy.types.Object) -> str:
    """Shot, frames and doubtful frames of somebody."""
    parts = [iface("{count} frames", count=int(armature.get(FRAMES_KEY, 0)))]
    if int(armature.get(SHOT_KEY, 1)) > 1:
        parts.insert(0, iface("Shot {number}", number=int(armature[SHOT_KEY])))
    if doubtful := int(armature.get(DOUBTFUL_KEY, 0)):
        parts.append(iface("{count} doubtful", count=doubtful))
    return f"{label_of(armature)}: {', '.join(parts)}"


def _draw_missing(layout: bpy.types.UILayout, clip: bpy.types.Collection) -> None:
    """Whoever was left out before the result came into this file can be taken in too."""
    here = {int(ob[TRACK_KEY]) for ob in people_in(clip, left_out=True)}
    for track in excluded(edits_of(clip)):
        if track not in here:
            row = layout.row()
            row.enabled = running.current() is None
            row.label(text=iface("Person {track} was left out", track=track))
            back = row.operator(people_edits.BODYFIELD_OT_exclude_person.bl_idname, text="Take In")
            back.track, back.out = track, False

# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel "Result": how sure it is, floor and motion, shape sliders, pose correctives."""

import bpy

from ..languages.words import iface
from ..ops.bodykeys import BODYFIELD_OT_correctives, BODYFIELD_OT_shape_keys
from ..ops.floor import BODYFIELD_OT_snap_to_floor
from ..ops.update_motion import BODYFIELD_OT_update_motion
from ..scene.bodykeys import LEVELS, has_shape_keys, level_of, persons_mesh
from ..scene.contacts import BRIDGED
from ..scene.doubt import DOUBTFUL
from ..scene.listing import clip_of
from ..scene.person import chosen_person
from ..scene.uncertainty import MEAN
from ..work.body_keys import WORDS
from .found import found
from .panel import lines_of
from .viewcolours import SwitchesColours, shows


class BODYFIELD_OT_show_uncertainty(SwitchesColours, bpy.types.Operator):
    """Show in this view how sure the motion is: blue is sure, yellow 5 cm off, dark red 10 cm and more; again: off"""

    bl_idname = "bodyfield.show_uncertainty"
    bl_label = "Show Uncertainty"
    colours = "VERTEX"


class BODYFIELD_PT_result(bpy.types.Panel):
    """What can be done with a person"""

    bl_idname = "BODYFIELD_PT_result"
    bl_parent_id = "BODYFIELD_PT_main"
    bl_label = "Result"
    bl_category = "Bodyfield"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Uncertainty, motion and floor, shape, correctives."""
        layout, person = self.layout, chosen_person(context)
        layout.use_property_decorate = False
        _draw_found(layout, context)
        mesh = persons_mesh(person)
        if mesh is None:
            layout.label(text="Select a person", icon="INFO")
            return
        row = layout.row(align=True)
        shown = shows(context, "VERTEX")
        row.operator(BODYFIELD_OT_show_uncertainty.bl_idname, icon="COLOR", depress=shown)
        row.prop(context.scene.bodyfield, "live_uncertainty", toggle=True)
        if MEAN in person:
            layout.label(text=iface("Now: {off:.1f} cm on average", off=100 * person[MEAN]))
        if person.get(BRIDGED):
            layout.label(text="Not seen in this frame", icon="HIDE_ON")
        if person.get(DOUBTFUL):
            layout.label(text="It is doubtful who this is in this frame", icon="ERROR")
        column = layout.column(align=True)
        column.operator(BODYFIELD_OT_update_motion.bl_idname, icon="FILE_REFRESH")
        column.operator(BODYFIELD_OT_snap_to_floor.bl_idname, icon="TRIA_DOWN_BAR")
        column.prop(context.scene.bodyfield, "show_contacts", toggle=True, icon="MESH_CIRCLE")
        have = has_shape_keys(mesh)
        shape = layout.operator(
            BODYFIELD_OT_shape_keys.bl_idname,
            text="Remove Shape Sliders" if have else "Add Shape Sliders",
            icon="SHAPEKEY_DATA",
        )
        shape.mode = "REMOVE" if have else "ADD"
        layout.label(text="Pose Correctives:")
        row, now = layout.row(align=True), level_of(mesh)
        for level in LEVELS:
            button = row.operator(BODYFIELD_OT_correctives.bl_idname, text=WORDS[level], depress=level == now)
            button.level = level


def _draw_found(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Lens, camera and shots."""
    column = layout.column(align=True)
    for text, icon in found(clip_of(context), context.scene.frame_current_final):
        for line in lines_of(text):
            column.label(text=line, icon=icon)
            icon = "NONE"

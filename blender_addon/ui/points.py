# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel "Points": the list, what can be done with it, tracking and what comes of it."""

import bpy

from ..languages.words import iface
from ..ops import add_points, point_list, track_points
from ..scene.points import person_of
from ..scene.tracked import tracked
from ..work import running

ICONS = {
    "surface": "MESH_DATA",
    "joint": "BONE_DATA",
    "landmark": "OUTLINER_OB_EMPTY",
    "position": "EMPTY_AXIS",
    "own": "QUESTION",
}


class BODYFIELD_UL_points(bpy.types.UIList):
    """Points by name; double-click to rename"""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index=0) -> None:
        """One row: kind, name, depth."""
        row = layout.row(align=True)
        row.prop(item, "name", text="", emboss=False, icon=ICONS[item.kind])
        if item.kind == "surface" and item.depth:
            row.label(text=iface("{depth:.0f} mm", depth=1000 * item.depth))


class BODYFIELD_MT_points(bpy.types.Menu):
    """More to do with points"""

    bl_label = "Points"

    def draw(self, context: bpy.types.Context) -> None:
        """Presets, mirror and snap, files."""
        layout = self.layout
        for identifier, label, _ in point_list.PRESETS:
            layout.operator(point_list.BODYFIELD_OT_add_preset.bl_idname, text=label).preset = identifier
        layout.separator()
        for cls in (point_list.BODYFIELD_OT_mirror_points, point_list.BODYFIELD_OT_snap_points):
            layout.operator(cls.bl_idname, text=iface("{what}: All", what=iface(cls.bl_label))).which = "ALL"
        layout.operator(point_list.BODYFIELD_OT_remove_points.bl_idname, text="Remove All").which = "ALL"
        layout.separator()
        layout.operator(point_list.BODYFIELD_OT_import_points.bl_idname, icon="IMPORT")
        layout.operator(point_list.BODYFIELD_OT_export_points.bl_idname, icon="EXPORT")


class BODYFIELD_PT_points(bpy.types.Panel):
    """Any point of the body: click it, track it, export it"""

    bl_idname = "BODYFIELD_PT_points"
    bl_parent_id = "BODYFIELD_PT_main"
    bl_label = "Points"
    bl_category = "Bodyfield"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"

    def draw(self, context: bpy.types.Context) -> None:
        """Add, list, active point, track, use."""
        layout, points = self.layout, context.scene.bodyfield_points
        layout.use_property_split = True
        layout.use_property_decorate = False
        row = layout.row(align=True)
        row.scale_y = 1.3
        row.operator(add_points.BODYFIELD_OT_add_points.bl_idname, icon="CURSOR")
        row.prop(points, "snap", text="", icon="SNAP_VERTEX")
        row.prop(points, "mirror", text="", icon="MOD_MIRROR")
        self._draw_list(layout, points)
        layout.prop(points, "person")
        if points.items:
            self._draw_use(layout, context)

    @staticmethod
    def _draw_list(layout: bpy.types.UILayout, points) -> None:
        row = layout.row()
        row.template_list("BODYFIELD_UL_points", "", points, "items", points, "active", rows=5)
        side = row.column(align=True)
        remove = point_list.BODYFIELD_OT_remove_points.bl_idname
        side.operator(remove, text="", icon="REMOVE").which = "ACTIVE"
        side.menu("BODYFIELD_MT_points", text="", icon="DOWNARROW_HLT")
        side.separator()
        mirror, snap = point_list.BODYFIELD_OT_mirror_points, point_list.BODYFIELD_OT_snap_points
        side.operator(mirror.bl_idname, text="", icon="MOD_MIRROR").which = "ACTIVE"
        side.operator(snap.bl_idname, text="", icon="SNAP_VERTEX").which = "ACTIVE"
        side.prop(points, "show_names", text="", icon="SORTALPHA")
        item = points.items[points.active] if 0 <= points.active < len(points.items) else None
        if item is not None and item.kind == "surface":
            layout.prop(item, "depth", slider=True)
        else:
            layout.prop(points, "new_depth", text="Depth")

    @staticmethod
    def _draw_use(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        column = layout.column()
        column.enabled = running.current() is None
        column.operator(track_points.BODYFIELD_OT_track_points.bl_idname, icon="TRACKING")
        person = person_of(context.scene)
        if person is None or not tracked(person):
            return
        column = layout.column(align=True)
        column.operator_context = "INVOKE_DEFAULT"
        row = column.row(align=True)
        for ending in (".trc", ".c3d", ".csv"):
            write = row.operator(track_points.BODYFIELD_OT_export_tracked.bl_idname, text=ending[1:].upper())
            write.format = ending
        column.operator(track_points.BODYFIELD_OT_bones_for_points.bl_idname, icon="BONE_DATA")
        column.operator(track_points.BODYFIELD_OT_follow_point.bl_idname, icon="CON_LOCLIKE")

# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel "Export": one button for each program and each format."""

import bpy

from ..ops.export_fbx import FBX_PRESETS, FORMATS, BODYFIELD_OT_export_fbx, BODYFIELD_OT_export_motion


class BODYFIELD_PT_export(bpy.types.Panel):
    """Take a person to another program"""

    bl_idname = "BODYFIELD_PT_export"
    bl_parent_id = "BODYFIELD_PT_main"
    bl_label = "Export"
    bl_category = "Bodyfield"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """The options are asked for in the file browser."""
        column = self.layout.column(align=True)
        column.label(text="FBX for", icon="EXPORT")
        for identifier, label, _ in FBX_PRESETS:
            column.operator(BODYFIELD_OT_export_fbx.bl_idname, text=label).preset = identifier
        column.separator()
        column.label(text="Other formats", icon="EXPORT")
        for identifier, label, _ in FORMATS:
            column.operator(BODYFIELD_OT_export_motion.bl_idname, text=label).format = identifier

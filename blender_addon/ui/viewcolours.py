# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours of a 3D view in solid mode, switched on and off by a button."""

import bpy


def shows(context: bpy.types.Context, colours: str) -> bool:
    """Whether this view shows the `colours` ("OBJECT", "VERTEX")."""
    shading = context.space_data.shading
    return shading.type == "SOLID" and shading.color_type == colours


class SwitchesColours:
    """An operator that shows `colours` in the view, and the materials' again."""

    colours = "OBJECT"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """In a 3D view."""
        return context.space_data is not None and context.space_data.type == "VIEW_3D"

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Switch the view's colours."""
        shading = context.space_data.shading
        shown = shows(context, self.colours)
        shading.type, shading.color_type = "SOLID", "MATERIAL" if shown else self.colours
        return {"FINISHED"}

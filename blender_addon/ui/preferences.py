# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences."""

import bpy
from bpy.props import StringProperty

from ..ops import running


class BODYFIELD_AP_preferences(bpy.types.AddonPreferences):
    """Where the backend is, and which body to use"""

    bl_idname = __package__.rpartition(".")[0]

    backend_python: StringProperty(
        name="Backend's Python",
        description="Python of the backend's environment; empty: the one that install.py set up",
        subtype="FILE_PATH",
    )
    body_file: StringProperty(
        name="SMPL-X File",
        description="Your own licensed SMPLX_*.npz in place of the built-in body; empty: the built-in one",
        subtype="FILE_PATH",
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Two paths and how the backend is."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "backend_python")
        layout.prop(self, "body_file")
        layout.label(text=f"Backend: {running.backend.status}")

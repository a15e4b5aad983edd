# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences."""

import bpy
from bpy.props import StringProperty

from ..languages.words import iface
from ..ops.setup import (
    BODYFIELD_OT_doctor,
    BODYFIELD_OT_open_log,
    BODYFIELD_OT_remove_backend,
    BODYFIELD_OT_setup_backend,
)
from ..work import running


class BODYFIELD_AP_preferences(bpy.types.AddonPreferences):
    """Where the backend is, and which body to use"""

    bl_idname = __package__.rpartition(".")[0]

    backend_python: StringProperty(
        name="Backend's Python",
        description="Python of the backend's environment; empty: the one that install.py set up",
        subtype="FILE_PATH",
    )
    body_file: StringProperty(
        name="Body File",
        description="Your own licensed SMPL-X, SMPL-H or SMPL file (.npz, .pkl) in place of the built-in body; "
        "empty: the built-in one",
        subtype="FILE_PATH",
    )

    wheels: StringProperty(
        name="Folder of Wheels",
        description="Set the backend up from the packages in this folder, without a network",
        subtype="DIR_PATH",
    )
    index: StringProperty(
        name="Package Index", description="Address of another package index; empty: pip's own"
    )
    torch_index: StringProperty(
        name="PyTorch Index",
        description="Address of the package index for PyTorch alone, such as PyTorch's own for CPU; empty: as above",
    )

    def draw(self, context: bpy.types.Context) -> None:
        """Paths, sources of packages, and how the backend is."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "backend_python")
        layout.prop(self, "body_file")
        column = layout.column(heading="Set Up Backend")
        for name in ("wheels", "index", "torch_index"):
            column.prop(self, name)
        layout.label(text=iface("Backend: {status}", status=running.backend.status))
        row = layout.row()
        for cls in (
            BODYFIELD_OT_setup_backend,
            BODYFIELD_OT_doctor,
            BODYFIELD_OT_open_log,
            BODYFIELD_OT_remove_backend,
        ):
            row.operator(cls.bl_idname)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Export of one person as FBX."""

from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper

from ..scene.clip_keys import TRACK_KEY
from ..scene.fbx import ExportError, export_fbx


def chosen_person(context: bpy.types.Context) -> bpy.types.Object | None:
    """The armature of the active object (or its parent), else the only one that we made."""
    active = context.active_object
    for ob in (active, active.parent if active else None):
        if ob is not None and ob.type == "ARMATURE":
            return ob
    ours = [ob for ob in context.scene.objects if ob.type == "ARMATURE" and TRACK_KEY in ob]
    return ours[0] if len(ours) == 1 else None


class BODYFIELD_OT_export_fbx(bpy.types.Operator, ExportHelper):
    """Write the active person, with every frame of the scene's range, as FBX"""

    bl_idname = "bodyfield.export_fbx"
    bl_label = "Export Person as FBX"

    filename_ext = ".fbx"
    filter_glob: StringProperty(default="*.fbx", options={"HIDDEN"})
    preset: EnumProperty(
        name="For",
        items=(
            ("unity", "Game Engine", "Y up, metres, no rotation or scale on any node at rest"),
            ("blender", "Blender", "As it is here; comes back unchanged"),
        ),
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A person must be chosen."""
        cls.poll_message_set("Select the armature or the body of a person")
        return chosen_person(context) is not None

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write the file."""
        try:
            export_fbx(chosen_person(context), Path(bpy.path.abspath(self.filepath)), self.preset)
        except ExportError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{Path(self.filepath).name} is written.")
        return {"FINISHED"}

# SPDX-License-Identifier: GPL-3.0-or-later
"""Snap to Floor: one person up or down, until the lowest point of the body stands at height 0."""

import bpy

from ..languages.words import iface, said
from ..scene.bodykeys import persons_mesh
from ..scene.floor import snap_to_floor
from ..scene.person import chosen_person
from .operators import Refused, guarded


class BODYFIELD_OT_snap_to_floor(bpy.types.Operator):
    """Move this person up or down until the lowest point of the body is at height 0 in this frame; no key is changed"""

    bl_idname = "bodyfield.snap_to_floor"
    bl_label = "Snap to Floor"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A person of ours must be chosen."""
        cls.poll_message_set(iface("Select the armature or the body of a person"))
        return persons_mesh(chosen_person(context)) is not None

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Move the armature's object."""
        moved = snap_to_floor(chosen_person(context))
        if moved is None:
            raise Refused(said("This person is not shown in this frame: go to another one."))
        self.report({"INFO"}, said("Moved by {moved:.1f} cm.", moved=100 * moved))
        return {"FINISHED"}

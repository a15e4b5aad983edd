# SPDX-License-Identifier: GPL-3.0-or-later
"""Shape sliders and pose correctives: asks the backend for the body, makes the keys little by little."""

import bpy
from bpy.props import EnumProperty

from ..languages.words import iface
from ..link.job import BodyMessage
from ..scene.bodykeys import LEVELS, SHAPE, persons_mesh, remove_keys
from ..scene.clip_keys import JOB_KEY
from ..scene.person import chosen_person
from ..work import running
from ..work.body_keys import BodyKeys
from ..work.video_import import VideoImport
from .operators import guarded, put_on_its_way


def known_body(job: str) -> BodyMessage | None:
    """The body of a job that was imported in this session."""
    clips = (one.clip for one in running.imports if isinstance(one, VideoImport))
    return next((clip.body for clip in clips if clip is not None and clip.job == job), None)


class _OnPerson:
    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A person of ours must be chosen."""
        cls.poll_message_set(iface("Select the armature or the body of a person"))
        return persons_mesh(chosen_person(context)) is not None

    def start(self, context: bpy.types.Context, what: str) -> set[str]:
        person = chosen_person(context)
        return put_on_its_way(
            self, lambda: BodyKeys(running.backend, person, what, known_body(person[JOB_KEY]))
        )


class BODYFIELD_OT_shape_keys(_OnPerson, bpy.types.Operator):
    """Add sliders for the body's shape as shape keys; at 0 the body is as it was fitted"""

    bl_idname = "bodyfield.shape_keys"
    bl_label = "Shape Sliders"
    bl_options = {"REGISTER"}

    mode: EnumProperty(
        name="Mode",
        items=(
            ("ADD", "Add", "Add the sliders that are missing"),
            ("REMOVE", "Remove", "Remove all of them"),
        ),
    )

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add or remove."""
        if self.mode == "ADD":
            return self.start(context, "shape")
        remove_keys(persons_mesh(chosen_person(context)), SHAPE)
        bpy.ops.ed.undo_push(message="Remove Shape Sliders")
        return {"FINISHED"}


class BODYFIELD_OT_correctives(_OnPerson, bpy.types.Operator):
    """Let the skin follow the pose more truly by driven shape keys; more of them make playback slower"""

    bl_idname = "bodyfield.correctives"
    bl_label = "Pose Correctives"
    bl_options = {"REGISTER"}

    level: EnumProperty(
        name="Level",
        items=(
            ("off", "Off", "Plain skinning: the fastest"),
            ("body", "Body", "Correct the skin around the joints of trunk, arms and legs"),
            ("all", "All", "Fingers and face too: the slowest"),
        ),
    )

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Put the keys on their way, or remove them."""
        assert self.level in LEVELS
        return self.start(context, self.level)

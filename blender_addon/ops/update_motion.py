# SPDX-License-Identifier: GPL-3.0-or-later
"""Update Motion: other camera, floor, feet, smoothing or height for the people of a job that is in the file."""

import bpy

from ..languages.words import iface
from ..link import jobstore
from ..scene.clip_keys import JOB_KEY
from ..scene.person import chosen_person
from ..work import running
from ..work.motion_update import MotionUpdate
from .motion_choices import MotionChoices, draw_motion, set_options, show_options
from .operators import Refused, guarded, put_on_its_way


class BODYFIELD_OT_update_motion(bpy.types.Operator, MotionChoices):
    """Work out the motion of everybody in this clip anew with other settings, without looking at the video again; keys of your own stay"""  # noqa: E501

    bl_idname = "bodyfield.update_motion"
    bl_label = "Update Motion"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A person of ours must be chosen."""
        cls.poll_message_set(iface("Select the armature or the body of a person"))
        return JOB_KEY in (chosen_person(context) or ())

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """A dialog that shows what the job was made with."""
        try:
            show_options(self, _job(context).options)
        except (jobstore.StoreError, Refused) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, context: bpy.types.Context) -> None:
        """Settings in the dialog."""
        self.layout.use_property_split = True
        self.layout.use_property_decorate = False
        draw_motion(self.layout, self)

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Put it on its way; what was not set stays as the job has it."""
        job, changes = _job(context), set_options(self)
        if "fov_deg" in changes:
            # A focal length of the job's would go before it.
            changes["focal_px"] = None
        return put_on_its_way(
            self, lambda: MotionUpdate(running.backend, job, changes, scene=context.scene.name)
        )


def _job(context: bpy.types.Context) -> jobstore.StoredJob:
    """The finished job of the chosen person. Raises StoreError or Refused."""
    job = jobstore.stored_job(chosen_person(context)[JOB_KEY])
    if not job.finished:
        raise Refused(f"{job.name} is not finished: resume it first.")
    return job

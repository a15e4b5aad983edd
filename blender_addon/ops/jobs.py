# SPDX-License-Identifier: GPL-3.0-or-later
"""Pause and Continue; jobs of earlier sessions: go on with one, import its results, remove it."""

from pathlib import Path

import bpy
from bpy.props import StringProperty

from ..languages.words import iface
from ..link import jobstore
from ..link.jobstore import StoredJob
from ..shared.frames import Clip, ClipError, open_clip
from ..work import running
from ..work.earlier_jobs import look_again
from ..work.video_import import VideoImport
from .operators import guarded, put_on_its_way, under_way


def _clip_of(job: StoredJob, path: Path | None) -> Clip:
    """The video of a job, from `path` or from where it was. Raises ClipError."""
    path = path or job.source
    if path is None:
        raise ClipError(f"Where {job.name} lies is not known: choose it.")
    clip = open_clip(path, job.fps)
    job.check_clip(clip)
    return clip


def _import_of(job: StoredJob, path: Path | None, scene: bpy.types.Scene) -> VideoImport:
    """Raises ClipError."""
    try:
        source = _clip_of(job, path).path
    except ClipError:
        if not job.finished:
            raise
        # Only the footage behind the body is missing then.
        source = None
    choices = scene.bodyfield
    return VideoImport(
        running.backend,
        source,
        {},
        job_id=job.id,
        fps=job.fps,
        scene=scene.name,
        set_scene=choices.set_scene,
        root_bone=choices.root_bone,
    )


class BODYFIELD_OT_pause(bpy.types.Operator):
    """Let the import stand still, so that the computer is free for other work, or let it go on where it was"""

    bl_idname = "bodyfield.pause"
    bl_label = "Pause or Continue"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only while something runs that can stand still."""
        now = running.current()
        return now is not None and now.can_pause

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Pause, or continue when paused."""
        now = running.current()
        now.pause(not now.paused)
        running.redraw()
        return {"FINISHED"}


class BODYFIELD_OT_resume_job(bpy.types.Operator):
    """Go on with this job where it stopped, or bring its finished results into the scene"""

    bl_idname = "bodyfield.resume_job"
    bl_label = "Resume Job"
    bl_options = {"REGISTER"}

    job: StringProperty(name="Job", options={"HIDDEN", "SKIP_SAVE"})
    filepath: StringProperty(
        name="Video", description="The job's video", subtype="FILE_PATH", options={"SKIP_SAVE"}
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for the video when it is needed and not where it was."""
        try:
            job = jobstore.stored_job(self.job)
            if not job.finished:
                _clip_of(job, None)
        except ClipError as error:
            self.report({"WARNING"}, str(error))
            self.filepath = job.name
            context.window_manager.fileselect_add(self)
            return {"RUNNING_MODAL"}
        except jobstore.StoreError:
            # `execute` says so.
            pass
        return self.execute(context)

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Put it on its way."""
        job = jobstore.stored_job(self.job)
        path = Path(bpy.path.abspath(self.filepath)) if self.filepath else None
        look_again()
        return put_on_its_way(self, lambda: _import_of(job, path, context.scene))


class BODYFIELD_OT_remove_job(bpy.types.Operator):
    """Delete this job with its finished frames and results; what is in the scene stays"""

    bl_idname = "bodyfield.remove_job"
    bl_label = "Remove Job"

    job: StringProperty(name="Job", options={"HIDDEN", "SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask first."""
        return context.window_manager.invoke_confirm(
            self,
            event,
            title=iface("Remove Job"),
            message=iface("Its finished frames and results are deleted; what is in the scene stays."),
            confirm_text=iface("Remove"),
        )

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Delete it, unless it is at work."""
        now = running.current()
        if now is not None and now.job_id == self.job:
            raise under_way(now)
        jobstore.remove(self.job)
        look_again()
        running.redraw()
        return {"FINISHED"}

# SPDX-License-Identifier: GPL-3.0-or-later
"""The panel "Earlier Jobs": what was interrupted, and results that are not in this file."""

import time

import bpy

from ..languages.words import iface
from ..link.jobstore import StoredJob
from ..ops.jobs import BODYFIELD_OT_remove_job, BODYFIELD_OT_resume_job
from ..work import running
from ..work.earlier_jobs import earlier_jobs

MOST = 10
ICONS = {"done": "CHECKMARK", "failed": "ERROR", "cancelled": "CANCEL", "interrupted": "PAUSE"}


class BODYFIELD_PT_jobs(bpy.types.Panel):
    """Jobs of earlier sessions that can be resumed or imported"""

    bl_idname = "BODYFIELD_PT_jobs"
    bl_parent_id = "BODYFIELD_PT_main"
    bl_label = "Earlier Jobs"
    bl_category = "Bodyfield"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """One box each, the newest first."""
        jobs = earlier_jobs()
        if not jobs:
            self.layout.label(text=iface("Nothing to resume"), icon="CHECKMARK")
        for job in jobs[:MOST]:
            _draw_job(self.layout.box(), job)
        if len(jobs) > MOST:
            self.layout.label(text=iface("{count} older ones are not shown", count=len(jobs) - MOST))


def _draw_job(box: bpy.types.UILayout, job: StoredJob) -> None:
    row = box.row()
    row.label(text=job.name, icon=ICONS.get(job.state, "QUESTION"))
    remove = row.operator(BODYFIELD_OT_remove_job.bl_idname, text="", icon="TRASH", emboss=False)
    remove.job = job.id
    box.label(text=described(job))
    row = box.row()
    row.enabled = running.current() is None
    text, icon = ("Import", "IMPORT") if job.finished else ("Resume", "FILE_REFRESH")
    row.operator(BODYFIELD_OT_resume_job.bl_idname, text=text, icon=icon).job = job.id


def described(job: StoredJob) -> str:
    """When it began, how it ended, how far it came."""
    began = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.created))
    if job.finished:
        return f"{began}, {iface('{done} frames', done=job.done)}"
    far = iface("{done} of {total} frames", done=job.done, total=job.total or "?")
    return f"{began}, {iface(job.state)}, {far}"

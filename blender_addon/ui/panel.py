# SPDX-License-Identifier: GPL-3.0-or-later
"""The sidebar panel "Bodyfield" and the settings it shows."""

import json
import re

import bpy
from bpy.props import BoolProperty, PointerProperty, StringProperty

from ..languages.words import iface
from ..ops.choose_people import BODYFIELD_OT_choose_people, BODYFIELD_OT_follow_everybody
from ..ops.import_video import (
    CHOICES,
    BODYFIELD_OT_cancel,
    BODYFIELD_OT_import_video,
    MocapChoices,
    draw_choices,
)
from ..ops.jobs import BODYFIELD_OT_pause
from ..ops.setup import BODYFIELD_OT_doctor, BODYFIELD_OT_open_log, BODYFIELD_OT_setup_backend
from ..scene import uncertainty
from ..scene.chosen import choice_of, words_of
from ..work import running
from ..work.backend_setup import installed
from ..work.work import STAGES, Work

WRAP = 42
"""Characters a line of text in the sidebar."""


def _live_changed(_settings: "BODYFIELD_PG_settings", context: bpy.types.Context) -> None:
    uncertainty.on_frame(context.scene)


def _contacts_changed(_settings: "BODYFIELD_PG_settings", _context: bpy.types.Context) -> None:
    running.redraw()


class BODYFIELD_PG_settings(bpy.types.PropertyGroup, MocapChoices):
    """The panel's settings, kept in the scene"""

    filepath: StringProperty(
        name="Video", description="Movie, or first picture of a sequence", subtype="FILE_PATH"
    )
    live_uncertainty: BoolProperty(
        name="At This Frame",
        description="Colour the bodies by how sure the current frame is, in place of the mean over the clip",
        update=_live_changed,
    )
    show_contacts: BoolProperty(
        name="Show Contacts",
        description="Draw a disk on the floor under every heel, toe, hand and knee that rests in this frame",
        update=_contacts_changed,
    )


class BODYFIELD_PT_main(bpy.types.Panel):
    """Video in, an animated body out"""

    bl_idname = "BODYFIELD_PT_main"
    bl_label = "Bodyfield"
    bl_category = "Bodyfield"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"

    def draw(self, context: bpy.types.Context) -> None:
        """Settings and start, or progress and cancel; then results and the backend's state."""
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        now = running.current()
        if now is not None:
            _draw_progress(layout, now)
        else:
            _draw_start(layout, context.scene)
        for ended in reversed(_shown()):
            _draw_result(layout, ended)
        _draw_backend(layout, now is None)


def _shown() -> list[Work]:
    """What has ended, without what went on under the same job later."""
    ended = [one for one in running.imports if one.finished]
    newest = {one.job_id: one for one in running.imports if one.job_id and one.source}
    return [one for one in ended if not one.source or newest.get(one.job_id, one) is one]


def _draw_backend(layout: bpy.types.UILayout, idle: bool) -> None:
    row = layout.row(align=True)
    row.label(text=iface("Backend: {status}", status=running.backend.status), icon="PREFERENCES")
    row.operator(BODYFIELD_OT_doctor.bl_idname, text="", icon="HEART")
    row.operator(BODYFIELD_OT_open_log.bl_idname, text="", icon="TEXT")
    if idle and not installed() and running.backend.device is None:
        layout.operator(BODYFIELD_OT_setup_backend.bl_idname, icon="IMPORT")


def _draw_start(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    settings = scene.bodyfield
    chosen = choice_of(scene, settings.filepath)
    layout.prop(settings, "filepath")
    row = layout.row(align=True)
    row.operator(
        BODYFIELD_OT_choose_people.bl_idname,
        text=words_of(scene) if chosen else "Choose People",
        icon="RESTRICT_SELECT_OFF",
    )
    if chosen:
        row.operator(BODYFIELD_OT_follow_everybody.bl_idname, text="", icon="X")
    draw_choices(layout, settings, chosen is not None)
    row = layout.row()
    row.enabled = bool(settings.filepath)
    row.scale_y = 1.5
    row.operator_context = "EXEC_DEFAULT"
    start = row.operator(BODYFIELD_OT_import_video.bl_idname, text="Start", icon="PLAY")
    start.filepath = settings.filepath
    start.chosen = json.dumps(chosen) if chosen else ""
    for name in CHOICES:
        setattr(start, name, getattr(settings, name))


def _draw_progress(layout: bpy.types.UILayout, now: Work) -> None:
    far = now.progress
    layout.label(text=now.name, icon="FILE_MOVIE")
    text = iface(STAGES[far.stage]) if far.stage in STAGES else far.stage
    if far.total:
        text += f"  {far.done} / {far.total}"
    layout.progress(text=text, factor=min(1.0, far.done / far.total) if far.total else 0.0)
    if far.seconds_left is not None:
        layout.label(text=iface("{time} left", time=time_left(far.seconds_left)))
    if now.waiting:
        _draw_text(layout, now.waiting, "INFO")
    row = layout.row(align=True)
    if now.can_pause:
        text, icon = ("Continue", "PLAY") if now.paused else ("Pause", "PAUSE")
        row.operator(BODYFIELD_OT_pause.bl_idname, text=text, icon=icon)
    row.operator(BODYFIELD_OT_cancel.bl_idname, icon="CANCEL")


def _draw_result(layout: bpy.types.UILayout, ended: Work) -> None:
    box = layout.box()
    icon = {"done": "CHECKMARK", "failed": "ERROR", "cancelled": "CANCEL"}[ended.state]
    state = ended.outcome if ended.state == "done" else iface(ended.state)
    box.label(text=iface("{name}: {state}", name=ended.name, state=state), icon=icon)
    for text in filter(None, (ended.error, *ended.warnings)):
        _draw_text(box, text, "NONE")
    _draw_remedy(box, ended.remedy)
    if ended.state != "done" and ended.job_id and ended.source:
        box.operator_context = "EXEC_DEFAULT"
        again = box.operator(BODYFIELD_OT_import_video.bl_idname, text="Resume", icon="FILE_REFRESH")
        again.filepath, again.job = str(ended.source), ended.job_id


def _draw_remedy(box: bpy.types.UILayout, remedy: str | None) -> None:
    """The button that helps after an error."""
    if remedy == "setup":
        box.operator(BODYFIELD_OT_setup_backend.bl_idname, icon="IMPORT")
    elif remedy == "preferences":
        show = box.operator("preferences.addon_show", text="Open Preferences", icon="PREFERENCES")
        show.module = __package__.rpartition(".")[0]
    elif remedy == "log":
        box.operator(BODYFIELD_OT_open_log.bl_idname, icon="TEXT")


def _draw_text(layout: bpy.types.UILayout, text: str, icon: str) -> None:
    """A sentence over as many lines as it needs."""
    column = layout.column(align=True)
    for line in lines_of(text):
        column.label(text=line, icon=icon)
        icon = "NONE"


def lines_of(text: str) -> list[str]:
    """A sentence cut at spaces, or anywhere between the wide characters of Chinese and Japanese."""
    lines, width = [""], 0
    for word in re.findall(r"[^\s\u2e80-\uffef]+|\s+|[\u2e80-\uffef]", text):
        size = 2 if word[0] >= "\u2e80" else len(word)
        if width and width + size > WRAP and not word.isspace():
            lines.append("")
            width = 0
        if width or not word.isspace():
            lines[-1] += " " if word.isspace() else word
            width += 1 if word.isspace() else size
    return [line.rstrip() for line in lines]


def time_left(seconds: float) -> str:
    """12 s; 3:05 min; 1:02 h."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds // 3600}:{seconds % 3600 // 60:02d} h"


def add_settings() -> None:
    """Give every scene the panel's settings; after the classes are registered."""
    bpy.types.Scene.bodyfield = PointerProperty(type=BODYFIELD_PG_settings)


def remove_settings() -> None:
    """Undo `add_settings`; before the classes go."""
    del bpy.types.Scene.bodyfield

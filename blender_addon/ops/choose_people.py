# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose People: a frame of the video over the 3D view, with everybody in it outlined and to be clicked; whoever was
not found gets a box by hand."""

import json
from pathlib import Path

import bpy

from ..geometry.pictureplane import REACH, Layout, frame_at, under
from ..languages.words import iface
from ..link.choosing import HELP, PeopleChooser, action_of
from ..link.process import BackendFailed, BackendMissing
from ..scene.chosen import choice_of, keep_choice
from ..scene.people_overlay import PeopleOverlay, layout_of, main_region
from ..shared.frames import ClipError, open_clip
from ..work import running
from .import_video import CHOICES, choices_to_options

TICK_S = 0.05
BUDGET_S = 0.02
_open: list["BODYFIELD_OT_choose_people"] = []
"""The one that is open, if any."""


def close_all() -> None:
    """Take the overlay away; called when the add-on is disabled."""
    for one in list(_open):
        one._clean(bpy.context)


class BODYFIELD_OT_choose_people(bpy.types.Operator):
    """Show a frame of the video with everybody in it outlined: click the people to follow, drag boxes around others"""

    bl_idname = "bodyfield.choose_people"
    bl_label = "Choose People"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A video must be there, and nothing under way."""
        if not context.scene.bodyfield.filepath:
            cls.poll_message_set(iface("Choose a video first"))
            return False
        cls.poll_message_set(iface("Wait for the end of what is running, or cancel it"))
        return running.current() is None and not _open

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Open the clip, show the overlay and wait for clicks."""
        settings = context.scene.bodyfield
        area = _area(context)
        if area is None:
            self.report({"ERROR"}, "People are chosen in a 3D view: open one first.")
            return {"CANCELLED"}
        try:
            path = Path(bpy.path.abspath(settings.filepath))
            clip = open_clip(path, settings.sequence_fps)
        except ClipError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        running.use_preferences(context)
        options = choices_to_options(settings, running.preferences_of(context))
        self._filepath = settings.filepath
        self._before = choice_of(context.scene, settings.filepath)
        self._found_before = context.scene.bodyfield_chosen.found
        self._chooser = PeopleChooser(running.backend, clip, options, self._before)
        self._area = area.as_pointer()
        self._dragging = False
        self._kept = self._before
        self._overlay = PeopleOverlay(self._chooser, self._area)
        manager = context.window_manager
        self._timer = manager.event_timer_add(TICK_S, window=context.window)
        context.workspace.status_text_set(iface(HELP))
        manager.modal_handler_add(self)
        _open.append(self)
        area.tag_redraw()
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """One event: work goes on by the timer; clicks and keys choose, step, start or leave."""
        try:
            return self._hear(context, event)
        except Exception:
            # Blender drops an operator that fails and does not call it again: the overlay would stay.
            self._clean(context)
            raise

    def _hear(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        area = next((a for a in context.window.screen.areas if a.as_pointer() == self._area), None)
        if area is None or area.type != "VIEW_3D" or self not in _open:
            return self._end(context, {"CANCELLED"})
        if running.current() is not None:
            # Start was pressed in the panel, which has taken the choice along.
            return self._end(context, {"FINISHED"})
        if event.type == "TIMER":
            return self._tick(context, area)
        if event.type.startswith("TIMER") or event.type == "WINDOW_DEACTIVATE":
            return {"PASS_THROUGH"}
        if event.type in {"MOUSEMOVE", "INBETWEEN_MOUSEMOVE"}:
            return self._move(context, area, event)
        if event.type == "LEFTMOUSE":
            return self._click(context, area, event)
        if event.value != "PRESS":
            return {"RUNNING_MODAL"} if self._over(area, event) else {"PASS_THROUGH"}
        act = action_of(event.type)
        if act is None or event.ctrl or event.alt or event.oskey:
            return {"RUNNING_MODAL"} if self._over(area, event) else {"PASS_THROUGH"}
        if act[0] == "start":
            return self._start(context)
        if act[0] == "leave":
            keep_choice(context.scene, self._filepath, self._before, self._found_before)
            return self._end(context, {"CANCELLED"})
        self._chooser.act(*act)
        self._changed(context, area)
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends the operator itself: a file is loaded, the window closed."""
        self._clean(context)

    def _tick(self, context: bpy.types.Context, area: bpy.types.Area) -> set[str]:
        try:
            changed = self._chooser.pump(BUDGET_S)
        except (ClipError, BackendMissing, BackendFailed) as error:
            self.report({"ERROR"}, str(error))
            return self._end(context, {"CANCELLED"})
        if self._chooser.error:
            self.report({"ERROR"}, self._chooser.error)
            return self._end(context, {"CANCELLED"})
        if changed:
            self._changed(context, area)
        # The timer's event is for us alone, but other operators have timers too.
        return {"PASS_THROUGH"}

    def _move(self, context: bpy.types.Context, area: bpy.types.Area, event: bpy.types.Event) -> set[str]:
        drawing = self._chooser.drawing is not None
        if not self._over(area, event) and not self._dragging and not drawing:
            self._point_at(area, None, False)
            return {"PASS_THROUGH"}
        where, x, y = self._where(context, area, event)
        if drawing:
            self._chooser.draw(*where.plane.to_picture(x, y))
            area.tag_redraw()
        elif self._dragging:
            self._chooser.go_to(frame_at(where.bar, x, self._chooser.count or 1))
            self._changed(context, area)
        else:
            self._point_at(area, self._under(where, x, y, context), where.button.holds(x, y))
        return {"RUNNING_MODAL"}

    def _click(self, context: bpy.types.Context, area: bpy.types.Area, event: bpy.types.Event) -> set[str]:
        if event.value == "RELEASE" and (self._dragging or self._chooser.drawing is not None):
            self._dragging = False
            self._chooser.end_drawing()
            self._changed(context, area)
            return {"RUNNING_MODAL"}
        if not self._over(area, event):
            return {"PASS_THROUGH"}
        if event.value not in {"PRESS", "DOUBLE_CLICK"}:
            return {"RUNNING_MODAL"}
        where, x, y = self._where(context, area, event)
        if where.button.holds(x, y):
            return self._start(context)
        if where.bar.holds(x, y) and self._chooser.count:
            self._dragging = True
            self._chooser.go_to(frame_at(where.bar, x, self._chooser.count))
        elif (who := self._under(where, x, y, context)) is not None:
            self._chooser.act("toggle", who)
        elif where.plane.rect.holds(x, y):
            self._chooser.draw(*where.plane.to_picture(x, y), begin=True)
        self._changed(context, area)
        return {"RUNNING_MODAL"}

    def _start(self, context: bpy.types.Context) -> set[str]:
        """Run the import with the chosen people."""
        if self._chooser.choice() is None:
            self.report({"WARNING"}, "Click on at least one person first, or press A for everybody.")
            return {"RUNNING_MODAL"}
        self._keep(context)
        done = self._end(context, {"FINISHED"})
        settings = context.scene.bodyfield
        values = {name: getattr(settings, name) for name in CHOICES}
        chosen = json.dumps(choice_of(context.scene, self._filepath))
        try:
            bpy.ops.bodyfield.import_video("EXEC_DEFAULT", filepath=self._filepath, chosen=chosen, **values)
        except RuntimeError as error:
            # An operator that is called from Python reports to Python and not to the user.
            self.report({"ERROR"}, str(error).strip().removeprefix("Error: "))
        return done

    def _keep(self, context: bpy.types.Context) -> None:
        """Let the panel show, and its Start take, what is chosen at the moment."""
        choice = self._chooser.choice()
        if self._chooser.ready and choice != self._kept:
            self._kept = choice
            keep_choice(context.scene, self._filepath, choice, len(self._chooser.people))

    def _changed(self, context: bpy.types.Context, area: bpy.types.Area) -> None:
        self._keep(context)
        area.tag_redraw()

    def _point_at(self, area: bpy.types.Area, who: int | None, button: bool) -> None:
        if (who, button) != (self._chooser.hover, self._overlay.over_button):
            self._chooser.hover, self._overlay.over_button = who, button
            area.tag_redraw()

    def _where(self, context, area: bpy.types.Area, event) -> tuple[Layout, float, float]:
        """The layout, and the pointer in the region's coordinates."""
        region, clip = main_region(area), self._chooser.clip
        where = layout_of(area, (clip.width, clip.height), context.preferences.system.ui_scale)
        return where, event.mouse_x - region.x, event.mouse_y - region.y

    def _under(self, where: Layout, x: float, y: float, context) -> int | None:
        if not self._chooser.ready:
            return None
        reach = REACH * context.preferences.system.ui_scale / where.plane.zoom
        return under(self._chooser.outlines, *where.plane.to_picture(x, y), reach)

    def _over(self, area: bpy.types.Area, event: bpy.types.Event) -> bool:
        """Whether the pointer is on the picture's view and not on a sidebar or a header over it."""
        over = [r for r in area.regions if r.type != "HUD" and _holds(r, event.mouse_x, event.mouse_y)]
        return bool(over) and all(r.type == "WINDOW" for r in over)

    def _end(self, context: bpy.types.Context, answer: set[str]) -> set[str]:
        self._clean(context)
        return answer

    def _clean(self, context: bpy.types.Context) -> None:
        if self not in _open:
            return
        _open.remove(self)
        self._overlay.remove()
        self._chooser.close()
        context.window_manager.event_timer_remove(self._timer)
        if context.workspace is not None:
            context.workspace.status_text_set(None)
        running.redraw()


class BODYFIELD_OT_follow_everybody(bpy.types.Operator):
    """Forget the choice: follow everybody in the video again"""

    bl_idname = "bodyfield.follow_everybody"
    bl_label = "Follow Everybody"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Not while people are being chosen."""
        return not _open

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Forget."""
        keep_choice(context.scene, "", None)
        return {"FINISHED"}


def _area(context: bpy.types.Context) -> bpy.types.Area | None:
    """The 3D view of the panel that was pressed, else the largest one of the window."""
    if context.area is not None and context.area.type == "VIEW_3D":
        return context.area
    views = [a for a in context.window.screen.areas if a.type == "VIEW_3D"]
    return max(views, key=lambda a: a.width * a.height, default=None)


def _holds(region: bpy.types.Region, x: int, y: int) -> bool:
    inside = region.x <= x < region.x + region.width and region.y <= y < region.y + region.height
    return inside and region.width > 1 and region.height > 1

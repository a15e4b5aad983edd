# SPDX-License-Identifier: GPL-3.0-or-later
"""Add Points: click on a body in the view, get a named canonical point."""

import bpy
from bpy_extras import view3d_utils

from ..languages.words import iface
from ..points.canonical import Place, PointError, mirrored_name
from ..scene.body_surface import BodySurface, Hit, pick
from ..scene.points import add_place, bodies, person_of, show_points

HELP = "Click on a body to add a point    Ctrl: snap to vertex    Backspace: take back    Enter, Esc: done"
THROUGH = {"MIDDLEMOUSE", "WHEELUPMOUSE", "WHEELDOWNMOUSE", "WHEELINMOUSE", "WHEELOUTMOUSE", "TRACKPADPAN",
           "TRACKPADZOOM", "MOUSEROTATE", "MOUSEMOVE", "NDOF_MOTION"}  # fmt: skip


def place_at(hit: Hit, name: str, depth: float, snap: bool) -> Place:
    """The place that a click means; `snap`: the nearest corner of the triangle instead."""
    share = hit.barycentric
    if snap:
        best = max(range(3), key=lambda k: share[k])
        share = tuple(float(k == best) for k in range(3))
    return Place(name, face=hit.face, barycentric=share, depth=depth)


def add_hit(scene: bpy.types.Scene, hit: Hit, snap: bool = False) -> list[int]:
    """Put a clicked place on the list (and its mirror image where the list says so); -> the new points' ids."""
    points = scene.bodyfield_points
    person = hit.mesh.parent
    surface = BodySurface(person)
    if points.person is None and person is not person_of(scene):
        # The click says whom the user means.
        points.person = person
    place = place_at(hit, f"point_{points.last_id + 1:02d}", points.new_depth, snap or points.snap)
    added = [add_place(points, place).uid]
    if points.mirror:
        added.append(add_place(points, surface.mirrored(place, mirrored_name(place.name))).uid)
    show_points(scene, None if person_of(scene) is not person else surface)
    return added


class BODYFIELD_OT_add_points(bpy.types.Operator):
    """Click on a body in the view: each click makes a point that stays at this place of the body in every pose"""

    bl_idname = "bodyfield.add_points"
    bl_label = "Add Points"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A body must be in view."""
        cls.poll_message_set(iface("Import a video first: points are put on the body of a person"))
        return bool(bodies(context.scene, context.view_layer))

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Wait for clicks."""
        self._added: list[list[int]] = []
        context.window.cursor_modal_set("CROSSHAIR")
        context.workspace.status_text_set(iface(HELP))
        context.window_manager.modal_handler_add(self)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """One event: a click adds, Backspace takes back, Enter or Esc ends; moving the view goes on as ever."""
        if event.type in THROUGH:
            return {"PASS_THROUGH"}
        if event.type in {"ESC", "RET", "NUMPAD_ENTER", "RIGHTMOUSE"} and event.value == "PRESS":
            self._leave(context)
            return {"FINISHED"} if self._added else {"CANCELLED"}
        if event.type == "BACK_SPACE" and event.value == "PRESS":
            self._take_back(context)
            return {"RUNNING_MODAL"}
        if event.type != "LEFTMOUSE":
            # Keys must not reach other tools in between: an undo within a modal operator ends badly.
            return {"RUNNING_MODAL"}
        view = _view_under(context.window, event.mouse_x, event.mouse_y)
        if view is None:
            # A click on a button of the sidebar, or into another editor.
            return {"PASS_THROUGH"}
        if event.value == "PRESS":
            self._click(context, event, *view)
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        """Blender ends the operator itself: a file is loaded, the window closed."""
        self._leave(context)

    def _click(self, context, event, region: bpy.types.Region, space: bpy.types.SpaceView3D) -> None:
        at = (event.mouse_x - region.x, event.mouse_y - region.y)
        origin = view3d_utils.region_2d_to_origin_3d(region, space.region_3d, at)
        direction = view3d_utils.region_2d_to_vector_3d(region, space.region_3d, at)
        try:
            hit = pick(
                context.evaluated_depsgraph_get(),
                bodies(context.scene, context.view_layer),
                origin,
                direction,
            )
            if hit is None:
                self.report({"WARNING"}, "There is no body under the pointer.")
                return
            self._added.append(add_hit(context.scene, hit, snap=event.ctrl))
        except PointError as error:
            self.report({"WARNING"}, str(error))
            return
        region.tag_redraw()

    def _take_back(self, context: bpy.types.Context) -> None:
        points = context.scene.bodyfield_points
        last = set(self._added.pop()) if self._added else set()
        for index in reversed(range(len(points.items))):
            if points.items[index].uid in last:
                points.items.remove(index)
        points.active = max(0, len(points.items) - 1)
        try:
            show_points(context.scene)
        except PointError as error:
            self.report({"WARNING"}, str(error))

    def _leave(self, context: bpy.types.Context) -> None:
        if context.window is not None:
            context.window.cursor_modal_restore()
        if context.workspace is not None:
            context.workspace.status_text_set(None)


def _view_under(window: bpy.types.Window, x: int, y: int):
    """(region, space) of the 3D view under the pointer; None over anything else, its sidebar and header too."""
    for area in window.screen.areas:
        if area.type != "VIEW_3D":
            continue
        inside = [r for r in area.regions if _holds(r, x, y)]
        over = [r for r in inside if r.type != "WINDOW" and r.type != "HUD"]
        main = next((r for r in inside if r.type == "WINDOW"), None)
        if main is not None:
            return None if over else (main, area.spaces.active)
    return None


def _holds(region: bpy.types.Region, x: int, y: int) -> bool:
    inside = region.x <= x < region.x + region.width and region.y <= y < region.y + region.height
    return inside and region.width > 1 and region.height > 1

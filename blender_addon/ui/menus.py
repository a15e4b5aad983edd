# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's entries in Blender's own menus, where the search (F3) and shortcuts reach them without the sidebar."""

import bpy

from ..ops import (
    add_points,
    bodykeys,
    choose_people,
    export_fbx,
    floor,
    import_video,
    jobs,
    people_edits,
    track_points,
    update_motion,
)
from . import result


class BODYFIELD_MT_view(bpy.types.Menu):
    """What Bodyfield can do in a 3D view"""

    bl_label = "Bodyfield"

    def draw(self, context: bpy.types.Context) -> None:
        """In the order of the panels."""
        for group in (
            (import_video.BODYFIELD_OT_import_video, choose_people.BODYFIELD_OT_choose_people),
            (jobs.BODYFIELD_OT_pause, import_video.BODYFIELD_OT_cancel),
            (update_motion.BODYFIELD_OT_update_motion, floor.BODYFIELD_OT_snap_to_floor),
            (people_edits.BODYFIELD_OT_merge_people, people_edits.BODYFIELD_OT_split_person),
            (people_edits.BODYFIELD_OT_swap_people, people_edits.BODYFIELD_OT_same_person),
            (people_edits.BODYFIELD_OT_next_doubtful, people_edits.BODYFIELD_OT_reset_corrections),
            (result.BODYFIELD_OT_show_uncertainty, bodykeys.BODYFIELD_OT_shape_keys),
            (add_points.BODYFIELD_OT_add_points, track_points.BODYFIELD_OT_track_points),
            (track_points.BODYFIELD_OT_bones_for_points, track_points.BODYFIELD_OT_follow_point),
            (export_fbx.BODYFIELD_OT_export_fbx, export_fbx.BODYFIELD_OT_export_motion),
        ):
            for operator in group:
                self.layout.operator(operator.bl_idname)
            self.layout.separator()


def _view(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.menu(BODYFIELD_MT_view.__name__)


def _import(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.operator(
        import_video.BODYFIELD_OT_import_video.bl_idname, text="Video as Mocap (.mp4, .mov, ...)"
    )


def _export(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.operator(export_fbx.BODYFIELD_OT_export_fbx.bl_idname, text="Bodyfield Person (.fbx)")
    self.layout.operator(
        export_fbx.BODYFIELD_OT_export_motion.bl_idname, text="Bodyfield Person (.glb, .bvh, .usd, .npz)"
    )


PLACES = (
    ("TOPBAR_MT_file_import", _import),
    ("TOPBAR_MT_file_export", _export),
    ("VIEW3D_MT_object", _view),
    ("VIEW3D_MT_pose", _view),
)


def add_entries() -> None:
    """After the classes are registered."""
    for menu, draw in PLACES:
        getattr(bpy.types, menu).append(draw)


def remove_entries() -> None:
    """Undo `add_entries`; before the classes go."""
    for menu, draw in PLACES:
        getattr(bpy.types, menu).remove(draw)

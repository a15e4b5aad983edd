# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodyfield: video in, a clean animated body out, on your own machine.

Nothing of Blender is imported here before `register`, so that `blender_addon.shared.wire` and the other files without
bpy can be used in any Python.
"""


def _classes() -> tuple[type, ...]:
    """Everything that Blender must know, in the order of registration."""
    from .ops import (
        add_points,
        bodykeys,
        choose_people,
        export_fbx,
        floor,
        import_video,
        jobs,
        people_edits,
        point_list,
        setup,
        track_points,
        update_motion,
    )
    from .scene import chosen, people_items, point_items
    from .ui import export, menus, panel, people, points, preferences, result
    from .ui import jobs as jobs_panel

    return (
        setup.BODYFIELD_OT_setup_backend,
        setup.BODYFIELD_OT_doctor,
        setup.BODYFIELD_OT_open_log,
        setup.BODYFIELD_OT_remove_backend,
        preferences.BODYFIELD_AP_preferences,
        import_video.BODYFIELD_OT_import_video,
        import_video.BODYFIELD_OT_cancel,
        import_video.BODYFIELD_OT_report,
        jobs.BODYFIELD_OT_pause,
        jobs.BODYFIELD_OT_resume_job,
        jobs.BODYFIELD_OT_remove_job,
        import_video.BODYFIELD_FH_movie,
        export_fbx.BODYFIELD_OT_export_fbx,
        export_fbx.BODYFIELD_OT_export_motion,
        chosen.BODYFIELD_PG_chosen_person,
        chosen.BODYFIELD_PG_chosen,
        choose_people.BODYFIELD_OT_choose_people,
        choose_people.BODYFIELD_OT_follow_everybody,
        panel.BODYFIELD_PG_settings,
        panel.BODYFIELD_PT_main,
        jobs_panel.BODYFIELD_PT_jobs,
        people_items.BODYFIELD_PG_person,
        people_items.BODYFIELD_PG_people,
        *people_edits.CLASSES,
        people.BODYFIELD_OT_show_colours,
        people.BODYFIELD_UL_people,
        people.BODYFIELD_PT_people,
        point_items.BODYFIELD_PG_point,
        point_items.BODYFIELD_PG_points,
        add_points.BODYFIELD_OT_add_points,
        point_list.BODYFIELD_OT_remove_points,
        point_list.BODYFIELD_OT_mirror_points,
        point_list.BODYFIELD_OT_snap_points,
        point_list.BODYFIELD_OT_add_preset,
        point_list.BODYFIELD_OT_import_points,
        point_list.BODYFIELD_OT_export_points,
        track_points.BODYFIELD_OT_track_points,
        track_points.BODYFIELD_OT_export_tracked,
        track_points.BODYFIELD_OT_bones_for_points,
        track_points.BODYFIELD_OT_follow_point,
        bodykeys.BODYFIELD_OT_shape_keys,
        bodykeys.BODYFIELD_OT_correctives,
        update_motion.BODYFIELD_OT_update_motion,
        floor.BODYFIELD_OT_snap_to_floor,
        result.BODYFIELD_OT_show_uncertainty,
        result.BODYFIELD_PT_result,
        points.BODYFIELD_UL_points,
        points.BODYFIELD_MT_points,
        points.BODYFIELD_PT_points,
        export.BODYFIELD_PT_export,
        menus.BODYFIELD_MT_view,
    )


def register() -> None:
    """Called by Blender when the add-on is enabled."""
    import bpy

    from .languages import words
    from .scene import chosen, contacts_overlay, people_items, point_items, uncertainty
    from .ui import menus, panel

    for cls in _classes():
        bpy.utils.register_class(cls)
    words.register(__package__)
    panel.add_settings()
    chosen.add_chosen_settings()
    people_items.add_people_settings()
    point_items.add_points_settings()
    menus.add_entries()
    uncertainty.add_handler()
    contacts_overlay.add_drawing()


def unregister() -> None:
    """Called by Blender when the add-on is disabled; ends a running import and our backend."""
    import bpy

    from .languages import words
    from .ops import choose_people
    from .scene import chosen, contacts_overlay, people_items, point_items, uncertainty
    from .ui import menus, panel
    from .work import running

    choose_people.close_all()
    running.stop()
    words.unregister(__package__)
    uncertainty.remove_handler()
    contacts_overlay.remove_drawing()
    menus.remove_entries()
    panel.remove_settings()
    chosen.remove_chosen_settings()
    people_items.remove_people_settings()
    point_items.remove_points_settings()
    for cls in reversed(_classes()):
        bpy.utils.unregister_class(cls)

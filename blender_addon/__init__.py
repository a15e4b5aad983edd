# SPDX-License-Identifier: GPL-3.0-or-later
"""Bodyfield: video in, a clean animated body out, on your own machine.

Nothing of Blender is imported here before `register`, so that `blender_addon.wire` and the other files without
bpy can be used in any Python.
"""


def _classes() -> tuple[type, ...]:
    """Everything that Blender must know, in the order of registration."""
    from .ops import export_fbx, import_video
    from .ui import panel, preferences

    return (
        preferences.BODYFIELD_AP_preferences,
        import_video.BODYFIELD_OT_import_video,
        import_video.BODYFIELD_OT_cancel,
        import_video.BODYFIELD_OT_report,
        import_video.BODYFIELD_FH_movie,
        export_fbx.BODYFIELD_OT_export_fbx,
        panel.BODYFIELD_PG_settings,
        panel.BODYFIELD_PT_main,
    )


def register() -> None:
    """Called by Blender when the add-on is enabled."""
    import bpy

    from .ops import import_video
    from .ui import panel

    for cls in _classes():
        bpy.utils.register_class(cls)
    panel.add_settings()
    bpy.types.TOPBAR_MT_file_import.append(import_video.menu)


def unregister() -> None:
    """Called by Blender when the add-on is disabled; ends a running import and our backend."""
    import bpy

    from .ops import import_video, running
    from .ui import panel

    running.stop()
    bpy.types.TOPBAR_MT_file_import.remove(import_video.menu)
    panel.remove_settings()
    for cls in reversed(_classes()):
        bpy.utils.unregister_class(cls)

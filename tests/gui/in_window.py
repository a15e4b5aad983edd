"""Runs inside a Blender with a window: shows the panel, waits for the import that a person starts, tells what came.

Prints one JSON line a step: {"step": "ready", ...}, {"step": "running", ...} at each change of progress,
{"step": "done", ...}; then keeps the window until the file named after `--` exists, and quits.
"""

import json
import sys
from pathlib import Path

import bpy

CLIP, END = (Path(p) for p in sys.argv[sys.argv.index("--") + 1 :])
TICK_S = 0.5
state = {"ticks": 0, "told": None, "done": False}


def tell(step: str, **facts: object) -> None:
    print(json.dumps({"step": step, **facts}), flush=True)


def area() -> bpy.types.Area:
    return next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == "VIEW_3D")


def show_panel() -> None:
    """Open the sidebar; its tab can be chosen only after it has been drawn once."""
    state["ticks"] += 1
    if state["ticks"] == 1:
        area().spaces.active.show_region_ui = True
        # The start-up scene's cube stands where the person will.
        bpy.data.objects.remove(bpy.data.objects["Cube"])
        bpy.context.scene.bodyfield.filepath = str(CLIP)
    if state["ticks"] == 3:
        sidebar = next(r for r in area().regions if r.type == "UI")
        sidebar.active_panel_category = "Bodyfield"
        area().tag_redraw()
    if state["ticks"] == 6:
        sidebar = next(r for r in area().regions if r.type == "UI")
        window = bpy.context.window_manager.windows[0]
        tell(
            "ready",
            sidebar=[sidebar.x, sidebar.y, sidebar.width, sidebar.height],
            window=[window.width, window.height],
            version=bpy.app.version_string,
        )


def scene_facts() -> dict:
    """What a person would check: bodies, keys, camera, footage, and that the body stands before the camera."""
    scene = bpy.context.scene
    bodies = [o for o in scene.objects if o.type == "ARMATURE"]
    facts = {
        "bodies": [o.name for o in bodies],
        "fps": scene.render.fps / scene.render.fps_base,
        "range": [scene.frame_start, scene.frame_end],
    }
    facts["bones"] = [len(o.data.bones) for o in bodies]
    facts["meshes"] = sum(o.type == "MESH" and bool(o.modifiers) for o in scene.objects)
    camera = scene.camera
    facts["footage"] = bool(camera and camera.data.background_images)
    moved = []
    for body in bodies:
        heads = []
        for frame in (scene.frame_start, scene.frame_end):
            scene.frame_set(frame)
            heads.append(body.matrix_world @ body.pose.bones["left_wrist"].head)
        moved.append((heads[0] - heads[1]).length)
    facts["wrist_moved_m"] = moved
    return facts


def look_through_camera() -> None:
    space = area().spaces.active
    space.region_3d.view_perspective = "CAMERA"
    space.shading.type = "SOLID"
    area().tag_redraw()


def tick() -> float | None:
    if END.exists():
        bpy.ops.wm.quit_blender()
        return None
    if state["ticks"] < 6:
        show_panel()
        return TICK_S
    from bl_ext.user_default.bodyfield.ops import running

    now = running.current()
    if now is not None:
        progress = list(now.progress)[:3]
        if progress != state["told"]:
            tell("running", progress=progress)
        state["told"] = progress
    ended = [one for one in running.imports if one.finished]
    if ended and not state["done"]:
        state["done"] = True
        one = ended[-1]
        tell("done", state=one.state, error=one.error, people=len(one.results), **scene_facts())
        look_through_camera()
    return TICK_S


bpy.app.timers.register(tick, first_interval=2.0, persistent=True)

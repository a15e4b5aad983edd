"""Runs inside a Blender with a window: shows the panel, waits for the import that a person starts, tells what came.

Prints one JSON line a step: {"step": "ready", ...}, {"step": "running", ...} at each change of progress,
{"step": "done", ...} with how long the add-on's ticks were; then keeps the window until the file named after `--`
exists, and quits.
"""

import json
import sys
import time
from pathlib import Path

import bpy

CLIP, END = (Path(p) for p in sys.argv[sys.argv.index("--") + 1 :])
TICK_S = 0.5
state = {"ticks": 0, "told": None, "done": False}
timing = {"tick_ms": [], "computing_ms": [], "between_ms": [], "ended": None}


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


def watch() -> None:
    """Time each tick of the add-on's timer, and what Blender does until the next one: evaluating and drawing."""
    from bl_ext.user_default.bodyfield.work import running

    plain = running.tick

    def timed(*arguments: object) -> bool:
        begin = time.perf_counter()
        if timing["ended"] is not None:
            timing["between_ms"].append(1000 * (begin - timing["ended"] - running.BUSY_S))
        own = time.thread_time()
        busy = plain(*arguments)
        timing["ended"] = time.perf_counter() if busy else None
        if busy:
            timing["tick_ms"].append(1000 * (time.perf_counter() - begin))
            # Without what other programs took of the processor meanwhile.
            timing["computing_ms"].append(1000 * (time.thread_time() - own))
        return busy

    running.tick = timed


def timing_facts() -> dict:
    facts = {}
    for name in ("tick_ms", "computing_ms", "between_ms"):
        sorted_ms = sorted(timing[name]) or [0.0]
        facts[name] = {
            "count": len(sorted_ms),
            "median": round(sorted_ms[len(sorted_ms) // 2], 1),
            "p99": round(sorted_ms[int(0.99 * (len(sorted_ms) - 1))], 1),
            "longest": round(sorted_ms[-1], 1),
        }
    return facts


def tick() -> float | None:
    if END.exists():
        bpy.ops.wm.quit_blender()
        return None
    if state["ticks"] < 6:
        show_panel()
        if state["ticks"] == 6:
            watch()
        return TICK_S
    from bl_ext.user_default.bodyfield.work import running

    now = running.current()
    if now is not None:
        progress = [now.progress.stage, now.progress.done, now.progress.total]
        if progress != state["told"]:
            tell("running", progress=progress)
        state["told"] = progress
    ended = [one for one in running.imports if one.finished]
    if ended and not state["done"]:
        state["done"] = True
        one = ended[-1]
        facts = scene_facts() | timing_facts()
        tell("done", state=one.state, error=one.error, people=len(one.results), **facts)
        look_through_camera()
    return TICK_S


bpy.app.timers.register(tick, first_interval=2.0, persistent=True)

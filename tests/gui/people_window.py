"""Runs inside a Blender with a window: opens Choose People on a clip, tells what is chosen, waits for the import's end.

Prints one JSON line a step: {"step": "panel"} when the panel is there, {"step": "outlined", "targets": [[x, y], ...],
"button": [x, y], "seconds": s} (window coordinates, y up, one place on each person) when the outlines are there,
{"step": "chosen", ...} at each change of the choice, {"step": "running"}, {"step": "done", ...}; quits when the file
named after `--` exists.
"""

import importlib
import json
import sys
import time
from pathlib import Path

import bpy

CLIP, END = (Path(p) for p in sys.argv[sys.argv.index("--") + 1 :])
ADDON = "bl_ext.user_default.bodyfield"
TICK_S = 0.25
state = {"ticks": 0, "step": "start", "began": 0.0, "chosen": [], "frame": None}


def part(name: str):
    return importlib.import_module(f"{ADDON}.{name}")


def tell(step: str, **facts: object) -> None:
    state["step"], state["ticks"] = step, 0
    print(json.dumps({"step": step, **facts}), flush=True)


def view():
    window = bpy.context.window_manager.windows[0]
    area = max((a for a in window.screen.areas if a.type == "VIEW_3D"), key=lambda a: a.width * a.height)
    return window, area, next(r for r in area.regions if r.type == "WINDOW")


def show_panel() -> None:
    _, area, _ = view()
    area.spaces.active.show_region_ui = True
    if bpy.data.objects.get("Cube"):
        bpy.data.objects.remove(bpy.data.objects["Cube"])
    bpy.context.scene.bodyfield.filepath = str(CLIP)


def chooser():
    return next(iter(part("ops.choose_people")._open), None)


def targets() -> dict:
    """A place on each person where the outline surely holds it, and the button."""
    _, area, region = view()
    one = chooser()._chooser
    scale = bpy.context.preferences.system.ui_scale
    where = part("scene.people_overlay").layout_of(area, (one.clip.width, one.clip.height), scale)
    plane = part("pictureplane")
    found = []
    for outline in one.outlines:
        low, high = outline.min(0), outline.max(0)
        grid = [(low + (high - low) * (i / 24, j / 24)) for i in range(1, 24) for j in range(1, 24)]
        inside = [p for p in grid if plane.holds(outline, *p)]
        best = max(inside, key=lambda p: plane.distance(outline, *p))
        x, y = where.plane.to_region(best)
        found.append([round(region.x + x), round(region.y + y)])
    button = where.button
    return {
        "targets": found,
        "button": [round(region.x + button.x + button.w / 2), round(region.y + button.y + button.h / 2)],
    }


def tick() -> float | None:
    state["ticks"] += 1
    if END.exists():
        bpy.ops.wm.quit_blender()
        return None
    window, area, region = view()
    scene = bpy.context.scene
    running = part("ops.running")
    if state["step"] == "start":
        if state["ticks"] == 2:
            show_panel()
        elif state["ticks"] == 8:
            sidebar = next(r for r in area.regions if r.type == "UI")
            sidebar.active_panel_category = "Bodyfield"
            area.tag_redraw()
        elif state["ticks"] > 14:
            sidebar = next(r for r in area.regions if r.type == "UI")
            tell("panel", sidebar=[sidebar.x, sidebar.y, sidebar.width, sidebar.height])
    elif state["step"] == "panel" and state["ticks"] > 8:
        state["began"] = time.monotonic()
        with bpy.context.temp_override(window=window, area=area, region=region):
            # As the file browser does with its box ticked: the panel takes the settings over.
            bpy.ops.bodyfield.import_video(
                "EXEC_DEFAULT", filepath=str(CLIP), quality="lite", choose_first=True
            )
        tell("opened")
    elif chooser() is not None and state["frame"] != chooser()._chooser.frame:
        state["frame"] = chooser()._chooser.frame
        state["step"] = "opened"
        state["began"] = time.monotonic()
    elif state["step"] == "opened" and chooser() is not None and chooser()._chooser.ready:
        seconds = round(time.monotonic() - state["began"], 2)
        tell("outlined", frame=chooser()._chooser.frame, seconds=seconds, **targets())
    elif chooser() is not None and state["chosen"] != sorted(chooser()._chooser.chosen):
        state["chosen"] = sorted(chooser()._chooser.chosen)
        kept = [list(person.box) for person in scene.bodyfield_chosen.people]
        tell("chosen", chosen=state["chosen"], hover=chooser()._chooser.hover, kept=kept)
    elif running.current() is not None and state["step"] != "running":
        tell("running", options=running.current().options, open=chooser() is not None)
    elif running.imports and running.current() is None and state["step"] == "running":
        one = running.imports[-1]
        boxes = {str(track): result.boxes.mean(0).tolist() for track, result in one.results.items()}
        tell(
            "done",
            state=one.state,
            error=one.error,
            boxes=boxes,
            bodies=[ob.name for ob in bpy.data.objects if ob.type == "ARMATURE"],
            words=part("scene.chosen").words_of(scene),
        )
        area.spaces.active.region_3d.view_perspective = "CAMERA"
    return TICK_S


bpy.app.timers.register(tick, first_interval=2.0, persistent=True)

"""Runs inside a Blender with a window: does what `driver.Window` asks for, until it is told to quit.

A request is a file `ask.json` in the folder named after `--`: {"id": number, "code": Python}. The code runs between two
redraws, with the 3D view and its main region as context; what it leaves in `answer` is printed as one JSON line.
"""

import json
import sys
import traceback
from pathlib import Path

import bpy

FOLDER = Path(sys.argv[sys.argv.index("--") + 1])
ASK = FOLDER / "ask.json"
TICK_S = 0.05
state = {"last": 0, "names": {"bpy": bpy}}


def view(kind: str = "WINDOW"):
    """(window, area, region) of the 3D view."""
    window = bpy.context.window_manager.windows[0]
    area = next(a for a in window.screen.areas if a.type == "VIEW_3D")
    return window, area, next(r for r in area.regions if r.type == kind)


def tick() -> float | None:
    try:
        asked = json.loads(ASK.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return TICK_S
    if asked["id"] <= state["last"]:
        return TICK_S
    state["last"] = asked["id"]
    if asked["code"] == "quit":
        bpy.ops.wm.quit_blender()
        return None
    names = state["names"]
    names["answer"], names["view"] = None, view
    error = None
    try:
        window, area, region = view()
        with bpy.context.temp_override(window=window, area=area, region=region):
            exec(asked["code"], names)
    except Exception:
        error = traceback.format_exc()
    print(json.dumps({"id": asked["id"], "answer": names["answer"], "error": error}), flush=True)
    return TICK_S


bpy.app.timers.register(tick, first_interval=1.0, persistent=True)

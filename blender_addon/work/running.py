# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of this Blender session (imports and what follows them) and the timer that moves it on.

The timer is persistent, so that work goes on when a file is loaded. Timers never fire in background mode: `tick` is
called directly there.
"""

import contextlib
import time
import traceback

import bpy

from ..languages.words import said
from .backend import Backend
from .work import Work

BUSY_S = 0.03
"""Seconds between two ticks while something runs."""
IDLE_S = 0.5
"""Seconds between two ticks while nothing runs, or what runs is paused."""
BUDGET_S = 0.015
"""Of every 45 ms the work takes at most about 15, so that the viewport stays fluid."""
BAR_S = 0.2
"""How often the bar is drawn."""
KEPT = 5
"""Pieces of work that are remembered for the panel."""

backend = Backend()
imports: list[Work] = []
"""Imports and all other work, the newest last; finished ones stay for the panel."""
_drawn = 0.0
"""When the bar was drawn last, `time.monotonic`."""


def current() -> Work | None:
    """The work that is under way, if any."""
    return next((one for one in imports if not one.finished), None)


def use_preferences(context: bpy.types.Context) -> None:
    """Let the backend be the one that the add-on's preferences name."""
    preferences = preferences_of(context)
    backend.python = preferences.backend_python if preferences else None


def preferences_of(context: bpy.types.Context) -> object | None:
    """The add-on's preferences; None when it runs from a source tree without being installed."""
    package = __package__.rpartition(".")[0]
    addon = context.preferences.addons.get(package)
    return addon.preferences if addon else None


def start(new: Work) -> None:
    """Begin a piece of work."""
    imports.append(new)
    del imports[:-KEPT]
    if not bpy.app.background and not bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.register(_on_timer, first_interval=0.0, persistent=True)


def tick(budget_s: float = BUDGET_S) -> bool:
    """Move the work that is under way on; True while there is some."""
    running = current()
    if running is None:
        backend.keep_alive()
        return False
    try:
        changed = running.pump(budget_s)
    except Exception as error:
        # Whatever goes wrong, the timer must live on and the user must hear of it.
        traceback.print_exc()
        detail = " ".join(str(error).split()) or type(error).__name__
        running.fail(f"The import stopped on an error ({detail}); the console has the details.")
        changed = True
    if running.finished:
        _tell(running)
    if changed or running.finished:
        redraw()
    return True


def stop() -> None:
    """End everything; called when the add-on is disabled."""
    if bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.unregister(_on_timer)
    for one in imports:
        one.cancel()
    imports.clear()
    backend.close()


def redraw(sidebar_only: bool = False) -> None:
    """Let Blender draw the 3D views again, or only their sidebars: a view full of bodies takes half a core to draw as
    often as the bar moves."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type != "VIEW_3D":
                continue
            for region in area.regions if sidebar_only else (area,):
                if not sidebar_only or region.type == "UI":
                    region.tag_redraw()


def _on_timer() -> float:
    global _drawn
    busy = tick()
    if busy and time.monotonic() - _drawn > BAR_S:
        # The bar and the time left move on although nothing landed in the scene.
        _drawn = time.monotonic()
        redraw(sidebar_only=True)
    now = current()
    return BUSY_S if busy and not (now and now.paused) else IDLE_S


def _tell(ended: Work) -> None:
    """After the end of a piece of work: an undo step of its own, and a report."""
    if bpy.app.background:
        return
    window = next(iter(bpy.context.window_manager.windows), None)
    # In a timer no window is current; operators that show something need one.
    with contextlib.suppress(RuntimeError), bpy.context.temp_override(window=window):
        if ended.changed_scene:
            bpy.ops.ed.undo_push(message=ended.undo_message)
        if ended.state == "failed":
            bpy.ops.bodyfield.report("INVOKE_DEFAULT", text=ended.error)
        elif ended.state == "done":
            text = said("{name}: {state}.", name=ended.name, state=ended.outcome)
            bpy.ops.bodyfield.report("INVOKE_DEFAULT", text=text, level="INFO")

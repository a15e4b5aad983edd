# SPDX-License-Identifier: GPL-3.0-or-later
"""The work of this Blender session (imports and what follows them) and the timer that moves it on.

Kept in Python, not in the file: an undo or a newly loaded file leaves a running import alone. The timer is
persistent for the same reason. Timers never fire in background mode, so there `tick` is called directly.
"""

import contextlib
import traceback
from typing import Protocol

import bpy

from ..languages.words import said
from .backend import Backend

BUSY_S = 0.03
IDLE_S = 0.5
BUDGET_S = 0.015
"""Of every 45 ms the import takes at most about 15, so that the viewport stays fluid."""
KEPT = 5


class Work(Protocol):
    """Something on its way: an import, a pass for points, shape keys. `state`: "running", then "done", "failed" or
    "cancelled"; `error`: one sentence when failed; `waiting`: one sentence while it waits for the user; `paused`:
    whether it stands still, None for what cannot; `source`, `job_id`: what it can be resumed by, if at all;
    `outcome`: what came of it, in a few words."""

    state: str
    error: str | None
    warnings: list[str]
    waiting: str | None
    paused: bool | None
    source: object | None
    job_id: str | None
    undo_message: str

    @property
    def name(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def changed_scene(self) -> bool: ...
    @property
    def finished(self) -> bool: ...
    @property
    def progress(self) -> tuple[str, int, int | None, float | None]: ...
    def pump(self, budget_s: float) -> bool: ...
    def pause(self, on: bool) -> None: ...
    def cancel(self) -> None: ...
    def fail(self, error: str) -> None: ...


backend = Backend()
imports: list[Work] = []
"""The newest last; finished ones stay for the panel."""


def current() -> Work | None:
    """The import that is under way, if any."""
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
    """Put an import on its way."""
    imports.append(new)
    del imports[:-KEPT]
    if not bpy.app.background and not bpy.app.timers.is_registered(_on_timer):
        bpy.app.timers.register(_on_timer, first_interval=0.0, persistent=True)


def tick(budget_s: float = BUDGET_S) -> bool:
    """Move the running import on; True while there is one."""
    running = current()
    if running is None:
        backend.keep_alive()
        return False
    try:
        changed = running.pump(budget_s)
    except Exception as error:
        # Whatever goes wrong, the timer must live on and the user be told.
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


def redraw() -> None:
    """Draw the 3D views' sidebars anew."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


def _on_timer() -> float:
    busy = tick()
    if busy:
        # The bar and the time left move on although nothing landed in the scene.
        redraw()
    now = current()
    return BUSY_S if busy and not (now and now.paused) else IDLE_S


def _tell(ended: Work) -> None:
    """After the end of an import: an undo step of its own, and a report."""
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

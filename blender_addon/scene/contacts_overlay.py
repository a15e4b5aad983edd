# SPDX-License-Identifier: GPL-3.0-or-later
"""Draws a disk on the floor under whatever of a person rests there, in every 3D view, while *Show Contacts* is on."""

import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader

from .contacts import Ring, people_with_contacts, rings

RADIUS_M, ABOVE_M = 0.05, 0.003
"""Of a disk; how far it lies above the floor, so that a ground plane does not swallow it."""
COLOUR, FILL = (0.1, 0.85, 0.45), 0.45
_CORNERS = 24
_handles: list[object] = []


def disk(ring: Ring) -> np.ndarray:
    """(k, 3) the rim of a disk in the world, metres."""
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    rim = np.stack([RADIUS_M * np.cos(angle), RADIUS_M * np.sin(angle), np.full(_CORNERS, ABOVE_M)], 1)
    return rim @ np.array(ring.turn).T + np.array(ring.place)


def draw(scene: bpy.types.Scene) -> None:
    """Draw the contacts of everybody in the current frame into the view that is bound."""
    found = [ring for armature in people_with_contacts(scene) for ring in rings(armature)]
    if not found:
        return
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.bind()
    gpu.state.blend_set("ALPHA")
    gpu.state.depth_test_set("LESS_EQUAL")
    for ring in found:
        rim = disk(ring)
        inner = [rim[k] for i in range(1, _CORNERS - 1) for k in (0, i, i + 1)]
        for kind, corners, alpha in (("TRIS", inner, FILL), ("LINE_STRIP", [*rim, rim[0]], 1.0)):
            shader.uniform_float("color", (*COLOUR, alpha * ring.strength))
            batch_for_shader(shader, kind, {"pos": [tuple(map(float, c)) for c in corners]}).draw(shader)
    gpu.state.depth_test_set("NONE")
    gpu.state.blend_set("NONE")


def _draw() -> None:
    context = bpy.context
    settings = getattr(context.scene, "bodyfield", None)
    overlay = getattr(context.space_data, "overlay", None)
    if settings is not None and settings.show_contacts and (overlay is None or overlay.show_overlays):
        draw(context.scene)


def add_drawing() -> None:
    """Draw from now on; without a window there is nothing to draw into."""
    remove_drawing()
    if not bpy.app.background:
        _handles.append(bpy.types.SpaceView3D.draw_handler_add(_draw, (), "WINDOW", "POST_VIEW"))


def remove_drawing() -> None:
    """Undo `add_drawing`."""
    while _handles:
        bpy.types.SpaceView3D.draw_handler_remove(_handles.pop(), "WINDOW")

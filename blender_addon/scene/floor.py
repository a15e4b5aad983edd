# SPDX-License-Identifier: GPL-3.0-or-later
"""A person put onto the floor by hand: the armature's object is moved, the keys stay as they are."""

import bpy
from mathutils import Matrix, Vector

from .body_surface import body_mesh
from .clip_keys import FLOOR_KEY
from .keys import curves_of


def lowest(armature: bpy.types.Object) -> float | None:
    """The height of the person's lowest point in the current frame, world, metres; None when nobody is shown then."""
    mesh = body_mesh(armature)
    if mesh is None or mesh.hide_viewport:
        return None
    bpy.context.view_layer.update()
    seen = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    skin = seen.to_mesh()
    try:
        world = seen.matrix_world
        # The third row alone: heights.
        row = Vector(world[2][:3])
        return min((row.dot(vertex.co) for vertex in skin.vertices), default=0.0) + world[2][3]
    finally:
        seen.to_mesh_clear()


def snap_to_floor(armature: bpy.types.Object) -> float | None:
    """Move the armature's object up or down until its lowest point is at height 0; -> by how many metres, None when
    nobody is shown in the current frame."""
    height = lowest(armature)
    if height is None:
        return None
    world = armature.matrix_world.copy()
    if _moves_by_keys(armature):
        # What is keyed would be undone by the next frame; this comes on top of it.
        above = (
            armature.parent.matrix_world.to_3x3().inverted_safe() if armature.parent else Matrix.Identity(3)
        )
        armature.delta_location += above @ Vector((0, 0, -height))
    else:
        armature.matrix_world = Matrix.Translation((0, 0, -height)) @ world
    bpy.context.view_layer.update()
    armature[FLOOR_KEY] = (
        armature.matrix_world.inverted_safe() @ Vector((*armature.matrix_world.translation.xy, 0))
    ).z
    return -height


def _moves_by_keys(armature: bpy.types.Object) -> bool:
    return any(curve.data_path == "location" for curve in curves_of(armature))

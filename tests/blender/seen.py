"""What Blender shows at a frame, as numpy arrays in world space."""

import bpy
import numpy as np

from .people import open_body


def go_to(frame: float) -> None:
    whole = int(np.floor(frame))
    bpy.context.scene.frame_set(whole, subframe=float(frame - whole))


def bone_heads(armature: bpy.types.Object) -> np.ndarray:
    """(55, 3) metres, in SMPL-X order (Blender keeps bones by depth)."""
    heads = np.array([armature.pose.bones[name].head for name in open_body().joint_names])
    world = np.array(armature.matrix_world)
    return heads @ world[:3, :3].T + world[:3, 3]


def from_camera(points: np.ndarray) -> np.ndarray:
    """(..., 3) camera space (x right, y down, z forward) -> world, by where the scene's camera stands."""
    world = np.array(bpy.context.scene.camera.matrix_world)
    # A Blender camera looks along its own -Z with +Y up.
    return points * np.array([1, -1, -1]) @ world[:3, :3].T + world[:3, 3]


def skinned_vertices(ob: bpy.types.Object) -> np.ndarray:
    """(V, 3) metres, after modifiers and shape keys."""
    evaluated = ob.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = evaluated.to_mesh()
    flat = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", flat)
    evaluated.to_mesh_clear()
    world = np.array(ob.matrix_world)
    return flat.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]


def curves_of(owner: bpy.types.ID) -> list:
    """All curves of the owner's action, whichever Blender this is."""
    action = owner.animation_data.action
    if bpy.app.version < (4, 4, 0):
        return list(action.fcurves)
    bag = action.layers[0].strips[0].channelbag(owner.animation_data.action_slot)
    return list(bag.fcurves)


def names_of_everything() -> list[tuple[str, str]]:
    """All data-blocks by kind and name, to see that an operation left nothing behind."""
    kinds = ("objects", "meshes", "armatures", "actions", "scenes", "collections", "cameras", "images")
    return sorted((kind, block.name) for kind in kinds for block in getattr(bpy.data, kind))

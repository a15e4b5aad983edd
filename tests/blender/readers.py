"""FBX files read back into joints (n, 55, 3) of Blender's world: by Blender, and by ufbx, which is not Blender."""

from pathlib import Path

import bpy
import numpy as np

from blender_addon.shared.axes import camera_to_blender, quaternion_to_matrix

from .people import open_body
from .seen import bone_heads, go_to

Y_UP_TO_BLENDER = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]])


def unit_of(file: Path) -> float:
    """Centimetres that the file counts as one, by its own words (read with the parser of Blender's importer)."""
    from io_scene_fbx import parse_fbx

    root, _ = parse_fbx.parse(str(file))
    settings = next(e for e in root.elems if e.id == b"GlobalSettings")
    table = next(e for e in settings.elems if e.id == b"Properties70")
    return next(e.props[-1] for e in table.elems if e.props[0] == b"UnitScaleFactor")


def to_blender_world(joints: np.ndarray) -> np.ndarray:
    """(n, 55, 3) camera space -> Blender's world: starting above the origin, the lowest foot at height 0."""
    x, _, z = joints[0, 0]
    return camera_to_blender(joints) + np.array([-x, -z, joints[:, [7, 8, 10, 11], 1].max()])


def joints_by_blender(file: Path, fps: float) -> np.ndarray:
    """Read with Blender's importer into an empty file of this rate; the take must begin at frame 1."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.fbx(filepath=str(file), anim_offset=0.0)
    (armature,) = (ob for ob in bpy.data.objects if ob.type == "ARMATURE")
    (action,) = bpy.data.actions
    first, last = action.frame_range
    assert first == 1 and len(armature.data.bones) == 55
    found = []
    for frame in range(1, round(last) + 1):
        go_to(frame)
        found.append(bone_heads(armature))
    return np.stack(found)


def joints_by_ufbx(file: Path, fps: float) -> np.ndarray:
    """Read with ufbx (package pufbx). Key k of the take must stand at k / fps seconds, from k = 1."""
    import pufbx

    scene = pufbx.load_fbx(str(file))
    assert len(list(scene.bones)) == 55 and len(list(scene.anim_stacks)) == 1
    data, times, names = pufbx.anim_to_array(str(file), anim_index=0, resample_rate=fps)
    assert np.allclose(np.asarray(times) * fps, np.arange(1, len(times) + 1), atol=1e-3)
    body, names = open_body(), list(names)
    (root,) = (i for i, name in enumerate(names) if name not in body.joint_names)
    assert len(names) == 56

    def local(node: int) -> tuple[np.ndarray, np.ndarray]:
        t, q, s = np.split(data[node], [3, 7], -1)
        return quaternion_to_matrix(q[:, [3, 0, 1, 2]]) * s[:, None, :], t

    # The armature's node is the parent of the pelvis; the bones hang together as the body's joints do.
    above, origin = local(root)
    metres = unit_of(file) / 100
    matrices, origins = [], []
    for name, parent in zip(body.joint_names, body.parents, strict=True):
        matrix, offset = local(names.index(name))
        held, start = (above, origin) if parent < 0 else (matrices[parent], origins[parent])
        matrices.append(held @ matrix)
        origins.append(np.einsum("nij,nj->ni", held, offset) + start)
    return metres * np.stack(origins, 1) @ Y_UP_TO_BLENDER.T

# SPDX-License-Identifier: GPL-3.0-or-later
"""One person's motion as GLB, BVH, USD and AMASS-style npz."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np

from ..scene.baking import Take, sample_take, without_root
from ..scene.body_surface import BODY_NAME, PLACES
from ..scene.clip_keys import BETAS_KEY, FLOOR_KEY, ROOT_BONE
from ..scene.contacts import contacts_at
from ..scene.visibility import shown_at
from ..shared.axes import SMPL_TO_BLENDER, amass_poses, matrix_to_rotvec
from ..shared.motion import CONTACTS
from ..shared.whole import write_whole
from .staging import ExportError, Look, write_staged


def export_bvh(armature: bpy.types.Object, path: Path, root: str = "keep") -> Path:
    """Skeleton and motion: metres, y up, one take over the scene's frame range. Raises ExportError."""
    return write_staged(armature, path, Look(root=root), lambda file, scene: bpy.ops.export_anim.bvh(
        filepath=file,
        check_existing=False,
        frame_start=scene.frame_start,
        frame_end=scene.frame_end,
        # Below a root bone the pelvis has a height of its own.
        root_transform_only=not _has_root(scene),
    ))  # fmt: skip


def _has_root(scene: bpy.types.Scene) -> bool:
    return any(ob.type == "ARMATURE" and ROOT_BONE in ob.data.bones for ob in scene.objects)


def export_glb(armature: bpy.types.Object, path: Path, root: str = "keep", shape: str = "bake") -> Path:
    """Binary glTF: skinned mesh, skeleton, one animation; metres, y up as glTF wants it. Raises ExportError."""
    look = Look(False, root=root, shape=shape)
    return write_staged(armature, path, look, lambda file, scene: bpy.ops.export_scene.gltf(
        filepath=file,
        check_existing=False,
        export_format="GLB",
        use_active_scene=True,
        use_selection=True,
        export_animation_mode="SCENE",
        export_force_sampling=True,
        export_optimize_animation_size=False,
        export_cameras=False,
        export_lights=False,
        export_extras=False,
    ))  # fmt: skip


def export_usd(armature: bpy.types.Object, path: Path, root: str = "keep", shape: str = "bake") -> Path:
    """USD with a skeleton and its animation; metres, z up. Raises ExportError, also where Blender has no USD."""
    if "usd_export" not in dir(bpy.ops.wm):
        raise ExportError(
            "This Blender was built without USD: export FBX or GLB, or use a Blender from blender.org."
        )
    look = Look(False, root=root, shape=shape)
    return write_staged(armature, path, look, lambda file, scene: bpy.ops.wm.usd_export(
        filepath=file,
        check_existing=False,
        selected_objects_only=True,
        export_animation=True,
        export_armatures=True,
        export_materials=False,
        export_custom_properties=False,
    ))  # fmt: skip


def export_npz(armature: bpy.types.Object, path: Path) -> Path:
    """AMASS-style npz (SMPL-X variant), z up, with the pose as it is now, edits and all; frames in which the person is
    hidden are left out. Raises ExportError."""
    source = next((s for s in bpy.data.scenes if armature.name in s.objects), None)
    if source is None or BETAS_KEY not in armature or PLACES not in armature:
        raise ExportError(f"{armature.name} is not a person that Bodyfield made; select one.")
    take = without_root(sample_take(source, armature))
    shown = shown_at(armature, take.frames)
    if not shown.any():
        raise ExportError(
            f"{armature.name} is hidden in every frame of the scene; show it or change the range."
        )
    take = replace(take, frames=take.frames[shown], matrices=take.matrices[shown])
    rate = source.render.fps / source.render.fps_base
    joints, betas = list(json.loads(armature[PLACES])["joints"]), np.array(armature[BETAS_KEY])
    arrays = amass_arrays(take, joints, betas, rate, str(armature.get(BODY_NAME, "open")))
    arrays["contacts"], arrays["bridged"] = contacts_at(armature, take.frames)
    arrays["contact_names"] = np.array(CONTACTS)
    arrays["floor"] = np.array([armature.get(FLOOR_KEY, np.nan)], np.float32)
    try:
        write_whole(path, lambda out: np.savez_compressed(out, **arrays))
    except OSError as error:
        raise ExportError(
            f"{path} could not be written ({error.strerror}); choose a folder that can be written to."
        ) from error
    return path


def amass_arrays(
    take: Take, joints: Sequence[str], betas: np.ndarray, rate: float, body: str
) -> dict[str, np.ndarray]:
    """The arrays of the file, keys and axes as `backend mocap` writes them; `joints`: 55 names in SMPL-X's order. The
    expressions are 0: the road does not find any yet."""
    count, order = len(take.frames), {name: i for i, name in enumerate(take.names)}
    # At rest every bone has SMPL-X's axes, so that the turn against its parent is SMPL-X's rotation, and that of the
    # pelvis takes SMPL-X's axes into the world.
    turns = take.matrices[..., :3, :3]
    parents = take.parents[[order[name] for name in joints]]
    above = np.where((parents < 0)[:, None, None], np.eye(3), turns[:, parents])
    pose = matrix_to_rotvec(np.swapaxes(above, -1, -2) @ turns[:, [order[name] for name in joints]])
    pelvis = order[joints[0]]
    rest = take.rest[pelvis, :3, 3] @ SMPL_TO_BLENDER
    trans = take.matrices[:, pelvis, :3, 3] - rest
    times = (take.frames - take.frames[0]) / rate
    return {
        "gender": np.array("neutral"),
        "body": np.array("bodyfield-open" if body == "open" else body),
        "mocap_frame_rate": np.float64(rate),
        "mocap_time_length": np.float64((take.frames[-1] - take.frames[0] + 1) / rate),
        "trans": trans.astype(np.float32),
        **amass_poses(pose, body),
        "betas": betas.astype(np.float32),
        "num_betas": np.int64(len(betas)),
        "expressions": np.zeros((count, 10), np.float32),
        "times": times,
        "frames": take.frames,
    }

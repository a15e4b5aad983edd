"""A person with a SMPL body in Blender: a file in SMPL's layout, a real backend, armature, skin, points and exports."""

import os
import time

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.export.formats import export_npz  # noqa: E402
from blender_addon.points.canonical import Place  # noqa: E402
from blender_addon.scene.points import add_place, show_points  # noqa: E402
from blender_addon.scene.tracked import tracked  # noqa: E402
from blender_addon.work import running  # noqa: E402
from blender_addon.work.video_import import VideoImport  # noqa: E402

from .backends import OPTIONS, environment, short_clip  # noqa: E402
from .people import ROOT, open_body, rodrigues  # noqa: E402
from .seen import bone_heads, from_camera, go_to, skinned_vertices  # noqa: E402

pytestmark = pytest.mark.slow

COUNT = 12
ROWS = (*range(22), 28, 43)
"""SMPL-X's rows of SMPL's joints."""


def smpl_arrays() -> dict[str, np.ndarray]:
    """The open body in SMPL's layout: 24 joints, no fingers, jaw or eyes; another mean shape."""
    parents = open_body().parents
    with np.load(ROOT / "backend" / "assets" / "body_open.npz") as data:
        weights, dirs = data["weights"], data["shapedirs"][..., :10].astype(np.float64)
        fewer = np.zeros((len(weights), 24))
        for j in range(55):
            up = j
            while up not in ROWS:
                up = int(parents[up]) if up < 25 else 28 if up < 40 else 43
            fewer[:, ROWS.index(up)] += weights[:, j]
        return {
            "v_template": data["v_template"] + dirs[..., :2] @ [1.0, 1.0], "f": data["f"], "weights": fewer,
            "shapedirs": dirs, "J_regressor": data["J_regressor"][list(ROWS)],
            "kintree_table": np.array([[2**32 - 1, *(ROWS.index(parents[r]) for r in ROWS[1:])], range(24)]),
        }  # fmt: skip


def lbs(arrays: dict[str, np.ndarray], pose, betas, trans) -> np.ndarray:
    """(V, 3) by the plain formula of SMPL, camera axes. `pose`: (24, 3)."""
    v = arrays["v_template"] + arrays["shapedirs"] @ betas
    joints, R = arrays["J_regressor"] @ v, rodrigues(pose)
    world, place = R.copy(), joints.copy()
    for j in range(1, 24):
        p = arrays["kintree_table"][0, j]
        world[j] = world[p] @ R[j]
        place[j] = place[p] + world[p] @ (joints[j] - joints[p])
    moved = np.einsum("jab,vb->jva", world, v) + (place - np.einsum("jab,jb->ja", world, joints))[:, None]
    return np.einsum("vj,jva->va", arrays["weights"], moved) + trans


@pytest.fixture
def person(tmp_path):
    """An imported person with that body, its motion, and the file's arrays."""
    names = ("BODYFIELD_HOME", "BODYFIELD_PYTHON", "OMP_NUM_THREADS")
    before = {n: os.environ.get(n) for n in names}
    os.environ.update(environment(tmp_path / "home"), OMP_NUM_THREADS="1")
    arrays = smpl_arrays()
    # By its content: nothing in the name says what it is.
    np.savez(tmp_path / "body.npz", **arrays)
    blender_addon.register()
    options = OPTIONS | {"body": str(tmp_path / "body.npz")}
    clip = short_clip(tmp_path / "walk.mp4", COUNT)
    running.start(VideoImport(running.backend, clip, options, scene=bpy.context.scene.name))
    end = time.monotonic() + 240
    while running.tick(0.05):
        assert time.monotonic() < end, "no news for minutes"
    (one,) = running.imports
    assert one.state == "done", one.error
    yield one.clip.armature(1), one.results[1], arrays
    running.imports.clear()
    running.stop()
    blender_addon.unregister()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def test_a_smpl_body_goes_the_whole_road(person, tmp_path):
    armature, motion, arrays = person
    absent = np.setdiff1d(np.arange(55), ROWS)
    assert len(armature.data.bones) == 55 and "SMPL file" in str(armature.get("bodyfield_licence", ""))
    assert not motion.pose[:, absent].any() and motion.pose[:, 1:22].any()
    (skin,) = (ob for ob in bpy.data.objects if ob.type == "MESH" and ob.parent == armature)
    for i in (0, COUNT // 2, COUNT - 1):
        go_to(i + 1)
        heads, joints = bone_heads(armature), from_camera(motion.joints[i])
        assert np.linalg.norm(heads - joints, axis=1).max() < 1e-3
        want = lbs(arrays, motion.pose[i][list(ROWS)].astype(float), motion.betas[:10], motion.trans[i])
        off = np.linalg.norm(skinned_vertices(skin) - from_camera(want), axis=1)
        assert off.max() < 1e-3
        # A finger's bone lies in its hand.
        tip = open_body().joint_names.index("left_index2")
        assert 0.04 < np.linalg.norm(heads[tip] - heads[20]) < 0.2

    places = (Place("wrist", "joint", where="left_wrist"), Place("nose", "landmark", where="nose"),
              Place("skin", face=9000, barycentric=(0.2, 0.3, 0.5)))  # fmt: skip
    for place in places:
        add_place(bpy.context.scene.bodyfield_points, place)
    show_points(bpy.context.scene)
    assert bpy.ops.bodyfield.track_points() == {"FINISHED"}
    empties = {ob["bodyfield_tracked"]: ob for ob in tracked(armature)}
    assert list(empties) == ["wrist", "nose", "skin"]
    go_to(COUNT)
    at = np.array(empties["wrist"].matrix_world.translation)
    assert np.linalg.norm(at - bone_heads(armature)[20]) < 1e-3

    export_npz(armature, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert str(file["surface_model_type"]) == "smpl" and file["poses"].shape == (COUNT, 72)
        assert file["pose_body"].shape == (COUNT, 69)
        back = lbs(
            arrays, file["poses"][-1].reshape(24, 3).astype(float), file["betas"][:10], file["trans"][-1]
        )
    assert np.linalg.norm(back - skinned_vertices(skin), axis=1).max() < 2e-3
    out = tmp_path / "a.fbx"
    bpy.ops.object.select_all(action="DESELECT")
    bpy.context.view_layer.objects.active = armature
    armature.select_set(True)
    assert bpy.ops.bodyfield.export_fbx(filepath=str(out)) == {"FINISHED"} and out.stat().st_size > 100_000

"""FBX and BVH, read back by Blender and by a reader that is not Blender."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from blender_addon.axes import camera_to_blender, quaternion_to_matrix  # noqa: E402
from blender_addon.scene.clip import ClipScene, Footage  # noqa: E402
from blender_addon.scene.fbx import PRESETS, ExportError, export_bvh, export_fbx  # noqa: E402

from .people import motion, open_body, posed  # noqa: E402
from .seen import bone_heads, go_to, names_of_everything  # noqa: E402

COUNT, MM = 24, 1e-3


def person(fps: float = 30.0, **changes) -> tuple[bpy.types.Object, np.ndarray]:
    """An armature in the scene, and its joints (COUNT, 55, 3) in Blender's world by numpy."""
    result = replace(motion(COUNT, fps=fps), **changes)
    clip = ClipScene(Footage("walk", Path("nowhere.mp4"), 640, 360, fps), "job-1")
    clip.set_body(open_body())
    clip.add([result])
    clip.refresh()
    bpy.context.view_layer.update()
    joints, _ = posed(result.betas, result.pose, result.trans)
    feet = joints[:, [7, 8, 10, 11], 1].max()
    return clip.armature(1), camera_to_blender(joints) + np.array([0, 0, feet])


@pytest.mark.parametrize("preset", PRESETS)
def test_blender_reads_every_joint_of_every_frame(tmp_path, preset):
    armature, joints = person()
    export_fbx(armature, tmp_path / "walk.fbx", preset)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.fbx(filepath=str(tmp_path / "walk.fbx"), anim_offset=0.0)
    (back,) = (ob for ob in bpy.data.objects if ob.type == "ARMATURE")
    (mesh,) = (ob for ob in bpy.data.objects if ob.type == "MESH")
    assert len(back.data.bones) == 55 and len(bpy.data.actions) == 1
    assert len(mesh.data.vertices) == len(open_body().v_template)
    for i in range(COUNT):
        go_to(i + 1)
        assert np.abs(bone_heads(back) - joints[i]).max() < MM


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("fps", [30.0, 60.0, 30000 / 1001])
def test_a_reader_that_is_not_blender_agrees(tmp_path, preset, fps):
    pufbx = pytest.importorskip("pufbx", reason="the independent reader has a wheel for Python 3.11 only")
    armature, joints = person(fps)
    export_fbx(armature, tmp_path / "walk.fbx", preset)
    scene = pufbx.load_fbx(str(tmp_path / "walk.fbx"))
    assert len(list(scene.bones)) == 55 and len(list(scene.anim_stacks)) == 1
    data, times, names = pufbx.anim_to_array(str(tmp_path / "walk.fbx"), anim_index=0, resample_rate=fps)
    # Key k of Blender's exporter stands at k / fps seconds, counted from frame 1.
    assert len(times) == COUNT and np.allclose(np.asarray(times) * fps, np.arange(1, COUNT + 1), atol=1e-3)
    found = joints_of_nodes(data, list(names))
    y_up_to_blender = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0.0]])
    metres = 0.01 if preset == "blender" else 1.0
    assert np.abs(metres * found @ y_up_to_blender.T - joints).max() < MM


def joints_of_nodes(data: np.ndarray, names: list[str]) -> np.ndarray:
    """(nodes, n, [t xyz, q xyzw, s xyz]) local -> (n, 55, 3) global, in the file's axes and units.

    The armature's node is the parent of the pelvis; the bones hang together as the body's joints do.
    """
    body = open_body()
    (root,) = (i for i, name in enumerate(names) if name not in body.joint_names)
    assert len(names) == 56

    def local(node: int):
        t, q, s = np.split(data[node], [3, 7], -1)
        return quaternion_to_matrix(q[:, [3, 0, 1, 2]]) * s[:, None, :], t

    matrices, origins = [], []
    for name, parent in zip(body.joint_names, body.parents, strict=True):
        matrix, offset = local(names.index(name))
        above, origin = local(root) if parent < 0 else (matrices[parent], origins[parent])
        matrices.append(above @ matrix)
        origins.append(np.einsum("nij,nj->ni", above, offset) + origin)
    return np.stack(origins, 1)


def test_unity_preset_has_no_rotation_and_no_scale_at_rest(tmp_path):
    pufbx = pytest.importorskip("pufbx", reason="the independent reader has a wheel for Python 3.11 only")
    armature, _ = person(pose=np.zeros((COUNT, 55, 3), np.float32))
    export_fbx(armature, tmp_path / "walk.fbx", "unity")
    assert pufbx.load_fbx(str(tmp_path / "walk.fbx")).num_anim_curves == 56 * 9
    data, _, names = pufbx.anim_to_array(str(tmp_path / "walk.fbx"), anim_index=0, resample_rate=30.0)
    assert np.allclose(data[..., 7:], 1, atol=1e-5)
    for name, node in zip(names, data, strict=True):
        # A zero pose in camera space stands on its head: only the pelvis may be turned, by that half turn.
        w = 0.0 if name == "pelvis" else 1.0
        assert np.allclose(np.abs(node[:, 6]), w, atol=1e-5), name


@pytest.mark.parametrize("export", [*PRESETS, "bvh"])
def test_the_users_file_is_as_before(tmp_path, export):
    armature, joints = person()
    names, here = names_of_everything(), bpy.context.scene
    bpy.context.scene.frame_set(7)
    if export == "bvh":
        export_bvh(armature, tmp_path / "walk.bvh")
    else:
        export_fbx(armature, tmp_path / "walk.fbx", export)
    assert names_of_everything() == names and bpy.context.scene == here and here.frame_current == 7
    assert not bpy.context.selected_objects and armature.name == "walk person 1"
    go_to(9)
    assert np.abs(bone_heads(armature) - joints[8]).max() < 1e-4
    assert [p.name for p in tmp_path.iterdir()] == [f"walk.{'bvh' if export == 'bvh' else 'fbx'}"]


def test_exporters_are_silent(tmp_path, capsys):
    armature, _ = person()
    capsys.readouterr()
    export_fbx(armature, tmp_path / "walk.fbx")
    export_bvh(armature, tmp_path / "walk.bvh")
    assert capsys.readouterr().out == ""


def test_bvh_is_y_up_and_complete(tmp_path):
    armature, joints = person()
    export_bvh(armature, tmp_path / "walk.bvh")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_anim.bvh(filepath=str(tmp_path / "walk.bvh"), axis_forward="-Z", axis_up="Y")
    (back,) = (ob for ob in bpy.data.objects if ob.type == "ARMATURE")
    for i in (0, COUNT // 2, COUNT - 1):
        go_to(i + 1)
        assert np.abs(bone_heads(back) - joints[i]).max() < MM


def test_two_people_are_exported_apart(tmp_path):
    clip = ClipScene(Footage("walk", Path("nowhere.mp4"), 640, 360, 30.0), "job-1")
    clip.set_body(open_body())
    clip.add([motion(4), motion(4, track=2, seed=4)])
    clip.refresh()
    export_fbx(clip.armature(2), tmp_path / "two.fbx")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.fbx(filepath=str(tmp_path / "two.fbx"))
    assert sorted((ob.type, ob.name) for ob in bpy.data.objects) == [
        ("ARMATURE", "walk person 2"),
        ("MESH", "walk person 2 body"),
    ]


def test_what_cannot_be_exported_is_told(tmp_path):
    armature, _ = person()
    with pytest.raises(ExportError, match="no FBX preset"):
        export_fbx(armature, tmp_path / "a.fbx", "maya")
    with pytest.raises(ExportError, match="not an armature"):
        export_fbx(bpy.context.scene.camera, tmp_path / "a.fbx")
    (tmp_path / "file").write_text("")
    names = names_of_everything()
    with pytest.raises(ExportError, match="could not be written"):
        export_fbx(armature, tmp_path / "file" / "a.fbx")
    assert names_of_everything() == names and [p.name for p in tmp_path.iterdir()] == ["file"]

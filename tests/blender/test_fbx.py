"""FBX and BVH, read back by Blender and by a reader that is not Blender."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from blender_addon.export.fbx import PRESETS, ExportError, export_fbx  # noqa: E402
from blender_addon.export.formats import export_bvh  # noqa: E402
from blender_addon.scene.clip import ClipScene, Footage  # noqa: E402

from .people import motion, open_body, posed  # noqa: E402
from .readers import joints_by_blender, joints_by_ufbx, to_blender_world  # noqa: E402
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
    return clip.armature(1), to_blender_world(posed(result.betas, result.pose, result.trans)[0])


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_blender_reads_every_joint_of_every_frame(tmp_path, preset):
    armature, joints = person()
    export_fbx(armature, tmp_path / "walk.fbx", preset)
    found = joints_by_blender(tmp_path / "walk.fbx", 30.0)
    assert found.shape == (COUNT, 55, 3) and np.abs(found - joints).max() < MM
    (mesh,) = (ob for ob in bpy.data.objects if ob.type == "MESH")
    assert len(mesh.data.vertices) == len(open_body().v_template)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("fps", [30.0, 60.0, 30000 / 1001])
def test_a_reader_that_is_not_blender_agrees(tmp_path, preset, fps):
    pytest.importorskip("pufbx", reason="the independent reader (pufbx) is not installed")
    armature, joints = person(fps)
    export_fbx(armature, tmp_path / "walk.fbx", preset)
    found = joints_by_ufbx(tmp_path / "walk.fbx", fps)
    assert found.shape == (COUNT, 55, 3) and np.abs(found - joints).max() < MM


def test_unity_preset_has_no_rotation_and_no_scale_at_rest(tmp_path):
    pufbx = pytest.importorskip("pufbx", reason="the independent reader (pufbx) is not installed")
    armature, _ = person(pose=np.zeros((COUNT, 55, 3), np.float32))
    export_fbx(armature, tmp_path / "walk.fbx", "unity")
    assert pufbx.load_fbx(str(tmp_path / "walk.fbx")).num_anim_curves == 56 * 9
    data, _, names = pufbx.anim_to_array(str(tmp_path / "walk.fbx"), anim_index=0, resample_rate=30.0)
    assert np.allclose(data[..., 7:], 1, atol=1e-5)
    for name, node in zip(names, data, strict=True):
        # A zero pose in camera space stands on its head: only the pelvis may be turned, by that half turn.
        w = 0.0 if name == "pelvis" else 1.0
        assert np.allclose(np.abs(node[:, 6]), w, atol=1e-5), name


@pytest.mark.slow
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


@pytest.mark.slow
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
        export_fbx(armature, tmp_path / "a.fbx", "lightwave")
    with pytest.raises(ExportError, match="not an armature"):
        export_fbx(bpy.context.scene.camera, tmp_path / "a.fbx")
    (tmp_path / "file").write_text("")
    names = names_of_everything()
    with pytest.raises(ExportError, match="could not be written"):
        export_fbx(armature, tmp_path / "file" / "a.fbx")
    assert names_of_everything() == names and [p.name for p in tmp_path.iterdir()] == ["file"]

"""Tracked points as animated empties: keys, uncertainty, what the user changed, bones, files."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.link.pointsjob import TrackedPoints  # noqa: E402
from blender_addon.points.canonical import Place  # noqa: E402
from blender_addon.scene.clip import ClipScene, Footage  # noqa: E402
from blender_addon.scene.keys import users_key_count  # noqa: E402
from blender_addon.scene.points import add_place, show_points  # noqa: E402
from blender_addon.scene.tracked import sample, tracked, write_tracked  # noqa: E402

from .people import motion, open_body  # noqa: E402
from .seen import bone_heads, curves_of, from_camera, go_to, names_of_everything  # noqa: E402

COUNT, TENTH_MM = 20, 1e-4
NAMES = ["left_wrist", "nose", "right_foot"]
JOINTS = [20, 15, 11]


@pytest.fixture(autouse=True)
def addon(empty_file):
    blender_addon.register()
    yield
    blender_addon.unregister()


def person(fps: float = 30.0, up=(0.1, -0.9, 0.2)):
    """A person before a tilted camera, so that the way into the world is not trivial."""
    result = replace(motion(COUNT, fps=fps), up=np.float32(up) / np.linalg.norm(up).astype(np.float32))
    clip = ClipScene(Footage("walk", Path("nowhere.mp4"), 640, 360, fps), "job-1")
    clip.set_body(open_body())
    clip.add([result])
    clip.refresh(force=True)
    bpy.context.view_layer.update()
    return clip.armature(1), result


def points_of(result) -> TrackedPoints:
    unsure = np.linspace(0.01, 0.2, COUNT * 3).reshape(COUNT, 3).astype(np.float32)
    return TrackedPoints(1, result.frames, result.times, result.joints[:, JOINTS], unsure)


def place(ob) -> np.ndarray:
    return np.array(ob.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world.translation)


def test_empties_go_where_the_joints_go_with_their_uncertainty():
    armature, result = person()
    points = points_of(result)
    empties = write_tracked(armature, NAMES, [4, 7, 9], points)
    assert [ob.name for ob in empties] == [f"{name} person 1" for name in NAMES]
    for i in range(COUNT):
        go_to(i + 1)
        heads = bone_heads(armature)
        for k, ob in enumerate(empties):
            assert np.abs(place(ob) - heads[JOINTS[k]]).max() < TENTH_MM
            assert np.abs(place(ob) - from_camera(points.positions[i, k])).max() < TENTH_MM
            assert ob["uncertainty_m"] == pytest.approx(points.uncertainty[i, k], abs=1e-6)
    curves = curves_of(empties[1])
    assert [(c.data_path, c.array_index) for c in curves] == [
        *(("location", axis) for axis in range(3)),
        ('["uncertainty_m"]', 0),
    ]
    assert {key.type for curve in curves for key in curve.keyframe_points} == {"GENERATED"}


def test_empties_go_along_when_the_person_is_moved():
    armature, result = person()
    (ob, *_) = write_tracked(armature, NAMES, [1, 2, 3], points_of(result))
    go_to(3)
    before = place(ob)
    armature.location = (1, 2, 3)
    bpy.context.view_layer.update()
    assert np.abs(place(ob) - before - [1, 2, 3]).max() < 1e-5


def test_a_second_pass_uses_the_same_empties_and_keeps_the_users_keys():
    armature, result = person()
    empties = write_tracked(armature, NAMES, [1, 2, 3], points_of(result))
    go_to(5)
    empties[0].location = (9, 9, 9)
    empties[0].keyframe_insert("location", frame=5)
    names = names_of_everything()
    moved = points_of(result)
    again = write_tracked(armature, NAMES, [1, 2, 3], replace(moved, positions=moved.positions + 1))
    assert again == empties and names_of_everything() == names and users_key_count(empties[0]) == 3
    go_to(5)
    assert np.allclose(empties[0].location, (9, 9, 9))
    go_to(6)
    assert np.abs(place(empties[1]) - from_camera(moved.positions[5, 1] + 1)).max() < TENTH_MM


def test_tracked_points_do_not_hinder_a_second_import():
    armature, result = person()
    write_tracked(armature, NAMES, [1, 2, 3], points_of(result))
    clip = ClipScene(Footage("walk", Path("nowhere.mp4"), 640, 360, 30.0), "job-1")
    clip.set_body(open_body())
    clip.add([result])
    clip.refresh(force=True)
    assert clip.armature(1) == armature and len(tracked(armature)) == 3


def test_bones_follow_the_points():
    armature, result = person()
    write_tracked(armature, NAMES, [1, 2, 3], points_of(result))
    show(NAMES)
    for _ in range(2):
        assert bpy.ops.bodyfield.bones_for_points() == {"FINISHED"}
        rigs = [ob for ob in bpy.data.objects if ob.type == "ARMATURE" and ob != armature]
        assert len(rigs) == 1 and [b.name for b in rigs[0].data.bones] == NAMES
    for frame in (2, 17):
        go_to(frame)
        evaluated = rigs[0].evaluated_get(bpy.context.evaluated_depsgraph_get())
        for k, name in enumerate(NAMES):
            head = np.array(evaluated.matrix_world @ evaluated.pose.bones[name].head)
            assert np.abs(head - bone_heads(armature)[JOINTS[k]]).max() < TENTH_MM


def test_any_object_follows_a_point():
    armature, result = person()
    show(NAMES)
    write_tracked(armature, NAMES, [1, 2, 3], points_of(result))
    bpy.ops.mesh.primitive_cube_add()
    bpy.context.scene.bodyfield_points.active = 1
    assert bpy.ops.bodyfield.follow_point() == {"FINISHED"}
    go_to(8)
    assert np.abs(place(bpy.context.active_object) - bone_heads(armature)[15]).max() < TENTH_MM


def show(names) -> None:
    for name in names:
        add_place(bpy.context.scene.bodyfield_points, Place(name, "joint", where="head"))
    show_points(bpy.context.scene)


def test_sampling_sees_what_the_user_changed_and_leaves_the_file_alone():
    armature, result = person(fps=30000 / 1001)
    empties = write_tracked(armature, NAMES, [1, 2, 3], points_of(result))
    empties[2].location = (4, 5, 6)
    empties[2].keyframe_insert("location", frame=7)
    names, here = names_of_everything(), bpy.context.scene
    here.frame_set(3)
    before = place(empties[0]), bone_heads(armature)
    found = sample(here, armature)
    bpy.context.view_layer.update()
    assert np.abs(place(empties[0]) - before[0]).max() < 1e-6
    assert np.abs(bone_heads(armature) - before[1]).max() < 1e-6
    assert names_of_everything() == names and bpy.context.scene == here and here.frame_current == 3
    assert found.names == NAMES and found.frames.tolist() == list(range(1, COUNT + 1))
    assert found.rate == pytest.approx(30000 / 1001)
    assert np.abs(found.positions[:, 0] - from_camera(result.joints[:, 20])).max() < TENTH_MM
    assert np.allclose(found.positions[6, 2], (4, 5, 6), atol=1e-5)
    assert np.allclose(found.uncertainty, points_of(result).uncertainty, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["trc", "c3d", "csv"])
def test_export_operator_writes_each_kind(tmp_path, ending):
    armature, result = person()
    assert not bpy.ops.bodyfield.export_tracked.poll()
    write_tracked(armature, NAMES, [1, 2, 3], points_of(result))
    file = tmp_path / "walk.anything"
    assert bpy.ops.bodyfield.export_tracked(filepath=str(file), format=f".{ending}") == {"FINISHED"}
    assert [p.name for p in tmp_path.iterdir()] == [f"walk.{ending}"]
    if ending == "csv":
        with (tmp_path / "walk.csv").open() as table:
            rows = list(csv.reader(table))
        assert rows[0][2:6] == [f"left_wrist_{part}" for part in ("x_m", "y_m", "z_m", "uncertainty_m")]
        numbers = np.array(rows[1:], float)
        assert np.abs(numbers[:, 2:5] - from_camera(result.joints[:, 20])).max() < TENTH_MM
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="cannot be written"):
        bpy.ops.bodyfield.export_tracked(filepath=str(tmp_path / "file" / "a.trc"), format=f".{ending}")

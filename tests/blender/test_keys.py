"""Bulk keys: what is written, and what of the user's is kept when they are written again."""

from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from blender_addon.scene.clip import ClipScene, Footage  # noqa: E402
from blender_addon.scene.keys import Channel, bone_path, users_key_count, write_keys  # noqa: E402
from blender_addon.shared.motion import CONTACTS  # noqa: E402

from .people import motion, open_body  # noqa: E402
from .seen import curves_of, go_to  # noqa: E402


def built(result, fps=30.0) -> bpy.types.Object:
    clip = ClipScene(Footage("walk", Path("nowhere.mp4"), 640, 360, fps), "job-1")
    clip.set_body(open_body())
    clip.add([result])
    clip.refresh()
    bpy.context.view_layer.update()
    return clip.armature(1)


def column(curve, field: str) -> np.ndarray:
    dtype = np.float32 if field == "co" else np.int32
    out = np.empty((2 if field == "co" else 1) * len(curve.keyframe_points), dtype)
    curve.keyframe_points.foreach_get(field, out)
    return out.reshape(-1, 2) if field == "co" else out


def test_every_bone_has_every_frame():
    armature = built(motion(40))
    curves = curves_of(armature)
    want = {(bone_path("pelvis", "location"), i) for i in range(3)}
    want |= {
        (bone_path(name, "rotation_quaternion"), i) for name in open_body().joint_names for i in range(4)
    }
    want |= {('["uncertainty_m"]', 0), *(('["joint_uncertainty"]', i) for i in range(55))}
    want |= {(f'["contact_{name}"]', 0) for name in CONTACTS} | {('["bridged"]', 0), ('["doubtful"]', 0)}
    assert {(c.data_path, c.array_index) for c in curves} == want
    assert all(np.array_equal(column(c, "co")[:, 0], np.arange(1, 41)) for c in curves)
    assert {c.group.name for c in curves} == {*open_body().joint_names, "Uncertainty", "Contacts", "Identity"}
    assert {k.type for c in curves[:9] for k in c.keyframe_points} == {"GENERATED"}
    assert {k.interpolation for c in curves[:9] for k in c.keyframe_points} == {"LINEAR"}
    assert users_key_count(armature) == 0


def test_quaternions_are_continuous_units():
    result = motion(120)
    # A wrist that turns four times, given as a fit gives it: angles between -pi and pi.
    angle = (0.2 * np.arange(120) + np.pi) % (2 * np.pi) - np.pi
    result.pose[:, 20] = angle[:, None] * np.float32([0.6, 0, 0.8])
    curves = curves_of(built(result))
    for name in open_body().joint_names:
        path = bone_path(name, "rotation_quaternion")
        q = np.stack([column(c, "co")[:, 1] for c in curves if c.data_path == path], -1)
        assert np.allclose(np.linalg.norm(q, axis=-1), 1, atol=1e-6)
        assert (q[1:] * q[:-1]).sum(-1).min() > 0.9


def test_keys_at_variable_rate_stand_at_their_true_time():
    times = np.array([0, 0.033, 0.066, 0.3, 0.333, 0.9])
    armature = built(motion(6, times=times))
    assert np.allclose(column(curves_of(armature)[0], "co")[:, 0], times * 30 + 1, atol=1e-4)
    steady = built(motion(6, times=np.arange(6) / 30 + 0.002))
    assert column(curves_of(steady)[0], "co")[:, 0].tolist() == [1, 2, 3, 4, 5, 6]


def cube_keys(values, frames=None, quaternion=False) -> bpy.types.Object:
    """A cube keyed by write_keys; the same object at each call of one test."""
    cube = bpy.data.objects.get("cube") or bpy.data.objects.new("cube", None)
    if cube.name not in bpy.context.scene.objects:
        bpy.context.scene.collection.objects.link(cube)
    values = np.asarray(values, float)
    frames = np.arange(1, len(values) + 1) if frames is None else frames
    path = "rotation_quaternion" if quaternion else "location"
    if quaternion:
        cube.rotation_mode = "QUATERNION"
    write_keys(cube, "cube", [Channel(path, values, "moves", quaternion)], frames)
    return cube


def test_a_second_run_replaces_its_own_keys():
    cube = cube_keys(np.ones((8, 3)))
    action = cube.animation_data.action
    cube_keys(np.full((5, 3), 2.0), frames=[2, 3, 4, 5, 6])
    assert cube.animation_data.action == action and len(curves_of(cube)) == 3
    assert column(curves_of(cube)[1], "co").tolist() == [[f, 2.0] for f in (2, 3, 4, 5, 6)]
    assert len(bpy.data.actions) == 1


def test_a_second_run_keeps_keys_between_beyond_and_on_its_frames():
    cube = cube_keys(np.zeros((6, 3)))
    for frame in (2.5, 4, 20):
        cube.location = (7, 8, 9)
        cube.keyframe_insert("location", frame=frame)
    assert users_key_count(cube) == 9
    cube_keys(np.ones((6, 3)))
    curve = curves_of(cube)[0]
    assert column(curve, "co").tolist() == [[1, 1], [2, 1], [2.5, 7], [3, 1], [4, 7], [5, 1], [6, 1], [20, 7]]
    # And a third run still knows which are whose.
    cube_keys(np.full((6, 3), 3.0))
    assert column(curve, "co")[:, 1].tolist() == [3, 3, 7, 3, 7, 3, 3, 7]
    assert users_key_count(cube) == 9


def test_kept_keys_keep_their_handles_and_interpolation():
    cube = cube_keys(np.zeros((4, 3)))
    cube.location = (1, 2, 3)
    cube.keyframe_insert("location", frame=2.5, keytype="EXTREME")
    key = next(k for k in curves_of(cube)[0].keyframe_points if k.co.x == 2.5)
    key.interpolation, key.easing = "BOUNCE", "EASE_IN"
    key.handle_left_type = key.handle_right_type = "FREE"
    key.handle_left, key.handle_right = (2.3, 5), (2.7, -5)
    cube_keys(np.ones((4, 3)))
    key = next(k for k in curves_of(cube)[0].keyframe_points if k.co.x == 2.5)
    assert (key.type, key.interpolation, key.easing) == ("EXTREME", "BOUNCE", "EASE_IN")
    assert np.allclose([*key.handle_left, *key.handle_right], [2.3, 5, 2.7, -5])


def test_values_dragged_in_the_graph_editor_are_the_users():
    cube = cube_keys(np.zeros((4, 3)))
    curves_of(cube)[2].keyframe_points[1].co.y = 5.0
    cube_keys(np.ones((4, 3)))
    assert column(curves_of(cube)[2], "co")[:, 1].tolist() == [1, 5, 1, 1]
    assert column(curves_of(cube)[0], "co")[:, 1].tolist() == [1, 1, 1, 1]


def test_edited_keys_are_known_after_saving_and_loading(tmp_path):
    cube = cube_keys(np.random.default_rng(0).normal(size=(5, 3)))
    cube.location = (9, 9, 9)
    cube.keyframe_insert("location", frame=3)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    assert users_key_count(bpy.data.objects["cube"]) == 3


def test_new_quaternions_take_the_sign_of_the_users_keys():
    turn = np.stack(
        [np.cos(np.linspace(1.3, 1.7, 9)), np.sin(np.linspace(1.3, 1.7, 9)), 0 * np.ones(9), 0 * np.ones(9)],
        -1,
    )
    cube = cube_keys(turn, quaternion=True)
    cube.rotation_quaternion = -turn[4] * 0.99
    for curve in curves_of(cube):
        for key in curve.keyframe_points:
            key.co.y *= -1
        curve.keyframe_points[4].co.y *= 0.5
        for i, key in enumerate(curve.keyframe_points):
            key.back = key.co.y if i != 4 else 99
    cube_keys(turn, quaternion=True)
    q = np.stack([column(c, "co")[:, 1] for c in curves_of(cube)], -1)
    assert (q[1:] * q[:-1]).sum(-1).min() > 0
    assert np.allclose(q[0], -turn[0], atol=1e-6)


def test_a_bone_edited_by_hand_keeps_the_edit_when_the_final_result_comes():
    clip = ClipScene(Footage("walk", Path("nowhere.mp4"), 640, 360, 30.0), "job-1")
    clip.set_body(open_body())
    clip.add([motion(10, final=False)])
    clip.refresh()
    armature = clip.armature(1)
    go_to(4)
    bone = armature.pose.bones["left_elbow"]
    bone.rotation_quaternion = (0.6, 0.8, 0, 0)
    bone.keyframe_insert("rotation_quaternion", frame=4)
    clip.add([motion(10, seed=2)])
    clip.refresh()
    go_to(4)
    assert np.allclose(
        np.abs(armature.pose.bones["left_elbow"].rotation_quaternion), [0.6, 0.8, 0, 0], atol=1e-6
    )
    go_to(5)
    assert not np.allclose(
        np.abs(armature.pose.bones["left_elbow"].rotation_quaternion), [0.6, 0.8, 0, 0], atol=0.05
    )


def test_keys_go_into_the_action_that_is_assigned():
    cube = bpy.data.objects.new("cube", None)
    bpy.context.scene.collection.objects.link(cube)
    cube.location = (1, 1, 1)
    cube.keyframe_insert("location", frame=50)
    action = cube.animation_data.action
    cube_keys(np.zeros((3, 3)))
    assert cube.animation_data.action == action
    assert column(curves_of(cube)[0], "co").tolist() == [[1, 0], [2, 0], [3, 0], [50, 1]]

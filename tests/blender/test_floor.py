"""Where people stand: the floor at height 0 for everybody, contacts as curves and markers."""

from dataclasses import replace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.scene.clip import ClipScene  # noqa: E402
from blender_addon.scene.keys import users_key_count  # noqa: E402
from blender_addon.shared.motion import CONTACTS  # noqa: E402

from .people import motion, open_body, posed  # noqa: E402
from .seen import bone_heads, go_to, skinned_vertices  # noqa: E402
from .standing import UP, built, curve_of, keys_of, mesh_of, on_floor, resting  # noqa: E402

TENTH_MM = 1e-4


@pytest.fixture(autouse=True)
def addon(empty_file):
    blender_addon.register()
    yield
    blender_addon.unregister()


def heights(points: np.ndarray, floor: float) -> np.ndarray:
    """What `TrackMotion.floor` says of places in camera space."""
    return np.asarray(points, np.float64) @ np.asarray(UP, np.float32).astype(np.float64) + floor


def test_height_0_is_the_floor_for_everybody():
    # Neither the first nor the lowest of them gives the floor: one hangs above it, one has a foot below.
    floor = 1.4
    one, other = on_floor(motion(6), floor), on_floor(motion(6, track=2, seed=4), floor)
    other = replace(
        other, trans=other.trans - np.float32([1, 0.7, 0]), joints=other.joints - np.float32([1, 0.7, 0])
    )
    clip = built(one, other)
    for track, result in ((1, one), (2, other)):
        joints, vertices = posed(result.betas, result.pose, result.trans, vertices=True)
        for i in (0, 5):
            go_to(i + 1)
            found = bone_heads(clip.armature(track))
            assert np.abs(found[:, 2] - heights(joints[i], floor)).max() < TENTH_MM
            skin = skinned_vertices(mesh_of(clip, track))
            assert np.abs(skin[:, 2] - heights(vertices[i], floor)).max() < TENTH_MM
    camera = bpy.context.scene.camera
    assert camera.matrix_world.translation.z == pytest.approx(floor, abs=1e-6)
    # The first person still starts above the origin.
    go_to(1)
    assert np.abs(bone_heads(clip.armature(1))[0, :2]).max() < TENTH_MM


def test_without_a_floor_the_lowest_foot_stands_at_height_0():
    result = replace(motion(6), up=UP.astype(np.float32))
    assert np.isnan(result.floor).all()
    clip = built(result)
    lowest = []
    for i in range(6):
        go_to(i + 1)
        lowest.append(bone_heads(clip.armature(1))[[7, 8, 10, 11], 2].min())
    assert min(lowest) == pytest.approx(0, abs=1e-5)


def test_the_floor_of_a_first_motion_gives_way_to_the_final_one():
    clip = built(replace(motion(6), final=False))
    final = on_floor(motion(6, seed=8), 2.0)
    clip.add([final])
    clip.refresh()
    joints, _ = posed(final.betas, final.pose, final.trans)
    go_to(3)
    assert np.abs(bone_heads(clip.armature(1))[:, 2] - heights(joints[2], 2.0)).max() < TENTH_MM


def test_contacts_are_curves():
    result = resting(motion(12))
    armature = built(result).armature(1)
    for column, name in enumerate(CONTACTS):
        keys = keys_of(armature, f'["contact_{name}"]')
        np.testing.assert_array_equal(keys[:, 0], np.arange(1, 13))
        np.testing.assert_array_equal(keys[:, 1].astype(np.float32), result.contacts[:, column])
    np.testing.assert_array_equal(keys_of(armature, '["bridged"]')[:, 1], result.bridged)
    assert {k.interpolation for k in curve_of(armature, '["bridged"]').keyframe_points} == {"CONSTANT"}
    assert users_key_count(armature) == 0
    go_to(3)
    assert armature["contact_left_heel"] == pytest.approx(1) and armature["bridged"] == 1
    go_to(4)
    assert armature["bridged"] == 0


def test_a_second_run_replaces_contacts_and_keeps_the_users():
    first = resting(motion(12))
    clip = built(first)
    armature = clip.armature(1)
    curve = curve_of(armature, '["contact_left_toes"]')
    curve.keyframe_points[4].co[1] = 0.77
    curve.keyframe_points.insert(6.5, 0.33, keyframe_type="EXTREME")
    armature.animation_data.action.pose_markers.new("mine").frame = 3
    again = resting(motion(12), seed=1)
    second = ClipScene(clip.footage, "job-1")
    second.set_body(open_body())
    second.add([again])
    second.refresh(force=True)
    keys = keys_of(armature, '["contact_left_toes"]')
    want = again.contacts[:, 1].astype(float)
    want[4] = 0.77
    np.testing.assert_allclose(np.delete(keys[:, 1], 6), want, atol=1e-7)
    assert keys[6].tolist() == pytest.approx([6.5, 0.33])
    np.testing.assert_array_equal(
        keys_of(armature, '["contact_right_knee"]')[:, 1].astype(np.float32), again.contacts[:, 7]
    )
    markers = [m.name for m in armature.animation_data.action.pose_markers]
    assert sorted(markers) == ["Left foot up", "Right foot down", "mine"]


def test_markers_stand_where_feet_come_down_and_leave():
    armature = built(resting(motion(12))).armature(1)
    found = {(m.name, m.frame) for m in armature.animation_data.action.pose_markers}
    # Frame 5 is the fifth picture, row 4: the left foot rests in rows 0 to 3.
    assert found == {("Left foot up", 5), ("Right foot down", 5)}

"""Shots: one keyed camera that matches the footage in every frame, each shot's people in a world of their own."""

from dataclasses import replace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from blender_addon.link.pointsjob import TrackedPoints  # noqa: E402
from blender_addon.scene import doubt, shots, tracked  # noqa: E402
from blender_addon.scene.clip import ClipScene, Footage  # noqa: E402
from blender_addon.scene.markers import CUT, ours  # noqa: E402
from blender_addon.scene.person import find_collection  # noqa: E402
from blender_addon.scene.scene_camera import camera_path  # noqa: E402
from blender_addon.shared.frames import ClipError  # noqa: E402
from blender_addon.ui import found  # noqa: E402

from .filmed import pixels, shot  # noqa: E402
from .people import CAMERA, motion, posed, rodrigues  # noqa: E402
from .seen import bone_heads, curves_of, go_to  # noqa: E402
from .standing import built, curve_of  # noqa: E402
from .test_camera import pixels_by_blender  # noqa: E402

UP2 = np.array([0.2, -0.9, -0.35]) / np.linalg.norm([0.2, -0.9, -0.35])
STILL = shot(0, 8, floor=1.5)
WALKED = shot(8, 10, number=2, moving=True, zooms=True, up=UP2, floor=1.2)


def in_shot(result, of, person: int = 0):
    """The motion as one of a shot."""
    return replace(result, shot=np.int32([of.number]), up=of.up, floor=of.floor, person=np.int32([person]))


def filmed(people, *of, **more) -> ClipScene:
    """A clip with these shots."""
    clip = built(*people, **more)
    clip.set_shots({one.number: one for one in of})
    clip.refresh(force=True)
    bpy.context.view_layer.update()
    return clip


def two_shots(**more) -> tuple[ClipScene, dict]:
    people = {
        1: in_shot(motion(8), STILL),
        2: in_shot(motion(10, track=2, seed=4, first=8), WALKED, person=1),
        3: in_shot(motion(10, track=3, seed=7, first=8), WALKED),
    }
    return filmed(people.values(), STILL, WALKED, **more), people


def assert_seen(clip: ClipScene, result, of) -> None:
    """Everybody's joints fall where the shot's own camera sees them, in every frame."""
    joints, _ = posed(result.betas, result.pose, result.trans)
    camera = bpy.context.scene.camera
    for i, frame in enumerate(result.frames):
        go_to(frame + 1)
        got = pixels_by_blender(camera, CAMERA, bone_heads(clip.armature(result.track)))
        off = np.abs(got - pixels(of, int(frame - of.frames[0]), joints[i])).max()
        assert off < 0.5, f"{off:.2f} px in frame {frame}"


def test_a_moving_camera_sees_every_joint_where_the_footage_has_it():
    walked = shot(0, 12, moving=True, up=UP2)
    result = in_shot(motion(12), walked)
    clip = filmed([result], walked)
    assert_seen(clip, result, walked)
    camera = bpy.context.scene.camera
    turns = np.array([[k.co[1] for k in c.keyframe_points]
                      for c in curves_of(camera) if c.data_path == "rotation_quaternion"]).T  # fmt: skip
    assert len(turns) == 12 and (np.sum(turns[1:] * turns[:-1], 1) > 0.9).all(), "a flip between two frames"
    assert camera.data.animation_data is None, "the lens does not change"
    # The person stands on the floor of a level world although the camera was tilted.
    go_to(3)
    heights = bone_heads(clip.armature(1))[:, 2]
    joints = posed(result.betas, result.pose, result.trans)[0][2]
    assert np.abs(heights - (joints @ walked.up.astype(float) + walked.floor[0])).max() < 1e-4


def test_two_shots_have_worlds_of_their_own_and_one_camera_that_cuts():
    clip, people = two_shots()
    for track, of in ((1, STILL), (2, WALKED), (3, WALKED)):
        assert_seen(clip, people[track], of)
    camera = bpy.context.scene.camera
    assert len(bpy.data.cameras) == 1 and bpy.context.scene.frame_end == 18
    lens = curve_of(camera.data, "lens")
    assert [k.interpolation for k in lens.keyframe_points] == ["CONSTANT", *["LINEAR"] * 9, "CONSTANT"]
    # Just before the cut the camera still stands where it stood.
    go_to(8.9)
    before = np.array(camera.matrix_world)
    go_to(1)
    np.testing.assert_allclose(before, np.array(camera.matrix_world), atol=1e-6)
    assert clip.armature(1).name == "walk person 1" and clip.armature(3).name == "walk person 3 (shot 2)"
    # The linked one has the colour of the first, the other one another.
    colours = [tuple(clip.armature(track).color) for track in (1, 2, 3)]
    assert colours[0] == colours[1] != colours[2]
    go_to(5)
    assert [clip.armature(t).hide_viewport for t in (1, 2, 3)] == [False, True, True]


def test_cuts_are_marked_on_the_timeline_and_the_users_markers_stay():
    scene = bpy.context.scene
    scene.timeline_markers.new("Shot 2", frame=3)
    clip, people = two_shots()
    assert [(m.name, m.frame) for m in ours(scene, "job-1", CUT)] == [("Shot 2", 9)]
    mine = next(m for m in ours(scene, "job-1", CUT))
    mine.name = "here she comes"
    clip.add(people.values())
    clip.set_shots({1: shot(0, 11), 2: shot(11, 7, number=2)})
    clip.refresh(force=True)
    found = sorted((m.name, m.frame) for m in scene.timeline_markers)
    assert found == [("Shot 2", 3), ("Shot 2", 12), ("here she comes", 9)]
    clip.set_shots({1: shot(0, 18)})
    clip.add([in_shot(r, shot(0, 18)) for r in people.values()])
    clip.refresh(force=True)
    assert ours(scene, "job-1", CUT) == [] and clip.armature(3).name == "walk person 3"


def test_the_markers_of_a_deleted_clip_go_with_the_next_one():
    scene = bpy.context.scene
    two_shots()
    bpy.data.collections.remove(find_collection("job-1"))
    built(motion(8), job="job-2")
    assert [m.name for m in scene.timeline_markers] == []


def test_a_camera_that_turns_out_to_stand_loses_its_keys_but_not_the_users():
    clip, people = two_shots()
    camera = bpy.context.scene.camera
    whole = shot(0, 18)
    still = [in_shot(r, whole) for r in people.values()]
    clip.add(still)
    clip.set_shots({1: whole})
    clip.refresh(force=True)
    assert camera.animation_data is None and camera.data.animation_data is None
    assert camera.data.lens == pytest.approx(CAMERA.fx * 36 / 640) and not bpy.data.actions.get(
        "walk camera motion"
    )
    assert_seen(clip, still[0], whole)
    clip.add(people.values())
    clip.set_shots({1: STILL, 2: WALKED})
    clip.refresh(force=True)
    key = curve_of(camera, "location").keyframe_points[4]
    key.co[1], frame = 7.5, key.co[0]
    clip.add(still)
    clip.set_shots({1: whole})
    clip.refresh(force=True)
    keys = {k.co[0]: k.co[1] for k in curve_of(camera, "location").keyframe_points}
    assert keys[frame] == 7.5 and set(keys) == {1.0, frame}


def test_a_variable_rate_keys_the_camera_at_the_true_times():
    walked = shot(0, 12, moving=True)
    walked = replace(walked, times=np.cumsum(np.r_[0, np.tile([1 / 30, 2 / 30], 6)])[:12])
    result = in_shot(motion(12, times=walked.times), walked)
    clip = filmed([result], walked)
    joints, _ = posed(result.betas, result.pose, result.trans)
    for i in (0, 3, 10):
        go_to(walked.times[i] * 30 + 1)
        got = pixels_by_blender(bpy.context.scene.camera, CAMERA, bone_heads(clip.armature(1)))
        assert np.abs(got - pixels(walked, i, joints[i])).max() < 0.5
        assert shots.clip_frame(find_collection("job-1"), walked.times[i] * 30 + 1) == i
    assert shots.clip_frame(find_collection("job-1"), np.floor(walked.times[5] * 30 + 1) + 0.2) == 5


def test_tracked_points_come_into_the_world_of_their_shot():
    clip, people = two_shots()
    result = people[3]
    points = TrackedPoints(3, result.frames, result.times, result.joints[:, :1], np.full((10, 1), 0.01))
    (empty,) = tracked.write_tracked(clip.armature(3), ["hip"], [1], points)
    for frame in (9, 15):
        go_to(frame)
        bpy.context.view_layer.update()
        assert (empty.matrix_world.translation - clip.armature(3).pose.bones["pelvis"].head).length < 1e-4


def test_the_file_remembers_what_was_found():
    lens = {"fov_deg": 62.0, "fov_sigma_deg": 4.0, "lens_source": "people", "note": "The zoom was guessed."}
    walked = shot(0, 12, moving=True, **lens)
    filmed([in_shot(motion(12), walked)], walked)
    (one,) = shots.told(find_collection("job-1"))
    assert (one.first, one.last, one.moving, one.fov_deg, one.note) == (
        0,
        11,
        True,
        62.0,
        "The zoom was guessed.",
    )
    assert shots.clip_frame(find_collection("job-1"), 5) == 4


def test_the_panel_says_lens_camera_and_shots():
    people = {"fov_deg": 62.2, "fov_sigma_deg": 4.0, "lens_source": "people", "note": "The zoom was guessed."}
    still, walked = replace(STILL, fov_deg=55.0), replace(WALKED, **people)
    clip, _ = two_shots()
    clip.set_shots({1: still, 2: walked})
    clip.refresh(force=True)
    scene_clip = find_collection("job-1")
    assert [text for text, _ in found.found(scene_clip, 3)] == [
        "Shot 1 of 2", "Lens 55° (assumed)", "Camera: still", "The zoom was guessed."
    ]  # fmt: skip
    assert [text for text, _ in found.found(scene_clip, 9)][:3] == [
        "Shot 2 of 2", "Lens 62° ± 4° (from the people)", "Camera: moving, zooms"
    ]  # fmt: skip
    assert found.found(None, 1) == []


def test_the_scenes_camera_becomes_a_solved_one_and_back():
    """What is sent of our own camera is the way it came from, whatever the world's axes."""
    walked = shot(0, 12, moving=True, zooms=True, up=UP2)
    filmed([in_shot(motion(12), walked)], walked)
    scene = bpy.context.scene
    scene.frame_set(5)
    rows = np.array(camera_path(scene, Footage("walk", None, 640, 360, 30.0, length=12)))
    assert rows.shape == (12, 8) and scene.frame_current == 5 and len(bpy.data.scenes) == 1
    np.testing.assert_array_equal(rows[:, 0], np.arange(12))
    np.testing.assert_allclose(rows[:, 7], walked.lens[:, 0], atol=0.01)
    turns, places = rodrigues(rows[:, 1:4]), rows[:, 4:7]
    for i in range(12):
        # Of one frame seen from another nothing depends on where the world is.
        own = rodrigues(walked.turns[i].astype(float)) @ rodrigues(walked.turns[0].astype(float)).T
        assert np.abs(turns[i] @ turns[0].T - own).max() < 1e-4
        way = turns[0] @ (places[i] - places[0])
        assert np.abs(way - walked.places[i]).max() < 1e-3
    scene.camera.data.type = "ORTHO"
    with pytest.raises(ClipError, match="no perspective camera"):
        camera_path(scene, Footage("walk", None, 640, 360, 30.0, length=12))


def test_a_camera_that_looks_along_the_world_has_no_turn():
    camera = bpy.data.objects.new("solved", bpy.data.cameras.new("solved"))
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    # Held upright, looking along +y, one metre up and two to the right, the picture higher than wide.
    camera.rotation_euler, camera.location, camera.data.lens = (np.pi / 2, 0, 0), (2, 0, 1), 36.0
    ((*row, focal),) = camera_path(bpy.context.scene, Footage("walk", None, 360, 640, 30.0, length=1))
    np.testing.assert_allclose(row, [0, 0, 0, 0, 2, -1, 0], atol=1e-5)
    assert focal == pytest.approx(640)


def test_the_origin_stays_when_the_first_person_goes():
    whole = shot(0, 8)
    first, second = in_shot(motion(8), whole), in_shot(motion(8, track=2, seed=4), whole)
    clip = filmed([first, second], whole)
    go_to(3)
    before = bone_heads(clip.armature(2))
    again = ClipScene(clip.footage, "job-1")
    again.set_body(clip.body)
    again.add([second])
    again.set_shots({1: whole})
    again.refresh(force=True)
    go_to(3)
    assert np.abs(bone_heads(again.armature(2)) - before).max() < 1e-4


def test_doubtful_frames_are_a_curve_and_stretches():
    doubtful = np.uint8([0, 1, 1, 0, 0, 0, 1, 0])
    clip = built(replace(motion(8), doubtful=doubtful))
    armature = clip.armature(1)
    curve = curve_of(armature, '["doubtful"]')
    assert [k.co[1] for k in curve.keyframe_points] == doubtful.tolist()
    assert {k.interpolation for k in curve.keyframe_points} == {"CONSTANT"}
    assert doubt.stretches(armature) == [(2.0, 3.0), (7.0, 7.0)]
    assert doubt.marks([("Anna", armature)]) == [("Anna doubtful", 2.0), ("Anna doubtful", 7.0)]
    assert [doubt.next_doubtful([armature], f)[1] for f in (1, 2, 5, 7)] == [2.0, 7.0, 7.0, 2.0]
    assert armature["bodyfield_doubtful"] == 3 and armature["bodyfield_frames"] == 8

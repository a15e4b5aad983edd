"""Nobody is shown where nothing is known: in gaps, before and after; and nothing is keyed there."""

from dataclasses import replace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.export.fbx import export_fbx  # noqa: E402
from blender_addon.export.formats import export_glb, export_npz  # noqa: E402
from blender_addon.geometry.footsteps import footsteps  # noqa: E402
from blender_addon.scene.baking import sample_take  # noqa: E402
from blender_addon.scene.clip import ClipScene  # noqa: E402
from blender_addon.shared.motion import CONTACTS  # noqa: E402

from .people import motion, open_body, posed  # noqa: E402
from .seen import bone_heads, curves_of, go_to  # noqa: E402
from .standing import built, curve_of, keys_of, mesh_of, resting, without  # noqa: E402

TENTH_MM = 1e-4


@pytest.fixture(autouse=True)
def addon(empty_file):
    blender_addon.register()
    yield
    blender_addon.unregister()


def test_footsteps_leave_out_noise_gaps_and_ends():
    times, frames = np.arange(60) / 60, np.arange(60)
    touch = np.zeros((60, 8))
    touch[10:30, 0] = touch[28:40, 1] = 1.0
    assert [(s.row, s.side, s.down) for s in footsteps(touch, frames, times)] == [
        (10, "left", True), (40, "left", False),
    ]  # fmt: skip
    # A flicker of 2 frames, on or off, is none; one of 6 frames is.
    touch[50:52, 0] = 1.0
    touch[20:22, :2] = 0.0
    assert len(footsteps(touch, frames, times)) == 2
    touch[46:52, 3] = 1.0
    assert [(s.row, s.side, s.down) for s in footsteps(touch, frames, times)][2:] == [
        (46, "right", True), (52, "right", False),
    ]  # fmt: skip
    # Resting from the first row on, or after a gap, is no strike.
    touch = np.ones((60, 8))
    assert footsteps(touch, np.concatenate([frames[:30], frames[30:] + 40]), times) == []
    assert footsteps(np.zeros((0, 8)), frames[:0], times[:0]) == []


def test_nobody_is_shown_in_a_gap_and_nothing_is_keyed_in_it():
    result = without(resting(motion(40)), slice(12, 31))
    clip = built(result)
    armature, mesh = clip.armature(1), mesh_of(clip)
    for curve in curves_of(armature):
        if not curve.data_path.startswith("hide_"):
            at = [key.co[0] for key in curve.keyframe_points]
            assert at == [*range(1, 13), *range(32, 41)], curve.data_path
    for ob in (armature, mesh):
        for path in ("hide_viewport", "hide_render"):
            assert keys_of(ob, path).tolist() == [[1, 0], [13, 1], [32, 0]]
            assert {k.interpolation for k in curve_of(ob, path).keyframe_points} == {"CONSTANT"}
            assert {k.type for k in curve_of(ob, path).keyframe_points} == {"GENERATED"}
    shown = []
    for frame in range(1, 41):
        go_to(frame)
        assert armature.hide_viewport == armature.hide_render == mesh.hide_viewport == mesh.hide_render
        if not armature.hide_viewport:
            shown.append(frame)
    assert shown == [*range(1, 13), *range(32, 41)]
    # And what is shown is right, also after the gap.
    joints, _ = posed(result.betas, result.pose, result.trans)
    go_to(32)
    lowest = posed(result.betas, result.pose, result.trans)[0][:, [7, 8, 10, 11], 1].max()
    assert np.abs(bone_heads(armature)[:, 2] - (lowest - joints[12][:, 1])).max() < TENTH_MM


def test_nobody_is_shown_before_and_after():
    late = motion(10, track=2, first=5, seed=4)
    clip = built(motion(30), late, length=30)
    assert not any(c.data_path.startswith("hide_") for c in curves_of(clip.armature(1)))
    assert mesh_of(clip, 1).animation_data is None
    shown = []
    for frame in range(1, 31):
        go_to(frame)
        assert not clip.armature(1).hide_viewport
        if not mesh_of(clip, 2).hide_render:
            shown.append(frame)
    assert shown == list(range(6, 16))


def test_a_gap_that_is_gone_shows_the_person_again():
    clip = built(without(motion(20), slice(5, 15)))
    go_to(10)
    assert clip.armature(1).hide_viewport
    again = ClipScene(clip.footage, "job-1")
    again.set_body(open_body())
    again.add([motion(20)])
    again.refresh(force=True)
    for frame in (1, 10, 20):
        go_to(frame)
        assert not clip.armature(1).hide_viewport and not mesh_of(clip).hide_render
    assert keys_of(mesh_of(clip), "hide_render").tolist() == [[1, 0]]


def test_the_users_own_visibility_stays():
    clip = built(without(motion(20), slice(5, 15)))
    mesh = mesh_of(clip)
    curve_of(mesh, "hide_render").keyframe_points.insert(3, 1, keyframe_type="EXTREME")
    again = ClipScene(clip.footage, "job-1")
    again.set_body(open_body())
    again.add([without(motion(20), slice(6, 16))])
    again.refresh(force=True)
    assert keys_of(mesh, "hide_render").tolist() == [[1, 0], [3, 1], [7, 1], [17, 0]]


def test_a_motion_on_the_way_hides_nobody():
    clip = built(replace(without(motion(20), slice(5, 15)), final=False))
    assert not any(c.data_path.startswith("hide_") for c in curves_of(clip.armature(1)))


@pytest.mark.parametrize("here", [1, 10])
def test_somebody_with_a_gap_is_exported_whole(tmp_path, here):
    result = without(resting(motion(20)), slice(5, 15))
    clip = built(result)
    armature = clip.armature(1)
    go_to(here)
    take = sample_take(bpy.context.scene, armature)
    joints, _ = posed(result.betas, result.pose, result.trans)
    names = [take.names.index(name) for name in open_body().joint_names]
    for row, frame in ((0, 1), (4, 5), (5, 16), (9, 20)):
        at = take.matrices[frame - 1, names][:, :3, 3]
        off = at - joints[row][:, [0, 2, 1]] * [1, 1, -1]
        assert np.ptp(off, axis=0).max() < TENTH_MM
    assert export_fbx(armature, tmp_path / "one.fbx", "unity").stat().st_size > 10_000
    assert armature.hide_viewport == (here == 10) and len(curves_of(armature)) == 291
    # A hidden object would not be selected, and so be left out.
    assert export_glb(armature, tmp_path / "one.glb").stat().st_size > 500_000
    export_npz(armature, tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz") as kept:
        np.testing.assert_array_equal(kept["frames"], [*range(1, 6), *range(16, 21)])
        np.testing.assert_allclose(kept["contacts"], result.contacts, atol=1e-6)
        np.testing.assert_array_equal(kept["bridged"], result.bridged)
        assert kept["contact_names"].tolist() == list(CONTACTS) and len(kept["poses"]) == 10

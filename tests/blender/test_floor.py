"""Where people stand: the floor at height 0, contacts as curves and markers, nobody shown in gaps, Snap to Floor."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.export.fbx import export_fbx  # noqa: E402
from blender_addon.export.formats import export_npz  # noqa: E402
from blender_addon.geometry.footsteps import footsteps  # noqa: E402
from blender_addon.scene import contacts  # noqa: E402
from blender_addon.scene.baking import sample_take  # noqa: E402
from blender_addon.scene.clip import ClipScene, Footage  # noqa: E402
from blender_addon.scene.keys import users_key_count  # noqa: E402
from blender_addon.shared.motion import CONTACTS  # noqa: E402

from .people import motion, open_body, posed  # noqa: E402
from .seen import bone_heads, curves_of, go_to, skinned_vertices  # noqa: E402

TENTH_MM = 1e-4
UP = np.array([0.1, -0.95, -0.3]) / np.linalg.norm([0.1, -0.95, -0.3])


@pytest.fixture(autouse=True)
def addon(empty_file):
    blender_addon.register()
    yield
    blender_addon.unregister()


def built(*results, length=None, job="job-1", **more) -> ClipScene:
    clip = ClipScene(Footage("walk", Path("nowhere.mp4"), 640, 360, 30.0, length=length), job, **more)
    clip.set_body(open_body())
    clip.add(results)
    clip.refresh(force=True)
    bpy.context.view_layer.update()
    return clip


def on_floor(result, floor: float = 1.4):
    """The result with a known floor."""
    return replace(result, up=UP.astype(np.float32), floor=np.float32([floor]))


def resting(result, seed: int = 0):
    """The result with contacts and bridged frames."""
    n, rng = len(result.frames), np.random.default_rng(seed)
    touch = rng.uniform(0, 0.4, (n, 8)).astype(np.float32)
    # Left foot on the ground in the first third, right foot from there on.
    touch[: n // 3, 0], touch[n // 3 :, 3] = 1.0, 0.9
    return replace(result, contacts=touch, bridged=(np.arange(n) % 5 == 2).astype(np.uint8))


def without(result, gone: slice):
    """The result with a gap: these rows are not there."""
    rows = np.delete(np.arange(len(result.frames)), gone)
    names = (
        "frames",
        "times",
        "boxes",
        "pose",
        "trans",
        "expression",
        "joints",
        "joint_uncertainty",
        "contacts",
    )
    return replace(result, **{n: getattr(result, n)[rows] for n in (*names, "bridged")})


def curve_of(owner, path: str):
    return next(c for c in curves_of(owner) if c.data_path == path)


def keys_of(owner, path: str) -> np.ndarray:
    return np.array([key.co[:] for key in curve_of(owner, path).keyframe_points])


def mesh_of(clip: ClipScene, track: int = 1) -> bpy.types.Object:
    return next(ob for ob in clip.armature(track).children if ob.type == "MESH")


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
    assert armature.hide_viewport == (here == 10) and len(curves_of(armature)) == 290
    export_npz(armature, tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz") as kept:
        np.testing.assert_array_equal(kept["frames"], [*range(1, 6), *range(16, 21)])
        np.testing.assert_allclose(kept["contacts"], result.contacts, atol=1e-6)
        np.testing.assert_array_equal(kept["bridged"], result.bridged)
        assert kept["contact_names"].tolist() == list(CONTACTS) and len(kept["poses"]) == 10


def snapped(clip: ClipScene) -> None:
    bpy.context.view_layer.objects.active = clip.armature(1)
    assert bpy.ops.bodyfield.snap_to_floor() == {"FINISHED"}


def soles(clip: ClipScene) -> float:
    return skinned_vertices(mesh_of(clip))[:, 2].min()


def test_snap_to_floor_puts_the_lowest_point_at_height_0_in_any_frame():
    clip = built(on_floor(motion(20)))
    armature = clip.armature(1)
    before = {(c.data_path, c.array_index): [k.co[1] for k in c.keyframe_points] for c in curves_of(armature)}
    for frame in (1, 7, 12.5, 20):
        go_to(frame)
        assert abs(soles(clip)) > 1e-3
        snapped(clip)
        assert abs(soles(clip)) < TENTH_MM
    assert armature.location[:2] == (0, 0)
    go_to(3)
    snapped(clip)
    go_to(2)
    go_to(3)
    assert abs(soles(clip)) < TENTH_MM
    after = {(c.data_path, c.array_index): [k.co[1] for k in c.keyframe_points] for c in curves_of(armature)}
    assert after == before


def test_snap_to_floor_of_a_person_who_was_turned_parented_or_keyed():
    clip = built(on_floor(motion(8)))
    armature = clip.armature(1)
    stage = bpy.data.objects.new("stage", None)
    bpy.context.scene.collection.objects.link(stage)
    stage.location, stage.rotation_euler, stage.scale = (1, 2, 3), (0.3, 0.2, 0.5), (1.5, 1.5, 1.5)
    armature.parent, armature.rotation_euler = stage, (0.2, 0, 1)
    go_to(4)
    snapped(clip)
    assert abs(soles(clip)) < TENTH_MM
    for frame, z in ((1, 0.5), (8, 1.5)):
        armature.location.z = z
        armature.keyframe_insert("location", frame=frame)
    go_to(4)
    keyed = armature.location.z
    snapped(clip)
    go_to(1)
    go_to(4)
    assert abs(soles(clip)) < TENTH_MM and armature.location.z == pytest.approx(keyed)


def test_snap_to_floor_is_undone():
    clip = built(on_floor(motion(8)))
    bpy.ops.ed.undo_push(message="before")
    go_to(4)
    snapped(clip)
    bpy.ops.ed.undo_push(message="after")
    assert clip.armature(1).location.z != 0
    bpy.ops.ed.undo()
    assert clip.armature(1).location.z == 0


def test_snap_to_floor_says_that_nobody_is_there():
    clip = built(without(on_floor(motion(20)), slice(5, 15)))
    go_to(10)
    with pytest.raises(RuntimeError, match="not shown in this frame"):
        snapped(clip)
    assert clip.armature(1).location.z == 0


def test_contacts_are_shown_under_the_soles():
    touch = np.zeros((8, 8), np.float32)
    touch[:, [0, 3]], touch[:, 5] = 1.0, 0.05
    clip = built(replace(on_floor(motion(8)), contacts=touch))
    armature = clip.armature(1)
    for frame in (2, 6):
        go_to(frame)
        found = {ring.contact: ring for ring in contacts.rings(armature)}
        assert found.keys() == {"left_heel", "right_toes"}
        skin, heads = skinned_vertices(mesh_of(clip)), bone_heads(armature)
        for contact, ankle, toes in (("left_heel", 7, 10), ("right_toes", 8, 11)):
            ring = found[contact]
            assert ring.place.z == pytest.approx(0, abs=1e-6) and ring.strength == pytest.approx(1)
            # Right above it there is skin of this foot.
            place = np.array(ring.place)
            flat = np.linalg.norm(skin[:, :2] - place[:2], axis=1)
            near = skin[flat < 0.05]
            foot = heads[[ankle, toes]].mean(0)
            assert len(near) and np.linalg.norm(near - foot, axis=1).min() < 0.2
    # After Snap to Floor the floor is still at height 0 of the world.
    snapped(clip)
    assert {round(ring.place.z, 5) for ring in contacts.rings(armature)} == {0}


def test_heels_are_behind_toes_and_all_hang_on_bones():
    armature = built(motion(2)).armature(1)
    import json

    carried = json.loads(armature[contacts.CARRIERS])
    assert set(carried) == set(CONTACTS)
    heads = {bone.name: np.array(bone.head_local) for bone in armature.data.bones}
    places = {c: heads[bone] + np.array(off)[[0, 2, 1]] * [1, -1, 1] for c, (bone, off) in carried.items()}
    skin = np.array([v.co for v in next(iter(armature.children)).data.vertices])
    for side, sign in (("left", 1), ("right", -1)):
        heel, toes = places[f"{side}_heel"], places[f"{side}_toes"]
        # At rest the chest looks along -y.
        assert 0.12 < heel[1] - toes[1] < 0.35 and sign * heel[0] > 0 and sign * toes[0] > 0
        assert abs(heel[2] - skin[:, 2].min()) < 0.02 and abs(toes[2] - skin[:, 2].min()) < 0.02

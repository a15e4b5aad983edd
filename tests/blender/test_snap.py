"""Snap to Floor moves one person; contacts are shown under the soles."""

import json
from dataclasses import replace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.scene import contacts  # noqa: E402
from blender_addon.scene.clip import ClipScene  # noqa: E402
from blender_addon.shared.motion import CONTACTS  # noqa: E402

from .people import motion  # noqa: E402
from .seen import bone_heads, curves_of, go_to, skinned_vertices  # noqa: E402
from .standing import built, mesh_of, on_floor, without  # noqa: E402

TENTH_MM = 1e-4


@pytest.fixture(autouse=True)
def addon(empty_file):
    blender_addon.register()
    yield
    blender_addon.unregister()


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

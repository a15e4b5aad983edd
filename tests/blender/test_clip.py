"""A job's results become armatures, meshes and keys that are the same body as numpy computes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from blender_addon.scene.clip import JOB_KEY, ClipScene, Footage  # noqa: E402
from blender_addon.scene.rest import BodyError  # noqa: E402
from blender_addon.shared.axes import camera_to_blender  # noqa: E402

from .people import motion, open_body, posed  # noqa: E402
from .seen import bone_heads, curves_of, go_to, names_of_everything, skinned_vertices  # noqa: E402

FOOTAGE = Footage("walk", Path("nowhere.mp4"), 640, 360, 30.0)
TENTH_MM = 1e-4


def built(*results, footage=FOOTAGE, job="job-1") -> ClipScene:
    clip = ClipScene(footage, job)
    clip.set_body(open_body())
    clip.add(results)
    assert clip.refresh(force=True)
    return clip


def in_world(points: np.ndarray, *results) -> np.ndarray:
    """Camera space -> Blender's world: the first result's pelvis starts above the origin, the lowest foot of all
    results stands at height 0."""
    joints = [posed(r.betas, r.pose, r.trans)[0] for r in results]
    feet = max(j[:, [7, 8, 10, 11], 1].max() for j in joints)
    return camera_to_blender(points) + np.array([-joints[0][0, 0, 0], -joints[0][0, 0, 2], feet])


def mesh_of(clip: ClipScene, track: int = 1) -> bpy.types.Object:
    return next(child for child in clip.armature(track).children if child.type == "MESH")


def test_joints_and_vertices_equal_numpys(empty_file):
    result = motion(8)
    clip = built(result)
    joints, vertices = posed(result.betas, result.pose, result.trans, vertices=True)
    armature, mesh = clip.armature(1), mesh_of(clip)
    assert sorted(bone.name for bone in armature.data.bones) == sorted(open_body().joint_names)
    for i in range(8):
        go_to(i + 1)
        assert np.abs(bone_heads(armature) - in_world(joints[i], result)).max() < TENTH_MM
        assert np.abs(skinned_vertices(mesh) - in_world(vertices[i], result)).max() < TENTH_MM


def test_bones_stand_on_end_so_that_a_rotation_vector_is_the_bones_rotation():
    armature = built(motion(2)).armature(1).data
    names = open_body().joint_names
    for name, parent in zip(names, open_body().parents, strict=True):
        bone = armature.bones[name]
        assert np.allclose(bone.matrix_local.to_3x3(), [[1, 0, 0], [0, 0, -1], [0, 1, 0]], atol=1e-6)
        assert bone.parent == (armature.bones[names[parent]] if parent >= 0 else None)


def test_lowest_foot_stands_on_the_floor():
    result = motion(10)
    armature = built(result).armature(1)
    lowest = []
    for i in range(10):
        go_to(i + 1)
        lowest.append(bone_heads(armature)[[7, 8, 10, 11], 2].min())
    assert min(lowest) == pytest.approx(0, abs=1e-5)


@pytest.mark.slow
def test_mesh_has_uvs_weights_and_smooth_faces():
    mesh = mesh_of(built(motion(2)))
    body = open_body()
    assert (len(mesh.data.vertices), len(mesh.data.polygons)) == (len(body.v_template), len(body.faces))
    assert not mesh.data.validate()
    uv = np.empty(2 * len(mesh.data.loops), np.float32)
    mesh.data.uv_layers["UVMap"].uv.foreach_get("vector", uv)
    assert np.array_equal(uv.reshape(-1, 3, 2), body.uv[body.faces_uv])
    assert [group.name for group in mesh.vertex_groups] == body.joint_names
    total = [sum(g.weight for g in v.groups) for v in mesh.data.vertices]
    assert np.allclose(total, 1, atol=1e-5)
    normals = np.array([p.normal for p in mesh.data.polygons])
    centres = np.array([p.center for p in mesh.data.polygons])
    # Outward on the whole: the closed surface has a positive volume.
    assert (normals * centres).sum(-1) @ [p.area for p in mesh.data.polygons] > 0


def test_expression_keys_move_the_face():
    result = motion(4, expression=0.8)
    clip = built(result)
    _, vertices = posed(result.betas, result.pose, result.trans, vertices=True, expression=result.expression)
    _, still = posed(result.betas, result.pose, result.trans, vertices=True)
    assert np.abs(vertices - still).max() > 1e-3
    for i in range(4):
        go_to(i + 1)
        assert np.abs(skinned_vertices(mesh_of(clip)) - in_world(vertices[i], result)).max() < TENTH_MM


@pytest.mark.slow
def test_final_result_replaces_the_provisional_chunks():
    clip = ClipScene(FOOTAGE, "job-1")
    clip.set_body(open_body())
    for first in (0, 6, 12):
        chunk = motion(6, first=first, final=False, seed=5)
        clip.add([chunk])
        clip.refresh(force=True)
        assert len(curves_of(clip.armature(1))[0].keyframe_points) == first + 6
    names = names_of_everything()
    final = motion(18, seed=8)
    clip.add([final])
    assert clip.refresh()
    assert names_of_everything() == names
    joints, vertices = posed(final.betas, final.pose, final.trans, vertices=True)
    for i in (0, 11, 17):
        go_to(i + 1)
        assert np.abs(bone_heads(clip.armature(1)) - in_world(joints[i], final)).max() < TENTH_MM
        assert np.abs(skinned_vertices(mesh_of(clip)) - in_world(vertices[i], final)).max() < TENTH_MM
    assert not clip.refresh()


def test_shape_changes_also_reach_a_mesh_with_expression_keys():
    first, final = motion(3, final=False, seed=5, expression=0.5), motion(3, seed=8, expression=0.5)
    clip = built(first)
    clip.add([final])
    clip.refresh()
    _, vertices = posed(final.betas, final.pose, final.trans, vertices=True, expression=final.expression)
    go_to(2)
    assert np.abs(skinned_vertices(mesh_of(clip)) - in_world(vertices[1], final)).max() < TENTH_MM


def test_people_share_one_floor_and_one_camera():
    low, high = motion(5), motion(5, track=2, seed=4)
    high = replace(
        high, trans=high.trans - np.float32([1, 0.4, 0]), joints=high.joints - np.float32([1, 0.4, 0])
    )
    clip = built(high)
    clip.add([low])
    clip.refresh()
    for result in (low, high):
        joints, _ = posed(result.betas, result.pose, result.trans)
        go_to(3)
        assert (
            np.abs(bone_heads(clip.armature(result.track)) - in_world(joints[2], low, high)).max() < TENTH_MM
        )
    assert [c.name for c in bpy.data.collections if JOB_KEY in c] == ["walk"]
    assert len(bpy.data.cameras) == 1


def test_a_track_without_final_result_leaves_the_scene():
    clip = built(motion(5, final=False, track=1), motion(5, final=False, track=2))
    clip.add([motion(5, track=2)])
    clip.drop_unfinished()
    clip.refresh()
    assert clip.armature(1) is None and clip.armature(2) is not None
    assert sorted(ob.type for ob in bpy.data.objects) == ["ARMATURE", "CAMERA", "MESH"]
    assert len(bpy.data.actions) == len(bpy.data.armatures) == 1


def test_what_was_deleted_or_undone_is_made_again():
    clip = built(motion(5, final=False))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    clip.add([motion(5)])
    assert clip.refresh() and clip.armature(1) is not None
    bpy.data.objects.remove(clip.armature(1))
    assert clip.refresh(force=True) and clip.armature(1) is not None


def test_importing_the_same_job_again_uses_the_same_objects():
    built(motion(5))
    names = names_of_everything()
    clip = built(motion(5))
    assert names_of_everything() == names
    built(motion(5), job="another")
    assert len(bpy.data.armatures) == 2 and clip.armature(1).name == "walk person 1"


def test_nothing_is_changed_under_a_user_in_edit_mode():
    clip = built(motion(5, final=False))
    mesh = mesh_of(clip)
    bpy.context.view_layer.objects.active = mesh
    bpy.ops.object.mode_set(mode="EDIT")
    clip.add([motion(5)])
    assert not clip.refresh() and "Leave Edit Mode" in clip.blocked()
    bpy.ops.object.mode_set(mode="OBJECT")
    assert clip.blocked() is None and clip.refresh()


def test_the_users_selection_and_mode_survive_a_build():
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.active_object
    bpy.ops.object.mode_set(mode="EDIT")
    clip = built(motion(3))
    assert cube.mode == "EDIT" and bpy.context.active_object == cube
    assert [ob.name for ob in bpy.context.selected_objects] == [cube.name]
    assert clip.armature(1).mode == "OBJECT"


@pytest.mark.parametrize("broken", ["faces", "weights_index", "parents", "faces_uv"])
def test_a_body_with_indices_out_of_range_is_refused(broken):
    array = getattr(open_body(), broken).copy()
    array.flat[-1] = 30000
    clip = ClipScene(FOOTAGE, "job-1")
    clip.set_body(replace(open_body(), **{broken: array}))
    clip.add([motion(2)])
    with pytest.raises(BodyError, match="does not fit"):
        clip.refresh()
    assert not bpy.data.armatures and not bpy.data.meshes


def test_whoever_is_seen_longest_is_selected_at_the_end():
    clip = built(motion(4))
    clip.add([motion(9, track=2, seed=4)])
    clip.refresh()
    other = bpy.data.objects.new("other", None)
    bpy.context.scene.collection.objects.link(other)
    other.select_set(True)
    clip.choose_main_person()
    assert bpy.context.view_layer.objects.active == clip.armature(2)
    assert [ob for ob in bpy.context.view_layer.objects if ob.select_get()] == [clip.armature(2)]
    bpy.context.view_layer.objects.active = clip.armature(1)
    bpy.ops.object.mode_set(mode="POSE")
    clip.choose_main_person()
    assert bpy.context.view_layer.objects.active == clip.armature(1)

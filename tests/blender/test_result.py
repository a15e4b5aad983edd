"""What a person comes with: uncertainty, root bone, shape sliders, pose correctives; and a second run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.geometry.rootmotion import heading  # noqa: E402
from blender_addon.scene.bodykeys import keys_of, level_of  # noqa: E402
from blender_addon.scene.clip import ClipScene, Footage, earlier_job  # noqa: E402
from blender_addon.scene.keys import bone_path, users_key_count  # noqa: E402
from blender_addon.scene.uncertainty import colours  # noqa: E402
from blender_addon.work import running  # noqa: E402
from blender_addon.work.body_keys import BodyKeys  # noqa: E402

from .people import motion, open_body, posed, rodrigues  # noqa: E402
from .seen import bone_heads, curves_of, from_camera, go_to, names_of_everything, skinned_vertices  # noqa: E402

TENTH_MM = 1e-4


@pytest.fixture(autouse=True)
def addon(empty_file):
    blender_addon.register()
    yield
    blender_addon.unregister()


def built(*results, job="job-1", file="nowhere.mp4", **more) -> ClipScene:
    clip = ClipScene(Footage("walk", Path(file), 640, 360, 30.0), job, **more)
    clip.set_body(open_body())
    clip.add(results)
    clip.refresh(force=True)
    bpy.context.view_layer.update()
    return clip


def unsure(count: int = 6) -> np.ndarray:
    """(count, 55): each joint has its own value, which grows over time."""
    return (np.linspace(0.005, 0.06, 55) * np.linspace(1, 2, count)[:, None]).astype(np.float32)


def mesh_of(clip: ClipScene) -> bpy.types.Object:
    return next(ob for ob in clip.armature(1).children if ob.type == "MESH")


def painted(mesh) -> np.ndarray:
    flat = np.empty(4 * len(mesh.data.vertices), np.float32)
    mesh.data.color_attributes["Uncertainty"].data.foreach_get("color", flat)
    return flat.reshape(-1, 4)


def expected_colours(joints: np.ndarray) -> np.ndarray:
    body = open_body()
    variance = (body.weights_value * np.square(joints)[body.weights_index.astype(int)]).sum(1)
    return colours(np.sqrt(variance))


def test_uncertainty_is_keyed_and_painted():
    result = replace(motion(6), joint_uncertainty=unsure())
    clip = built(result)
    armature = clip.armature(1)
    for i in (0, 5):
        go_to(i + 1)
        assert armature["uncertainty_m"] == pytest.approx(unsure()[i, :22].mean(), rel=1e-4)
        assert np.allclose(armature["joint_uncertainty"], unsure()[i], rtol=1e-4)
    assert mesh_of(clip).data.color_attributes.active_color.name == "Uncertainty"
    assert np.abs(painted(mesh_of(clip)) - expected_colours(unsure().mean(0))).max() < 1e-3


def test_colours_say_what_the_tooltip_says():
    blue, yellow, red, worse = colours(np.array([0, 0.05, 0.1, 9]))[:, :3]
    assert blue.argmax() == 2 and yellow[:2].min() > 5 * yellow[2] and red.argmax() == 0
    assert np.array_equal(red, worse)


def test_colours_follow_the_frame_when_asked_to():
    clip = built(replace(motion(6), joint_uncertainty=unsure()))
    go_to(1)
    mean = painted(mesh_of(clip))
    bpy.context.scene.bodyfield.live_uncertainty = True
    for i in (0, 3, 5):
        go_to(i + 1)
        assert np.abs(painted(mesh_of(clip)) - expected_colours(unsure()[i])).max() < 1e-2
    assert np.abs(painted(mesh_of(clip)) - mean).max() > 0.05
    handlers = bpy.app.handlers.frame_change_post
    assert len([h for h in handlers if "uncertainty" in h.__module__]) == 1


def test_root_bone_takes_the_way_over_the_floor():
    result = motion(40)
    joints, _ = posed(result.betas, result.pose, result.trans)
    armature = built(result, root_bone=True).armature(1)
    assert len(armature.data.bones) == 56 and armature.data.bones["pelvis"].parent.name == "root"
    roots = []
    for i in (0, 13, 39):
        go_to(i + 1)
        assert np.abs(bone_heads(armature) - from_camera(joints[i])).max() < TENTH_MM
        root = armature.pose.bones["root"]
        pelvis = armature.pose.bones["pelvis"]
        assert abs(root.head.z) < 1e-6 and (root.head - pelvis.head).xy.length < 1e-5
        # The root turns about the vertical alone, and with the body.
        assert abs(root.matrix.col[1].z - 1) < 1e-5
        roots.append(np.array(root.matrix)[:3, :3])
    turned = np.degrees(np.arccos((np.trace(roots[0].T @ roots[1]) - 1) / 2))
    # The test's person spins by 4 rad a second.
    assert turned == pytest.approx(np.degrees(4 * 13 / 30), abs=20)


def test_heading_goes_on_where_it_is_not_defined():
    turns = rodrigues_quaternions([[0, 0.5, 0], [np.pi, 0, 0], [0, 0.7, 0]])
    found = heading(turns)
    assert np.allclose(found[1], found[0]) and np.allclose(np.linalg.norm(found, axis=1), 1)
    assert np.allclose(heading(rodrigues_quaternions([[np.pi, 0, 0]])), [[1, 0, 0, 0]])


def rodrigues_quaternions(rotvecs) -> np.ndarray:
    rotvecs = np.asarray(rotvecs, float)
    angle = np.linalg.norm(rotvecs, axis=1, keepdims=True)
    return np.concatenate([np.cos(angle / 2), np.sin(angle / 2) * rotvecs / angle], 1)


def test_a_root_bone_stays_when_the_final_result_comes():
    clip = built(motion(10, final=False), root_bone=True)
    final = motion(20, seed=2)
    clip.add([final])
    clip.refresh()
    joints, _ = posed(final.betas, final.pose, final.trans)
    go_to(15)
    assert "root" in clip.armature(1).data.bones
    assert np.abs(bone_heads(clip.armature(1)) - from_camera(joints[14])).max() < TENTH_MM


def run(clip: ClipScene, what: str) -> BodyKeys:
    work = BodyKeys(running.backend, clip.armature(1), what, open_body())
    while work.pump(0.02):
        if work.finished:
            break
    assert work.state == "done", work.error
    return work


def test_shape_sliders_are_offsets_from_the_fitted_shape():
    result = motion(3)
    clip = built(result)
    before = names_of_everything()
    assert run(clip, "shape").made == 16
    mesh, more = mesh_of(clip), np.zeros(16, np.float32)
    go_to(2)
    _, vertices = posed(result.betas, result.pose, result.trans, vertices=True)
    assert np.abs(skinned_vertices(mesh) - from_camera(vertices[1])).max() < TENTH_MM
    more[[0, 5]] = 1.5, -0.7
    for i in (0, 5):
        mesh.data.shape_keys.key_blocks[f"Shape{i:03d}"].value = more[i]
    bpy.context.view_layer.update()
    # Only the skin: the joints stay where they were fitted.
    expected = at_rest_moved(open_body().shapedirs @ more)(result, 1)
    assert np.abs(expected - vertices[1]).max() > 0.02
    assert np.abs(skinned_vertices(mesh) - from_camera(expected)).max() < TENTH_MM
    assert bpy.ops.bodyfield.shape_keys(mode="REMOVE") == {"FINISHED"}
    assert mesh.data.shape_keys is None and names_of_everything() == before


def with_correctives(result, level: int) -> np.ndarray:
    """(n, V, 3) vertices with the correctives of joints 1..level added at rest, by numpy alone."""
    body = open_body()
    feature = (rodrigues(result.pose[:, 1 : level + 1].astype(np.float64)) - np.eye(3)).reshape(
        len(result.pose), -1
    )
    out = []
    for i in range(len(result.pose)):
        offset = np.tensordot(feature[i], body.posedirs[: 9 * level].astype(np.float64), 1)
        out.append(at_rest_moved(offset)(result, i))
    return np.stack(out)


def at_rest_moved(offset):
    """A function (result, frame) -> the posed vertices when the rest body is moved by `offset` (V, 3)."""
    from . import people

    def posed_with(result, i):
        # As an expression of one coefficient, which is added to the rest body too.
        changed = replace(open_body(), exprdirs=offset[..., None])
        original, people.open_body = people.open_body, lambda: changed
        try:
            rows = slice(i, i + 1)
            return posed(
                result.betas, result.pose[rows], result.trans[rows], vertices=True, expression=np.ones((1, 1))
            )[1][0]
        finally:
            people.open_body = original

    return posed_with


@pytest.mark.slow
@pytest.mark.parametrize(("level", "joints"), [("body", 21), ("all", 54)])
def test_correctives_are_smplx_pose_blendshapes(level, joints):
    result = motion(4)
    clip = built(result)
    mesh = mesh_of(clip)
    run(clip, level)
    assert level_of(mesh) == level
    expected = with_correctives(result, joints)
    _, plain = posed(result.betas, result.pose, result.trans, vertices=True)
    assert np.abs(expected - plain).max() > 0.01
    for i in (1, 3):
        go_to(i + 1)
        # What moves nothing by more than 0.2 mm is left out.
        assert np.abs(skinned_vertices(mesh) - from_camera(expected[i])).max() < 1e-3
    drivers = mesh.data.shape_keys.animation_data.drivers
    assert len(drivers) == len(keys_of(mesh, "Pose")) > 100
    assert all(curve.driver.is_simple_expression for curve in drivers)


def test_correctives_follow_a_pose_made_by_hand_and_can_be_taken_off():
    clip = built(motion(2, seed=4))
    mesh, armature = mesh_of(clip), clip.armature(1)
    run(clip, "all")
    run(clip, "body")
    assert level_of(mesh) == "body"
    go_to(1)
    before = mesh.data.shape_keys.key_blocks["Pose153"].value
    armature.pose.bones["left_elbow"].rotation_quaternion = (0.6, 0, 0.8, 0)
    bpy.context.view_layer.update()
    evaluated = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    key = next(k for k in keys_of(evaluated, "Pose") if k.name in ("Pose153", "Pose155"))
    element = int(key.name[4:]) - 153
    assert key.value == pytest.approx([-2 * 0.64, 0, 2 * 0.48][element], abs=1e-4) and before != key.value
    run(clip, "off")
    assert level_of(mesh) == "off" and mesh.data.shape_keys is None


def test_second_run_replaces_its_keys_keeps_the_users_and_says_how_many():
    clip = built(motion(12), file=Path("walk.mp4").absolute())
    armature = clip.armature(1)
    go_to(4)
    bone = armature.pose.bones["left_elbow"]
    bone.rotation_quaternion = (0.6, 0.8, 0, 0)
    bone.keyframe_insert("rotation_quaternion", frame=4)
    names = names_of_everything()
    assert earlier_job("walk.mp4") == "job-1" and earlier_job("other.mp4") is None
    second = ClipScene(
        Footage("walk", Path("walk.mp4").absolute(), 640, 360, 30.0), "job-2", replaces="job-1"
    )
    second.set_body(open_body())
    second.add([motion(6, final=False, seed=9)])
    # Nothing is touched before all is final: a run that fails must not cost the earlier result.
    assert not second.refresh(force=True) and clip.armature(1) == armature and second.armature(1) is None
    second.drop_unfinished()
    final = motion(12, seed=9)
    second.add([final])
    assert second.refresh() and second.armature(1) == armature
    assert names_of_everything() == names and second.users_keys() == users_key_count(armature) == 4
    go_to(4)
    assert np.allclose(np.abs(bone.rotation_quaternion), [0.6, 0.8, 0, 0], atol=1e-6)
    go_to(9)
    joints, _ = posed(final.betas, final.pose, final.trans)
    assert np.abs(bone_heads(armature) - from_camera(joints[8])).max() < TENTH_MM
    path = bone_path("pelvis", "location")
    assert len(next(c for c in curves_of(armature) if c.data_path == path).keyframe_points) == 12

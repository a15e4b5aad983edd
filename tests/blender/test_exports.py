"""Root motion and shape in FBX; GLB, USD and npz; each read back by something that did not write it."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.export.fbx import ExportError, export_fbx  # noqa: E402
from blender_addon.export.formats import export_bvh, export_glb, export_npz, export_usd  # noqa: E402
from blender_addon.ops.export_fbx import suggested  # noqa: E402
from blender_addon.scene.clip import ClipScene, Footage  # noqa: E402
from blender_addon.work import running  # noqa: E402
from blender_addon.work.body_keys import BodyKeys  # noqa: E402

from .people import motion, open_body, posed, rodrigues  # noqa: E402
from .readers import to_blender_world, unit_of  # noqa: E402
from .seen import bone_heads, go_to, names_of_everything, skinned_vertices  # noqa: E402

COUNT, MM = 10, 1e-3


def person(root_bone: bool = False, **changes):
    """An armature in the scene, and its joints (COUNT, 55, 3) in Blender's world by numpy."""
    result = replace(motion(COUNT, seed=1), **changes)
    clip = ClipScene(Footage("walk", None, 640, 360, 30.0), "job-1", root_bone=root_bone)
    clip.set_body(open_body())
    clip.add([result])
    clip.refresh(force=True)
    bpy.context.view_layer.update()
    return clip.armature(1), to_blender_world(posed(result.betas, result.pose, result.trans)[0])


def nodes_by_ufbx(file: Path) -> tuple[dict, dict]:
    """World matrices (n, 4, 4) by name, in metres and Blender's axes, and the names of the parents."""
    pufbx = pytest.importorskip("pufbx", reason="the independent reader (pufbx) is not installed")
    scene = pufbx.load_fbx(str(file))
    assert len(list(scene.anim_stacks)) == 1
    data, _, names = pufbx.anim_to_array(str(file), anim_index=0, resample_rate=30.0)
    parents = {node.name: node.parent.name if node.parent is not None else "" for node in scene.nodes}
    local = {name: matrices(*np.split(data[i], [3, 7], -1)) for i, name in enumerate(names)}
    world: dict[str, np.ndarray] = {}

    def of(name: str) -> np.ndarray:
        if name not in world:
            above = of(parents[name]) if parents.get(name) in local else np.eye(4)
            world[name] = above @ local[name]
        return world[name]

    turn = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    scale = np.diag([unit_of(file) / 100] * 3 + [1])
    return {name: turn @ scale @ of(name) for name in local}, parents


def matrices(t, q, s) -> np.ndarray:
    sine = np.linalg.norm(q[:, :3], axis=1, keepdims=True)
    rotvec = 2 * np.arctan2(sine, q[:, 3:]) * q[:, :3] / np.maximum(sine, 1e-12)
    out = np.tile(np.eye(4), (len(t), 1, 1))
    out[:, :3, :3], out[:, :3, 3] = rodrigues(rotvec) * s[:, None, :], t
    return out


@pytest.mark.slow
@pytest.mark.parametrize("has_bone", [False, True])
@pytest.mark.parametrize("preset", ["unity", "unreal", "maya"])
def test_root_motion_goes_onto_a_root_and_nothing_of_it_is_lost(tmp_path, preset, has_bone):
    armature, joints = person(root_bone=has_bone)
    name = armature.name
    names = names_of_everything()
    export_fbx(armature, tmp_path / "a.fbx", preset, root="root")
    assert names_of_everything() == names and armature.name == name
    world, parents = nodes_by_ufbx(tmp_path / "a.fbx")
    assert parents["pelvis"] == "root"
    # Unreal makes the armature's node the first bone; elsewhere the root is a bone below it.
    assert (parents["root"] in world) is (preset != "unreal")
    found = np.stack([world[n][:, :3, 3] for n in open_body().joint_names], 1)
    assert np.abs(found - joints).max() < MM
    root = world["root"][:, :3, 3]
    assert np.abs(root[:, 2]).max() < 1e-5 and np.abs(root[:, :2] - joints[:, 0, :2]).max() < MM
    assert np.ptp(root[:, 0]) > 0.01
    up = world["root"][:, :3, 1] / np.linalg.norm(world["root"][:, :3, 1], axis=1, keepdims=True)
    assert np.abs(up - [0, 0, 1]).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "unit"), [("unity", 100), ("unreal", 1), ("maya", 1), ("blender", 1)])
def test_each_preset_says_its_unit_and_stands_at_rest_without_rotation(tmp_path, preset, unit):
    pufbx = pytest.importorskip("pufbx", reason="the independent reader (pufbx) is not installed")
    armature, _ = person(pose=np.zeros((COUNT, 55, 3), np.float32))
    export_fbx(armature, tmp_path / "a.fbx", preset)
    assert unit_of(tmp_path / "a.fbx") == pytest.approx(unit)
    data, _, names = pufbx.anim_to_array(str(tmp_path / "a.fbx"), anim_index=0, resample_rate=30.0)
    assert set(names) == {"walk person 1", *open_body().joint_names}
    if preset == "blender":
        return
    assert np.allclose(data[..., 7:], 1, atol=1e-5)
    for name, node in zip(names, data, strict=True):
        # A zero pose in camera space stands on its head: only the pelvis may be turned, by that half turn.
        assert np.allclose(np.abs(node[:, 6]), 0.0 if name == "pelvis" else 1.0, atol=1e-5), name
    # A knee is 0.38 m below its hip, in the file's own unit.
    (hip_to_knee,) = (node[0, :3] for n, node in zip(names, data, strict=True) if n == "left_knee")
    assert 0.3 < np.linalg.norm(hip_to_knee) * unit / 100 < 0.5


def test_in_place_keeps_the_pose_and_drops_the_way(tmp_path):
    armature, joints = person()
    export_fbx(armature, tmp_path / "a.fbx", "unity", root="in_place")
    world, _ = nodes_by_ufbx(tmp_path / "a.fbx")
    found = np.stack([world[n][:, :3, 3] for n in open_body().joint_names], 1)
    assert np.abs(found - (joints - joints[:, :1] * [1, 1, 0])).max() < MM


@pytest.mark.slow
def test_what_the_user_built_on_top_is_in_the_file(tmp_path):
    """A constraint, and the armature moved as a whole."""
    armature, _ = person()
    target = bpy.data.objects.new("target", None)
    bpy.context.scene.collection.objects.link(target)
    target.location = (3, 2, 1)
    follow = armature.pose.bones["left_wrist"].constraints.new("COPY_LOCATION")
    follow.target = target
    armature.location = (0, 5, 0)
    go_to(4)
    heads = bone_heads(armature)
    export_fbx(armature, tmp_path / "a.fbx", "unreal")
    world, _ = nodes_by_ufbx(tmp_path / "a.fbx")
    found = np.stack([world[n][3, :3, 3] for n in open_body().joint_names])
    assert np.abs(found - heads).max() < MM and np.abs(world["left_wrist"][3, :3, 3] - (3, 2, 1)).max() < MM
    assert len(armature.pose.bones["left_wrist"].constraints) == 1


@pytest.mark.parametrize("export", [export_bvh, export_npz])
def test_the_pose_on_screen_stays_also_where_it_is_not_keyed(tmp_path, export):
    """As seen in a window: without a change of frame afterwards, which would hide it."""
    armature, _ = person()
    go_to(4)
    armature.pose.bones["left_elbow"].rotation_quaternion = (0.6, 0, 0.8, 0)
    bpy.context.view_layer.update()
    before, mean = bone_heads(armature), armature["uncertainty_m"]
    export(armature, tmp_path / f"a.{export.__name__[-3:]}")
    bpy.context.view_layer.update()
    assert np.abs(bone_heads(armature) - before).max() < 1e-6 and armature["uncertainty_m"] == mean
    assert bpy.context.scene.frame_current == 4


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "keys"), [("bake", 0), ("keep", 17)])
def test_shape_sliders_are_baked_or_kept(tmp_path, shape, keys):
    blender_addon.register()
    try:
        armature, _ = person()
        mesh = armature.children[0]
        work = BodyKeys(running.backend, armature, "shape", open_body())
        while not work.finished:
            work.pump(0.05)
    finally:
        blender_addon.unregister()
    mesh.data.shape_keys.key_blocks["Shape001"].value = 2.0
    go_to(3)
    expected = skinned_vertices(mesh)
    export_fbx(armature, tmp_path / "a.fbx", "maya", shape=shape)
    assert mesh.data.shape_keys.key_blocks["Shape001"].value == 2.0
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_scene.fbx(filepath=str(tmp_path / "a.fbx"), anim_offset=0.0)
    (back,) = (ob for ob in bpy.data.objects if ob.type == "MESH")
    assert len(back.data.shape_keys.key_blocks if back.data.shape_keys else ()) == keys
    go_to(3)
    assert np.abs(skinned_vertices(back) - expected).max() < MM


def glb(file: Path) -> tuple[dict, bytes]:
    """JSON and binary chunk of a .glb, by the specification."""
    data = file.read_bytes()
    assert struct.unpack_from("<4sII", data) == (b"glTF", 2, len(data))
    length, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON"
    return json.loads(data[20 : 20 + length]), data[28 + length :]


def accessor(document: dict, binary: bytes, index: int) -> np.ndarray:
    about = document["accessors"][index]
    view = document["bufferViews"][about["bufferView"]]
    assert about["componentType"] == 5126 and "byteStride" not in view
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[about["type"]]
    start = view.get("byteOffset", 0) + about.get("byteOffset", 0)
    return np.frombuffer(binary, "<f4", width * about["count"], start).reshape(about["count"], width)


@pytest.mark.slow
def test_glb_holds_every_joint_of_every_frame(tmp_path):
    armature, joints = person()
    bpy.data.scenes.new("A first one by its name")
    names, here = names_of_everything(), bpy.context.scene
    export_glb(armature, tmp_path / "a.glb")
    assert bpy.context.scene == here and bpy.context.window_manager.windows[0].scene == here
    assert names_of_everything() == names and [p.name for p in tmp_path.iterdir()] == ["a.glb"]
    document, binary = glb(tmp_path / "a.glb")
    (animation,), (skin,), nodes = document["animations"], document["skins"], document["nodes"]
    assert sorted(nodes[j]["name"] for j in skin["joints"]) == sorted(open_body().joint_names)
    parent = {child: i for i, node in enumerate(nodes) for child in node.get("children", ())}
    defaults = {"translation": [0, 0, 0.0], "rotation": [0, 0, 0, 1.0], "scale": [1, 1, 1.0]}
    moves = {
        (i, part): np.tile(node.get(part, value), (COUNT, 1))
        for i, node in enumerate(nodes)
        for part, value in defaults.items()
    }
    for channel in animation["channels"]:
        sampler = animation["samplers"][channel["sampler"]]
        times, values = (accessor(document, binary, sampler[end])[:, :] for end in ("input", "output"))
        if len(values) == COUNT:
            assert np.allclose(times[:, 0], times[0, 0] + np.arange(COUNT) / 30, atol=1e-4)
        else:
            # What stands still may have fewer keys.
            values = np.stack(
                [np.interp(np.arange(COUNT) / 30 + times[0, 0], times[:, 0], c) for c in values.T], 1
            )
        moves[channel["target"]["node"], channel["target"]["path"]] = values

    def world(i: int) -> np.ndarray:
        own = matrices(*(moves[i, part] for part in ("translation", "rotation", "scale")))
        return world(parent[i]) @ own if i in parent else own

    at = {nodes[i]["name"]: world(i)[:, :3, 3] for i in skin["joints"]}
    found = np.stack([at[n] for n in open_body().joint_names], 1)
    assert np.abs(found @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]) - joints).max() < MM
    (mesh,) = document["meshes"]
    assert document["accessors"][mesh["primitives"][0]["indices"]]["count"] == 3 * len(open_body().faces)


def test_usd_comes_back(tmp_path):
    if "usd_export" not in dir(bpy.ops.wm):
        pytest.skip("this Blender has no USD")
    armature, joints = person()
    export_usd(armature, tmp_path / "a.usdc")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.usd_import(filepath=str(tmp_path / "a.usdc"))
    (back,) = (ob for ob in bpy.data.objects if ob.type == "ARMATURE")
    for frame in (1, 6, COUNT):
        go_to(frame)
        assert np.abs(bone_heads(back) - joints[frame - 1]).max() < MM


def test_npz_is_the_same_motion_for_smplx_code(tmp_path):
    armature, joints = person(root_bone=True)
    export_npz(armature, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert file["poses"].shape == (COUNT, 165) and float(file["mocap_frame_rate"]) == 30.0
        # z up: SMPL-X's own forward kinematics gives the world's places.
        found, _ = posed(file["betas"], file["poses"].reshape(COUNT, 55, 3), file["trans"])
    assert np.abs(found - joints).max() < MM
    bpy.ops.object.armature_add()
    with pytest.raises(ExportError, match="not a person"):
        export_npz(bpy.context.active_object, tmp_path / "b.npz")


@pytest.mark.slow
def test_a_file_is_called_as_the_person_is(tmp_path):
    somebody, _ = person()
    somebody.name = "Anna/1: dance."
    assert suggested(somebody, "", ".fbx") == "Anna_1_ dance.fbx"
    last = tmp_path / "Bert.fbx"
    assert Path(suggested(somebody, str(last), ".glb")) == tmp_path / "Anna_1_ dance.glb"
    somebody.name = "..."
    assert suggested(somebody, "", ".fbx") == "person.fbx"


@pytest.mark.parametrize("ending", [".glb", ".bvh", ".npz"])
def test_operator_writes_each_format(tmp_path, ending):
    blender_addon.register()
    try:
        person()
        file = tmp_path / f"a{ending}"
        assert bpy.ops.bodyfield.export_motion(filepath=str(tmp_path / "a"), format=ending, root="root") == {
            "FINISHED"
        }
        assert [p.name for p in tmp_path.iterdir()] == [file.name] and file.stat().st_size > 1000
        (tmp_path / "file").write_text("")
        with pytest.raises(RuntimeError, match="could not be written"):
            bpy.ops.bodyfield.export_motion(filepath=str(tmp_path / "file" / "a"), format=ending)
    finally:
        blender_addon.unregister()


def test_bvh_with_a_root(tmp_path):
    armature, joints = person()
    export_bvh(armature, tmp_path / "a.bvh", root="root")
    text = (tmp_path / "a.bvh").read_text()
    assert text.index("ROOT root") < text.index("JOINT pelvis")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.import_anim.bvh(filepath=str(tmp_path / "a.bvh"), axis_forward="-Z", axis_up="Y")
    (back,) = (ob for ob in bpy.data.objects if ob.type == "ARMATURE")
    go_to(5)
    assert np.abs(bone_heads(back) - joints[4]).max() < MM

"""Points that are clicked onto a body: where they are kept, how they ride on it, presets and files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from mathutils import Vector  # noqa: E402

import blender_addon  # noqa: E402
from blender_addon.ops.add_points import add_hit  # noqa: E402
from blender_addon.points.canonical import Place, PointError, mirrored_name  # noqa: E402
from blender_addon.points.presets import PLUG_IN_GAIT  # noqa: E402
from blender_addon.scene.body_surface import BodySurface, body_mesh, pick  # noqa: E402
from blender_addon.scene.clip import ClipScene, Footage  # noqa: E402
from blender_addon.scene.points import add_place, bodies, place_of, riding, show_points  # noqa: E402

from .people import motion, open_body, posed  # noqa: E402
from .seen import from_camera, go_to  # noqa: E402

FOOTAGE = Footage("walk", Path("nowhere.mp4"), 640, 360, 30.0)
TENTH_MM, MM = 1e-4, 1e-3
"""Empties keep a fixed place in the frame of their triangle, whose bending they do not follow: to a millimetre."""


@pytest.fixture(autouse=True)
def addon(empty_file):
    blender_addon.register()
    yield
    blender_addon.unregister()


def built(*results, job="job-1") -> ClipScene:
    clip = ClipScene(FOOTAGE, job)
    clip.set_body(open_body())
    clip.add(results)
    clip.refresh(force=True)
    bpy.context.view_layer.update()
    return clip


def points():
    return bpy.context.scene.bodyfield_points


def add(*places: Place) -> None:
    for place in places:
        add_place(points(), place)
    show_points(bpy.context.scene)


def seen(name: str) -> np.ndarray:
    """Where an empty is, in the world."""
    ob = next(ob for ob in riding(bpy.context.scene) if ob.name == name)
    evaluated = ob.evaluated_get(bpy.context.evaluated_depsgraph_get())
    return np.array(evaluated.matrix_world.translation)


def on(vertices: np.ndarray, face: int, share) -> np.ndarray:
    return np.asarray(share) @ vertices[..., open_body().faces[face], :]


FACES = (100, 5000, 9000, 14000, 27000)
SHARE = (0.2, 0.3, 0.5)


def test_points_ride_on_the_posed_and_shaped_skin():
    result = motion(6)
    built(result)
    add(*(Place(f"p{face}", face=face, barycentric=SHARE) for face in FACES))
    _, vertices = posed(result.betas, result.pose, result.trans, vertices=True)
    for i in range(6):
        go_to(i + 1)
        for face in FACES:
            expected = from_camera(on(vertices[i], face, SHARE))
            assert np.abs(seen(f"p{face}") - expected).max() < MM


def test_another_shape_moves_points_with_their_triangle():
    clip = built(motion(3, final=False, seed=5))
    add(Place("p", face=9000, barycentric=SHARE), Place("deep", face=9000, barycentric=SHARE, depth=0.03))
    final = motion(3, seed=8)
    clip.add([final])
    clip.refresh()
    clip.refresh_points()
    _, vertices = posed(final.betas, final.pose, final.trans, vertices=True)
    go_to(2)
    skin = from_camera(on(vertices[1], 9000, SHARE))
    assert np.abs(seen("p") - skin).max() < MM
    assert np.linalg.norm(seen("deep") - skin) == pytest.approx(0.03, abs=MM)


@pytest.mark.slow
def test_a_click_makes_a_point_that_stays_on_its_place():
    result = motion(8)
    clip = built(result)
    _, vertices = posed(result.betas, result.pose, result.trans, vertices=True)
    mesh = body_mesh(clip.armature(1))
    for face in FACES:
        go_to(3)
        corners = from_camera(vertices[2][open_body().faces[face]])
        normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        normal /= np.linalg.norm(normal)
        target = np.array(SHARE) @ corners
        depsgraph = bpy.context.evaluated_depsgraph_get()
        # From close by, so that no arm comes between.
        hit = pick(depsgraph, [mesh], Vector(target + 0.004 * normal), Vector(-normal))
        assert np.abs(np.array(hit.location) - target).max() < TENTH_MM
        add_hit(bpy.context.scene, hit)
        name = points().items[-1].name
        assert np.abs(seen(name) - target).max() < MM
        go_to(7)
        assert np.abs(seen(name) - from_camera(on(vertices[6], face, SHARE))).max() < MM
    assert len(points().items) == len(FACES)


def test_the_nearest_body_under_the_pointer_is_hit_and_hidden_ones_are_not():
    near, far = motion(3), motion(3, track=2)
    built(
        near, replace(far, trans=far.trans + np.float32([0, 0, 2]), joints=far.joints + np.float32([0, 0, 2]))
    )
    scene, layer = bpy.context.scene, bpy.context.view_layer
    go_to(1)
    start = from_camera(np.zeros(3))
    way = from_camera(near.joints[0, 3]) - start
    found = bodies(scene, layer)
    hit = pick(bpy.context.evaluated_depsgraph_get(), found, Vector(start), Vector(way))
    assert len(found) == 2 and hit.mesh.parent["bodyfield_track"] == 1
    hit.mesh.hide_set(True)
    behind = pick(bpy.context.evaluated_depsgraph_get(), bodies(scene, layer), Vector(start), Vector(way))
    assert behind is None or behind.mesh.parent["bodyfield_track"] == 2
    assert pick(bpy.context.evaluated_depsgraph_get(), found, Vector(start), Vector(-way)) is None


def test_a_mesh_with_other_triangles_cannot_be_clicked_and_says_why():
    mesh = body_mesh(built(motion(2)).armature(1))
    mesh.modifiers.new("Solidify", "SOLIDIFY")
    with pytest.raises(PointError, match="Turn off the modifiers"):
        pick(bpy.context.evaluated_depsgraph_get(), [mesh], Vector((0, -5, 1)), Vector((0, 1, 0)))


def test_joints_and_landmarks_ride_too():
    result = motion(5)
    built(result)
    add(
        Place("wrist", "joint", where="left_wrist"),
        Place("elbow", "landmark", where="left_elbow"),
        Place("nose", "landmark", where="nose"),
        Place("unknown", "landmark", where="right_heel"),
        Place("own", "own", position=(0, 0, 0)),
    )
    joints, _ = posed(result.betas, result.pose, result.trans)
    go_to(4)
    assert np.abs(seen("wrist") - from_camera(joints[3, 20])).max() < TENTH_MM
    assert np.abs(seen("elbow") - from_camera(joints[3, 18])).max() < TENTH_MM
    assert np.linalg.norm(seen("nose") - from_camera(joints[3, 15])) < 0.25
    # What this body cannot show stays on the list, to be tracked.
    assert {ob.name for ob in riding(bpy.context.scene)} == {"wrist", "elbow", "nose"}
    assert len(points().items) == 5


def test_depth_goes_along_the_inward_normal():
    rest = motion(2)
    rest = replace(rest, betas=np.zeros(16, np.float32), pose=np.zeros((2, 55, 3), np.float32))
    built(rest)
    add(Place("p", face=9000, barycentric=SHARE))
    go_to(1)
    surface = BodySurface(bpy.data.objects["walk person 1"])
    skin, item = seen("p"), points().items[0]
    item.depth = 0.02
    under = seen("p")
    assert np.linalg.norm(under - skin) == pytest.approx(0.02, abs=1e-5)
    rows = open_body().faces[9000]
    expected = surface.position(place_of(item)) - surface.position(replace(place_of(item), depth=0.0))
    # A zero pose in camera space stands on its head: half a turn about x.
    assert np.abs(under - skin - expected * [1, -1, -1]).max() < 1e-5
    corners = surface.mean[rows]
    assert expected @ np.cross(corners[1] - corners[0], corners[2] - corners[0]) < 0


def test_mirror_snap_rename_and_remove():
    built(motion(3))
    add(Place("left_thigh", face=9000, barycentric=SHARE, depth=0.01))
    surface = BodySurface(bpy.data.objects["walk person 1"])
    assert bpy.ops.bodyfield.mirror_points() == {"FINISHED"}
    assert [item.name for item in points().items] == ["left_thigh", "right_thigh"]
    left, right = (surface.position(place_of(item)) for item in points().items)
    assert np.abs(left * [-1, 1, 1] - right).max() < 1e-3
    # A second time the one on the other side is moved, and none is added.
    points().items[0].barycentric = (1, 0, 0)
    bpy.ops.bodyfield.mirror_points()
    left, right = (surface.position(place_of(item)) for item in points().items)
    assert len(points().items) == 2 and np.abs(left * [-1, 1, 1] - right).max() < 1e-3
    points().items[1].barycentric = (0.1, 0.7, 0.2)
    bpy.ops.bodyfield.snap_points(which="ALL")
    assert [list(item.barycentric) for item in points().items] == [[1, 0, 0], [0, 1, 0]]
    points().items[1].name = "left_thigh"
    assert points().items[1].name == "left_thigh_2"
    assert {ob.name for ob in riding(bpy.context.scene)} == {"left_thigh", "left_thigh_2"}
    points().active = 0
    bpy.ops.bodyfield.remove_points()
    assert [item.name for item in points().items] == ["left_thigh_2"]
    assert [ob.name for ob in riding(bpy.context.scene)] == ["left_thigh_2"]
    bpy.ops.bodyfield.remove_points(which="ALL")
    assert not riding(bpy.context.scene) and not bpy.ops.bodyfield.remove_points.poll()


@pytest.mark.parametrize(
    ("name", "other"),
    [("left_knee", "right_knee"), ("LKNE", "RKNE"), ("RASI", "LASI"), ("elbow.L", "elbow.R"), ("hand_r", "hand_l"),
     ("C7", "C7_mirrored"), ("LASER point", "LASER point_mirrored"), ("tip_l_2", "tip_r_2")],
)  # fmt: skip
def test_names_are_mirrored_as_riggers_and_labs_write_them(name, other):
    assert mirrored_name(name) == other and mirrored_name(other) == name


def test_points_survive_undo_and_saving(tmp_path):
    built(motion(3))
    bpy.ops.ed.undo_push(message="before")
    add(Place("p", face=9000, barycentric=SHARE))
    bpy.ops.ed.undo_push(message="a point")
    bpy.ops.ed.undo()
    assert not points().items and not riding(bpy.context.scene)
    bpy.ops.ed.redo()
    go_to(2)
    before = seen("p")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    go_to(2)
    assert np.abs(seen("p") - before).max() < 1e-6
    bpy.data.objects.remove(riding(bpy.context.scene)[0])
    # The list is the truth: what was deleted is made again.
    points().items[0].depth = 0.01
    show_points(bpy.context.scene)
    assert np.linalg.norm(seen("p") - before) == pytest.approx(0.01, abs=1e-3)


@pytest.mark.slow
def test_plug_in_gait_markers_sit_where_vicon_says():
    built(motion(2))
    assert bpy.ops.bodyfield.add_preset(preset="gait") == {"FINISHED"}
    assert [item.name for item in points().items] == PLUG_IN_GAIT
    surface = BodySurface(bpy.data.objects["walk person 1"])
    # Back to SMPL-X axes: x left, y up, z forward.
    at = {i.name: surface.position(place_of(i)) @ [[1, 0, 0], [0, 0, -1], [0, 1, 0]] for i in points().items}
    joint = dict(zip(open_body().joint_names, open_body().joints_template, strict=True))
    for name in (n for n in at if n[0] == "L"):
        assert np.abs(at[name] * [-1, 1, 1] - at["R" + name[1:]]).max() < 0.004, name
    assert at["LKNE"][0] > joint["left_knee"][0] + 0.03 and abs(at["LKNE"][1] - joint["left_knee"][1]) < 0.01
    assert at["LANK"][0] > joint["left_ankle"][0] + 0.02
    assert at["LASI"][2] > 0.08 and at["LPSI"][2] < -0.03
    assert 0.2 < at["LASI"][0] - at["RASI"][0] < 0.3 and at["LPSI"][0] < 0.7 * at["LASI"][0]
    assert at["C7"][2] < joint["neck"][2] - 0.03 and at["CLAV"][2] > joint["neck"][2]
    assert at["STRN"][1] < at["CLAV"][1] and at["T10"][1] < at["C7"][1]
    assert at["RBAK"][0] < -0.05 and at["RBAK"][2] < 0
    assert at["LWRA"][2] > joint["left_wrist"][2] > at["LWRB"][2]
    assert at["LELB"][1] > joint["left_elbow"][1] + 0.02
    assert at["LFHD"][2] > at["LBHD"][2] and at["LFHD"][1] > joint["left_eye_smplhf"][1]
    assert at["LTOE"][1] > joint["left_foot"][1] and at["LHEE"][2] < joint["left_ankle"][2] - 0.03
    assert at["LKNE"][1] > at["LTIB"][1] > at["LANK"][1] and at["LTHI"][1] > at["LKNE"][1]


def test_clusters_span_space_on_every_part():
    built(motion(2))
    bpy.ops.bodyfield.add_preset(preset="clusters")
    surface, parts = BodySurface(bpy.data.objects["walk person 1"]), {}
    for item in points().items:
        parts.setdefault(item.name.rpartition("_")[0], []).append(surface.position(place_of(item)))
    assert len(parts) == 13 and {len(p) for p in parts.values()} == {3, 4}
    for part, places in parts.items():
        # The second-longest spread of the cluster: what fixes the part's turn about its long axis.
        spread = np.linalg.svd(np.array(places) - np.mean(places, 0), compute_uv=False)
        assert spread[1] > 0.02, (part, spread)


def test_presets_of_joints_and_keypoints():
    built(motion(2))
    bpy.ops.bodyfield.add_preset(preset="smplx")
    assert [item.where for item in points().items] == open_body().joint_names
    assert len(riding(bpy.context.scene)) == 55
    bpy.ops.bodyfield.add_preset(preset="coco")
    assert len(points().items) == 72 and points().items[55].name == "nose"
    # left_elbow is a joint already: names stay unique.
    assert points().items[62].name == "left_elbow_2"


@pytest.mark.slow
def test_a_file_of_points_comes_back(tmp_path):
    built(motion(2))
    add(
        Place("skin", face=9000, barycentric=SHARE, depth=0.0125),
        Place("corner", face=77, barycentric=(0, 1, 0)),
        Place("wrist", "joint", where="left_wrist"),
        Place("tip", "landmark", where="nose"),
        Place("somewhere", "position", position=(0.1, 0.2, 0.3)),
    )
    before = [place_of(item) for item in points().items]
    file = tmp_path / "mine.json"
    assert bpy.ops.bodyfield.export_points(filepath=str(file)) == {"FINISHED"}
    assert [p.name for p in tmp_path.iterdir()] == ["mine.json"]
    assert bpy.ops.bodyfield.import_points(filepath=str(file), replace=True) == {"FINISHED"}
    assert [place_of(item) for item in points().items] == before
    bpy.ops.bodyfield.import_points(filepath=str(file))
    assert points().items[5].name == "skin_2"


@pytest.mark.slow
def test_the_backend_reads_the_file_as_the_same_places(tmp_path):
    pytest.importorskip("torch", reason="the backend needs torch")
    from backend.body.load import load_body
    from backend.points.file import read_points as backends

    built(motion(2))
    add(
        Place("skin", face=9000, barycentric=SHARE, depth=0.0125),
        Place("above", face=20000, barycentric=SHARE, depth=-0.02),
        Place("wrist", "joint", where="left_wrist"),
        Place("somewhere", "position", position=(0.1, -0.3, 0.05)),
    )
    file = tmp_path / "mine.json"
    bpy.ops.bodyfield.export_points(filepath=str(file))
    found = backends(file, load_body(None))
    surface = BodySurface(bpy.data.objects["walk person 1"])
    ours = [surface.position(place_of(i)) @ [[1, 0, 0], [0, 0, -1], [0, 1, 0]] for i in points().items]
    assert list(found.labels) == ["skin", "above", "wrist", "somewhere"] and not found.raw.any()
    assert np.abs(found.points.positions - ours).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "not JSON at line 1"),
        ("[]", "holds 0 points"),
        ('{"points": 3}', "no list of points"),
        ("[7]", "Entry 0 of bad.json is not an object"),
        ('[{"name": "a"}]', "exactly one way"),
        ('[{"joint": "left_knee"}, {"joint": "tail"}]', "Entry 1 of bad.json names 'tail'"),
        ('[{"vertex": 99999999}]', "has the vertex 99999999"),
        ('[{"face": 3, "barycentric": [1, 1, 1]}]', "sum to 1"),
        ('[{"face": 3, "barycentric": [1, 0, 0], "depth": 7}]', "depth 7 m"),
        ('[{"position": [0, 900, 0]}]', "give metres"),
        ('[{"position": [0, NaN, 0]}]', "where a number is due"),
        ('{"body": "smplx", "points": [{"vertex": 3}]}', "belongs to the body 'smplx'"),
    ],
)
def test_a_bad_file_is_one_sentence_and_changes_nothing(tmp_path, text, match):
    built(motion(2))
    add(Place("kept", face=1))
    file = tmp_path / "bad.json"
    file.write_text(text)
    with pytest.raises(RuntimeError, match=match) as error:
        bpy.ops.bodyfield.import_points(filepath=str(file), replace=True)
    assert len(str(error.value).strip().splitlines()) == 1
    assert [item.name for item in points().items] == ["kept"]


def test_without_a_person_the_buttons_say_what_to_do():
    for name in ("add_points", "add_preset", "import_points", "track_points", "export_tracked"):
        assert not getattr(bpy.ops.bodyfield, name).poll()

"""Points as people write them, on the command line and in files, and as we write them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.body import JOINT, canonical_points, forward, load_body
from backend.body.landmarks import landmark
from backend.body.places import named_points, surface_points, vertex_points
from backend.body.pointsets import join_sets, make_set, named_set
from backend.errors import JobError
from backend.points.file import parse_points, write_points

from .pointhelp import put, refused


def same_points(a, b, tolerance=1e-6):
    for name in ("positions", "weights", "shapedirs", "exprdirs"):
        assert np.abs(getattr(a, name) - getattr(b, name)).max() < tolerance, name
    assert (a.posedirs is None) == (b.posedirs is None)
    if a.posedirs is not None:
        assert np.abs(a.posedirs - b.posedirs).max() < tolerance


# --- on the command line -----------------------------------------------------------------------------------------


def test_sets_by_name_own_ones_first(open_body):
    assert parse_points(" coco_17 ", open_body) is named_set(open_body, "coco_17")
    mine = make_set("coco_17", ["a"], canonical_points(open_body, np.zeros((1, 3))), raw=True)
    assert parse_points("coco_17", open_body, {"coco_17": mine}) is mine
    both = parse_points("coco_17+smpl_24", open_body, {"smpl_24": mine})
    assert len(both) == 18 and both.raw.tolist() == [False] * 17 + [True] and both.name == "coco_17+coco_17"


def test_joined_sets(open_body):
    both = parse_points("coco_17 + smplx_55+left_hip,nose+0,0.1,1e-1", open_body)
    assert len(both) == 17 + 55 + 2 + 1
    assert both.labels[0] == "nose" and "left_elbow_2" in both.labels and len(set(both.labels)) == 75
    assert both.raw.sum() == 1 and np.allclose(both.points.positions[-1], [0, 0.1, 0.1])
    assert len(both.edges) == 19 + 54


def test_names(open_body):
    found = parse_points("left_elbow, right_elbow,nose", open_body)
    assert found.labels == ("left_elbow", "right_elbow", "nose") and not found.raw.any()
    same_points(found.points, named_points(open_body, found.labels))
    hip = parse_points("left_hip", open_body)
    assert np.array_equal(hip.points.positions[0], open_body.joints_template[JOINT["left_hip"]])
    assert parse_points("nose,nose", open_body).labels == ("nose", "nose_2")


@pytest.mark.parametrize(
    "text", ["0.1,-.2,3e-2;+1,0,0", " 0.1 -0.2 0.03 ; 1 , 0 , 0 ;", "1e-1,-2e-1,0.03;1.,0.,0."]
)
def test_coordinates_are_the_localizers_own(open_body, text):
    found = parse_points(text, open_body)
    assert np.allclose(found.points.positions, [[0.1, -0.2, 0.03], [1, 0, 0]], atol=1e-7)
    assert found.raw.all() and found.labels == ("point_0000", "point_0001")


# --- files -------------------------------------------------------------------------------------------------------

EVERY_KIND = [
    {"name": "own", "position": [0.1, 0.2, 0.05]},
    {"name": "rest", "position": [0.1, 0, 0], "space": "body"},
    {"name": "vertex", "vertex": 17},
    {"name": "skin", "face": 5, "barycentric": [0.2, 0.3, 0.5]},
    {"name": "above", "face": 400, "barycentric": [1, 0, 0], "depth": -0.02},
    {"joint": "left_wrist"},
    {"name": "own", "position": [0, 0, 0], "space": "own"},
]


@pytest.mark.parametrize("which", ["open", "smplx"])
def test_every_kind_of_entry(open_body, synthetic_file, tmp_path, which):
    body = open_body if which == "open" else load_body(synthetic_file)
    said = {"name": "mine", "body": which, "points": EVERY_KIND, "edges": [[0, 2], ["skin", "rest"]]}
    found = parse_points(put(tmp_path, "points + 1,2;3.json", said), body)
    assert found.name == "mine"
    assert found.labels == ("own", "rest", "vertex", "skin", "above", "point_0005", "own_2")
    assert found.raw.tolist() == [True] + [False] * 5 + [True]
    assert found.edges.tolist() == [[0, 2], [3, 1]]
    positions = canonical_points(body, np.array([[0.1, 0.2, 0.05], [0.1, 0, 0], [0, 0, 0]]))
    same_points(found.points.take([0, 1, 6]), positions)
    same_points(found.points.take([2]), vertex_points(body, [17]))
    same_points(
        found.points.take([3, 4]), surface_points(body, [5, 400], [[0.2, 0.3, 0.5], [1, 0, 0]], [0, -0.02])
    )
    same_points(found.points.take([5]), named_points(body, ["left_wrist"]))


def test_landmarks_and_a_bare_list(open_body, tmp_path):
    found = parse_points(
        put(tmp_path, "a.json", [{"landmark": "left_hip"}, {"joint": "left_hip"}]), open_body
    )
    assert found.name == "a" and len(found.edges) == 0
    same_points(found.points.take([0]), landmark(open_body, "left_hip"))
    assert np.array_equal(found.points.positions[1], open_body.joints_template[JOINT["left_hip"]])


@pytest.mark.parametrize(
    ("name", "text", "like"),
    [
        ("a.csv", "name,x,y,z,space\nrest,0.1,0,0,body\nown,0.1,0.2,0.05,\n", [1, 0]),
        ("a.csv", "\ufeffZ;Y;X;Name;remark\n0.05;0.2;0.1;own;left\n;;;;\n", [0]),
        ("a.csv", "vertex\tname\n17\tvertex\n", [2]),
        ("a.csv", 'name,face,a,b,c,depth\r\n"skin",5,.2,.3,.5,\r\nabove,400,1,0,0,-0.02\r\n', [3, 4]),
        ("a.CSV", "name,joint,vertex\npoint_0005,left_wrist,\nvertex,,17", [5, 2]),
        ("a.txt", "# own space\n0.1 0.2 0.05 own\n\n", [0]),
    ],
)
def test_tables(open_body, tmp_path, name, text, like):
    wanted = parse_points(put(tmp_path, "all.json", EVERY_KIND), open_body)
    found = parse_points(put(tmp_path, name, text), open_body)
    assert found.labels == tuple(wanted.labels[i] for i in like)
    assert found.raw.tolist() == wanted.raw[like].tolist()
    same_points(found.points, wanted.points.take(like))


def test_text_saved_by_windows(open_body, tmp_path):
    found = parse_points(put(tmp_path, "a.txt", "0.1 0.2 0.05 linkes Knie\r\n".encode("utf-16")), open_body)
    assert found.labels == ("linkes Knie",)
    refused(put(tmp_path, "b.txt", b"\xff\x00\x81"), open_body, "b.txt is not a text in UTF-8")


@pytest.mark.parametrize("kind", ["f4", "f8", "i4", ">f8"])
def test_arrays(open_body, tmp_path, kind):
    p = np.array([[0, 0, 1], [1, 0, 0]], kind)
    found = parse_points(put(tmp_path, "a.npy", np.asfortranarray(p)), open_body)
    assert np.array_equal(found.points.positions, p.astype(np.float32)) and found.raw.all()
    np.savez(tmp_path / "b.npz", points=p, names=np.array(["left", "right"]), other=np.arange(4))
    assert parse_points(str(tmp_path / "b.npz"), open_body).labels == ("left", "right")
    np.savez_compressed(tmp_path / "c.npz", whatever=p)
    assert np.array_equal(
        parse_points(str(tmp_path / "c.npz"), open_body).points.positions, p.astype(np.float32)
    )


def test_a_file_made_for_another_body_may_still_name_joints(open_body, tmp_path):
    said = {"body": "smplx", "points": [{"joint": "neck"}, {"position": [0, 0, 0]}]}
    assert len(parse_points(put(tmp_path, "a.json", said), open_body)) == 2


# --- written and read again --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("which", ["open", "smplx"])
def test_what_is_written_reads_back_the_same(open_body, synthetic_file, tmp_path, which):
    body = open_body if which == "open" else load_body(synthetic_file)
    rng = np.random.default_rng(0)
    bare = canonical_points(body, rng.normal(size=(2, 3)) * 0.3)
    sets = [named_set(body, "smplx_55"), make_set("own", ['"ü\\"', "b"], bare, raw=True)]
    if which == "open":
        sets += [named_set(body, n) for n in ("landmarks_33", "volume_20", "surface_20")]
    points = join_sets(sets, "a set")
    path = tmp_path / "a.json"
    write_points(path, points, body)
    again = parse_points(str(path), body)
    assert again.name == "a set" and again.labels == points.labels
    assert np.array_equal(again.edges, points.edges) and np.array_equal(again.raw, points.raw)
    assert np.array_equal(again.points.positions, points.points.positions)
    # They also move alike: joints stay joints.
    draw = lambda *shape: torch.from_numpy(rng.normal(size=shape).astype(np.float32))  # noqa: E731
    pose, betas, trans = draw(3, 55, 3) * 0.4, draw(3, 10), draw(3, 3)
    a, b = (forward(body.to(), pose, betas, trans, points=p.points.to()).points for p in (points, again))
    assert (a - b).abs().max() < 1e-4
    with pytest.raises(JobError, match="cannot be written"):
        write_points(tmp_path / "no folder" / "a.json", points, body)

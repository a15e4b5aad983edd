"""Points written wrongly: one sentence that names the place, never anything but a JobError."""

from __future__ import annotations

import string
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.body import canonical_points
from backend.body.pointsets import PointSet, make_set
from backend.errors import JobError
from backend.points.file import parse_points

from .pointhelp import put, refused

FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["No points", "coco_17"]),
        (" + ", ["No points"]),
        ("coco17", ["did you mean 'coco_17'", "smpl_24, smplx_55, coco_17", "surface_N", "volume_N"]),
        ("smpl24", ["did you mean 'smpl_24'"]),
        ("coco_17+smplx", ["'smplx'"]),
        ("left_elbwo,nose", ["'left_elbwo'", "did you mean 'left_elbow'"]),
        ("1,2", ["Point 1 has 2 numbers"]),
        ("0,0,0;1", ["Point 2 has 1 number:"]),
        ("1,2,3,4", ["Point 1 has 4 numbers"]),
        ("0,0,0;0,nan,0", ["Point 2", "nan"]),
        ("1e999,0,0", ["Point 1", "finite"]),
        ("0,1100,0", ["Point 1", "1100", "metres"]),
        ("0.1,0.2,O.3", ["'O.3' is not a number"]),
        ("surface_0", ["surface_1 to surface_13718"]),
        ("C:\\points\\a,1;2.json", ["a,1;2.json' is not there"]),
        ("D:/clip/1,2,3", ["is not there"]),
        ("points.csv", ["The file 'points.csv' is not there"]),
        ("some/points", ["is not there"]),
        ("x" * 5000, ["is no set"]),
        ("a\0b\nc", ["a\\x00b\\nc"]),
        ("~nobody_of_this_name/x.json", ["is not there"]),
    ],
)
def test_what_cannot_be_understood(open_body, text, words):
    mine = make_set("smpl_24", ["a"], canonical_points(open_body, np.zeros((1, 3))), raw=True)
    refused(text, open_body, *words, own={"smpl_24": mine})


def test_a_folder_and_an_unknown_kind_of_file(open_body, tmp_path):
    refused(str(tmp_path), open_body, "is a folder")
    refused(
        put(tmp_path, "a.xlsx", "x"),
        open_body,
        "a.xlsx is not a kind of file",
        ".json, .csv, .txt, .npy or .npz",
    )


def entry(**said):
    return [{"joint": "neck"}, said]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], ["a.json holds no points"]),
        ({"points": []}, ["holds no points"]),
        ({"joints": []}, ["no list of points"]),
        ("[{", ["not JSON at line 1, column 3"]),
        ("[" * 100_000, ["not JSON"]),
        ("9" * 5000, ["not JSON"]),
        ("3", ["no list of points"]),
        ([[0, 0, 0]], ["Entry 0 of a.json is not an object"]),
        (entry(name="x"), ["Entry 1 of a.json", "position, vertex, face, joint, landmark"]),
        (entry(vertex=1, joint="neck"), ["Entry 1", "vertex and joint", "exactly one"]),
        (entry(position=[0, 0]), ["Entry 1", "2 numbers", "three numbers"]),
        (entry(position="0,0,0"), ["Entry 1", "'0,0,0'", "three numbers"]),
        (entry(position=[0, "1", 0]), ["Entry 1", "'1'", "give a number"]),
        (entry(position=[0, float("nan"), 0]), ["Entry 1", "nan", "finite"]),
        (entry(position=[0, 10**400, 0]), ["Entry 1", "finite"]),
        (entry(position=[0, 900, 0]), ["Entry 1", "900", "metres"]),
        (entry(position=[0, 0, 0], space="world"), ["Entry 1", "'world'", "own or body"]),
        (entry(position=[0, 0, 0], depth=0.1), ["Entry 1", "depth without a face"]),
        (entry(vertex=13718), ["Entry 1", "13718", "from 0 to 13717"]),
        (entry(vertex=-1), ["Entry 1", "-1"]),
        (entry(vertex=10**4000), ["Entry 1", "from 0 to 13717"]),
        (entry(vertex=1.0), ["Entry 1", "whole number"]),
        (entry(vertex=True), ["Entry 1", "whole number"]),
        (entry(face=1), ["Entry 1", "barycentric"]),
        (entry(face=27420, barycentric=[1, 0, 0]), ["Entry 1", "from 0 to 27419"]),
        (entry(face=1, barycentric=[1, 1, 0]), ["Entry 1 of a.json", "sum to 1"]),
        (entry(face=1, barycentric=[1, 0, 0], depth=2), ["Entry 1 of a.json", "other side", "at most"]),
        (entry(face=1, barycentric=[1, 0, 0], depth=-0.2), ["Entry 1 of a.json", "-0.1"]),
        (entry(face=1, barycentric=[1, 0, 0], depth="deep"), ["Entry 1", "'deep'", "give a number"]),
        (entry(joint="left_elbwo"), ["Entry 1", "did you mean 'left_elbow'", "not a joint"]),
        (entry(joint="nose"), ["Entry 1", "not a joint"]),
        (entry(landmark=["nose"]), ["Entry 1", "not a landmark"]),
        (entry(name=3, joint="neck"), ["Entry 1", "name 3"]),
        (entry(name="a\nb", joint="neck"), ["Entry 1", "printable"]),
        ({"name": "", "points": entry(joint="neck")}, ["name", "short text"]),
        ({"body": 3, "points": entry(joint="neck")}, ["body", "open, smplx, smplh or smpl"]),
        ({"body": "smplx", "points": entry(vertex=3)}, ["Entry 1", "'smplx'", "'open' body is loaded"]),
        ({"body": "smplx", "points": entry(position=[0, 0, 0], space="body")}, ["Entry 1", "body position"]),
        ({"points": entry(joint="head"), "edges": [[0, 2]]}, ["Edge 0 of a.json", "from 0 to 1"]),
        ({"points": entry(joint="head"), "edges": [[0, 1], ["x", 0]]}, ["Edge 1"]),
        ({"points": entry(joint="head"), "edges": [[0, True]]}, ["Edge 0"]),
        ({"points": entry(joint="head"), "edges": [0, 1]}, ["Edge 0", "not a pair"]),
        ({"points": entry(joint="head"), "edges": "all"}, ["edges", "not a list"]),
    ],
)  # fmt: skip
def test_wrong_json(open_body, tmp_path, content, words):
    refused(put(tmp_path, "a.json", content), open_body, *words)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "", ["first line", "name,x,y,z"]),
        ("a.csv", "name,x,y,z\n", ["a.csv holds no points"]),
        ("a.csv", "left,0,0,0\n", ["first line"]),
        ("a.csv", "x,x,y,z\n", ["a column twice"]),
        ("a.csv", "name,x,y,z\na,0,0,0\nb,0,,0\n", ["Line 3 of a.csv", "no number for y"]),
        ("a.csv", "x,y,z\n0,0,left\n", ["Line 2 of a.csv", "'left' in place of a number"]),
        ("a.csv", "x;y;z\n0,5;0;0\n", ["Line 2", "'0,5'", "decimal point"]),
        ("a.csv", "x,y,z\n0,nan,0\n", ["Line 2", "finite"]),
        ("a.csv", "x,y,z\n0,0,0,0\n", ["Line 2", "4 cells"]),
        ("a.csv", "name,vertex\na,1.5\n", ["Line 2", "'1.5'", "whole number"]),
        ("a.csv", "name,vertex\na,\n", ["Line 2", "where it is"]),
        ("a.csv", "name,vertex\na,99999\n", ["Line 2", "from 0 to 13717"]),
        ("a.csv", "x,y,z\n0,0,0\n" + "9" * 200_000, ["line 3"]),
        ("a.txt", "\n# nothing\n", ["a.txt holds no points"]),
        ("a.txt", "0 0 0\n0 0\n", ["Line 2 of a.txt", "three numbers"]),
        ("a.txt", "left 0 0 0\n", ["Line 1 of a.txt", "three numbers"]),
    ],
)
def test_wrong_tables(open_body, tmp_path, name, text, words):
    refused(put(tmp_path, name, text), open_body, *words)


def test_wrong_arrays(open_body, tmp_path):
    refused(put(tmp_path, "a.npy", np.zeros((3, 2))), open_body, "3 x 2", "(P, 3)")
    refused(put(tmp_path, "b.npy", np.zeros((0, 3))), open_body, "no points")
    refused(put(tmp_path, "c.npy", np.array([[0, np.nan, 0]])), open_body, "Row 0 of c.npy", "finite")
    refused(put(tmp_path, "d.npy", np.zeros((2, 3), complex)), open_body, "complex128")
    refused(put(tmp_path, "e.npy", b"no array"), open_body, "e.npy is damaged")
    np.save(tmp_path / "f.npy", np.array([[{}, 1, 2]], dtype=object), allow_pickle=True)
    refused(str(tmp_path / "f.npy"), open_body, "f.npy", "object")
    np.savez(tmp_path / "g.npz", a=np.zeros((2, 3)), b=np.zeros((2, 3)))
    refused(str(tmp_path / "g.npz"), open_body, "no array called points")
    np.savez(tmp_path / "h.npz", points=np.zeros((2, 3)), names=np.array(["a"]))
    refused(str(tmp_path / "h.npz"), open_body, "one short text a point")
    refused(put(tmp_path, "i.npz", (tmp_path / "h.npz").read_bytes()[:-60]), open_body, "damaged")
    whole = (tmp_path / "a.npy").read_bytes()
    refused(put(tmp_path, "j.npy", whole.replace(b"(3, 2), ", b"(9, 3), ")), open_body, "damaged")


@pytest.mark.slow
def test_limits(open_body, tmp_path):
    # The header alone decides: an array that would unpack to gigabytes is not begun.
    start = put(tmp_path, "z.npy", np.zeros((1, 3)))
    claim = Path(start).read_bytes().replace(b"(1, 3), }" + b" " * 9, b"(999999999, 3), } ")
    refused(put(tmp_path, "huge.npy", claim), open_body, "999999999 points", "at most 100000")
    refused(
        put(tmp_path, "a.npy", np.zeros((100_001, 3), np.float32)),
        open_body,
        "100001 points",
        "at most 100000",
    )
    refused(put(tmp_path, "a.csv", "x,y,z\n" + "0,0,0\n" * 100_001), open_body, "at most 100000")
    refused("0,0,0;" * 100_001, open_body, "at most 100000")
    refused("+".join(["surface_13718"] * 8), open_body, "109744 points")
    with (tmp_path / "big.txt").open("wb") as file:
        file.truncate((64 << 20) + 1)
    refused(str(tmp_path / "big.txt"), open_body, "big.txt has 65 MiB")


# --- anything at all ---------------------------------------------------------------------------------------------

WORDS = st.sampled_from(
    [*"+,;-.01/\\~", "coco_17", "smplx_55", "surface_3", "volume_2", "surface_0", "nose", "left_hip", "1e5", "nan",
     "inf", "0.1", "C:", ".json", ".npy"]
)  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["nose", "neck", "body", "own", "a"]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=6,
)
NUMBERS = st.lists(st.floats(-2, 2) | st.integers(-5, 5), min_size=3, max_size=3)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=4) | JSON,
        "position": NUMBERS | JSON,
        "vertex": st.integers(-2, 14_000) | JSON,
        "face": st.integers(-2, 28_000) | JSON,
        "barycentric": st.sampled_from([[1, 0, 0], [0.5, 0.25, 0.25]]) | JSON,
        "depth": st.floats(-0.2, 0.3) | JSON,
        "joint": JSON,
        "landmark": JSON,
        "space": st.sampled_from(["body", "own", None]) | JSON,
    },
)


def accepted_or_refused(text, body) -> None:
    try:
        found = parse_points(text, body)
    except JobError as e:
        assert e.code == "bad_points" and "\n" not in str(e)
    else:
        assert isinstance(found, PointSet) and len(found) > 0
        assert np.isfinite(found.points.positions).all() and len(set(found.labels)) == len(found)


@pytest.mark.slow
@FUZZ
@given(text=st.text(max_size=30) | st.lists(WORDS, max_size=8).map("".join))
def test_any_text(open_body, text):
    accepted_or_refused(text, open_body)


@pytest.mark.slow
@FUZZ
@given(
    said=st.lists(ENTRY | JSON, max_size=3)
    | st.fixed_dictionaries(
        {"points": st.lists(ENTRY, max_size=3)}, optional={"edges": JSON, "body": JSON, "name": JSON}
    )
)
def test_any_json(open_body, tmp_path, said):
    accepted_or_refused(put(tmp_path, "any.json", said), open_body)


@pytest.mark.slow
@FUZZ
@given(
    ending=st.sampled_from(["json", "csv", "txt", "npy", "npz"]),
    data=st.binary(max_size=60) | st.text(string.printable, max_size=60).map(str.encode)
    | st.text("xyzvertexfacename,;\n 0123.-", max_size=60).map(lambda t: b"name,x,y,z,vertex\n" + t.encode()),
)  # fmt: skip
def test_any_bytes(open_body, tmp_path, ending, data):
    accepted_or_refused(put(tmp_path, f"any.{ending}", data), open_body)


@pytest.mark.slow
@FUZZ
@given(at=st.integers(0, 400), byte=st.integers(0, 255), zipped=st.booleans())
def test_arrays_with_a_wrong_byte(open_body, tmp_path, at, byte, zipped):
    path = tmp_path / ("a.npz" if zipped else "a.npy")
    p = np.zeros((2, 3), np.float32)
    if zipped:
        np.savez_compressed(path, points=p, names=np.array(["a", "b"]))
    else:
        np.save(path, p)
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    path.write_bytes(data)
    accepted_or_refused(str(path), open_body)

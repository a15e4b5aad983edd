"""Boxes from a table: matched to pictures, or the line that is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from backend.errors import JobError
from backend.stills.boxes import read_boxes

NAMES = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/only.png", "top.jpg"]


def table(tmp_path, text: str, names=NAMES, encoding="utf-8"):
    path = tmp_path / "boxes.csv"
    path.write_text(text, encoding=encoding)
    return read_boxes(path, names)


def test_columns_in_any_order_and_more_of_them(tmp_path):
    text = "score,Height,file,width,y,x\n0.5,40,top.jpg,30,20,10\n\n0.1,4.5,top.jpg,3,-2,1e1\n"
    taken = table(tmp_path, text).take("top.jpg")
    np.testing.assert_array_equal(taken, [[10, 20, 30, 40], [10, -2, 3, 4.5]])


@pytest.mark.parametrize("text", [
    "file;x;y;width;height\ntop.jpg;1;2;3;4\n",
    "file\tx\ty\twidth\theight\r\ntop.jpg\t1\t2\t3\t4\r\n",
    '\ufefffile, x, y, width, height\n"top.jpg", 1, 2, 3, 4',
])  # fmt: skip
def test_tables_of_all_programs(text, tmp_path):
    np.testing.assert_array_equal(table(tmp_path, text).take("top.jpg"), [[1, 2, 3, 4]])


def test_pictures_are_known_by_path_or_by_a_base_name_of_their_own(tmp_path):
    rows = ("a\\1.jpg,1", "./a/2.jpg,2", "C:\\data\\only.png,3", "1.jpg,4", "elsewhere/2.jpg,5", "gone.jpg,6")
    text = "file,x,y,width,height\n" + "".join(f"{row},0,5,5\n" for row in rows)
    boxes = table(tmp_path, text)
    assert {name: [b[0] for b in boxes.take(name)] for name in NAMES} == {
        "a/1.jpg": [1],
        "a/2.jpg": [2, 5],
        "b/1.jpg": [],
        "b/only.png": [3],
        "top.jpg": [],
    }
    unused, without = boxes.notices
    assert unused.startswith("2 row(s) of boxes.csv") and "line 5, 1.jpg" in unused
    assert without.startswith("2 picture(s) are not in boxes.csv") and "b/1.jpg" in without


def test_frames_of_a_movie(tmp_path):
    text = "file,x,y,width,height\nsome/clip.mp4#000002,1,2,3,4\nclip.mp4#000900,1,2,3,4\n"
    boxes = table(tmp_path, text, names=None)
    assert boxes.take("clip.mp4#000001") == [] and len(boxes.take("clip.mp4#000002")) == 1
    assert "line 3" in boxes.notices[0]


def test_all_is_well_without_notices(tmp_path):
    boxes = table(tmp_path, "file,x,y,width,height\ntop.jpg,1,2,3,4\n", names=["top.jpg"])
    boxes.take("top.jpg")
    assert boxes.notices == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column 'file'"),
        ("file,x,y,width\ntop.jpg,1,2,3\n", "no column 'height'"),
        ("file,x,y,width,height\n", "holds no boxes"),
        (
            "file,x,y,width,height\ntop.jpg,1,2,3,4\ntop.jpg,1,2,3,nan\n",
            "Line 3 .*'height' must be in pixels",
        ),
        ("file,x,y,width,height\n\ntop.jpg,1,2,-3,4\n", "Line 3 .*'width' must be above 0, not -3"),
        ("file,x,y,width,height\ntop.jpg,1,2,0,4\n", "Line 2 .*'width' must be above 0"),
        ("file,x,y,width,height\ntop.jpg,left,2,3,4\n", "Line 2 .*'x' must be in pixels, not 'left'"),
        ("file,x,y,width,height\ntop.jpg,1,inf,3,4\n", "Line 2 .*'y' must be in pixels"),
        ("file,x,y,width,height\ntop.jpg,1,2\n", "Line 2 of boxes.csv has 3 columns, not 5"),
        (
            "file,x,y,width,height\nother.jpg,1,2,3,4\n",
            "No row of boxes.csv names a picture .*line 2: other.jpg",
        ),
    ],
)
def test_a_wrong_table_is_one_sentence_that_names_the_line(text, words, tmp_path):
    with pytest.raises(JobError, match=words) as error:
        table(tmp_path, text)
    assert error.value.code == "bad_boxes" and str(error.value).endswith(".")


def test_a_file_that_is_no_table(tmp_path):
    with pytest.raises(JobError, match="not a CSV file in UTF-8"):
        table(tmp_path, "file,x,y,width,height\nÄ.jpg,1,2,3,4\n", encoding="latin-1")
    with pytest.raises(JobError, match="cannot be opened"):
        read_boxes(tmp_path / "gone.csv", NAMES)

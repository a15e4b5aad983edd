"""From pictures to rows: order, batches, empty rows, and points where the people are."""

from __future__ import annotations

import numpy as np
import pytest

from backend.body.pointsets import named_set
from backend.errors import JobError
from backend.files.whole import write_aside
from backend.options import MocapOptions
from backend.records import Subject
from backend.stills import localize as road
from backend.stills.boxes import read_boxes
from backend.stills.localize import detected, given, localize
from backend.stills.pictures import Picture
from backend.stills.results import Results

pytestmark = pytest.mark.slow

CAMERA = MocapOptions().pinhole


@pytest.fixture(scope="module")
def coco(body):
    return named_set(body, "coco_17")


@pytest.fixture(scope="module")
def heap(person, pair, nobody) -> list[Picture]:
    """Pictures of several sizes, with two, one and no people, and one that is broken."""
    wide = np.zeros((540, 960, 3), np.uint8)
    wide[:, 500:908] = pair[90:630]
    pictures = {"nobody": nobody, "person": person, "pair": pair, "broken": None, "mirrored": person[:, ::-1]}
    pictures |= {"small": np.ascontiguousarray(person[::2, ::2]), "wide": wide}
    return [
        Picture(n, i, problem=None if i is not None else "broken is cut off.") for n, i in pictures.items()
    ]


@pytest.fixture(scope="module")
def found(heap, localizer, detector, coco):
    return list(localize(heap, localizer, coco, detected(detector, 4), CAMERA, batch=3))


def test_one_answer_per_picture_in_order(found, heap):
    assert [f.name for f in found] == [p.name for p in heap]
    counts = {f.name: len(f) for f in found}
    assert counts["nobody"] == counts["broken"] == 0
    assert counts["person"] == counts["mirrored"] == counts["small"] == 1 and counts["pair"] == 2


def test_points_lie_on_the_people(found, coco):
    """In the picture the man's nose, hips and ankles are at these places, to a few centimetres of him."""
    person = next(f for f in found if f.name == "person")
    rows = [coco.labels.index(n) for n in ("nose", "left_hip", "left_ankle", "right_ankle")]
    truth = np.array([[291, 241], [238, 395], [204, 560], [165, 508]])
    assert np.linalg.norm(person.points2d[0, rows] - truth, axis=1).max() < 25
    x, y, w, h = person.boxes[0]
    assert ((person.points2d[0] > [x, y]) & (person.points2d[0] < [x + w, y + h])).all()
    assert 2 < person.points3d[0, :, 2].mean() < 6 and 0.01 < person.uncertainty.mean() < 0.2


def test_left_stays_the_persons_left_in_a_mirror(found, coco):
    """In the mirror the man shows what would be his other side, 540 pixels minus as far to the left."""
    person, mirrored = (next(f for f in found if f.name == n) for n in ("person", "mirrored"))
    left, right = coco.labels.index("left_shoulder"), coco.labels.index("right_shoulder")
    assert abs(mirrored.points2d[0, right, 0] - (539 - person.points2d[0, left, 0])) < 25
    assert person.points2d[0, left, 0] > person.points2d[0, right, 0]
    assert mirrored.points2d[0, left, 0] > mirrored.points2d[0, right, 0]


def test_half_the_picture_has_the_same_people_in_space(found):
    person, small = (next(f for f in found if f.name == n) for n in ("person", "small"))
    assert np.linalg.norm(person.points3d - small.points3d, axis=-1).mean() < 0.12
    assert np.linalg.norm(person.points2d - 2 * small.points2d, axis=-1).mean() < 12


def test_points_project_to_their_pixels(found):
    for f in found:
        if len(f):
            np.testing.assert_allclose(f.camera.project(f.points3d), f.points2d, atol=0.05)


@pytest.mark.parametrize("batch", [1, 8])
def test_batches_change_nothing(batch, heap, found, localizer, detector, coco):
    again = list(localize(iter(heap), localizer, coco, detected(detector, 4), CAMERA, batch=batch))
    for a, b in zip(found, again, strict=True):
        assert a.name == b.name and len(a) == len(b)
        np.testing.assert_allclose(a.boxes, b.boxes, atol=0.5)
        # The landmarks' fit ends its iterations with the slowest of a batch: a few millimetres at 5 m.
        np.testing.assert_allclose(a.points3d, b.points3d, atol=6e-3)
        np.testing.assert_allclose(a.uncertainty, b.uncertainty, atol=1e-3)


def test_pictures_are_taken_as_memory_allows(heap, localizer, detector, coco, monkeypatch):
    """With room for two pictures, no third is taken before the first is answered, however large the batch."""
    taken = []

    def feed():
        for picture in heap:
            taken.append(picture.name)
            yield picture

    monkeypatch.setattr(road, "MAX_BYTES", heap[0].image.nbytes + heap[1].image.nbytes)
    rows = localize(feed(), localizer, coco, detected(detector, 4), CAMERA, batch=64)
    assert next(rows).name == "nobody" and taken == ["nobody", "person", "pair"]


def test_the_surest_come_first_and_no_more_than_asked_for(heap, localizer, detector, coco):
    pair = [p for p in heap if p.name == "pair"]
    (two,) = localize(pair, localizer, coco, detected(detector, 4), CAMERA)
    (one,) = localize(pair, localizer, coco, detected(detector, 1), CAMERA)
    assert len(two) == 2 and len(one) == 1
    finds = detector.detect([pair[0].image], far=True, parts=(2,), enough=4)[0]
    surest = sorted(finds, key=lambda d: d.score, reverse=True)
    assert surest[0].score > surest[1].score
    np.testing.assert_allclose(two.boxes, [d.box for d in surest], atol=0.5)
    assert np.abs(two.boxes[0] - one.boxes[0]).max() < 20 < np.abs(two.boxes[1] - one.boxes[0]).max()


def test_finds_that_are_nobody_or_somebody_already_are_left_out(person, localizer, coco):
    picture, camera = Picture("person", person), CAMERA(540, 960)
    box = np.array([150.0, 140, 260, 720])
    twice = [
        Subject(person, camera, b) for b in (box, box + np.array([3, -4, 6, 8]), np.array([0.0, 0, 90, 90]))
    ]
    every, some = (
        next(localize([picture], localizer, coco, lambda *_: [twice], CAMERA, only_real=real))
        for real in (False, True)
    )
    assert len(every) == 3 and every.scores[:2].min() > 0.5 > every.scores[2]
    assert len(some) == 1
    surer = int(np.argmax(every.scores[:2] / every.uncertainty[:2].mean(1)))
    np.testing.assert_array_equal(some.points3d[0], every.points3d[surer])
    np.testing.assert_array_equal(some.boxes[0], every.boxes[surer])


def test_given_boxes_in_place_of_the_detector(tmp_path, heap, localizer, coco, found):
    x, y, w, h = next(f for f in found if f.name == "person").boxes[0]
    table = tmp_path / "boxes.csv"
    table.write_text(
        f"file,x,y,width,height\nperson,9000,0,50,50\nperson,{x},{y},{w},{h}\n", encoding="utf-8"
    )
    boxes = read_boxes(table, [p.name for p in heap])
    rows = list(localize(heap, localizer, coco, given(boxes), CAMERA))
    person = next(f for f in rows if f.name == "person")
    assert [len(f) for f in rows] == [2 if f is person else 0 for f in rows]
    np.testing.assert_allclose(person.boxes, [[9000, 0, 50, 50], [x, y, w, h]], rtol=1e-6)
    assert np.isnan(person.points3d[0]).all() and np.isfinite(person.points3d[1]).all()
    seen = next(f for f in found if f.name == "person")
    assert np.linalg.norm(person.points2d[1] - seen.points2d[0], axis=-1).mean() < 15
    results = Results(coco, localizer.name, "0", rows)
    assert results.people == 1
    assert any(n.startswith("Boxes in 1 picture(s) hold nothing") for n in results.notices)


def test_arrays_have_a_row_per_person_and_an_empty_one_for_nobody(found, coco, localizer):
    results = Results(coco, localizer.name, "1.2", found)
    arrays = results.arrays()
    n = sum(max(len(f), 1) for f in found)
    shapes = {"files": (n,), "times": (n,), "boxes": (n, 4), "points3d": (n, 17, 3), "points2d": (n, 17, 2),
              "uncertainty": (n, 17), "scores": (n,), "intrinsics": (n, 3, 3), "names": (17,),
              "edges": (len(coco.edges), 2), "points": (), "localizer": (), "version": ()}  # fmt: skip
    assert {k: v.shape for k, v in arrays.items()} == shapes
    assert all(
        arrays[k].dtype == np.float32 for k in ("boxes", "points3d", "points2d", "uncertainty", "scores")
    )
    assert arrays["files"].tolist() == [f.name for f in found for _ in range(max(len(f), 1))]
    empty = np.isin(arrays["files"], ["nobody", "broken"])
    for name in ("boxes", "points3d", "points2d", "uncertainty", "scores"):
        known = np.isfinite(arrays[name].reshape(n, -1))
        assert not known[empty].any() and known[~empty].all(), name
    assert np.isfinite(arrays["intrinsics"][arrays["files"] == "nobody"]).all()
    assert results.people == n - 2 and 0.01 < results.mean_uncertainty < 0.2


def test_nothing_at_all_is_a_file_too(coco, tmp_path):
    results = Results(coco, "x", "0")
    results.save(tmp_path / "deep" / "er" / "a.npz")
    with np.load(tmp_path / "deep" / "er" / "a.npz", allow_pickle=False) as data:
        assert data["points3d"].shape == (0, 17, 3) and data["files"].dtype.kind == "U"
    assert results.people == 0 and results.mean_uncertainty is None


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def stop(out):
        out.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(JobError, match=r"a\.bin could not be written: No space left on device"):
        write_aside(path, stop)
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.bin"]

"""What stands in front of people, and views of a part of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from backend.camera.pinhole import Roi
from backend.errors import JobError
from backend.train.streams.augment import PLAIN, Looks, change_looks, erased
from backend.train.streams.cutouts import cutouts, put_things
from backend.train.streams.framing import Shake, part_of, shake_region, shaken_region


def test_erased_rectangles_stay_within_a_third():
    image = np.full((256, 256, 3), 7, np.uint8)
    shares = []
    for seed in range(40):
        out = erased(image, np.random.default_rng(seed))
        changed = (out != image).any(-1)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        shares.append(box / 65536)
        assert changed.sum() > 0.95 * box, "one rectangle"
    assert max(shares) < 0.36 and np.std(shares) > 0.03
    assert (image == 7).all()


def write_things(folder) -> None:
    square = np.zeros((60, 40, 4), np.uint8)
    square[10:50, 10:30] = [255, 0, 0, 255]  # blue, as OpenCV writes it
    cv2.imwrite(str(folder / "square.png"), square)
    cv2.imwrite(str(folder / "opaque.png"), np.full((20, 20, 3), 99, np.uint8))


def test_things_are_put_in_front(tmp_path):
    write_things(tmp_path)
    assert len(cutouts(str(tmp_path))) == 1, "a picture without transparency is no thing"
    image = np.zeros((256, 256, 3), np.uint8)
    looks = Looks(0, 0, 0, 0, 0, 0, 0, things=1.0, things_from=str(tmp_path))
    for seed in range(6):
        out = change_looks(image, np.random.default_rng(seed), looks)
        assert (out == change_looks(image, np.random.default_rng(seed), looks)).all()
        assert out[..., 2].max() > 200 and out[..., :2].max() == 0, "blue in RGB"
        assert 0.0005 < (out[..., 2] > 128).mean() < 0.1
    assert (image == 0).all()
    with pytest.raises(JobError, match=r"^There are no things to put in front in [^\n]*\.$"):
        put_things(image, np.random.default_rng(0), str(tmp_path / "none"))


def test_objects_of_voc_without_people(tmp_path):
    for name in ("JPEGImages", "SegmentationObject", "SegmentationClass"):
        (tmp_path / name).mkdir()
    photo = np.full((100, 120, 3), 60, np.uint8)
    photo[20:60, 10:50], photo[20:60, 70:110] = [0, 0, 200], [0, 200, 0]
    objects, classes = np.zeros_like(photo), np.zeros_like(photo)
    objects[20:60, 10:50], objects[20:60, 70:110] = [0, 0, 128], [0, 128, 0]
    objects[60:62, 10:50] = [192, 224, 224]  # the edge that VOC leaves undecided
    classes[20:60, 10:50], classes[20:60, 70:110] = [0, 128, 64], [128, 128, 192]  # some thing, and a person
    cv2.imwrite(str(tmp_path / "JPEGImages/1.jpg"), photo, [cv2.IMWRITE_JPEG_QUALITY, 100])
    cv2.imwrite(str(tmp_path / "SegmentationObject/1.png"), objects)
    cv2.imwrite(str(tmp_path / "SegmentationClass/1.png"), classes)
    (thing,) = cutouts(str(tmp_path))
    assert thing.shape == (40, 40, 4) and thing[20, 20].tolist()[3] == 255
    assert np.abs(thing[20, 20, :3].astype(int) - [200, 0, 0]).max() < 8, (
        "red in RGB: the thing, not the person"
    )


def test_a_part_lies_within_the_whole():
    whole = Roi(np.array([100.0, 50.0]), 80.0, 0.4)
    for seed in range(50):
        part = part_of(whole, np.random.default_rng(seed))
        assert 0.35 * 80 <= part.size <= 0.8 * 80 and part.angle == 0.4
        c, s = np.cos(0.4), np.sin(0.4)
        off = np.array([[c, s], [-s, c]]) @ (part.center - whole.center)
        assert (np.abs(off) + part.size / 2 <= 40 + 1e-9).all()


def test_recipes_without_the_new_changes_keep_their_pictures():
    """No number is drawn for what is not asked for, so that a training goes on with the same pictures as before."""
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    a, b = np.random.default_rng(1), np.random.default_rng(1)
    for _ in range(5):  # occlusion, blur, colour, gamma, grey, noise, jpeg
        change_looks(image, a, PLAIN)
        b.random(7)
    assert a.random() == b.random()
    roi, shake = Roi(np.zeros(2), 10.0), Shake(any_roll=0.0)
    shake_region(roi, a, shake)
    b.random(), b.normal(), b.uniform(), b.normal(size=2)
    assert a.random() == b.random()
    xy = 100 * np.random.default_rng(2).random((33, 2))
    sizes = [[shaken_region(xy, a, Shake(part=p, zoom=1.0)).size for _ in range(20)] for p in (0.0, 1.0)]
    assert min(sizes[0]) > 1.1 * max(sizes[1])

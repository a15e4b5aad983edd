"""The person detector on real frames, far and near, and on pictures that hold nobody."""

import cv2
import numpy as np
import pytest

from backend.people.detect import PersonDetector
from backend.people.persons import one_each
from backend.people.upright import AxisFinder, guessed, weighted_nms
from backend.people.window import cut_window, tiles, whole_window

from .pictures import DATA, frame


@pytest.fixture(scope="module")
def detector():
    return PersonDetector()


@pytest.fixture(scope="module")
def man():
    return frame("demo.mp4", 5)


def inside(point, box):
    return (point >= box[:2]).all() and (point <= box[:2] + box[2:]).all()


def test_two_people_one_of_them_cut_off(detector, man):
    """He who walks, and somebody at the picture's edge of whom two thirds are in it."""
    (found,) = detector.detect([man], far=False)
    assert len(found) == 2
    d, other = found
    np.testing.assert_allclose(d.hips, [447, 760], atol=40)  # looked up in an overlay
    np.testing.assert_allclose(d.shoulders, [465, 510], atol=60)
    assert d.score > 0.8
    # The landmark network's region and the box hold the whole of him: cap and toes.
    for point in ([500, 300], [350, 1150]):
        assert inside(np.array(point), d.box) and inside(np.array(point), d.roi.box)
    for one in found:
        assert one.box[0] >= 0 and one.box[0] + one.box[2] <= man.shape[1]
    assert inside(np.array([60, 530]), other.box) and other.seen[0] < 3


@pytest.mark.slow
def test_two_people_one_behind_the_other(detector):
    (found,) = detector.detect([frame("two_people.mp4", 20)], far=True)
    hips = sorted(d.hips[0] for d in found)
    assert len(found) == 2
    assert hips[1] - hips[0] > 50


@pytest.mark.slow
def test_backlit_man_on_a_wall_and_a_walker(detector):
    image = cv2.imread(str(DATA / "wall.jpg"))[..., ::-1]
    (found,) = detector.detect([np.ascontiguousarray(image)], far=True)
    assert len(found) == 2
    for want in ([421, 188], [824, 491]):  # hips, looked up in an overlay
        assert min(np.linalg.norm(d.hips - want) for d in found) < 25


@pytest.mark.slow
def test_far_away(detector):
    """People a ninth as high as a full HD picture: only the tiles find them, in their places."""
    image = cv2.imread(str(DATA / "wall.jpg"))[..., ::-1]
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    top, left = (1080 - small.shape[0]) // 2, (1920 - small.shape[1]) // 2
    rest = (top, 1080 - small.shape[0] - top, left, 1920 - small.shape[1] - left)
    image = cv2.copyMakeBorder(small, *rest, cv2.BORDER_REFLECT_101)
    (found,) = detector.detect([image])
    for want in ([421, 188], [824, 491]):
        gaps = [np.linalg.norm(d.hips - np.array(want) / 2 - [left, top]) for d in found]
        assert min(gaps) < 12
    assert detector.detect([image], far=False) == [[]]
    assert detector.detect([image], far=True, enough=0) == [[]]


@pytest.mark.slow
def test_nobody(detector):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (480, 640, 3)).astype(np.uint8)
    ramp = np.ascontiguousarray(
        np.stack([np.linspace(0, 255, 640, dtype=np.uint8)] * 480)[..., None].repeat(3, 2)
    )
    blobs = cv2.GaussianBlur(noise, (0, 0), 15)
    blobs = cv2.normalize(blobs, None, 0, 255, cv2.NORM_MINMAX)
    black = np.zeros((480, 640, 3), np.uint8)
    assert detector.detect([noise, ramp, blobs, black], far=True) == [[], [], [], []]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (8, 8), (9, 2000), (2000, 9), (64, 48)])
def test_odd_sizes(detector, shape):
    image = np.random.default_rng(2).integers(0, 256, (*shape, 3)).astype(np.uint8)
    assert detector.detect([image], far=True) == [[]]


def test_grey_picture_and_thumbnail(detector, man):
    """Colour and resolution are not what makes a person."""
    grey = np.repeat(cv2.cvtColor(man, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    (found,) = detector.detect([grey], far=False)
    np.testing.assert_allclose(found[0].hips, [447, 760], atol=50)
    (found,) = detector.detect([cv2.resize(man, (108, 192), interpolation=cv2.INTER_AREA)], far=False)
    np.testing.assert_allclose(found[0].hips, [44.7, 76], atol=5)


def test_many_pictures_at_once_are_each_ones_own(detector, man):
    two = frame("two_people.mp4", 20)
    together = detector.detect([man, two, man[:, ::-1].copy()], far=False)
    alone = [detector.detect([p], far=False)[0] for p in (man, two)]
    for a, b in zip(together[:2], alone, strict=True):
        assert len(a) == len(b) > 0
        for x, y in zip(a, b, strict=True):
            np.testing.assert_allclose(x.box, y.box, atol=1)
    assert together[2][0].hips[0] == pytest.approx(man.shape[1] - 1 - together[0][0].hips[0], abs=30)


def test_wrong_pictures_are_refused(detector):
    for bad in (np.zeros((50, 50), np.uint8), np.zeros((50, 50, 4), np.uint8), np.zeros((50, 50, 3))):
        with pytest.raises(ValueError, match="uint8 RGB"):
            detector.detect([bad])
    assert detector.detect([]) == []


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_turned_window_gives_places_of_the_picture(man, turn):
    """He lies in the picture; in the window that is turned back he stands, and his hips are where they are."""
    lying = np.ascontiguousarray(np.rot90(man, -turn))
    h, w = man.shape[:2]
    axes, window = AxisFinder(), (-200.0, 100.0, 1200.0)
    (stands,) = axes.search([(man, window, 0)])
    side = max(h, w)
    (lies,) = axes.search([(lying, (0.0, 0.0, float(side)), turn)])
    want = np.array(stands[0].hips)
    for _ in range(turn):  # a quarter clockwise, h high: (x, y) -> (h - 1 - y, x)
        want, h, w = np.array([h - 1 - want[1], want[0]]), w, h
    np.testing.assert_allclose(lies[0].hips, want, atol=60)
    up = lies[0].top - lies[0].hips
    assert np.argmax(np.abs(up)) == (0 if turn % 2 else 1)


@pytest.mark.parametrize("turn", [0, 1, 3])
def test_the_region_of_somebody_who_lies_is_turned_with_the_body(detector, man, turn):
    (found,) = detector.detect([np.ascontiguousarray(np.rot90(man, turn))], far=False)
    # The head is up, left, or right; an angle counts from up to the right.
    want = {0: 0.0, 1: -np.pi / 2, 3: np.pi / 2}[turn]
    best = min(found, key=lambda d: -d.radius)
    assert abs((best.roi.angle - want + np.pi) % (2 * np.pi) - np.pi) < 0.5


@pytest.mark.parametrize("window", [(0, 0, 640), (100, 50, 300), (-200, -100, 700), (400, 200, 60)])
def test_window_places(window):
    """A white square is found again at its own pixels through scale and offset, letterboxed or not."""
    image = np.zeros((400, 640, 3), np.uint8)
    image[220:231, 420:431] = 255
    picture, scale, offset = cut_window(image, *window, 224)
    assert picture.shape == (224, 224, 3)
    if window == (100, 50, 300):
        assert not picture.any()
        return
    y, x = np.argwhere(picture[..., 0] > 100).mean(0) + 0.5  # from the window's edge
    np.testing.assert_allclose(np.array([x, y]) * scale + offset, [425, 225], atol=1.5)


@pytest.mark.parametrize("parts", [(1,), (2,), (4,)])
def test_tiles_cover_the_picture_and_overlap(parts):
    for shape in ((1080, 1920, 3), (1920, 1080, 3), (400, 3000, 3)):
        image = np.zeros(shape, np.uint8)
        seen = np.zeros(shape[:2], int)
        for x, y, side in tiles(image, parts):
            assert side < 0.9 * max(shape)
            seen[max(0, round(y)) : round(y + side), max(0, round(x)) : round(x + side)] += 1
        assert seen.min() >= 1 and (seen >= 2).mean() > 0.1
        assert whole_window(image)[2] == max(shape)
    # Of a square, the whole is the only tile of its shorter side.
    assert (tiles(np.zeros((640, 640, 3), np.uint8), parts) == []) == (parts == (1,))


def test_one_box_each():
    """Of two boxes of one person the surer one stays; a part of somebody goes, somebody in front does not."""
    adult, again = [0, 0, 100, 300, 0.7], [4, 6, 98, 300, 0.6]
    legs, child, other = [10, 150, 90, 300, 0.4], [20, 180, 80, 300, 0.55], [80, 20, 180, 310, 0.3]
    kept = one_each(np.array([other, legs, again, adult, child], float))
    np.testing.assert_array_equal(kept, np.array([adult, child, other], float))
    assert one_each(np.zeros((0, 5))).shape == (0, 5)
    # A box without an area has nothing in common with itself, and comes to an end all the same.
    assert len(one_each(np.array([[5.0, 5, 5, 5, 0.9], adult]))) == 2


def test_somebody_cut_off_reaches_out_of_the_picture():
    """Hips and size by a box alone: in the middle of a whole one, lower and larger where the legs are out."""
    whole = guessed(np.array([100.0, 50, 180, 250]), (480, 640))
    np.testing.assert_allclose(whole.hips, [140, 150])
    assert whole.radius == pytest.approx(104)
    half = guessed(np.array([100.0, 280, 240, 479]), (480, 640))
    assert half.hips[1] > 400 and half.radius > 1.3 * 104
    side = guessed(np.array([0.0, 50, 40, 250]), (480, 640))
    assert side.hips[0] < 20


def test_weighted_nms():
    """Two finds of one head are averaged by score; a third elsewhere stays alone; best first."""
    one = np.zeros((6, 2))
    one[0], one[1] = [0.5, 0.5], [0.2, 0.2]
    near, far = one.copy(), one.copy()
    near[0], far[0] = [0.52, 0.5], [0.1, 0.1]
    out = weighted_nms(np.array([0.5, 0.9, 0.7]), np.stack([near, one, far]))
    assert [s for s, _ in out] == [0.9, 0.7]
    assert out[0][1][0, 0] == pytest.approx((0.9 * 0.5 + 0.5 * 0.52) / 1.4)
    assert weighted_nms(np.zeros(0), np.zeros((0, 6, 2))) == []

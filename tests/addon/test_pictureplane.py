"""Where a picture lies in a region, and what the pointer is on."""

import numpy as np
import pytest

from blender_addon.geometry.pictureplane import (
    Rect,
    bar_place,
    distance,
    frame_at,
    free_area,
    holds,
    layout,
    middle,
    ribbon,
    shrunken,
    under,
)

SQUARE = np.array([[10, 10], [30, 10], [30, 30], [10, 30]], float)
HOOK = np.array([[0, 0], [40, 0], [40, 40], [30, 40], [30, 10], [0, 10]], float)


@pytest.mark.parametrize("size", [(1920, 1080), (408, 720), (7, 5000), (1, 1)])
@pytest.mark.parametrize("area", [Rect(0, 0, 1000, 700), Rect(40, 20, 500, 900), Rect(0, 0, 60, 30)])
def test_a_picture_keeps_its_shape_and_its_pixels_come_back(size, area):
    where = layout(area, size, 1.25)
    plane = where.plane
    assert plane.rect.w / plane.rect.h == pytest.approx(size[0] / size[1])
    if area.w > 400:
        for part in (plane.rect, where.bar, where.button):
            assert part.x >= area.x and part.x + part.w <= area.x + area.w + 1e-6
            assert part.y >= area.y and part.y + part.h <= area.y + area.h
        assert where.bar.x + where.bar.w < where.button.x
        assert plane.rect.y > where.button.y + where.button.h
        assert where.line[1] > plane.rect.y + plane.rect.h
    pixels = np.array([[0, 0], [size[0] - 1, size[1] - 1], [size[0] / 3, size[1] / 7]])
    for pixel, (x, y) in zip(pixels, plane.to_region(pixels), strict=True):
        assert plane.to_picture(x, y) == pytest.approx(pixel, abs=1e-6)
        assert plane.rect.holds(x, y)
    # The top left pixel's centre lies half a pixel inside the picture's corner, y up in the window.
    x, y = plane.to_region([0, 0])
    assert (x - plane.rect.x, plane.rect.y + plane.rect.h - y) == pytest.approx((plane.zoom / 2,) * 2)


def test_bars_over_the_view_leave_the_rest():
    window = Rect(100, 50, 1000, 700)
    header, tools, sidebar = Rect(100, 720, 1000, 30), Rect(100, 50, 50, 670), Rect(800, 50, 300, 670)
    assert free_area(window, [header, tools, sidebar]) == Rect(150, 50, 650, 670)
    assert free_area(window, [Rect(100, 50, 1000, 30)]) == Rect(100, 80, 1000, 670)
    # Neighbours beside the region, and closed bars, take nothing away.
    assert free_area(window, [Rect(100, 750, 1000, 30), Rect(1100, 50, 1, 700)]) == window


def test_the_bar_of_frames_and_back():
    bar = Rect(20, 0, 400, 10)
    for count in (2, 40, 1000):
        for frame in (0, 1, count // 2, count - 1):
            assert frame_at(bar, bar_place(bar, frame, count), count) == frame
    assert frame_at(bar, -50, 40) == 0 and frame_at(bar, 9999, 40) == 39
    assert frame_at(bar, 100, 1) == 0 and bar_place(bar, 0, 1) == 20


def test_inside_of_polygons():
    assert holds(SQUARE, 20, 20) and not holds(SQUARE, 31, 20) and not holds(SQUARE, 20, 9)
    assert holds(HOOK, 35, 30) and holds(HOOK, 5, 5) and not holds(HOOK, 15, 30)
    assert distance(SQUARE, 20, 20) == pytest.approx(10)
    assert distance(SQUARE, 33, 34) == pytest.approx(5)
    assert distance(HOOK, 15, 30) == pytest.approx(15)


def test_who_is_under_the_pointer():
    small = SQUARE / 4 + 15
    assert under([SQUARE, small], 20, 20, 3) == 1  # somebody small before somebody large
    assert under([SQUARE, small], 12, 12, 3) == 0
    assert under([SQUARE, HOOK + 100], 32, 20, 3) == 0  # beside it, and near enough
    assert under([SQUARE], 34, 20, 3) is None
    assert under([], 34, 20, 3) is None


def test_the_middle_of_a_polygon_lies_in_its_widest_part():
    place, reach = middle(SQUARE)
    assert place == pytest.approx([20, 20], abs=1.1) and reach == pytest.approx(10, abs=1.1)
    place, reach = middle(HOOK)
    assert holds(HOOK, *place) and 4 < reach < 7
    assert middle(np.zeros((3, 2)))[1] == 0


def test_a_ribbon_covers_its_line_and_fades_beside_it():
    places, covered = ribbon(SQUARE, 4.0, soft=1.0)
    assert len(places) == len(covered) == 3 * 4 * 6 and len(places) % 3 == 0
    off = np.array([distance(SQUARE, *p) for p in places])
    # Corners of a square are wider than its sides by the root of two.
    assert off[covered == 1].max() == pytest.approx(2 * 2**0.5)
    assert off[covered == 0].min() >= 3 - 1e-6
    triangles = places.reshape(-1, 3, 2)
    (ax, ay), (bx, by) = (triangles[:, 1] - triangles[:, 0]).T, (triangles[:, 2] - triangles[:, 0]).T
    area = np.abs(ax * by - ay * bx).sum() / 2
    assert area == pytest.approx(80 * 6, rel=1e-6)


def test_pictures_are_averaged_down_by_a_whole_number():
    image = np.zeros((10, 7, 3), np.uint8)
    image[:, ::2] = 200
    assert shrunken(image, 10) is image and shrunken(image, 6) is image
    small = shrunken(image, 4)
    assert small.shape == (5, 3, 3) and (small == 100).all()

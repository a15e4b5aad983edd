"""Drawings: dots where the points are, three views that agree with each other and with the picture."""

from __future__ import annotations

import numpy as np
import pytest

from backend.body.pointsets import make_set, named_set
from backend.camera.pinhole import Camera
from backend.draw.colours import colours
from backend.draw.sheet import card, chosen, draw_sheet, paint_picture, picture_scale, save_picture
from backend.draw.views import GROUND, Shown, Views
from backend.errors import JobError
from backend.options import MocapOptions
from backend.stills.localize import detected, localize
from backend.stills.pictures import Picture
from backend.stills.results import Found

CAMERA = MocapOptions().pinhole
HEAD = 30
"""Pixels of the line with the name above a card."""


@pytest.fixture(scope="module")
def few(body):
    """Three points far from each other."""
    every = named_set(body, "coco_17")
    rows = [every.labels.index(n) for n in ("left_wrist", "right_shoulder", "left_ankle")]
    return make_set("few", [every.labels[r] for r in rows], every.points.take(rows))


@pytest.fixture(scope="module")
def seen(person, localizer, detector, few) -> Found:
    (found,) = localize([Picture("a.png", person)], localizer, few, detected(detector, 1), CAMERA)
    assert len(found) == 1
    return found


@pytest.mark.slow
def test_dots_of_the_right_colour_lie_on_the_points(seen, person, few):
    drawn = card(person, seen, few)
    assert picture_scale(540, 960) == 1
    wanted = colours(seen.uncertainty[0]).astype(int)
    for (x, y), colour in zip(seen.points2d[0], wanted, strict=True):
        dot = drawn[round(float(y)) + HEAD, round(float(x))]
        assert np.abs(dot - colour).max() < 25
        assert np.abs(person[round(float(y)), round(float(x))] - colour).max() > 80


@pytest.mark.parametrize("factor", [0.25, 3])
def test_dots_move_with_the_size_of_the_drawing(seen, person, few, factor):
    drawn = paint_picture(person, seen, few, factor, names=False)
    assert drawn.shape == (960 * factor, 540 * factor, 3)
    x, y = (seen.points2d[0, 0] + 0.5) * factor - 0.5
    near = drawn[round(float(y)) - 1 : round(float(y)) + 2, round(float(x)) - 1 : round(float(x)) + 2]
    assert np.abs(near.astype(int) - colours(seen.uncertainty[0, :1])[0]).max(-1).min() < 30


def test_views_are_those_of_a_right_handed_world():
    """x right, y down, z away from the camera, and an engineer's three views of that."""
    points = np.array([[0, 0, 4.0], [0.5, 0, 4], [0, 0.5, 4], [0, 0, 4.5]])
    views = Views(points, 600, 600)
    above, front, side = (views.pixels(k, points) - views.pixels(k, points)[0] for k in range(3))
    step = 0.5 * views.px_per_m
    np.testing.assert_allclose(front[1:], [[step, 0], [0, step], [0, 0]], atol=1e-6)
    np.testing.assert_allclose(
        side[1:], [[0, 0], [0, step], [step, 0]], atol=1e-6
    )  # far from the camera is right
    np.testing.assert_allclose(above[1:], [[step, 0], [0, 0], [0, -step]], atol=1e-6)  # … and up
    assert views.pixels(0, points)[1, 0] == views.pixels(1, points)[1, 0]  # one above the other
    assert views.pixels(2, points)[2, 1] == views.pixels(1, points)[2, 1]  # side by side


def test_everything_is_in_the_views_and_coloured_by_uncertainty():
    rng = np.random.default_rng(0)
    points = rng.uniform([-1, -1, 3], [1, 1, 7], (60, 3))
    points[7] = np.nan
    sigma = np.linspace(0.01, 0.2, 60)
    views = Views(points, 900, 700)
    drawn = views.draw([Shown(points, sigma)], np.array([[0, 7], [1, 2]]))
    assert drawn.shape == (700, 900, 3)
    for view in range(3):
        x, y, w, h = views.views[view].place
        uv = views.pixels(view, points)
        known = np.isfinite(uv).all(1)
        assert known.sum() == 59
        assert ((uv[known] > [x, y]) & (uv[known] < [x + w, y + h])).all()
        # The nearest to the viewer lies on top.
        nearest = int(np.nanargmax({0: -points[:, 1], 1: -points[:, 2], 2: points[:, 0]}[view]))
        px, py = uv[nearest].round().astype(int)
        assert np.abs(drawn[py, px] - colours(sigma[nearest : nearest + 1])[0].astype(int)).max() < 60


@pytest.mark.parametrize(("view", "nearer"), [(0, [0, -0.4, 0]), (1, [0, 0, -0.4]), (2, [0.4, 0, 0])])
@pytest.mark.parametrize("turned", [False, True])
def test_who_is_nearer_to_the_viewer_lies_on_top(view, nearer, turned):
    far, near = np.array([[0.1, 0.2, 4]]), np.array([[0.1, 0.2, 4]]) + nearer
    people = [Shown(far, np.array([0.2])), Shown(near, np.array([0.01]))]
    views = Views(np.concatenate([far, near]), 600, 600)
    drawn = views.draw(people[::-1] if turned else people, np.zeros((0, 2), int))
    x, y = views.pixels(view, near[0]).round().astype(int)
    red, green, _ = drawn[y, x].astype(int)
    assert green > 200 and red < 60


def test_the_front_view_looks_like_the_picture(seen):
    """What is right or low in the footage is so in the view from the front."""
    uv = Views(seen.points3d[0], 600, 800).pixels(1, seen.points3d[0])
    for axis in (0, 1):
        assert np.argsort(uv[:, axis]).tolist() == np.argsort(seen.points2d[0, :, axis]).tolist()


@pytest.mark.parametrize("size", [(1, 1), (9, 300), (2000, 30), (301, 203)])
def test_odd_pictures_and_nobody_in_them(size, few):
    w, h = size
    none = np.zeros((0, 3))
    nobody = Found("x.png", None, Camera.from_fov(w, h), np.zeros((0, 4)), none[None][:0].reshape(0, 3, 3),
                   np.zeros((0, 3, 2)), np.zeros((0, 3)), np.zeros(0))  # fmt: skip
    sheet = draw_sheet([(np.full((h, w, 3), 99, np.uint8), nobody)] * 2, few, "few, x", alone=False)
    assert sheet.dtype == np.uint8 and sheet.shape[0] > 400


def test_a_person_without_points_is_a_box(few, person):
    blind = Found("x.png", None, CAMERA(540, 960), np.array([[100, 100, 300, 500.0]]), np.full((1, 3, 3), np.nan),
                  np.full((1, 3, 2), np.nan), np.full((1, 3), np.nan), np.full(1, np.nan))  # fmt: skip
    drawn = card(person, blind, few)
    assert np.abs(drawn[HEAD + 300, 100].astype(int) - (110, 170, 255)).max() < 40


def test_a_contact_sheet_shows_all_cards(seen, person, few):
    cards = [(person, seen)] * 5
    sheet = draw_sheet(iter(cards), few, "few, x", alone=False)
    one = card(person, seen, few, alone=False)
    h, w = one.shape[:2]
    np.testing.assert_array_equal(sheet[:h, :w], one)
    np.testing.assert_array_equal(sheet[:h, w + 10 : 2 * w + 10], one)
    assert 0.7 < sheet.shape[1] / sheet.shape[0] < 3 and not (sheet == GROUND).all()
    assert draw_sheet([], few, "") is None


def test_twelve_are_chosen_evenly_and_people_first(seen):
    none = Found("n", None, seen.camera, *(getattr(seen, k)[:0] for k in
                 ("boxes", "points3d", "points2d", "uncertainty", "scores")))  # fmt: skip
    broken = Found("b", None, None, *(getattr(none, k) for k in
                   ("boxes", "points3d", "points2d", "uncertainty", "scores")), "b is empty.")  # fmt: skip
    rows = [none, broken, *[seen] * 40]
    assert len(chosen(rows)) == 12 and all(f is seen for f in chosen(rows))
    assert chosen([none, broken]) == [none] and chosen([broken]) == []


def test_stills_of_both_kinds(tmp_path, seen, person, few):
    sheet = draw_sheet([(person, seen)], few, "few, x")
    for name, loss in (("ä.png", 0), ("b.JPG", 8)):
        save_picture(tmp_path / "new" / name, sheet)
        from backend.stills.pictures import read_picture

        read = read_picture(tmp_path / "new" / name)
        assert np.abs(read.astype(int) - sheet).mean() <= loss
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match=r"c\.png could not be written"):
        save_picture(tmp_path / "file" / "c.png", sheet)

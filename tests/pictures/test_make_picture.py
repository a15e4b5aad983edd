"""The README's moving picture: where the body lies on the footage, where its shadow falls, what the file says."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tools.make_picture import FILL, HEIGHT, PANELS, Shown, footage_view, side_views, steadiest
from tools.picture.light import KEY_DIRECTION, Shade, lights
from tools.picture.view import View, decoded, draw, encoded, looking_at
from tools.picture.webp import write_webp

CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float) * 0.4
SIDES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
FACES = np.array([f for a, b, c, d in SIDES for f in ((a, b, c), (a, c, d))], np.int32)
UP = np.array([[0, 0, 1.0]])


@pytest.fixture
def shown() -> Shown:
    """A cube that moves to the right before a portrait camera 4 m away."""
    clip = looking_at(np.array([0.2, 0.2, 0.4]), np.array([0.1, -1, 0.2]), 4.0, 1500, (1080, 1920))
    moved = np.stack([CUBE + np.array([0.1 * k, 0, 0]) for k in range(3)])
    return Shown(np.arange(3), moved, FACES, clip)


def pixels(view: View, places: np.ndarray) -> np.ndarray:
    """(n, 3) world -> (n, 2) pixels."""
    seen = view.seen(places)
    return seen[:, :2] / seen[:, 2:] * view.focal + view.centre


def test_the_part_of_the_footage_is_seen_by_the_clips_own_camera(shown):
    part, (rows, columns) = footage_view(shown)
    assert part.size == (PANELS[0], HEIGHT)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    assert width * HEIGHT == height * PANELS[0]
    assert 1920 >= rows.stop > rows.start >= 0 and 1080 >= columns.stop > columns.start >= 0
    places = shown.vertices.reshape(-1, 3)
    expected = (pixels(shown.camera, places) - [columns.start, rows.start] + 0.5) * (PANELS[0] / width) - 0.5
    np.testing.assert_allclose(pixels(part, places), expected, atol=1e-6)
    assert (expected > 0).all() and (expected < part.size).all()


def test_the_other_side_shows_the_whole_person_as_large_as_it_can(shown):
    room = np.array([PANELS[1], HEIGHT])
    views = side_views(shown)
    off = [pixels(v, places) - (room - 1) / 2 for v, places in zip(views, shown.vertices, strict=True)]
    assert np.abs(off / (room / 2)).max() == pytest.approx(FILL)
    assert [view.place[2] for view in views] == pytest.approx([views[0].place[2]] * 3), "at one height"


@pytest.mark.slow
def test_a_body_is_drawn_where_its_corners_are(shown):
    part, _ = footage_view(shown)
    cover = draw(part, shown.vertices[0], FACES, np.ones((8, 3)))[..., 3]
    rows, columns = np.nonzero(cover > 0.5)
    xy = pixels(part, shown.vertices[0])
    np.testing.assert_allclose([columns.min(), rows.min()], xy.min(0), atol=1)
    np.testing.assert_allclose([columns.max(), rows.max()], xy.max(0), atol=1)


def test_the_ground_is_dark_where_the_body_keeps_the_lamp_away():
    shade = Shade(lights(seed=1), CUBE + UP, FACES)
    away = -KEY_DIRECTION / KEY_DIRECTION[2] * 1.2
    places = np.array([[0.2 + away[0], 0.2 + away[1], 0], [9.0, 9, 0]])
    below, open_ground = shade.light(places, UP.repeat(2, 0)).mean(1)
    assert open_ground == pytest.approx(1, abs=1e-3)
    assert below < 0.45


def test_what_nothing_shades_is_not_shaded_by_itself():
    top = CUBE[CUBE[:, 2] > 0.3]
    np.testing.assert_allclose(Shade(lights(), CUBE, FACES).light(top, UP.repeat(4, 0)).mean(1), 1, atol=0.02)


def test_the_steadiest_stretch():
    soles = np.array([0, 0.05, 0.2, 0.21, 0.2, 0.1])
    assert steadiest(soles, 3) == slice(2, 5)
    assert steadiest(soles, 10) == slice(0, 10)


def test_colours_survive_the_way_to_light_and_back():
    gray = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(encoded(decoded(gray)), gray)


def test_the_file_moves_and_starts_over(tmp_path):
    file = tmp_path / "moving.webp"
    steps = np.linspace(0, 255, 64).astype(np.uint8)
    pictures = [np.broadcast_to(np.roll(steps, 8 * k)[None, :, None], (48, 64, 3)) for k in range(5)]
    write_webp(pictures, file, fps=10)
    chunks = chunks_of(file.read_bytes())
    width, height = (1 + int.from_bytes(chunks["VP8X"][0][at : at + 3], "little") for at in (4, 7))
    assert (width, height) == (64, 48)
    assert struct.unpack("<H", chunks["ANIM"][0][4:6]) == (0,), "0 is for ever"
    assert [int.from_bytes(frame[12:15], "little") for frame in chunks["ANMF"]] == [100] * 5


def chunks_of(data: bytes) -> dict[str, list[bytes]]:
    """The chunks of a RIFF file by their names."""
    assert data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    found: dict[str, list[bytes]] = {}
    at = 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        found.setdefault(data[at : at + 4].decode(), []).append(data[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return found

"""What the overlay draws, pixel by pixel, where this Blender can draw without a window (from 5.2 on)."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")
import gpu  # noqa: E402
from mathutils import Matrix  # noqa: E402

from blender_addon.geometry.pictureplane import Rect, layout  # noqa: E402
from blender_addon.link.choosing import PeopleChooser  # noqa: E402
from blender_addon.link.previewjob import SeenPerson  # noqa: E402
from blender_addon.scene import people_overlay  # noqa: E402
from blender_addon.shared.frames import open_clip  # noqa: E402

from .people import ROOT  # noqa: E402

SIZE = (900, 700)


class NoBackend:
    def pump(self, budget_s):
        return None


def box(x: float, y: float, w: float, h: float) -> SeenPerson:
    corners = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]], np.float32)
    return SeenPerson(np.array([x, y, w, h], np.float32), 0.9, corners)


@pytest.fixture
def overlay():
    if not hasattr(gpu, "init"):
        pytest.skip("this Blender draws only with a window: tests/gui/people_check.py")
    gpu.init()
    chooser = PeopleChooser(NoBackend(), open_clip(ROOT / "tests" / "data" / "two_people.mp4"), {})
    while chooser.shown is None:
        chooser.pump()
    chooser._meet([box(70, 200, 180, 270), box(260, 160, 90, 180)])
    one = people_overlay.PeopleOverlay(chooser, 0)
    yield one
    one.remove()
    one.remove()
    chooser.close()


def painted(overlay, scale: float = 1.0) -> tuple[np.ndarray, object]:
    """(H, W, 3) 0..1, top row first, and the layout."""
    where = layout(Rect(0, 0, *SIZE), (408, 720), scale)
    screen = gpu.types.GPUOffScreen(*SIZE)
    with screen.bind():
        turn = Matrix(((2 / SIZE[0], 0, 0, -1), (0, 2 / SIZE[1], 0, -1), (0, 0, 1, 0), (0, 0, 0, 1)))
        gpu.matrix.load_matrix(Matrix.Identity(4))
        gpu.matrix.load_projection_matrix(turn)
        overlay.paint(SIZE, where, scale)
        frame = gpu.state.active_framebuffer_get()
        values = np.array(frame.read_color(0, 0, *SIZE, 4, 0, "FLOAT").to_list(), np.float32)
    screen.free()
    return values.reshape(SIZE[1], SIZE[0], 4)[::-1, :, :3], where


def at(image, where, pixel) -> np.ndarray:
    """The colour at a pixel of the picture."""
    x, y = where.plane.to_region(pixel)
    return image[SIZE[1] - 1 - int(y), int(x)]


def test_the_picture_lies_where_the_layout_says_and_the_right_way_up(overlay):
    overlay._chooser.people = []
    image, where = painted(overlay)
    picture = people_overlay._LINEAR[overlay._chooser.picture]
    pixels = [(x, y) for x in range(20, 400, 40) for y in range(20, 700, 40)]
    shown = np.array([at(image, where, p) for p in pixels])
    source = np.array([picture[y - 1 : y + 2, x - 1 : x + 2].mean((0, 1)) for x, y in pixels])
    assert np.median(np.abs(shown - source)) < 0.02
    assert np.corrcoef(shown.ravel(), source.ravel())[0, 1] > 0.97
    ground = image[350, 20]
    np.testing.assert_allclose(ground, people_overlay.GROUND[:3], atol=0.01)


def test_outlines_lie_on_the_people_and_the_chosen_one_is_filled(overlay):
    before, where = painted(overlay)
    overlay._chooser.act("toggle", 1)
    after, _ = painted(overlay)
    chosen, other = np.array(people_overlay.CHOSEN[:3]), np.array(people_overlay.OTHER[:3])
    for image in (before, after):
        np.testing.assert_allclose(at(image, where, (70, 380)), other, atol=0.15)
    np.testing.assert_allclose(at(before, where, (260, 250)), other, atol=0.15)
    np.testing.assert_allclose(at(after, where, (260, 250)), chosen, atol=0.05)
    # Inside there is the picture, tinted when chosen; the other one is left alone.
    inside = (300, 320)
    tinted = at(before, where, inside) * (1 - people_overlay.FILL) + chosen * people_overlay.FILL
    np.testing.assert_allclose(at(after, where, inside), tinted, atol=0.03)
    np.testing.assert_array_equal(at(after, where, (120, 420)), at(before, where, (120, 420)))
    # Start can be pressed only now.
    x, y = int(where.button.x) + 4, SIZE[1] - 1 - int(where.button.y) - 4
    np.testing.assert_allclose(before[y, x], people_overlay.DISABLED[:3], atol=0.01)
    np.testing.assert_allclose(after[y, x], people_overlay.BUTTON[:3], atol=0.01)


def test_numbers_are_written_and_stay_in_the_picture(overlay):
    overlay._chooser._meet([box(0, 0, 12, 8), box(200, 300, 100, 100)])
    image, where = painted(overlay, 1.5)
    x, y = where.plane.to_region((250, 350))
    disc = image[int(SIZE[1] - y) - 12 : int(SIZE[1] - y) + 12, int(x) - 12 : int(x) + 12]
    assert (disc.min(-1) > 0.85).mean() > 0.3 and (disc.max(-1) < 0.3).any()

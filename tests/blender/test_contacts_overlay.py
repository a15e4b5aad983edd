"""The disks that show contacts, pixel by pixel, where this Blender can draw without a window (from 5.2 on)."""

from dataclasses import replace

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")
import gpu  # noqa: E402
from mathutils import Matrix  # noqa: E402

import blender_addon  # noqa: E402
from blender_addon.scene import contacts, contacts_overlay  # noqa: E402

from .people import motion  # noqa: E402
from .seen import go_to  # noqa: E402
from .standing import built, on_floor  # noqa: E402

SIDE = 400
METRES = 4.0
"""That the square picture shows, straight from above."""


@pytest.fixture(autouse=True)
def addon(empty_file):
    blender_addon.register()
    yield
    blender_addon.unregister()


def from_above() -> np.ndarray:
    """(SIDE, SIDE, 3) what is drawn over black, row 0 at the far end."""
    screen = gpu.types.GPUOffScreen(SIDE, SIDE)
    with screen.bind():
        gpu.state.active_framebuffer_get().clear(color=(0, 0, 0, 1), depth=1.0)
        scale = 2 / METRES
        turn = Matrix(((scale, 0, 0, 0), (0, scale, 0, 0), (0, 0, -0.1, 0), (0, 0, 0, 1)))
        gpu.matrix.load_matrix(Matrix.Identity(4))
        gpu.matrix.load_projection_matrix(turn)
        contacts_overlay.draw(bpy.context.scene)
        values = gpu.state.active_framebuffer_get().read_color(0, 0, SIDE, SIDE, 4, 0, "FLOAT").to_list()
    screen.free()
    return np.array(values, np.float32).reshape(SIDE, SIDE, 4)[::-1, :, :3]


def test_a_disk_lies_where_a_heel_rests_and_nowhere_else():
    if not hasattr(gpu, "init"):
        pytest.skip("this Blender draws only with a window")
    gpu.init()
    touch = np.zeros((8, 8), np.float32)
    touch[:4, 0] = 1.0
    clip = built(replace(on_floor(motion(8)), contacts=touch))
    go_to(2)
    (ring,) = contacts.rings(clip.armature(1))
    picture = from_above()
    lit = picture.max(-1) > 0.1
    rows, columns = np.nonzero(lit)
    assert lit.sum() == pytest.approx(np.pi * (contacts_overlay.RADIUS_M * SIDE / METRES) ** 2, rel=0.4)
    x, y = (
        (columns.mean() + 0.5) * METRES / SIDE - METRES / 2,
        METRES / 2 - (rows.mean() + 0.5) * METRES / SIDE,
    )
    assert np.hypot(x - ring.place.x, y - ring.place.y) < 0.02
    go_to(6)
    assert not from_above().any()


def test_disks_are_drawn_only_with_a_window_and_once():
    contacts_overlay.add_drawing()
    contacts_overlay.add_drawing()
    assert len(contacts_overlay._handles) == (0 if bpy.app.background else 1)
    contacts_overlay.remove_drawing()
    assert not contacts_overlay._handles
    # What Blender calls in a view must not fail, whatever the scene holds.
    bpy.context.scene.bodyfield.show_contacts = True
    contacts_overlay._draw()

"""Track Points, the whole way: a real clip, a real backend as a child process, points that were thought of later."""

import os
import time

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.points.canonical import Place  # noqa: E402
from blender_addon.scene.points import add_place, show_points  # noqa: E402
from blender_addon.scene.tracked import tracked  # noqa: E402
from blender_addon.work import running  # noqa: E402
from blender_addon.work.video_import import VideoImport  # noqa: E402

from .backends import OPTIONS, environment, short_clip  # noqa: E402
from .seen import bone_heads, curves_of, go_to  # noqa: E402

pytestmark = pytest.mark.slow

PATIENCE_S = 240


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A short clip; the backend serves a folder of this module's own and stays up from test to test."""
    folder = tmp_path_factory.mktemp("points")
    before = {n: os.environ.get(n) for n in ("BODYFIELD_HOME", "BODYFIELD_PYTHON", "OMP_NUM_THREADS")}
    os.environ.update(environment(folder / "home"), OMP_NUM_THREADS="1")
    yield short_clip(folder / "walk.mp4", 24)
    running.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def person(clip):
    """An imported person."""
    blender_addon.register()
    running.start(VideoImport(running.backend, clip, OPTIONS, scene=bpy.context.scene.name))
    end = time.monotonic() + PATIENCE_S
    while running.tick(0.05):
        assert time.monotonic() < end, "no news for minutes"
    (one,) = running.imports
    assert one.state == "done", one.error
    yield one.clip.armature(1)
    running.imports.clear()
    backend, running.backend = running.backend, type(running.backend)()
    blender_addon.unregister()
    running.backend = backend


def add(*places: Place) -> None:
    for place in places:
        add_place(bpy.context.scene.bodyfield_points, place)
    show_points(bpy.context.scene)


def test_points_added_later_are_tracked_on_the_finished_clip(person, tmp_path):
    add(
        Place("wrist", "joint", where="left_wrist"),
        Place("skin", face=9000, barycentric=(0.2, 0.3, 0.5)),
        Place("heel", "landmark", where="left_heel"),
    )
    bpy.ops.bodyfield.add_preset(preset="gait")
    names = [item.name for item in bpy.context.scene.bodyfield_points.items]
    # As in a file that was opened anew: nothing but the .blend and the backend know of the clip.
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    running.imports.clear()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    person = next(ob for ob in bpy.data.objects if ob.type == "ARMATURE")
    assert bpy.ops.bodyfield.track_points() == {"FINISHED"}
    empties = {ob["bodyfield_tracked"]: ob for ob in tracked(person)}
    assert list(empties) == names and len(names) == 42
    riding = {ob.name: ob for ob in bpy.data.objects if "bodyfield_riding" in ob}
    for frame in (1, 12, 24):
        go_to(frame)
        depsgraph = bpy.context.evaluated_depsgraph_get()
        heads = bone_heads(person)
        at = {n: np.array(ob.evaluated_get(depsgraph).matrix_world.translation) for n, ob in empties.items()}
        assert np.abs(at["wrist"] - heads[20]).max() < 1e-4
        assert np.linalg.norm(at["heel"] - heads[7]) < 0.15
        for name in ("skin", "LKNE", "C7", "LASI"):
            # The mesh has no pose correctives, the tracked points have: they differ by a few millimetres.
            there = np.array(riding[name].evaluated_get(depsgraph).matrix_world.translation)
            assert np.linalg.norm(at[name] - there) < 0.03, name
    curve = next(c for c in curves_of(empties["skin"]) if "uncertainty" in c.data_path)
    values = [key.co.y for key in curve.keyframe_points]
    assert len(values) == 24 and min(values) > 0.001 and max(values) < 1
    # Again, with one more: the same empties and a new one.
    add(Place("late", "joint", where="head"))
    assert bpy.ops.bodyfield.track_points() == {"FINISHED"}
    assert [ob["bodyfield_tracked"] for ob in tracked(person)] == [*names, "late"]
    assert bpy.ops.bodyfield.export_tracked(filepath=str(tmp_path / "a.c3d"), format=".c3d") == {"FINISHED"}


def test_a_job_that_the_backend_does_not_know_any_more_is_told(person):
    add(Place("wrist", "joint", where="left_wrist"))
    person["bodyfield_job"] = "20200101-000000-00000000"
    person.users_collection[0]["bodyfield_job"] = "20200101-000000-00000000"
    with pytest.raises(RuntimeError, match=r"There is no job .* import the clip once more"):
        bpy.ops.bodyfield.track_points()
    assert not tracked(person)

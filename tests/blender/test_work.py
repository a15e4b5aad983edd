"""What all work has in common, seen at real pieces of it: how it ends, and that nothing changes after its end."""

import time
from dataclasses import replace

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.link.setup import Sources  # noqa: E402
from blender_addon.points.canonical import Place  # noqa: E402
from blender_addon.scene.bodykeys import SHAPE, keys_of, persons_mesh  # noqa: E402
from blender_addon.work import running  # noqa: E402
from blender_addon.work.backend import Backend  # noqa: E402
from blender_addon.work.backend_setup import BackendSetup  # noqa: E402
from blender_addon.work.body_keys import BodyKeys  # noqa: E402
from blender_addon.work.point_tracking import PointTracking  # noqa: E402
from blender_addon.work.video_import import VideoImport  # noqa: E402
from blender_addon.work.work import Work  # noqa: E402

from .people import ROOT, motion, open_body  # noqa: E402
from .test_steps import clip_of  # noqa: E402

CLIP = ROOT / "tests" / "data" / "two_people.mp4"
PATIENCE_S = 60


@pytest.fixture
def person() -> bpy.types.Object:
    clip = clip_of(motion(3))
    clip.refresh(force=True)
    return clip.armature(1)


@pytest.fixture
def nowhere(tmp_path, monkeypatch) -> Backend:
    """A backend that is not installed."""
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("BODYFIELD_PYTHON", str(tmp_path / "no_python"))
    return Backend()


@pytest.fixture
def addon():
    blender_addon.register()
    yield
    running.stop()
    blender_addon.unregister()


def to_end(work: Work) -> Work:
    end = time.monotonic() + PATIENCE_S
    while not work.finished:
        work.pump(0.05)
        assert time.monotonic() < end, "no end in sight"
    return work


def shape_keys(armature: bpy.types.Object) -> int:
    return len(keys_of(persons_mesh(armature), SHAPE))


def test_it_runs_to_its_end_and_says_what_came_of_it(person):
    work = BodyKeys(None, person, "shape", open_body())
    assert (work.state, work.finished, work.changed_scene) == ("running", False, False)
    assert not work.can_pause and work.source is work.job_id is work.waiting is None
    work.pump(0.0)
    assert work.made == 1 == work.progress.done and work.progress.stage == "keys" and work.changed_scene
    to_end(work)
    assert (work.state, work.error, work.remedy, work.warnings) == ("done", None, None, [])
    assert work.outcome == "16 keys made" and shape_keys(person) == 16


def test_cancel_stops_where_it_is_and_stays(person):
    work = BodyKeys(None, person, "shape", open_body())
    work.pump(0.0)
    work.pump(0.0)
    work.cancel()
    assert (work.state, work.error, work.finished, shape_keys(person)) == ("cancelled", None, True, 2)
    assert work.pump(0.05) is False and shape_keys(person) == 2 == work.made


def test_cancel_and_pause_after_the_end_change_nothing(person):
    work = to_end(BodyKeys(None, person, "shape", open_body()))
    work.cancel()
    work.pause()
    assert (work.state, work.error, work.paused) == ("done", None, False)


def test_what_cannot_stand_still_does_not(person):
    work = BodyKeys(None, person, "shape", open_body())
    work.pause()
    assert not work.paused and to_end(work).state == "done"


@pytest.mark.parametrize("edit", [False, True])
def test_an_error_of_ours_ends_it_with_that_sentence(person, edit):
    work = BodyKeys(None, person, "shape", open_body())
    work.pump(0.0)
    mesh = persons_mesh(person)
    if edit:
        bpy.context.view_layer.objects.active = mesh
        bpy.ops.object.mode_set(mode="EDIT")
        expected = f"Leave Edit Mode of {mesh.name} first."
    else:
        bpy.data.objects.remove(mesh)
        expected = "The body is not in the file any more."
    assert work.pump(0.0) is True
    assert (work.state, work.error, work.remedy, work.made) == ("failed", expected, None, 1)
    work.cancel()
    assert work.state == "failed" and work.pump(0.05) is False


def test_any_other_error_is_told_and_the_next_work_goes_on(addon, person, capsys):
    body = open_body()
    broken = BodyKeys(None, person, "shape", replace(body, shapedirs=body.shapedirs[:-1]))
    running.start(broken)
    assert running.tick() and "Traceback" in capsys.readouterr().err
    assert broken.state == "failed" and broken.error.startswith("The import stopped on an error (")
    assert broken.error.endswith("); the console has the details.") and running.current() is None
    running.start(BodyKeys(None, person, "shape", body))
    while running.tick():
        pass
    assert running.imports[-1].state == "done" and shape_keys(person) == 16


def test_every_kind_of_work_says_what_helps_without_a_backend(nowhere, person):
    places = {1: Place("wrist", "joint", where="left_wrist")}
    for work in (
        VideoImport(nowhere, CLIP, {}),
        PointTracking(nowhere, "job-1", "clip", places, "open"),
        BodyKeys(nowhere, person, "shape", None),
    ):
        assert (work.progress.stage, work.progress.done, work.progress.total) == ("opening", 0, None)
        assert work.pump() is True
        assert work.state == "failed" and work.remedy == "setup" and work.error.endswith(".")


def test_a_paused_import_is_not_paused_after_its_end():
    work = VideoImport(Backend(), CLIP, {})
    work.pause()
    assert work.paused and work.can_pause
    work.cancel()
    assert (work.state, work.paused, work.source) == ("cancelled", False, CLIP)
    work.pause()
    assert not work.paused


def test_a_set_up_that_is_cancelled_ends_its_child(tmp_path, monkeypatch):
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path / "home"))
    (tmp_path / "wheels").mkdir()
    work = BackendSetup(tmp_path / "backend" / "environment", Sources(wheels=str(tmp_path / "wheels")))
    assert not work.finished and work.progress.stage and not work.changed_scene
    work.cancel()
    assert (work.state, work.error) == ("cancelled", None) and work._process.child.poll() is not None
    assert work.pump() is False and work.state == "cancelled"


def test_a_set_up_whose_child_dies_says_so_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path / "home"))
    work = BackendSetup(tmp_path / "backend" / "environment", Sources(wheels=str(tmp_path)))
    work._process.child.kill()
    to_end(work)
    assert work.state == "failed" and "ended without a word" in work.error and work.error.endswith(".")

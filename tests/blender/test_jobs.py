"""Pausing, and jobs of earlier sessions: listed, resumed into the same collection, imported, removed."""

import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.link import jobstore, process  # noqa: E402
from blender_addon.ui.jobs import described  # noqa: E402
from blender_addon.work import earlier_jobs as jobs  # noqa: E402
from blender_addon.work import running  # noqa: E402
from blender_addon.work.video_import import VideoImport  # noqa: E402

from .backends import OPTIONS, environment, short_clip  # noqa: E402
from .child import blender_command  # noqa: E402
from .seen import curves_of  # noqa: E402

pytestmark = pytest.mark.slow

PATIENCE_S = 500
FRAMES = 48
SESSION = Path(__file__).with_name("session.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Bodyfield folder of this module's own."""
    folder = tmp_path_factory.mktemp("jobs")
    names = ("BODYFIELD_HOME", "BODYFIELD_PYTHON", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(environment(folder / "home"), OMP_NUM_THREADS="1")
    yield folder
    running.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="module")
def walk(folder) -> Path:
    return short_clip(folder / "walk.mp4", FRAMES)


@pytest.fixture(scope="module")
def straight(folder, walk):
    """The keys of an import that nothing has interrupted."""
    new = start(walk)
    run_until(lambda: new.finished)
    assert new.state == "done", new.error
    running.imports.clear()
    keys = keys_of(people()[0])
    jobstore.remove(new.job_id)
    return keys


@pytest.fixture
def addon(folder, straight):
    """The add-on enabled, nothing running, no job known."""
    shutil.rmtree(folder / "home" / "jobs", ignore_errors=True)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender_addon.register()
    jobs.look_again()
    yield folder
    for one in running.imports:
        one.cancel()
    settle()
    running.imports.clear()
    # The backend is kept for the next test: `unregister` would end it.
    backend, running.backend = running.backend, type(running.backend)()
    blender_addon.unregister()
    running.backend = backend
    jobs.look_again()


def start(source: Path, **more) -> VideoImport:
    new = VideoImport(running.backend, source, OPTIONS | {"chunk": 8}, scene=bpy.context.scene.name, **more)
    running.start(new)
    return new


def run_until(condition) -> None:
    """Tick as Blender's timer would, until the condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert running.tick(0.05) or condition(), running.imports[-1].error
        assert time.monotonic() < end, "no news for minutes"


def people() -> list[bpy.types.Object]:
    return [ob for ob in bpy.data.objects if ob.type == "ARMATURE"]


def keys_of(armature: bpy.types.Object) -> dict[tuple[str, int], np.ndarray]:
    """Every key of a person by curve, (n, 2) frame and value."""
    curves = {(c.data_path, c.array_index): c for c in curves_of(armature)}
    return {name: np.array([key.co[:] for key in c.keyframe_points]) for name, c in curves.items()}


def assert_same_keys(armature: bpy.types.Object, expected: dict) -> None:
    found = keys_of(armature)
    assert set(found) == set(expected) and len(found) > 4 * 55
    for name, keys in expected.items():
        np.testing.assert_array_equal(found[name], keys, err_msg=str(name))


def killed_session(clip: Path, *blend: Path) -> str:
    """A session that was killed in the middle of importing `clip`; the job's id. Its backend has ended with it."""
    running.stop()
    command = [*blender_command(SESSION), str(clip), *map(str, blend)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        said = next((line.split() for line in child.stdout if line.startswith("ready ")), None)
        assert said, "the session ended before its import was under way"
    finally:
        child.kill()
        child.communicate()
    end = time.monotonic() + 60
    while process.running_endpoint() is not None:
        assert time.monotonic() < end, "the backend outlives its Blender"
        time.sleep(0.05)
    return said[1]


def settle() -> None:
    """Wait until the backend is at no job any more."""
    end = time.monotonic() + PATIENCE_S
    while any(job.state == "running" for job in jobstore.stored_jobs()):
        running.tick(0.05)
        assert time.monotonic() < end, "a job goes on"


def only_job() -> jobstore.StoredJob:
    jobs.look_again()
    (job,) = jobs.earlier_jobs()
    return job


def nothing_to_resume() -> bool:
    jobs.look_again()
    return jobs.earlier_jobs() == []


def test_a_killed_session_is_resumed_by_the_next(addon, walk, straight):
    job_id = killed_session(walk)
    job = only_job()
    assert running.backend.status == "Not running", "the list needs no backend"
    assert (job.id, job.state, job.name, job.total, job.source) == (
        job_id,
        "interrupted",
        "walk.mp4",
        FRAMES,
        walk,
    )
    assert 0 < job.done < FRAMES and job.resumable and abs(job.created - time.time()) < 300
    assert described(job).endswith(f", interrupted, {job.done} of {FRAMES} frames")
    assert bpy.ops.bodyfield.resume_job(job=job_id) == {"FINISHED"}
    (armature,) = people()
    assert_same_keys(armature, straight)
    assert armature["bodyfield_job"] == job_id and bpy.context.scene.camera is not None
    assert nothing_to_resume()


def test_a_saved_half_finished_import_is_filled_not_doubled(addon, walk, straight):
    blend = addon / "half.blend"
    job_id = killed_session(walk, blend)
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    (half,) = people()
    (collection,) = bpy.data.collections
    assert 8 <= len(keys_of(half)['pose.bones["pelvis"].location', 0]) < FRAMES
    # The user goes on working with it before resuming.
    half.name, collection.name = "Hero", "Shot 7"
    assert only_job().id == job_id
    assert bpy.ops.bodyfield.resume_job(job=job_id) == {"FINISHED"}
    assert people() == [half] and half.name == "Hero" and list(bpy.data.collections) == [collection]
    assert_same_keys(half, straight)
    cameras = [ob for ob in bpy.data.objects if ob.type == "CAMERA"]
    assert len(cameras) == 1 and len(bpy.data.actions) == 1 and nothing_to_resume()
    # Saved and opened again there is nothing to resume either; the half one can be completed without its video.
    bpy.ops.wm.save_as_mainfile(filepath=str(addon / "whole.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(addon / "whole.blend"))
    assert nothing_to_resume()
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    assert only_job().finished and described(only_job()).endswith(f", {FRAMES} frames")
    walk.rename(addon / "away.mp4")
    try:
        assert bpy.ops.bodyfield.resume_job(job=job_id) == {"FINISHED"}
    finally:
        (addon / "away.mp4").rename(walk)
    (again,) = people()
    assert_same_keys(again, straight)
    assert len(bpy.data.collections) == 1 and nothing_to_resume()


def test_a_video_that_has_moved_is_asked_for_and_checked(addon, walk, straight):
    new = start(walk)
    run_until(lambda: new.progress.done > 10)
    new.cancel()
    settle()
    moved = addon / "moved" / "other name.mp4"
    moved.parent.mkdir(exist_ok=True)
    shutil.move(walk, moved)
    try:
        job_id = only_job().id
        with pytest.raises(RuntimeError, match="There is no file"):
            bpy.ops.bodyfield.resume_job(job=job_id)
        shorter = short_clip(addon / "shorter.mp4", 12)
        with pytest.raises(RuntimeError, match=rf"12 frames, but walk\.mp4 had {FRAMES}"):
            bpy.ops.bodyfield.resume_job(job=job_id, filepath=str(shorter))
        with pytest.raises(RuntimeError, match=r"1080 x 1920 pixels, but walk\.mp4 had 360 x 640"):
            bpy.ops.bodyfield.resume_job(job=job_id, filepath=str(SESSION.parents[1] / "data" / "demo.mp4"))
        assert bpy.ops.bodyfield.resume_job(job=job_id, filepath=str(moved)) == {"FINISHED"}
    finally:
        shutil.move(moved, walk)
    assert_same_keys(people()[0], straight)


def test_results_of_another_file_are_imported_with_their_footage(addon, walk, straight):
    new = start(walk)
    run_until(lambda: new.finished)
    assert nothing_to_resume()
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    job = only_job()
    assert job.finished and not job.resumable
    assert bpy.ops.bodyfield.resume_job(job=job.id) == {"FINISHED"}
    assert_same_keys(people()[0], straight)
    (background,) = bpy.context.scene.camera.data.background_images
    assert (
        Path(bpy.path.abspath(background.clip.filepath if background.clip else background.image.filepath))
        == walk
    )


def test_a_job_is_removed_but_none_at_work(addon, walk):
    new = start(walk)
    run_until(lambda: new.progress.done > 10)
    with pytest.raises(RuntimeError, match="under way"):
        bpy.ops.bodyfield.remove_job(job=new.job_id)
    # One that another Blender is at, as far as this one can tell.
    here, running.imports[:] = list(running.imports), []
    assert nothing_to_resume()
    with pytest.raises(RuntimeError, match="being worked on"):
        bpy.ops.bodyfield.remove_job(job=new.job_id)
    running.imports[:] = here
    new.cancel()
    settle()
    assert only_job().state == "cancelled"
    assert bpy.ops.bodyfield.remove_job(job=new.job_id) == {"FINISHED"}
    assert not jobs.earlier_jobs() and not (addon / "home" / "jobs" / new.job_id).exists()
    for operator in (bpy.ops.bodyfield.remove_job, bpy.ops.bodyfield.resume_job):
        with pytest.raises(RuntimeError, match="import the video once more"):
            operator(job=new.job_id)


def test_pause_and_continue_in_blender(addon, walk, straight):
    assert not bpy.ops.bodyfield.pause.poll()
    new = start(walk)
    # Before the backend is even started.
    assert bpy.ops.bodyfield.pause() == {"FINISHED"} and new.paused
    run_until(lambda: new.progress.stage == "paused")
    assert running._on_timer() == running.IDLE_S, "a paused import must not keep Blender busy"
    assert bpy.ops.bodyfield.pause() == {"FINISHED"} and not new.paused
    run_until(lambda: people())
    bpy.ops.bodyfield.pause()
    run_until(lambda: new.progress.stage == "paused")
    done = new.progress.done
    for _ in range(20):
        running.tick(0.05)
    assert (new.progress.stage, new.progress.done) == ("paused", done) and done < FRAMES and not new.finished
    # Undo, save and load while it stands still.
    for message in ("paused", "still paused"):
        bpy.ops.ed.undo_push(message=message)
    bpy.ops.ed.undo()
    bpy.ops.wm.save_as_mainfile(filepath=str(addon / "paused.blend"))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    bpy.ops.bodyfield.pause()
    run_until(lambda: new.finished)
    assert new.state == "done" and not new.paused and not bpy.ops.bodyfield.pause.poll()
    assert_same_keys(people()[0], straight)


def test_cancel_while_paused(addon, walk):
    new = start(walk)
    run_until(lambda: people())
    bpy.ops.bodyfield.pause()
    run_until(lambda: new.progress.stage == "paused")
    assert bpy.ops.bodyfield.cancel() == {"FINISHED"}
    assert new.state == "cancelled" and not new.paused
    settle()
    assert only_job().state == "cancelled"

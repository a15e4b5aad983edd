"""The operator and what runs behind it, with a real backend as a child process."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.link import process  # noqa: E402
from blender_addon.ops.import_video import choices_to_options  # noqa: E402
from blender_addon.shared import wire  # noqa: E402
from blender_addon.ui.panel import time_left  # noqa: E402
from blender_addon.work import running  # noqa: E402
from blender_addon.work.video_import import VideoImport  # noqa: E402

from .backends import OPTIONS, empty_clip, environment, short_clip  # noqa: E402
from .seen import bone_heads, from_camera, go_to  # noqa: E402

PATIENCE_S = 240


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Bodyfield folder of this module's own; the backend stays up from test to test."""
    folder = tmp_path_factory.mktemp("operator")
    before = {
        name: os.environ.get(name) for name in ("BODYFIELD_HOME", "BODYFIELD_PYTHON", "OMP_NUM_THREADS")
    }
    os.environ.update(environment(folder / "home"), OMP_NUM_THREADS="1")
    yield folder
    running.stop()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def addon(folder):
    """The add-on enabled, nothing running."""
    blender_addon.register()
    yield folder
    for one in running.imports:
        one.cancel()
    running.imports.clear()
    # The backend is kept for the next test: `unregister` would end it.
    backend, running.backend = running.backend, type(running.backend)()
    blender_addon.unregister()
    running.backend = backend


@pytest.fixture(scope="module")
def walk(folder) -> Path:
    return short_clip(folder / "walk.mp4", 40)


def run_until(condition, new: VideoImport | None = None) -> None:
    """Tick as Blender's timer would, until the condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert running.tick(0.05) or condition(), new and new.error
        assert time.monotonic() < end, "no news for minutes"


def start(source: Path, **more) -> VideoImport:
    new = VideoImport(running.backend, source, OPTIONS | {"chunk": 8}, scene=bpy.context.scene.name, **more)
    running.start(new)
    return new


def people() -> list[bpy.types.Object]:
    return [ob for ob in bpy.context.scene.objects if ob.type == "ARMATURE"]


def test_registers_and_unregisters_as_often_as_one_likes():
    for _ in range(2):
        blender_addon.register()
        assert bpy.ops.bodyfield.import_video.poll() and hasattr(bpy.context.scene, "bodyfield")
        blender_addon.unregister()
        assert not hasattr(bpy.types.Scene, "bodyfield") and not hasattr(bpy.types, "BODYFIELD_PT_main")
        assert "import_video" not in dir(bpy.ops.bodyfield)


def test_operator_brings_a_person_into_the_scene(addon, walk):
    result = bpy.ops.bodyfield.import_video(filepath=str(walk), people=1, quality="lite")
    assert result == {"FINISHED"}
    (armature,) = people()
    assert bpy.context.scene.frame_end == 40 and bpy.context.scene.camera is not None
    (done,) = running.imports
    assert done.state == "done" and done.clip.armature(1) == armature
    motion = done.results[1]
    for i in (0, 20, 39):
        go_to(i + 1)
        assert np.abs(bone_heads(armature) - from_camera(motion.joints[i])).max() < 1e-4


@pytest.mark.slow
def test_the_default_localizer_brings_a_person_too(addon):
    clip = short_clip(addon / "few.mp4", 6)
    assert bpy.ops.bodyfield.import_video(filepath=str(clip), people=1) == {"FINISHED"}
    (armature,), (done,) = people(), running.imports
    job = json.loads((addon / "home" / "jobs" / done.job_id / "job.json").read_text("utf-8"))
    assert job["options"]["localizer"] == "field"
    motion = done.results[1]
    assert len(motion.frames) == 6 and (motion.joint_uncertainty > 0).all()
    for i in (0, 5):
        go_to(i + 1)
        assert np.abs(bone_heads(armature) - from_camera(motion.joints[i])).max() < 1e-4


def test_weights_of_the_user_can_be_chosen(addon):
    settings = bpy.context.scene.bodyfield
    assert choices_to_options(settings, None)["localizer"] == "field"
    info = addon / "home" / "weights" / "nlf-l-0.3.2" / "info.json"
    info.parent.mkdir(parents=True)
    info.write_text("{}", encoding="utf-8")
    try:
        settings.quality = "nlf-l-0.3.2"
        assert choices_to_options(settings, None)["localizer"] == "nlf-l-0.3.2"
    finally:
        shutil.rmtree(addon / "home" / "weights")
    settings.property_unset("quality")


@pytest.mark.slow
def test_motion_is_there_before_the_job_is_done(addon, walk):
    new = start(walk)
    run_until(lambda: people() or new.finished, new)
    assert not new.finished and 0 < new.progress.done <= 40
    run_until(lambda: new.finished, new)
    assert new.state == "done" and len(people()) == 1 and len(bpy.data.actions) == 1


@pytest.mark.slow
def test_an_import_survives_undo(addon, walk):
    bpy.ops.ed.undo_push(message="before")
    new = start(walk)
    run_until(lambda: people() or new.finished, new)
    bpy.ops.ed.undo_push(message="with a person")
    bpy.ops.ed.undo()
    assert not people() and not new.finished
    run_until(lambda: new.finished, new)
    assert new.state == "done" and len(people()) == 1


@pytest.mark.slow
def test_an_import_survives_loading_a_file(addon, walk):
    new = start(walk)
    run_until(lambda: people() or new.finished, new)
    bpy.ops.wm.save_as_mainfile(filepath=str(addon / "a.blend"))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    assert not people() and not new.finished
    run_until(lambda: new.finished, new)
    assert new.state == "done" and len(people()) == 1


@pytest.mark.slow
def test_an_import_goes_on_in_the_file_that_was_saved_meanwhile(addon, walk):
    new = start(walk)
    run_until(lambda: people() or new.finished, new)
    bpy.ops.wm.save_as_mainfile(filepath=str(addon / "b.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(addon / "b.blend"))
    bpy.data.objects.remove(people()[0])
    run_until(lambda: new.finished, new)
    assert new.state == "done" and len(people()) == 1


@pytest.mark.slow
def test_undo_and_redo_as_often_as_one_likes_while_results_come(addon, walk):
    cube = bpy.data.objects.new("Cube", bpy.data.meshes.new("Cube"))
    bpy.context.scene.collection.objects.link(cube)
    bpy.ops.ed.undo_push(message="a cube")
    new = start(walk)
    steps = 0
    while not new.finished:
        run_until(lambda seen=new.progress.done: new.progress.done > seen + 4 or new.finished)
        steps += 1
        bpy.data.objects["Cube"].location.x = steps
        bpy.ops.ed.undo_push(message="moved")
        bpy.ops.ed.undo()
        assert bpy.data.objects["Cube"].location.x == steps - 1
        bpy.ops.ed.redo()
        assert bpy.data.objects["Cube"].location.x == steps
    assert steps > 3 and new.state == "done" and len(people()) == 1
    assert len(bpy.data.collections) == len(bpy.data.cameras) == len(bpy.data.actions) == 1
    (armature,) = people()
    motion = new.results[1]
    for i in (0, 20, 39):
        go_to(i + 1)
        assert np.abs(bone_heads(armature) - from_camera(motion.joints[i])).max() < 1e-4


@pytest.mark.slow
def test_saving_in_the_middle_holds_nothing_up(addon, walk):
    new = start(walk)
    run_until(lambda: people() or new.finished, new)
    bpy.ops.wm.save_as_mainfile(filepath=str(addon / "middle.blend"))
    run_until(lambda: new.progress.done > 30 or new.finished, new)
    bpy.ops.wm.save_mainfile()
    run_until(lambda: new.finished, new)
    assert new.state == "done" and len(people()) == 1 and bpy.data.collections[0]["bodyfield_done"]
    bpy.ops.wm.open_mainfile(filepath=str(addon / "middle.blend"))
    assert len(people()) == 1 and "bodyfield_done" not in bpy.data.collections[0]


@pytest.mark.slow
def test_another_file_that_is_loaded_in_the_middle_keeps_what_it_has(addon, walk, tmp_path):
    """Its own clip of another job too: the import goes on beside it."""
    short = short_clip(tmp_path / "short.mp4", 12)
    bpy.ops.bodyfield.import_video(filepath=str(short), people=1, quality="lite")
    (theirs,) = people()
    bpy.context.scene.name = "Theirs"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "theirs.blend"))
    go_to(5)
    before = bone_heads(theirs)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    new = start(walk)
    run_until(lambda: people() or new.finished, new)
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "theirs.blend"))
    run_until(lambda: new.finished, new)
    assert new.state == "done" and len(people()) == len(bpy.data.collections) == 2
    theirs = next(ob for ob in people() if ob["bodyfield_job"] != new.job_id)
    go_to(5)
    assert np.array_equal(bone_heads(theirs), before)
    assert new.clip.armature(1).users_scene == (bpy.data.scenes["Theirs"],)


@pytest.mark.slow
def test_a_scene_that_is_deleted_in_the_middle(addon, walk):
    bpy.ops.scene.new(type="EMPTY")
    new = start(walk)
    run_until(lambda: people() or new.finished, new)
    bpy.data.scenes.remove(bpy.context.scene)
    bpy.data.orphans_purge(do_recursive=True)
    run_until(lambda: new.finished, new)
    assert new.state == "done" and len(people()) == 1 and people()[0].users_scene == (bpy.context.scene,)


@pytest.mark.slow
def test_cancel_stops_here_and_at_the_backend(addon, walk):
    new = start(walk)
    run_until(lambda: new.progress.done > 4 or new.finished, new)
    assert bpy.ops.bodyfield.cancel() == {"FINISHED"}
    assert new.state == "cancelled" and running.current() is None
    assert not bpy.ops.bodyfield.cancel.poll()
    again = start(walk)
    run_until(lambda: again.finished, again)
    assert again.state == "done"
    told = json.loads((addon / "home" / "jobs" / new.job_id / "job.json").read_text())
    assert told["state"] == "cancelled"


def test_only_one_import_at_a_time(addon, walk):
    start(walk)
    with pytest.raises(RuntimeError, match="under way"):
        bpy.ops.bodyfield.import_video(filepath=str(walk))


@pytest.mark.slow
def test_errors_are_reports_of_one_sentence(addon, tmp_path):
    with pytest.raises(RuntimeError, match="no file"):
        bpy.ops.bodyfield.import_video(filepath=str(tmp_path / "none.mp4"))
    with pytest.raises(RuntimeError, match=r"person"):
        bpy.ops.bodyfield.import_video(filepath=str(empty_clip(tmp_path / "nobody.mp4")), quality="lite")
    assert not people()


@pytest.mark.slow
def test_a_cut_off_clip_is_imported_up_to_the_damage_and_said_so(addon, walk, tmp_path):
    data = walk.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 7 // 10])
    new = start(tmp_path / "cut.mp4")
    run_until(lambda: new.finished, new)
    assert new.state == "done"
    assert len([text for text in new.warnings if "cut off" in text]) == 1
    assert 10 < len(new.results[1].frames) < 40


@pytest.mark.slow
def test_a_killed_backend_is_told_and_the_job_resumes(addon, walk):
    new = start(walk)
    run_until(lambda: people() or new.finished, new)
    os.kill(process.running_endpoint().pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    run_until(lambda: new.finished, new)
    assert (
        new.state == "failed" and new.job_id in new.error and "kept" in new.error and new.error.endswith(".")
    )
    assert len(people()) == 1
    again = start(walk, job_id=new.job_id)
    run_until(lambda: again.finished, again)
    assert again.state == "done" and len(people()) == 1
    assert again.results[1].frames.tolist() == list(range(40))


@pytest.mark.slow
def test_a_finished_job_comes_back_without_frames(addon, walk):
    new = start(walk)
    run_until(lambda: new.finished, new)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    again = VideoImport(running.backend, None, {}, job_id=new.job_id)
    running.start(again)
    run_until(lambda: again.finished, again)
    assert again.state == "done" and again.clip.footage.fps == pytest.approx(60, rel=1e-3)
    assert np.array_equal(again.results[1].pose, new.results[1].pose) and len(people()) == 1


@pytest.mark.slow
def test_results_that_cannot_be_read_are_told(addon, walk, monkeypatch):
    """As with a backend of another release."""
    monkeypatch.setitem(wire.RESULT, "mood", ("float32", ("n",)))
    new = start(walk)
    run_until(lambda: new.finished, new)
    assert new.state == "failed" and "same release" in new.error and not people()


@pytest.mark.slow
def test_nothing_is_changed_while_the_user_edits(addon, walk):
    new = start(walk)
    run_until(lambda: people() or new.finished, new)
    armature = people()[0]
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    run_until(lambda: new.waiting or new.finished, new)
    assert not new.finished and "Leave Edit Mode" in new.waiting
    bpy.ops.object.mode_set(mode="OBJECT")
    run_until(lambda: new.finished, new)
    assert new.state == "done"


@pytest.mark.slow
def test_a_second_import_replaces_when_asked_to_and_keeps_the_users_keys(addon, folder):
    clip = short_clip(folder / "short.mp4", 12)
    bpy.ops.bodyfield.import_video(filepath=str(clip), people=1, quality="lite", root_bone=True)
    (first,) = people()
    first.pose.bones["head"].keyframe_insert("location", frame=3)
    assert bpy.ops.bodyfield.import_video(
        filepath=str(clip), people=1, quality="lite", existing="REPLACE"
    ) == {"FINISHED"}
    assert people() == [first] and "root" in first.data.bones
    assert running.imports[-1].outcome == "1 person, 3 of your own keys kept"
    assert first["bodyfield_job"] == running.imports[-1].job_id != running.imports[0].job_id
    # As in a later session: the body is not in memory any more, so the backend is asked for it.
    running.imports.clear()
    assert bpy.ops.bodyfield.correctives(level="body") == {"FINISHED"}
    mesh = first.children[0]
    assert len(mesh.data.shape_keys.key_blocks) > 50
    assert bpy.ops.bodyfield.correctives(level="off") == {"FINISHED"}
    assert mesh.data.shape_keys is None


@pytest.mark.slow
def test_export_operator_writes_the_selected_person(addon, walk, tmp_path):
    assert not bpy.ops.bodyfield.export_fbx.poll()
    new = start(walk)
    run_until(lambda: new.finished, new)
    assert bpy.ops.bodyfield.export_fbx(filepath=str(tmp_path / "a.fbx")) == {"FINISHED"}
    assert (tmp_path / "a.fbx").stat().st_size > 100_000
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeError, match="could not be written"):
        bpy.ops.bodyfield.export_fbx(filepath=str(tmp_path / "file" / "a.fbx"))


@pytest.mark.slow
def test_time_left_is_told_as_people_say_it():
    assert [time_left(s) for s in (0.2, 59.4, 61, 3725)] == ["0 s", "59 s", "1:01 min", "1:02 h"]

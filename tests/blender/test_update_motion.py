"""Update Motion: a finished job's people move by other options, without a look at the film, which is not even there."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.link import jobstore  # noqa: E402
from blender_addon.ops.import_video import choices_to_options  # noqa: E402
from blender_addon.ops.motion_choices import motion_options, show_options  # noqa: E402
from blender_addon.shared.motion import CONTACTS, PER_FRAME  # noqa: E402
from blender_addon.work import running  # noqa: E402
from blender_addon.work.motion_update import MotionUpdate  # noqa: E402
from blender_addon.work.video_import import VideoImport  # noqa: E402

from .backends import OPTIONS, environment, short_clip  # noqa: E402
from .seen import bone_heads, curves_of  # noqa: E402

PATIENCE_S = 500
FRAMES = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Bodyfield folder of this module's own."""
    folder = tmp_path_factory.mktemp("update")
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


@pytest.fixture
def addon(folder):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender_addon.register()
    yield folder
    for one in running.imports:
        one.cancel()
    running.imports.clear()
    # The backend is kept for the next test: `unregister` would end it.
    backend, running.backend = running.backend, type(running.backend)()
    blender_addon.unregister()
    running.backend = backend


def run_until(condition) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert running.tick(0.05) or condition(), running.imports[-1].error
        assert time.monotonic() < end, "no news for minutes"


def imported(source: Path, **options) -> VideoImport:
    new = VideoImport(
        running.backend, source, OPTIONS | {"chunk": 16} | options, scene=bpy.context.scene.name
    )
    running.start(new)
    run_until(lambda: new.finished)
    assert new.state == "done", new.error
    return new


def person() -> bpy.types.Object:
    (armature,) = (ob for ob in bpy.data.objects if ob.type == "ARMATURE")
    return armature


def keys_of(armature: bpy.types.Object) -> dict[tuple[str, int], np.ndarray]:
    """Every key of a person by curve, (n, 2) frame and value."""
    curves = {(c.data_path, c.array_index): c for c in curves_of(armature)}
    return {name: np.array([key.co[:] for key in c.keyframe_points]) for name, c in curves.items()}


def assert_same(found: dict, expected: dict) -> None:
    assert set(found) == set(expected) and len(found) > 4 * 55
    for name, keys in expected.items():
        np.testing.assert_array_equal(found[name], keys, err_msg=str(name))


def record_of(folder: Path, job: str) -> dict:
    return json.loads((folder / "home" / "jobs" / job / "job.json").read_text())


PATH = ('pose.bones["left_elbow"].rotation_quaternion', 1)


@pytest.mark.slow
def test_an_update_gives_what_an_import_with_these_options_gives(addon, walk):
    imported(walk, smooth=0.0)
    raw = keys_of(person())
    bpy.ops.wm.read_factory_settings(use_empty=True)
    job = imported(walk).job_id
    armature, smooth = person(), keys_of(person())
    assert np.abs(smooth[PATH][:, 1] - raw[PATH][:, 1]).max() > 1e-3
    objects, actions = sorted(bpy.data.objects.keys()), sorted(bpy.data.actions.keys())
    bpy.context.view_layer.objects.active = armature
    # What the user has set since: other times, another camera in use, a key of his own.
    bpy.context.scene.frame_end = 500
    curve = next(c for c in curves_of(armature) if (c.data_path, c.array_index) == PATH)
    curve.keyframe_points[7].co[1] = 0.123
    away = walk.with_name("away.mp4")
    walk.rename(away)
    try:
        assert bpy.ops.bodyfield.update_motion(smooth=0.0) == {"FINISHED"}
    finally:
        away.rename(walk)
    found = keys_of(armature)
    assert found[PATH][7, 1] == np.float32(0.123)
    found[PATH][7] = raw[PATH][7]
    # The world's origin is where the first person starts; only rounding differs.
    assert_same(found, raw)
    assert (sorted(bpy.data.objects.keys()), sorted(bpy.data.actions.keys())) == (objects, actions)
    assert (
        bpy.context.scene.frame_end == 500
        and running.imports[-1].outcome == "1 person, 1 of your own keys kept"
    )
    record = record_of(addon, job)
    assert record["state"] == "done" and record["options"]["smooth"] == 0.0
    # What is not set stays as the job has it: the height and still no smoothing.
    assert bpy.ops.bodyfield.update_motion(height=1.8) == {"FINISHED"}
    assert record_of(addon, job)["options"].items() >= {"smooth": 0.0, "height": 1.8, "chunk": 16}.items()
    assert bpy.ops.bodyfield.update_motion(smooth=1.0, height=0.0) == {"FINISHED"}
    found = keys_of(armature)
    found[PATH][7] = smooth[PATH][7]
    assert_same(found, smooth)
    # Another session finds the new result, and the job's settings.
    assert jobstore.stored_job(job).options["height"] is None


@pytest.mark.slow
def test_what_cannot_be_updated_is_said_and_nothing_changes(addon, walk):
    job = imported(walk).job_id
    bpy.context.view_layer.objects.active = person()
    before, record = keys_of(person()), record_of(addon, job)
    with pytest.raises(RuntimeError, match=r"'height' must lie between 0\.4 and 2\.8"):
        bpy.ops.bodyfield.update_motion(height=0.1)
    stored = jobstore.stored_job(job)
    other = MotionUpdate(running.backend, stored, {"localizer": "field"}, scene=bpy.context.scene.name)
    running.start(other)
    run_until(lambda: other.finished)
    assert other.state == "failed" and "'localizer' of a job cannot be changed any more" in other.error
    stopped = MotionUpdate(running.backend, stored, {"smooth": 0.0}, scene=bpy.context.scene.name)
    running.start(stopped)
    run_until(lambda: stopped.progress.stage not in ("opening", "starting"))
    bpy.ops.bodyfield.cancel()
    assert stopped.state == "cancelled"
    assert_same(keys_of(person()), before)
    # The backend ends the cancelled one before it does another.
    assert bpy.ops.bodyfield.update_motion() == {"FINISHED"}
    assert_same(keys_of(person()), before)
    changed = record_of(addon, job)
    assert {k: v for k, v in changed.items() if k not in ("summary", "revision")} == {
        k: v for k, v in record.items() if k not in ("summary", "revision")
    }
    jobstore.remove(job)
    with pytest.raises(RuntimeError, match="import the video once more"):
        bpy.ops.bodyfield.update_motion(smooth=0.0)
    assert_same(keys_of(person()), before)


@pytest.mark.slow
def test_floor_contacts_and_gaps_come_over_the_wire(addon, walk):
    job = imported(walk).job_id
    first = addon / "home" / "jobs" / job / "final_001.npz"
    with np.load(first) as kept:
        one = dict(kept)
    # Two people as the end of a job may give them: one floor, contacts, a gap, somebody who comes later.
    rng, up = np.random.default_rng(0), one["up"].astype(float)
    pelvis = one["joints"][:, 0] @ up
    one["floor"] = np.float32([1.0 - pelvis[0]])
    one["contacts"] = rng.uniform(0, 1, (FRAMES, 8)).astype(np.float32)
    one["bridged"] = (np.arange(FRAMES) > 35).astype(np.uint8)
    other = one | {"track": np.int64(2), "trans": one["trans"] + np.float32([0.8, 0, 0.5])}
    other["joints"] = one["joints"] + np.float32([0.8, 0, 0.5])
    for motion, rows in ((one, np.r_[0:10, 32:FRAMES]), (other, np.r_[7:FRAMES])):
        motion |= {name: motion[name][rows] for name in PER_FRAME}
        np.savez(first.with_name(f"final_{int(motion['track']):03d}.npz"), **motion)
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    assert bpy.ops.bodyfield.resume_job(job=job) == {"FINISHED"}
    people = {ob["bodyfield_track"]: ob for ob in bpy.data.objects if ob.type == "ARMATURE"}
    for motion, hides in ((one, [[1, 0], [11, 1], [33, 0]]), (other, [[1, 1], [8, 0]])):
        armature = people[int(motion["track"])]
        keys = keys_of(armature)
        assert keys["hide_viewport", 0].tolist() == keys["hide_render", 0].tolist() == hides
        mesh = next(child for child in armature.children if child.type == "MESH")
        assert keys_of(mesh)["hide_render", 0].tolist() == hides
        np.testing.assert_array_equal(keys['["contact_right_toes"]', 0][:, 0], motion["frames"] + 1)
        for column, name in enumerate(CONTACTS):
            found = keys[f'["contact_{name}"]', 0][:, 1].astype(np.float32)
            np.testing.assert_array_equal(found, motion["contacts"][:, column])
        np.testing.assert_array_equal(keys['["bridged"]', 0][:, 1], motion["bridged"])
        for row in (0, 5, -1):
            bpy.context.scene.frame_set(int(motion["frames"][row]) + 1)
            height = motion["joints"][row] @ up + float(motion["floor"][0])
            assert np.abs(bone_heads(armature)[:, 2] - height).max() < 1e-3
    assert bpy.context.scene.camera.location.z == pytest.approx(float(one["floor"][0]), abs=1e-5)


def test_the_settings_become_the_backends_options(addon):
    settings = bpy.context.scene.bodyfield
    plain = {
        "camera": "auto",
        "fov_deg": None,
        "shots": True,
        "floor": True,
        "foot_lock": "auto",
        "smooth": 1.0,
        "smooth_up": None,
        "smooth_across": None,
        "height": None,
    }
    assert motion_options(settings) == plain
    assert choices_to_options(settings, None).items() >= plain.items()
    for options in (
        {
            "camera": "moving",
            "fov_deg": 37.5,
            "shots": False,
            "floor": False,
            "foot_lock": "flat",
            "smooth": 0.3,
            "smooth_up": 0.1,
            "smooth_across": 2.5,
            "height": 1.76,
        },
        {
            "camera": "still",
            "fov_deg": None,
            "shots": True,
            "floor": True,
            "foot_lock": "off",
            "smooth": 0.0,
            "smooth_up": None,
            "smooth_across": None,
            "height": None,
        },
    ):
        show_options(settings, options | {"localizer": "field"})
        assert motion_options(settings) == options
    # One of the two is that of the job, the other one the same as Smoothing.
    show_options(settings, {"smooth": 0.5, "smooth_up": 0.2})
    assert motion_options(settings) == plain | {"smooth": 0.5, "smooth_up": 0.2, "smooth_across": 0.5}
    show_options(settings, {})
    assert motion_options(settings) == plain


@pytest.mark.skipif(bool(os.environ.get("BODYFIELD_PYTHON")), reason="torch may be in another Python")
def test_the_backend_takes_every_choice(addon):
    pytest.importorskip("torch")
    from backend.jobs.keeper import END_OPTIONS
    from backend.options import CAMERAS, FOOT_LOCKS, MocapOptions
    from blender_addon.ops.motion_choices import CAMERAS as CAMERAS_OFFERED
    from blender_addon.ops.motion_choices import LOCKS, STRONGEST

    assert tuple(name for name, *_ in LOCKS) == FOOT_LOCKS
    settings = bpy.context.scene.bodyfield
    assert set(motion_options(settings)) | {"edits"} <= set(END_OPTIONS)
    assert tuple(name for name, *_ in CAMERAS_OFFERED) == CAMERAS
    assert MocapOptions.from_dict(motion_options(settings)) == MocapOptions()
    settings.smooth = STRONGEST
    MocapOptions.from_dict(motion_options(settings))


def test_update_motion_needs_a_person(addon):
    assert not bpy.ops.bodyfield.update_motion.poll() and not bpy.ops.bodyfield.snap_to_floor.poll()

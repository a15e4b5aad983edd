"""Set Up Backend in Blender: what it refuses, where it puts things, and Doctor with a real backend."""

import os
import time

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.link import process, setup  # noqa: E402
from blender_addon.work import running  # noqa: E402
from blender_addon.work.backend_setup import backend_folder, installed  # noqa: E402

from .backends import environment  # noqa: E402


@pytest.fixture(autouse=True)
def addon(empty_file, tmp_path, monkeypatch):
    for name in ("BODYFIELD_PYTHON", "BODYFIELD_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path / "home"))
    blender_addon.register()
    yield
    blender_addon.unregister()


def test_without_permission_to_go_online_nothing_is_started(tmp_path):
    before = bpy.context.preferences.system.use_online_access
    bpy.context.preferences.system.use_online_access = False
    try:
        if bpy.app.online_access:
            pytest.skip("this Blender was started with online access by force")
        with pytest.raises(RuntimeError, match=r"may not go online: allow it .* or give a folder of wheels"):
            bpy.ops.bodyfield.setup_backend()
    finally:
        bpy.context.preferences.system.use_online_access = before
    assert running.current() is None and not backend_folder().exists()


def test_the_environment_lies_below_the_users_folder_and_is_not_there_yet(tmp_path):
    assert not installed() and not bpy.ops.bodyfield.remove_backend.poll()
    # From a source tree; an extension has a folder of its own, which goes with it.
    assert backend_folder() == tmp_path / "home" / "backend" / "environment"


def test_removing_deletes_only_what_was_made(tmp_path):
    (backend_folder() / "lib").mkdir(parents=True)
    (tmp_path / "home" / "jobs").mkdir()
    assert bpy.ops.bodyfield.remove_backend() == {"FINISHED"}
    assert not backend_folder().exists() and (tmp_path / "home" / "jobs").is_dir()


def test_jobs_and_logs_go_too_if_wished_and_the_users_weights_stay(tmp_path):
    home = tmp_path / "home"
    for file in (home / "jobs" / "one" / "job.json", home / "weights" / "mine" / "info.json"):
        file.parent.mkdir(parents=True)
        file.write_text("{}" * 1000, encoding="utf-8")
    (home / "backend.log").write_text("it ran", encoding="utf-8")
    # Also where there is no environment, as after `install.py setup`.
    assert not backend_folder().exists() and setup.size_of(*setup.records()) >= 2006
    assert bpy.ops.bodyfield.remove_backend(jobs=True) == {"FINISHED"}
    assert [p.name for p in home.iterdir()] == ["weights"] and (home / "weights" / "mine").is_dir()
    assert not bpy.ops.bodyfield.remove_backend.poll()


@pytest.mark.slow
def test_nothing_is_removed_while_another_blender_uses_it(tmp_path):
    backend_folder().mkdir(parents=True)
    os.environ.update(environment(tmp_path / "home"))
    other = process.connect_or_start()
    try:
        while other.poll_ready() is None:
            time.sleep(0.05)
        with pytest.raises(RuntimeError, match="Another Blender uses the backend: close that one"):
            bpy.ops.bodyfield.remove_backend()
        assert backend_folder().exists() and other.alive()
    finally:
        other.stop()
        del os.environ["BODYFIELD_PYTHON"]
    assert bpy.ops.bodyfield.remove_backend() == {"FINISHED"} and not backend_folder().exists()


def test_sizes_in_words():
    assert [setup.in_words(n) for n in (0, 3, 310_400_000, 2_149_000_000)] == [
        "nothing",
        "1 MB",
        "310 MB",
        "2.1 GB",
    ]


@pytest.mark.slow
def test_doctor_says_what_is_wrong_and_what_is_there(tmp_path, capfd):
    assert bpy.ops.bodyfield.doctor() == {"FINISHED"}
    assert "is not installed" in capfd.readouterr().out
    os.environ.update(environment(tmp_path / "home"))
    try:
        assert installed() and bpy.ops.bodyfield.doctor() == {"FINISHED"}
        assert "blazepose" in capfd.readouterr().out
    finally:
        del os.environ["BODYFIELD_PYTHON"]

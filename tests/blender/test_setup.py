"""Set Up Backend in Blender: what it refuses, where it puts things, and Doctor with a real backend."""

import os

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.ops import running  # noqa: E402
from blender_addon.ops.setup import backend_folder, installed  # noqa: E402

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


def test_doctor_says_what_is_wrong_and_what_is_there(tmp_path, capfd):
    assert bpy.ops.bodyfield.doctor() == {"FINISHED"}
    assert "is not installed" in capfd.readouterr().out
    os.environ.update(environment(tmp_path / "home"))
    try:
        assert installed() and bpy.ops.bodyfield.doctor() == {"FINISHED"}
        assert "blazepose" in capfd.readouterr().out
    finally:
        del os.environ["BODYFIELD_PYTHON"]

"""A failed import says which button helps; one that was resumed is listed once."""

import time

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.ui import panel  # noqa: E402
from blender_addon.work import running  # noqa: E402
from blender_addon.work.video_import import VideoImport  # noqa: E402

from .backends import environment  # noqa: E402
from .people import ROOT  # noqa: E402

CLIP = ROOT / "tests" / "data" / "two_people.mp4"
PATIENCE_S = 120


@pytest.fixture
def addon():
    blender_addon.register()
    yield
    running.stop()
    blender_addon.unregister()


def ended(**options) -> VideoImport:
    new = VideoImport(running.backend, CLIP, options, scene=bpy.context.scene.name)
    end = time.monotonic() + PATIENCE_S
    while not new.finished:
        new.pump(0.05)
        assert time.monotonic() < end
    return new


def test_without_a_backend_set_up_helps(addon, tmp_path, monkeypatch):
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("BODYFIELD_PYTHON", str(tmp_path / "no_python"))
    new = ended()
    assert (new.state, new.remedy) == ("failed", "setup")


@pytest.mark.slow
def test_a_wrong_body_file_leads_to_the_preferences(addon, tmp_path, monkeypatch):
    for name, value in environment(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    wrong = tmp_path / "body.npz"
    wrong.write_text("not a body", encoding="utf-8")
    new = ended(localizer="landmarks-lite", body=str(wrong))
    assert (new.state, new.remedy) == ("failed", "preferences")
    assert str(wrong) in new.error


def test_an_import_that_went_on_is_shown_once(addon):
    first, other, again = (
        VideoImport(running.backend, CLIP, {}, job_id=job, scene=bpy.context.scene.name)
        for job in ("job-1", "job-2", "job-1")
    )
    for one, state in ((first, "cancelled"), (other, "cancelled"), (again, "running")):
        one.state = state
    running.imports[:] = [first, other, again]
    assert panel._shown() == [other]
    again.state = "done"
    assert panel._shown() == [other, again]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two", ["one two"]),
        ("a word of " + 40 * "x" + " ends", ["a word of", 40 * "x", "ends"]),
        (25 * "体", [21 * "体", 4 * "体"]),
        ("", [""]),
    ],
)
def test_sentences_are_cut_to_the_width_of_the_sidebar(text, lines):
    assert panel.lines_of(text) == lines

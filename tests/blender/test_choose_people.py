"""Choosing people in Blender: what is kept in the scene, and that an import follows only them; with a real backend."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.link.choosing import PeopleChooser  # noqa: E402
from blender_addon.scene.chosen import choice_of, keep_choice, words_of  # noqa: E402
from blender_addon.shared.frames import open_clip  # noqa: E402
from blender_addon.work import running  # noqa: E402
from blender_addon.work.backend import Backend  # noqa: E402

from .backends import environment  # noqa: E402
from .people import ROOT  # noqa: E402

pytestmark = pytest.mark.slow

CLIP = ROOT / "tests" / "data" / "two_people.mp4"
CHOICE = {"frame": 12, "boxes": [[1.5, 2.0, 30.0, 40.0], [5.0, 6.0, 70.0, 80.0]]}


@pytest.fixture
def addon():
    blender_addon.register()
    yield bpy.context.scene
    for one in running.imports:
        one.cancel()
    running.imports.clear()
    blender_addon.unregister()


def test_a_choice_is_kept_for_its_video_and_survives_the_file(addon, tmp_path):
    keep_choice(addon, str(CLIP), CHOICE, 5)
    assert choice_of(addon, str(CLIP)) == CHOICE
    assert words_of(addon) == "2 of 5 chosen, frame 12"
    assert choice_of(addon, str(tmp_path / "other.mp4")) is None and choice_of(addon, "") is None
    file = tmp_path / "file.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=str(file))
    assert choice_of(bpy.context.scene, str(CLIP)) == CHOICE
    assert bpy.ops.bodyfield.follow_everybody() == {"FINISHED"}
    assert choice_of(bpy.context.scene, str(CLIP)) is None


def test_one_of_one_is_a_person(addon):
    keep_choice(addon, str(CLIP), {"frame": 0, "boxes": [[0, 0, 1, 1]]}, 1)
    assert words_of(addon) == "1 of 1 chosen, frame 0"


def test_it_waits_for_a_video(addon):
    assert not bpy.ops.bodyfield.choose_people.poll()
    addon.bodyfield.filepath = str(CLIP)
    assert bpy.ops.bodyfield.choose_people.poll()


def test_whoever_is_clicked_is_followed_and_nobody_else(addon, tmp_path, monkeypatch):
    for name, value in {**environment(tmp_path / "home"), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    chooser = PeopleChooser(running.backend, open_clip(CLIP), {"localizer": "landmarks-lite"})
    chooser.go_to(10)
    deadline = time.monotonic() + 240
    while not chooser.ready:
        chooser.pump(0.02)
        assert chooser.error is None and time.monotonic() < deadline
    assert len(chooser.people) == 2
    chooser.act("toggle", 1)
    keep_choice(addon, str(CLIP), chooser.choice(), len(chooser.people))
    chooser.close()
    assert words_of(addon) == "1 of 2 chosen, frame 10"
    chosen = json.dumps(choice_of(addon, str(CLIP)))
    done = bpy.ops.bodyfield.import_video(filepath=str(CLIP), quality="lite", chosen=chosen)
    assert done == {"FINISHED"}
    assert sum(ob.type == "ARMATURE" for ob in bpy.data.objects) == 1
    (result,) = running.imports[-1].results.values()
    assert np.all(result.boxes[:, 0] + result.boxes[:, 2] / 2 > 215)  # she stands on the right
    assert len(result.frames) == 40
    job = json.loads((next(Path(os.environ["BODYFIELD_HOME"]).glob("jobs/*/job.json"))).read_text())
    assert job["options"]["people"]["frame"] == 10
    running.stop()


def test_a_missing_backend_is_one_sentence(addon, tmp_path, monkeypatch):
    from blender_addon.link.process import BackendMissing

    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path / "none"))
    monkeypatch.setenv("BODYFIELD_PYTHON", str(tmp_path / "no_python"))
    chooser = PeopleChooser(Backend(), open_clip(CLIP), {})
    with pytest.raises(BackendMissing, match=r"\.$"):
        for _ in range(50):
            chooser.pump(0.0)
    chooser.close()

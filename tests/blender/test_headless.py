"""The whole road in a child process: a real backend, real sockets, real Blender, a real clip."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from .backends import OPTIONS, empty_clip, environment, short_clip  # noqa: E402
from .child import blender_command  # noqa: E402
from .people import ROOT  # noqa: E402
from .seen import bone_heads, from_camera, go_to  # noqa: E402

pytestmark = pytest.mark.slow


def run(home: Path, *arguments: object) -> tuple[int, list[dict], str]:
    """-> (exit code, the JSON lines on standard output, standard error)."""
    child = subprocess.run(
        [*blender_command("blender_addon.headless"), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment(home), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    # The program says its own name and farewell on standard output, too; the module says nothing.
    lines = [line for line in child.stdout.splitlines() if line.startswith("{") or not bpy.app.binary_path]
    return child.returncode, [json.loads(line) for line in lines], child.stderr


@pytest.fixture(scope="module")
def road(tmp_path_factory):
    """One run of the whole road that several tests look at."""
    folder = tmp_path_factory.mktemp("road")
    clip = short_clip(folder / "walk.mp4", 20)
    code, said, errors = run(
        folder / "home", clip, "-o", folder / "out", "--fbx", "--blend", "scene.blend", "--bvh", "walk.bvh",
        "--npz", "--options", json.dumps(OPTIONS),
    )  # fmt: skip
    assert code == 0, errors
    return folder, said


def test_writes_what_was_asked_for_and_nothing_else(road):
    folder, said = road
    names = {"walk.fbx", "scene.blend", "walk.bvh", "walk_person1.npz"}
    assert {p.name for p in (folder / "out").iterdir()} == names
    assert said[-1]["type"] == "done"
    summary = said[-1]["summary"]
    assert {Path(file).name for file in summary["files"]} == names
    assert (summary["frames"], summary["people"]) == (20, 1) and summary["job"]


def test_tells_its_progress(road):
    _, said = road
    progress = [line for line in said if line["type"] == "progress"]
    stages = list(dict.fromkeys(line["stage"] for line in progress))
    assert stages[-1] == "write" and {"localize", "body"} <= set(stages)
    assert all(set(line) == {"type", "stage", "done", "total", "seconds_left"} for line in progress)
    localized = [line["done"] for line in progress if line["stage"] == "localize"]
    assert localized == sorted(localized) and localized[-1] == 20


def test_blend_holds_the_motion_that_the_backend_found(road):
    folder, _ = road
    bpy.ops.wm.open_mainfile(filepath=str(folder / "out" / "scene.blend"))
    (armature,) = (ob for ob in bpy.data.objects if ob.type == "ARMATURE")
    scene = bpy.context.scene
    assert (scene.render.fps, scene.frame_start, scene.frame_end) == (60, 1, 20)
    assert (scene.render.resolution_x, scene.render.resolution_y) == (360, 640)
    with np.load(folder / "out" / "walk_person1.npz") as motion:
        joints, frames = motion["joints"], motion["frames"]
    for joint, frame in zip(joints[::5], frames[::5], strict=True):
        go_to(int(frame) + 1)
        # The backend's forward kinematics and the armature agree to a tenth of a millimetre.
        assert np.abs(bone_heads(armature) - from_camera(joint)).max() < 1e-4


def test_finished_job_is_imported_again_without_its_video(road):
    folder, said = road
    job = said[-1]["summary"]["job"]
    kept = folder / "home" / "jobs" / job / "job.json"
    record = json.loads(kept.read_text(encoding="utf-8"))
    # As after `update --edit name=1:Anna`.
    record["summary"]["names"] = {"1": "Anna"}
    kept.write_text(json.dumps(record), encoding="utf-8")
    code, again, errors = run(folder / "home", "-o", folder / "again", "--job", job, "--npz")
    assert code == 0, errors
    assert not [line for line in again if line.get("stage") == "localize" and line["done"] not in (0, 20)]
    (file,) = (folder / "again").iterdir()
    assert file.name.endswith("_Anna.npz")
    with np.load(file) as a, np.load(folder / "out" / "walk_person1.npz") as b:
        assert all(np.array_equal(a[name], b[name], equal_nan=True) for name in b)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: d / "none.mp4", "no file"),
        (lambda d: (d / "text.mp4", (d / "text.mp4").write_text("hello"))[0], "not a video"),
        (lambda d: empty_clip(d / "nobody.mp4"), "person|people|nobody"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_file(tmp_path, make, words):
    clip = make(tmp_path)
    code, said, errors = run(
        tmp_path / "home", clip, "-o", tmp_path / "out", "--options", json.dumps(OPTIONS)
    )
    assert code == 1 and said[-1]["type"] == "error"
    text = said[-1]["text"]
    assert text in errors.splitlines() and text.endswith(".")
    assert any(word in text for word in words.split("|"))
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_wrong_options_and_a_wrong_job_are_told(tmp_path):
    clip = short_clip(tmp_path / "walk.mp4", 2)
    code, said, _ = run(tmp_path / "home", clip, "-o", tmp_path / "out", "--options", '{"people": 3}')
    assert code == 1 and "people" in said[-1]["text"]
    code, said, _ = run(tmp_path / "home", "-o", tmp_path / "out", "--job", "20200101-000000-ffffffff")
    assert code == 1 and "20200101-000000-ffffffff" in said[-1]["text"]


def test_an_unwritable_folder_is_told(road, tmp_path):
    folder, said = road
    (tmp_path / "file").write_text("")
    code, again, _ = run(
        folder / "home", "-o", tmp_path / "file" / "out", "--job", said[-1]["summary"]["job"]
    )
    assert code == 1 and "cannot be written to" in again[-1]["text"]


def test_a_backend_that_is_not_installed_is_told(tmp_path):
    clip = short_clip(tmp_path / "walk.mp4", 2)
    child = subprocess.run(
        [*blender_command("blender_addon.headless"), str(clip), "-o", str(tmp_path / "out")],
        cwd=ROOT,
        env={**os.environ, "BODYFIELD_HOME": str(tmp_path / "home"), "BODYFIELD_PYTHON": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 1 and "not installed" in child.stderr and "install.py setup" in child.stderr
    assert not (tmp_path / "out").exists()

"""`python -m backend mocap` as a user runs it: a child process, a clip, files at the end or one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def clip(frames, tmp_path_factory) -> Path:
    """The first ten frames of the shipped clip, in a folder whose name is not plain."""
    path = tmp_path_factory.mktemp("my clips ü") / "short.mp4"
    # Without whom the clip's left edge cuts off.
    pictures = [np.ascontiguousarray(frame.image[:, 160:]) for frame in frames[:10]]
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(60), options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def backend(*arguments: str, home: Path, cwd: Path) -> subprocess.CompletedProcess:
    environ = {**os.environ, "BODYFIELD_HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    environ.pop("BODYFIELD_PYTHON", None)
    command = [sys.executable, "-m", "backend", *arguments]
    return subprocess.run(command, env=environ, cwd=cwd, capture_output=True, encoding="utf-8", timeout=300)


def mocap(*arguments: str, home: Path, cwd: Path) -> subprocess.CompletedProcess:
    return backend("mocap", *arguments, "--localizer", "landmarks-lite", home=home, cwd=cwd)


def test_npz_and_overlay_in_a_folder_named_relative_to_here(clip, tmp_path):
    ran = mocap(str(clip), "-o", "out", "--overlay", home=tmp_path / "home", cwd=tmp_path)
    assert ran.returncode == 0 and ran.stderr == "", "bars belong on a terminal"
    report = json.loads(ran.stdout)
    assert report["frames"] == 10 and report["people"] >= 1
    assert {Path(f).name for f in report["files"]} >= {"short_person1.npz", "short_overlay.mp4"}
    with np.load(tmp_path / "out" / "short_person1.npz", allow_pickle=False) as data:
        assert data["poses"].shape == (10, 165) and data["mocap_frame_rate"] == pytest.approx(60, rel=0.01)
        # Whoever starts in the middle of the world stands on its floor; a body rests with its pelvis at -0.35 y.
        pelvis = data["trans"][0] + [0, -0.35, 0]
        assert np.abs(pelvis[:2]).max() < 0.05 and 0.6 < pelvis[2] < 1.2


@pytest.fixture
def moved(clip, tmp_path):
    """The clip at a place of its own, from which it can be taken away."""
    path = tmp_path / "walk.mp4"
    path.write_bytes(clip.read_bytes())
    return path


def test_a_finished_job_is_updated_without_its_clip(moved, tmp_path):
    home = tmp_path / "home"
    plain = ("--foot-lock", "off", "--no-floor", "--height", "1.8")
    options = ("--smooth-up", "0.5", "--smooth-across", "2")
    ran = mocap(str(moved), "-o", "first", *options, home=home, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    job = json.loads(ran.stdout)["job"]
    record = home / "jobs" / job / "job.json"
    asked = json.loads(record.read_text(encoding="utf-8"))["options"]
    assert asked["smooth_up"] == 0.5 and asked["smooth_across"] == 2.0 and asked["floor"] is True
    moved.rename(tmp_path / "away.mp4")
    plain += ("--edit", "name=1:Anna/B.")
    ran = backend("update", job, "-o", "again", "--smooth", "0", *plain, home=home, cwd=tmp_path)
    assert ran.returncode == 0 and ran.stderr == "", ran.stderr
    report = json.loads(ran.stdout)
    assert report["job"] == job and report["frames"] == 10 and "localize" not in report["seconds"]
    assert [Path(f).name for f in report["files"]] == ["walk_Anna_B.npz"] and report["names"] == {
        "1": "Anna/B."
    }
    named = [{"op": "rename", "track": 1, "name": "Anna/B."}]
    asked |= {"smooth": 0.0, "foot_lock": "off", "floor": False, "height": 1.8, "edits": named}
    assert json.loads(record.read_text(encoding="utf-8"))["options"] == asked
    first, again = (dict(np.load(tmp_path / f)) for f in ("first/walk_person1.npz", "again/walk_Anna_B.npz"))
    assert np.abs(first["poses"] - again["poses"]).max() > 1e-3
    assert again["contacts"].shape == (10, 8) and again["floor"].shape == (1,) and len(again["bridged"]) == 10
    for arguments, words in (
        ((job, "--smooth", "-1"), "'smooth' must lie between"),
        ((job, "--foot-lock", "glue"), "'foot_lock' must be one of off, auto, always, flat"),
        (("20200101-000000-none",), "There is no job"),
    ):
        wrong = backend("update", *arguments, "-o", "none", home=home, cwd=tmp_path)
        assert wrong.returncode == 1 and words in wrong.stderr and len(wrong.stderr.splitlines()) == 1
    assert not (tmp_path / "none").exists()
    assert json.loads(record.read_text(encoding="utf-8"))["options"] == asked


def test_only_the_people_pointed_at(tmp_path):
    both = ROOT / "tests" / "data" / "two_people.mp4"
    ran = mocap(str(both), "-o", "out", "--people", "12:290,230", home=tmp_path / "home", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["people"] == 1 and report["frames"] == 40
    job = json.loads((tmp_path / "home" / "jobs" / report["job"] / "job.json").read_text(encoding="utf-8"))
    assert job["options"]["people"] == {"frame": 12, "points": [[290.0, 230.0]]}
    wrong = mocap(str(both), "-o", "none", "--people", "12", home=tmp_path / "home", cwd=tmp_path)
    assert (
        wrong.returncode == 1 and "FRAME:x,y" in wrong.stderr and len(wrong.stderr.strip().splitlines()) == 1
    )
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(find_spec("bpy") is None, reason="FBX and BVH are written by Blender's module")
def test_fbx_and_bvh_need_no_installed_add_on(clip, tmp_path):
    ran = mocap(str(clip), "-o", "out", "--fbx", "--bvh", home=tmp_path / "home", cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    files = [Path(f) for f in json.loads(ran.stdout)["files"]]
    assert {f.suffix for f in files} == {".npz", ".fbx", ".bvh"}
    assert all((tmp_path / f).stat().st_size > 10_000 for f in files)


@pytest.mark.parametrize("content", [None, b"hello", b""], ids=["missing", "text", "empty"])
def test_bad_input_is_one_sentence_and_leaves_nothing(content, tmp_path):
    bad = tmp_path / "bad.mp4"
    if content is not None:
        bad.write_bytes(content)
    ran = mocap(str(bad), "-o", "out", home=tmp_path / "home", cwd=tmp_path)
    assert ran.returncode == 1 and ran.stdout == ""
    said = ran.stderr.splitlines()
    assert len(said) == 1 and "bad.mp4" in said[0] and said[0].endswith("."), ran.stderr
    assert not (tmp_path / "out").exists()

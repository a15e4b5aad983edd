"""install.py as a user runs it, with a Python that sees the standard library only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from blender_addon.link import process
from installer import ROOT, SetupError, demo
from installer.environment import Environment, write_locator


def run(*arguments: object, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("BODYFIELD_")} | variables
    command = [sys.executable, "-S", str(ROOT / "install.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, encoding="utf-8", check=False)


def environment(folder: Path) -> Environment:
    args = Namespace(venv=str(folder), index=None, torch=None, torch_index=None, wheels=None, blender=None)
    return Environment(args)


def one_sentence(text: str) -> bool:
    return len(text.strip().splitlines()) == 1 and text.strip().endswith(".") and "Traceback" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [[], ["dance"], ["demo", "--speed", "9"], ["extension", "--platform", "amiga"]]
)
def test_wrong_arguments_show_the_usage(arguments):
    said = run(*arguments)
    assert said.returncode == 2
    assert "usage: python install.py" in said.stderr


def test_missing_video_is_said_before_anything_is_installed(tmp_path):
    said = run("demo", "no such clip.mp4", "--venv", tmp_path / "v", "--out", tmp_path / "o", cwd=tmp_path)
    assert said.returncode == 1
    assert one_sentence(said.stderr) and "no such clip.mp4" in said.stderr
    assert list(tmp_path.iterdir()) == []


def test_out_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "o").write_text("mine")
    said = run("demo", "--venv", tmp_path / "v", "--out", tmp_path / "o")
    assert said.returncode == 1 and one_sentence(said.stderr)
    assert (tmp_path / "o").read_text() == "mine"


def test_a_folder_of_other_files_is_not_made_an_environment(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    said = run("setup", "--venv", tmp_path)
    assert said.returncode == 1 and "--venv" in said.stderr.splitlines()[-1]
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_doctor_before_set_up_says_what_to_do(tmp_path):
    said = run("doctor", "--venv", tmp_path / "none")
    assert said.returncode == 1
    assert "python install.py setup" in said.stdout and "NVIDIA GPU:" in said.stdout


@pytest.mark.slow
def test_failed_and_interrupted_set_up(tmp_path):
    """No wheels to be had: one sentence and the log. The next run takes the half-made environment up again."""
    folder, wheels = tmp_path / "venv mit Umlaut ü", tmp_path / "empty"
    wheels.mkdir()
    said = run("setup", BODYFIELD_VENV=str(folder), BODYFIELD_WHEELS=str(wheels))
    assert said.returncode == 1
    last = said.stderr.strip().splitlines()[-1]
    assert one_sentence(last) and "No matching distribution" in last and str(folder / "setup.log") in last
    assert "No matching distribution" in (folder / "setup.log").read_text(encoding="utf-8")
    state = json.loads((folder / "bodyfield.json").read_text(encoding="utf-8"))
    assert set(state) == {"venv"}
    before = (folder / "pyvenv.cfg").stat().st_mtime_ns
    again = run("setup", "--venv", folder, "--wheels", wheels)
    assert again.returncode == 1
    assert (folder / "pyvenv.cfg").stat().st_mtime_ns == before, "the finished step was done twice"


def test_the_add_on_finds_the_backend_through_the_locator(tmp_path, monkeypatch):
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path / "Ünicode home"))
    monkeypatch.delenv("BODYFIELD_PYTHON", raising=False)
    env = environment(tmp_path / "v")
    env.python = Path(sys.executable)
    path = write_locator(env)
    assert path == process.locator_path()
    found = process.find_backend()
    assert (found.python, found.root) == (Path(sys.executable), ROOT)
    assert [p.name for p in path.parent.iterdir()] == ["backend.json"]


def test_steps_are_noted_by_what_they_installed(tmp_path):
    env = environment(tmp_path)
    env.python.parent.mkdir(parents=True)
    env.python.touch()
    env.note("base", ["torch==1"])
    again = environment(tmp_path)
    assert again.finished("base", ["torch==1"]) and not again.finished("base", ["torch==2"])
    env.python.unlink()
    assert not again.finished("base", ["torch==1"])


def test_a_child_that_fails_is_quoted():
    error = (
        'print(\'noise\'); print(\'{"type": "error", "text": "No person was found."}\'); raise SystemExit(3)'
    )
    with pytest.raises(SetupError, match=r"^No person was found\.$"):
        demo.run_child([sys.executable, "-c", error], dict(os.environ), "It", print)
    with pytest.raises(SetupError, match=r"It stopped \(exit code 4\): last words"):
        code = "import sys; print('last words\\n\\n', file=sys.stderr); raise SystemExit(4)"
        demo.run_child([sys.executable, "-c", code], dict(os.environ), "It", print)


@pytest.mark.slow
def test_a_demo_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path / "home"))
    clip, out = tmp_path / "letter.mp4", tmp_path / "results"
    clip.write_text("Dear clip, this is no video.")
    env = environment(Path(sys.prefix))
    env.python = Path(sys.executable)
    with pytest.raises(SetupError, match=r"letter\.mp4"):
        demo.run_demo(env, clip, out, None)
    assert not out.exists()
    assert {p.name for p in tmp_path.iterdir()} <= {"letter.mp4", "home"}


def test_blender_without_any_blender_is_told_before_anything_is_installed(tmp_path):
    said = run("blender", "--blender", sys.executable, "--venv", tmp_path / "venv")
    assert said.returncode == 1 and one_sentence(said.stderr)
    assert "does not start as a Blender" in said.stderr and not (tmp_path / "venv").exists()

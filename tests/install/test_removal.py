"""python install.py remove: what it deletes, what it leaves, and what it asks first."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from test_front_door import environment, one_sentence, run

BLENDER = """#!{python}
import sys
from pathlib import Path
here = Path({folder!r})
if "--command" in sys.argv:
    (here / "asked").write_text(" ".join(sys.argv[1:]))
    if not (here / "installed").exists():
        sys.exit('Package "bodyfield" not installed in local repositories!')
    (here / "installed").unlink()
else:
    print("VERSIONS 4 5 0 3 11")
"""
"""Answers as Blender does (its own words were copied from Blender 4.3); the real one: tests/gui/install_check.py."""


@pytest.fixture
def made(tmp_path):
    """A home, an environment as set-up leaves it, a program that answers like a Blender with the add-on."""
    env = environment(tmp_path / "venv")
    env.folder.mkdir()
    (env.folder / "pyvenv.cfg").write_text("home = nowhere\n")
    (env.folder / "big").write_bytes(bytes(3_000_000))
    env.state["torch_wanted"] = "torch"
    env.note("base", [])
    home = tmp_path / "home"
    (home / "jobs" / "one").mkdir(parents=True)
    (home / "weights" / "mine").mkdir(parents=True)
    (home / "backend.log").write_text("it ran")
    (home / "backend.json").write_text(json.dumps({"python": str(env.python), "root": None}))
    program = tmp_path / "blender"
    program.write_text(BLENDER.format(python=sys.executable, folder=str(tmp_path)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "installed").touch()
    return tmp_path


def remove(folder: Path, *more: str):
    return run(
        "remove", "--venv", folder / "venv", "--blender", folder / "blender", *more, BODYFIELD_HOME=str(folder / "home")
    )  # fmt: skip


posix = pytest.mark.skipif(
    os.name != "posix", reason="the stand-in for Blender is a script with a first line"
)


@posix
def test_says_what_and_how_much_and_deletes_nothing_unasked(made):
    said = remove(made)
    assert said.returncode == 1 and one_sentence(said.stderr) and "--yes" in said.stderr
    assert f"{made / 'venv'} (3 MB)" in said.stdout and str(made / "home" / "backend.json") in said.stdout
    assert "the add-on in Blender 4.5.0" in said.stdout and "jobs" not in said.stdout
    assert (made / "venv" / "big").exists() and (made / "installed").exists()


@pytest.mark.slow
@posix
def test_removes_the_add_on_the_environment_and_the_way_to_it(made):
    said = remove(made, "--yes")
    assert said.returncode == 0, said.stderr
    assert (made / "asked").read_text() == "--command extension remove bodyfield"
    assert "the add-on is removed" in said.stdout and not (made / "installed").exists()
    assert not (made / "venv").exists()
    assert sorted(p.name for p in (made / "home").iterdir()) == ["backend.log", "jobs", "weights"]

    again = remove(made, "--yes", "--jobs")
    assert again.returncode == 0 and "the add-on was not installed" in again.stdout
    assert [p.name for p in (made / "home").iterdir()] == ["weights"]


@posix
def test_the_way_to_another_environment_stays(made):
    other = json.dumps({"python": str(made / "other" / "bin" / "python"), "root": None})
    (made / "home" / "backend.json").write_text(other)
    assert remove(made, "--yes").returncode == 0
    assert (made / "home" / "backend.json").read_text() == other


@posix
def test_a_folder_that_was_not_made_here_is_not_touched(made):
    (made / "venv" / "bodyfield.json").unlink()
    said = remove(made, "--yes")
    assert said.returncode == 1 and one_sentence(said.stderr) and "delete it yourself" in said.stderr
    assert (made / "venv" / "big").exists() and (made / "installed").exists()

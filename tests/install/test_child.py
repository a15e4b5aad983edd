"""*Set Up Backend* as the add-on starts it: a real child process, a real environment, pip from a folder of wheels."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from blender_addon.link import process, setup
from installer import ROOT

PATIENCE_S = 300
MODULES = {
    "torch": "torch",
    "onnxruntime": "onnxruntime",
    "pyzmq": "zmq",
    "av": "av",
    "cv": "cv2",
    "scipy": "scipy",
    "roma": "roma",
}
"""Packages that hold nothing, under the names that the set-up looks for."""
PROJECT = """
[project]
name = "bodyfield"
version = "0.0.1"
dependencies = [{pins}]
[tool.bodyfield]
pip = "pip==26.1.2"
"""


def wheel(folder: Path, name: str, module: str) -> Path:
    """A pure wheel with one empty module."""
    info = f"{name}-9.9.dist-info"
    content = {
        f"{module}/__init__.py": b"",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [
        f"{arc},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for arc, data in content.items()
    ]
    content[f"{info}/RECORD"] = ("\n".join([*rows, f"{info}/RECORD,,"]) + "\n").encode()
    path = folder / f"{name}-9.9-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for arc, data in content.items():
            archive.writestr(arc, data)
    return path


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """The folder of an installed extension, with a set-up small enough for a test; -> (folder, wheels)."""
    addon, wheels = tmp_path / "addon", tmp_path / "wheels"
    for folder in (addon / "backend_wheel", addon / "setup_files", wheels):
        folder.mkdir(parents=True)
    shutil.copytree(
        ROOT / "installer", addon / "setup_files" / "installer", ignore=shutil.ignore_patterns("__pycache__")
    )
    pins = ", ".join(f'"{name}==9.9"' for name in MODULES)
    (addon / "setup_files" / "pyproject.toml").write_text(PROJECT.format(pins=pins))
    for name, module in MODULES.items():
        wheel(wheels, name, module)
    wheel(addon / "backend_wheel", "bodyfield", "backend")
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path / "home"))
    # A machine's own settings of pip, constraints say, have no part in this.
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in [name for name in os.environ if name.startswith("PIP_") and name != "PIP_CONFIG_FILE"]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(setup, "_HERE", addon)
    return tmp_path / "made" / "environment", wheels


def ended(run: setup.SetupProcess) -> setup.SetupProcess:
    end = time.monotonic() + PATIENCE_S
    while run.state == "running":
        run.poll()
        time.sleep(0.02)
        assert time.monotonic() < end, "the set-up does not end"
    return run


@pytest.mark.slow
def test_set_up_from_a_folder_of_wheels_goes_on_where_it_was_cancelled(unpacked):
    folder, wheels = unpacked
    first = setup.start(folder, setup.Sources(wheels=str(wheels)), sys.executable)
    while first.state == "running" and not folder.exists():
        first.poll()
        time.sleep(0.01)
    first.cancel()
    assert first.state == "cancelled" and first.child.poll() is not None
    assert not process.locator_path().exists()

    second = ended(setup.start(folder, setup.Sources(wheels=str(wheels)), sys.executable))
    assert second.state == "done", second.error
    assert second.log.is_file() and "Installing" in second.log.read_text()
    found = process.find_backend()
    assert found.root is None and found.python.is_relative_to(folder)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    code = "import torch, zmq, backend; print(backend.__file__)"
    said = subprocess.run(
        [found.python, "-c", code], cwd=folder, env=environ, capture_output=True, text=True, check=True
    )
    assert Path(said.stdout.strip()).is_relative_to(folder)

    log = second.log.read_text()
    third = ended(setup.start(folder, setup.Sources(wheels=str(wheels)), sys.executable))
    # Nothing is left to do, so pip is not asked again.
    assert third.state == "done" and third.log.read_text() == log
    setup.remove(folder)
    assert list(folder.parent.iterdir()) == [] and not process.locator_path().exists()


@pytest.mark.slow
def test_a_package_that_is_missing_is_told_in_one_sentence(unpacked):
    folder, wheels = unpacked
    next(wheels.glob("torch*")).unlink()
    run = ended(setup.start(folder, setup.Sources(wheels=str(wheels)), sys.executable))
    assert run.state == "failed" and "torch" in run.error and run.error.endswith(".")
    assert "run the same command again" in run.error and len(run.error.splitlines()) == 1
    assert not process.locator_path().exists()


def test_a_child_that_dies_is_noticed(unpacked):
    folder, wheels = unpacked
    run = setup.start(folder, setup.Sources(wheels=str(wheels)), sys.executable)
    run.child.kill()
    assert ended(run).state == "failed" and "press Set Up Backend" in run.error


def test_the_source_tree_can_set_itself_up():
    root, package = setup.setup_root()
    assert root == ROOT and package is None


def test_a_locator_of_another_backend_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path))
    process.locator_path().write_text(
        json.dumps({"python": str(tmp_path / "other" / "python"), "root": None})
    )
    (tmp_path / "environment").mkdir()
    setup.remove(tmp_path / "environment")
    assert process.locator_path().exists()

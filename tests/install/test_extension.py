"""The zip that Blender installs, and the backend wheel inside it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from argparse import Namespace
from pathlib import Path

import pytest

from installer import ROOT, SetupError, blenders, extension
from installer.environment import Environment

SHARED = ROOT / "blender_addon" / "shared"
WORKSHOP = re.compile(
    r"(^|/)(bench|tools|tests|docs|body_build)/|(^|/)(bench|make)_[^/]*\.py$|__pycache__|\.pyc$"
)
"""Benches, makers of shipped files, tests: what no user needs."""


def environment(folder: Path) -> Environment:
    args = Namespace(venv=str(folder), index=None, torch=None, torch_index=None, wheels=None, blender=None)
    return Environment(args)


def blender_tool(env: Environment):
    """Blender's own extension tool as a module."""
    spec = importlib.util.spec_from_file_location("blender_ext", blenders.installed_module_tool(env))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_backend_wheel_runs_on_its_own(tmp_path):
    """pip takes it, and its doctor finds every asset, with nothing of the repository on the path."""
    wheel = extension.backend_wheel(tmp_path)
    names = set(zipfile.ZipFile(wheel).namelist())
    shared = {f"blender_addon/shared/{p.name}" for p in SHARED.glob("*.py")}
    assert {n for n in names if n.startswith("blender_addon/")} == shared and len(shared) > 5
    assert "backend/assets/body_open.npz" in names
    assert {n.split("/")[0] for n in names} == {
        "backend",
        "blender_addon",
        f"{'-'.join(wheel.name.split('-')[:2])}.dist-info",
    }
    assert not [n for n in names if WORKSHOP.search(n)]
    target = tmp_path / "site"
    quiet = ["-q", "--disable-pip-version-check", "--no-deps", "--no-index"]
    subprocess.run([sys.executable, "-m", "pip", "install", *quiet, "--target", target, wheel], check=True)
    environ = {**os.environ, "PYTHONPATH": str(target), "BODYFIELD_HOME": str(tmp_path / "home")}
    said = subprocess.run(
        [sys.executable, "-m", "backend", "doctor", "--json"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    report = json.loads(said.stdout)
    assert report["missing"] == [], said.stderr
    assert report["version"] in wheel.name
    assert all(asset["sha256"] for asset in report["assets"])
    shipped = {
        p.name for p in (ROOT / "backend" / "assets").iterdir() if p.suffix in (".npz", ".safetensors")
    }
    assert {asset["name"] for asset in report["assets"]} == shipped


def test_the_same_sources_make_the_same_wheel(tmp_path):
    first, second = (extension.backend_wheel(tmp_path / name).read_bytes() for name in "ab")
    assert first == second


@pytest.mark.parametrize(
    "name", ["bench/fit.py", "backend/bench/fit.py", "tools/make_body.py", "backend/assets/make_body.py"]
)
def test_what_is_of_the_workshop_is_known(name):
    assert WORKSHOP.search(name) and not WORKSHOP.search("backend/synth/shards.py")


def test_manifest_gets_platform_and_wheels_before_its_tables():
    text = 'id = "x"\n\n[permissions]\nfiles = "Read the clip"\n'
    found = tomllib.loads(extension.manifest_with(text, "linux-x64", ["a-1-py3-none-any.whl"]))
    assert found["platforms"] == ["linux-x64"]
    assert found["wheels"] == ["./wheels/a-1-py3-none-any.whl"]
    assert found["permissions"] == {"files": "Read the clip"}


def test_this_platform():
    assert extension.this_platform("Linux", "x86_64") == "linux-x64"
    assert extension.this_platform("Darwin", "arm64") == "macos-arm64"
    assert extension.this_platform("Windows", "AMD64") == "windows-x64"
    with pytest.raises(SetupError, match="linux-riscv64"):
        extension.this_platform("Linux", "riscv64")


@pytest.mark.slow
def test_zip_is_whole_and_blender_accepts_it(tmp_path):
    """The real wheels for this platform, checked by Blender's own tool."""
    env = environment(tmp_path / "env")
    env.folder.mkdir()
    env.python = Path(sys.executable)
    package = extension.build(env, "linux-x64", tmp_path / "out")
    archive = zipfile.ZipFile(package)
    names = set(archive.namelist())
    manifest = tomllib.loads(archive.read("blender_manifest.toml").decode())
    wheels = {w.removeprefix("./") for w in manifest["wheels"]}
    assert wheels == {n for n in names if n.startswith("wheels/")}
    assert {w.split("/")[1].split("-")[0] for w in wheels} == {"pyzmq", "av"}
    assert len([n for n in names if n.startswith("backend_wheel/bodyfield-")]) == 1
    assert {"__init__.py", "LICENSE", "link/client.py", "scene/__init__.py", "shared/wire.py"} <= names
    assert not [n for n in names if WORKSHOP.search(n)]
    assert package.stat().st_size < 150e6
    here = environment(Path(sys.prefix))
    assert "Success" in blenders.validate_extension(here, package, None)
    pythons = blender_tool(here).python_versions_from_wheels(manifest["wheels"])
    assert {(3, 11), (3, 13)} <= pythons, "this is how Blender decides whether it may install the zip"
    broken = tmp_path / "broken.zip"
    extension.write_zip(broken, {n: archive.read(n) for n in names - {"__init__.py"}})
    with pytest.raises(SetupError, match="refuses"):
        blenders.validate_extension(here, broken, None)


def test_what_is_no_blender_is_said(tmp_path):
    for wanted in (str(tmp_path / "nothing"), sys.executable):
        with pytest.raises(SetupError, match="does not start as a Blender"):
            blenders.choose(wanted)


def test_background_command_hands_on_paths_arguments_and_exit_code(tmp_path):
    """The expression that Blender runs, run by Python itself."""
    folder = tmp_path / "a folder's ü"
    folder.mkdir()
    (folder / "some_main.py").write_text("import sys\ndef main(argv):\n    print(argv)\n    return 7\n")
    program = blenders.Blender(Path(sys.executable), (4, 5, 0), (3, 11))
    command = blenders.background_command(program, [folder], "some_main", ["two words", "--out", "ü"])
    code, rest = command[command.index("--python-expr") + 1], command[command.index("--") :]
    ran = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", code, *rest], capture_output=True, encoding="utf-8"
    )
    assert ran.returncode == 7
    assert ran.stdout.strip() == "['two words', '--out', 'ü']"


def test_root_is_the_repository():
    assert (ROOT / "install.py").is_file() and (ROOT / "pyproject.toml").is_file()

"""The house rules that no formatter knows: who may import whom, what must not stand in a tracked file."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = {"wire", "axes", "frames"}
"""Modules of the add-on that the backend may import (Apache-2.0)."""
BLENDER = ("bpy", "bpy_extras", "bmesh", "mathutils", "gpu")
BPY_PLACES = {"__init__.py", "headless.py", "scene", "ops", "ui"}
LEVELS = [
    ("__init__", "records", "lifeline", "news"),
    ("roi", "pickles"),
    ("body", "home", "pictures", "boxes", "choice"),
    ("options", "fit", "assets"),
    ("nlf",),
    ("people", "motion", "jobs", "pointfind"),
    ("pending", "features"),
    ("recalled",),
    ("pipeline", "localize", "pointpass"),
    ("messages", "eta", "overlay", "preview", "evaluate", "train"),
    ("worker", "views", "aside"),
    ("sheet",),
    ("runs", "pointruns", "previews"),
    ("server",),
    ("commands",),
    ("bench",),
    ("__main__",),
]
"""The backend's rooms from the ground up: a room may import itself and rooms of a lower level."""
TEXT = {".py", ".md", ".toml", ".sh", ".txt", ".json", ".cfg", ".yml", ".yaml", ".mjs", ""}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def sources(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, folder
    return found


def imports(path: Path, root: Path = ROOT) -> set[str]:
    """Full dotted names of everything that a file imports, at any depth, relative ones resolved."""
    package = list(path.relative_to(root).parent.parts)
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names} | {module}
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "importlib.import_module",
            "__import__",
        ):
            names |= {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return names


def top(name: str) -> str:
    return name.split(".")[0]


def level(room: str) -> int:
    """Height of a room; a new one must be given its place in LEVELS."""
    return next((height for height, rooms in enumerate(LEVELS) if room in rooms), -1)


def broken_rules(path: Path, root: Path = ROOT) -> list[str]:
    """Import rules that one file breaks, as sentences."""
    parts = path.relative_to(root).parts
    names = imports(path, root)
    found = []
    if parts[0] == "blender_addon":
        found += [f"{n}: not in the add-on" for n in names if top(n) in ("torch", "backend")]
        if parts[1] not in BPY_PLACES:
            found += [f"{n}: only at the add-on's edge" for n in names if top(n) in BLENDER]
        if _absolute(path):
            found.append("blender_addon: import relatively")
    if parts[0] == "backend":
        found += [f"{n}: not in the backend" for n in names if top(n) in BLENDER]
        addon = {n.split(".")[1] for n in names if n.startswith("blender_addon.")}
        found += [f"blender_addon.{n}: not shared with the backend" for n in addon - SHARED]
        room = Path(parts[1]).stem
        for n in {n.split(".")[1] for n in names if n.startswith("backend.")} - {room}:
            if level(n) >= level(room):
                found.append(f"backend.{n}: is not below {room}")
    return found


def _absolute(path: Path) -> bool:
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return any(
        isinstance(n, ast.ImportFrom) and not n.level and top(n.module or "") == "blender_addon" for n in tree
    )


@pytest.mark.parametrize("folder", ["backend", "blender_addon"])
def test_imports_keep_to_the_house(folder):
    broken = {str(p.relative_to(ROOT)): rules for p in sources(folder) if (rules := broken_rules(p))}
    assert not broken


def test_every_room_of_the_backend_has_a_level():
    rooms = {Path(p.relative_to(ROOT / "backend").parts[0]).stem for p in sources("backend")}
    assert rooms <= {room for rooms in LEVELS for room in rooms}


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("backend/body/x.py", "def f():\n    import bpy"),
        ("backend/serve/server.py", "from blender_addon import client"),
        ("backend/serve/server.py", "from blender_addon.link.process import home"),
        ("backend/fit/x.py", "from backend.people import crop"),
        ("backend/nlf/x.py", "from ..pipeline import mocap"),
        ("blender_addon/link/client.py", "import bpy"),
        ("blender_addon/ops/x.py", "import torch"),
        ("blender_addon/ops/x.py", "from backend import records"),
        ("blender_addon/ops/x.py", "import importlib\nimportlib.import_module('backend.serve.server')"),
        ("blender_addon/ops/x.py", "from blender_addon import wire"),
    ],
)
def test_the_import_check_sees_a_break(tmp_path, place, line):
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert broken_rules(path, tmp_path)


def test_installer_needs_the_standard_library_only():
    import sys

    allowed = set(sys.stdlib_module_names) | {"installer"}
    for path in [ROOT / "install.py", *sources("installer")]:
        assert {top(n) for n in imports(path)} <= allowed, path


def test_no_file_is_loaded_that_could_run_code():
    modules = r"^\s*(import|from) (pickle|dill|joblib|marshal|shelve)\b"
    bad = re.compile(modules + r"|torch\.load\(|allow_pickle\s*=\s*True", re.MULTILINE)
    for path in [*sources("backend"), *sources("blender_addon"), *sources("installer")]:
        if path.parent.name in ("assets", "body_build"):
            continue  # build scripts for our own assets, never run at the user's
        assert not bad.search(path.read_text(encoding="utf-8")), path


def test_no_registry_host_and_no_path_of_one_machine():
    host = re.compile(
        r"pypi\.(python\.)?org|files\.pythonhosted|download\.pytorch|registry\.npmjs|registry\.yarnpkg|deb\.debian\.org"
        r"|huggingface\.co|conda\.anaconda",
        re.I,
    )
    place = re.compile(r"(?<![\w.$}~/-])/(work|tmp|root|home|Users|opt/bf)/[A-Za-z]")
    found = []
    for path in tracked():
        if path.suffix not in TEXT or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if host.search(line) or place.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found


def test_every_file_of_the_addon_says_its_licence():
    for path in sources("blender_addon"):
        shared = path.parent.name == "blender_addon" and path.stem in SHARED
        wanted = "Apache-2.0" if shared else "GPL-3.0-or-later"
        assert path.read_text(encoding="utf-8").startswith(f"# SPDX-License-Identifier: {wanted}\n"), path


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    manifest = tomllib.loads((ROOT / "blender_addon" / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["version"] == project
    assert f"## {project}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_files_are_small_and_finished():
    unfinished = re.compile(r"\b(TODO|FIXME|XXX)\b")
    for path in tracked():
        if path.suffix == ".py" and path != Path(__file__):
            text = path.read_text(encoding="utf-8")
            assert len(text.splitlines()) < 400, path
            assert not unfinished.search(text), path
        assert path.stat().st_size < 40 << 20, path

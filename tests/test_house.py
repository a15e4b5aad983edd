"""The house rules that no formatter knows: who may import whom, what must not stand in a tracked file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = "shared"
"""The one folder of the add-on that the backend imports (Apache-2.0)."""
BLENDER = {"bpy", "bpy_extras", "bmesh", "mathutils", "gpu"}
FLOORS: dict[str, list[set[str]]] = {
    "backend": [
        {"__init__", "errors", "camera"},
        {"records", "files", "nets"},
        {"body", "jobs", "people", "shots"},
        {"options", "fit", "volumes", "points", "synth"},
        {"localizers", "motion"},
        {"pipeline", "stills", "recall", "evaluate"},
        {"serve", "batch", "draw", "train"},
        {"commands"},
        {"__main__"},
    ],
    "blender_addon": [
        {"shared"},
        {"points", "geometry"},
        {"link", "languages"},
        {"scene"},
        {"work", "export", "retarget"},
        {"ops"},
        {"ui"},
        {"__init__"},
        {"headless"},
    ],
}
"""The rooms of each house from the ground up; a file that lies in no folder is a room too. A room imports itself and
rooms of lower floors."""
WITH_BPY = {"languages", "scene", "export", "retarget", "work", "ops", "ui", "__init__", "headless"}
"""Rooms of the add-on that may know Blender."""
OUTSIDE_THE_WHEEL = ("bench", "tools", "tests", "docs", "installer")
TEXT = {".py", ".md", ".toml", ".sh", ".txt", ".json", ".cfg", ".yml", ".yaml", ".mjs", ""}


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def sources(folder: str, root: Path = ROOT) -> list[Path]:
    found = sorted((root / folder).rglob("*.py"))
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


def room_of(path: Path, root: Path = ROOT) -> tuple[str, str]:
    """House and room of a file."""
    house, room, *_ = path.relative_to(root).parts
    return house, Path(room).stem


def floor(house: str, room: str) -> int:
    """Height of a room; a new one must be given its place in FLOORS."""
    return next((height for height, rooms in enumerate(FLOORS[house]) if room in rooms), -1)


def broken_rules(path: Path, root: Path = ROOT) -> list[str]:
    """Import rules that one file breaks, as sentences."""
    house, room = room_of(path, root)
    names = imports(path, root)
    found = []
    if house == "blender_addon":
        found += [
            f"{n}: not in the add-on" for n in names if top(n) in ("torch", *OUTSIDE_THE_WHEEL, "backend")
        ]
        if room not in WITH_BPY:
            found += [f"{n}: only at the add-on's edge" for n in names if top(n) in BLENDER]
        if _absolute(path):
            found.append("blender_addon: import relatively")
    if house == "backend":
        found += [f"{n}: not in the backend" for n in names if top(n) in {*BLENDER, *OUTSIDE_THE_WHEEL}]
        addon = {n.split(".")[1] for n in names if n.startswith("blender_addon.")}
        found += [f"blender_addon.{n}: not shared with the backend" for n in addon - {SHARED}]
    for other in {n.split(".")[1] for n in names if n.startswith(f"{house}.")} - {room}:
        if floor(house, other) >= floor(house, room):
            found.append(f"{house}.{other}: is not below {room}")
    return found


def _absolute(path: Path) -> bool:
    tree = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return any(
        isinstance(n, ast.ImportFrom) and not n.level and top(n.module or "") == "blender_addon" for n in tree
    )


def modules(house: str, root: Path = ROOT) -> dict[str, Path]:
    """Dotted name -> file, packages by their own name."""
    names = {}
    for path in sources(house, root):
        parts = path.relative_to(root).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def arrows(house: str, root: Path = ROOT) -> dict[str, set[str]]:
    """Module -> modules of the same house that it imports."""
    known = modules(house, root)
    found = {}
    for name, path in known.items():
        named = {n for n in imports(path, root) if n in known} - {name}
        # `from package import module` asks for the module; what stands in the package's own file is not meant.
        found[name] = {n for n in named if not any(other.startswith(f"{n}.") for other in named)}
    return found


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Some circle of a graph; empty when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.mark.parametrize("house", FLOORS)
def test_imports_keep_to_the_house(house):
    broken = {str(p.relative_to(ROOT)): rules for p in sources(house) if (rules := broken_rules(p))}
    assert not broken


@pytest.mark.parametrize("house", FLOORS)
def test_every_room_has_a_floor_and_says_what_it_is(house):
    rooms = {room_of(path)[1] for path in sources(house)}
    assert rooms <= set().union(*FLOORS[house])
    silent = [
        p
        for p in sources(house)
        if p.name == "__init__.py" and not ast.get_docstring(ast.parse(p.read_text("utf-8")))
    ]
    assert not silent
    files = [p.name for p in (ROOT / house).glob("*.py")]
    assert len(files) <= 6, files


@pytest.mark.slow
@pytest.mark.parametrize("house", FLOORS)
def test_no_files_form_a_circle(house):
    assert not circle(arrows(house))


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("backend/body/x.py", "def f():\n    import bpy"),
        ("backend/serve/x.py", "from blender_addon import link"),
        ("backend/serve/x.py", "from blender_addon.link.process import start"),
        ("backend/fit/x.py", "from backend.motion import assemble"),
        ("backend/fit/x.py", "from backend.pipeline import mocap"),
        ("backend/nets/x.py", "from ..pipeline import mocap"),
        ("backend/serve/x.py", "from bench import report"),
        ("backend/new/x.py", "from backend.body import load_body"),
        ("blender_addon/link/x.py", "import bpy"),
        ("blender_addon/link/x.py", "from ..scene import keys"),
        ("blender_addon/ops/x.py", "import torch"),
        ("blender_addon/ops/x.py", "from backend import records"),
        ("blender_addon/ops/x.py", "import importlib\nimportlib.import_module('backend.serve.server')"),
        ("blender_addon/ops/x.py", "from blender_addon.shared import wire"),
    ],
)
def test_the_import_check_sees_a_break(tmp_path, place, line):
    path = tmp_path / place
    path.parent.mkdir(parents=True)
    path.write_text(line)
    assert broken_rules(path, tmp_path)


def test_the_circle_check_sees_one(tmp_path):
    room = tmp_path / "backend" / "body"
    room.mkdir(parents=True)
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (room / f"{name}.py").write_text(f"def f():\n    from backend.body.{other} import f")
    assert set(circle(arrows("backend", tmp_path))) == {f"backend.body.{n}" for n in "abc"}


def test_installer_needs_the_standard_library_only():
    allowed = set(sys.stdlib_module_names) | {"installer"}
    for path in [ROOT / "install.py", *sources("installer")]:
        assert {top(n) for n in imports(path)} <= allowed, path


def test_no_file_is_loaded_that_could_run_code():
    loaders = r"^\s*(import|from) (pickle|dill|joblib|marshal|shelve)\b"
    bad = re.compile(loaders + r"|torch\.load\(|allow_pickle\s*=\s*True", re.MULTILINE)
    for path in [*sources("backend"), *sources("blender_addon"), *sources("installer")]:
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
        wanted = "Apache-2.0" if path.parent.name == SHARED else "GPL-3.0-or-later"
        assert path.read_text(encoding="utf-8").startswith(f"# SPDX-License-Identifier: {wanted}\n"), path


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    manifest = tomllib.loads((ROOT / "blender_addon" / "blender_manifest.toml").read_text(encoding="utf-8"))
    assert manifest["version"] == project
    assert f"## [{project}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_files_are_small_and_finished():
    unfinished = re.compile(r"\b(TODO|FIXME|XXX)\b")
    for path in tracked():
        if path.suffix == ".py" and path != Path(__file__):
            text = path.read_text(encoding="utf-8")
            assert len(text.splitlines()) < 400, path
            assert not unfinished.search(text), path
        assert path.stat().st_size < 40 << 20, path

"""What the documents name is there: files, links, headings, commands with their options, names in the code."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import install
from backend.__main__ import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("backend", "blender_addon", "bench", "tools", "tests", "docs", "installer")
OTHERS = ("pytest", "pip")
"""Modules that a document may let the reader run, and that are not ours."""
MOST_LINES = 120
"""Of the README."""

_PATH = re.compile(rf"(?<![\w./<>*-])(?:{'|'.join(FOLDERS)})/[\w./*{{}},<>-]*")
_FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`((?:[^`\n]|\n(?!\n))+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_MODULE = re.compile(r"python(?:3|\.exe)? -m ([\w.]+)(.*)")
_INSTALL = re.compile(r"install\.py (\w+)(.*)")
_OPTION = re.compile(r"(?<!\S)\[?(--[a-z][\w-]*)")
_DOTTED = re.compile(r"(?:backend|blender_addon|bench|tools|installer)(?:\.\w+)+")
_NAME_IN_FILE = re.compile(r"`(\w+)(?:\(\))?`\s(?:\(|in\s|of\s)`([\w/]+\.py)`")


def documents() -> list[Path]:
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.md", "NOTICE"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return sorted({ROOT / name for name in names if name and (ROOT / name).is_file()})


def problems(text: str, folder: Path) -> list[str]:
    """What a document in `folder` says and is not so."""
    prose = _FENCE.sub("", text)
    spans = [" ".join(span.split()) for span in _SPAN.findall(prose)]
    lines = [line for fence in _FENCE.finditer(text) for line in fence[0].splitlines()]
    found = [f"link {target}" for target in _LINK.findall(prose) if not _link_holds(target, text, folder)]
    found += [f"path {path}" for path in _paths([*spans, *lines]) if not _exists(path)]
    for code in [*spans, *lines]:
        found += _wrong_commands(code)
    found += [f"name {span}" for span in spans if _DOTTED.fullmatch(span) and not _is_name(span)]
    for name, path in _NAME_IN_FILE.findall(prose):
        if not (ROOT / path).is_file() or name not in _defined(ROOT / path):
            found.append(f"name {name} in {path}")
    return found


def _link_holds(target: str, text: str, folder: Path) -> bool:
    if re.match(r"[a-z]+:", target):
        return True
    name, _, heading = target.partition("#")
    path = folder / name if name else None
    if path is not None and not path.exists():
        return False
    return not heading or heading in _headings(path.read_text(encoding="utf-8") if path else text)


def _headings(text: str) -> set[str]:
    """Anchors of a document's headings, as they are made from the words."""
    titles = re.findall(r"^#+ +(.+?) *$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _paths(codes: list[str]) -> Iterator[str]:
    for code in codes:
        for found in _PATH.findall(code):
            yield found.rstrip(".,")


def _exists(path: str) -> bool:
    """Whether a path is there; of one with a placeholder, the folder that it lies in; of a pattern, anything."""
    if choice := re.search(r"\{([^}]*)\}", path):
        start, end = path[: choice.start()], path[choice.end() :]
        return all(_exists(start + word.strip() + end) for word in choice[1].split(","))
    if placeholder := re.search(r"NAME|<", path):
        return (ROOT / path[: placeholder.start()].rpartition("/")[0]).is_dir()
    if "*" in path:
        return any(ROOT.glob(path))
    return (ROOT / path).exists()


def _wrong_commands(code: str) -> Iterator[str]:
    for module, rest in _MODULE.findall(code):
        if module in OTHERS or module.rpartition(".")[2].isupper():
            continue
        command = rest.split()[0] if rest.split() else ""
        if module == "backend":
            if not command or command.isupper() or command.startswith("-"):
                continue
            if command not in COMMANDS:
                yield f"command backend {command}"
                continue
            file = ROOT / "backend" / "commands" / f"{command.replace('-', '_')}.py"
        else:
            command = ""
            file = ROOT / f"{module.replace('.', '/')}.py"
            file = file if file.is_file() else file.with_suffix("") / "__main__.py"
            if not file.is_file() or "__main__" not in file.read_text(encoding="utf-8"):
                yield f"command {module}"
                continue
        yield from (
            f"option {o} of {module} {command}" for o in _OPTION.findall(rest) if o not in _options(file)
        )
    for command, rest in _INSTALL.findall(code):
        if command.isupper():
            continue
        known = _install_commands().get(command)
        if known is None:
            yield f"command install.py {command}"
        else:
            yield from (
                f"option {o} of install.py {command}" for o in _OPTION.findall(rest) if o not in known
            )


@cache
def _options(file: Path) -> set[str]:
    """Options that a script knows: its literals, typer's parameters, and what every benchmark has."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = {"--help"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= {part for part in node.value.split("/") if re.fullmatch(r"--[a-z][\w-]*", part)}
        elif isinstance(node, ast.arg):
            option = node.arg.replace("_", "-")
            found |= {f"--{option}", f"--no-{option}"}
    if file.parent.name == "bench" and file.stem != "report":
        found |= _options(ROOT / "bench" / "report.py")
    return found


@cache
def _install_commands() -> dict[str, set[str]]:
    actions = install.parser()._actions
    commands = next(a for a in actions if isinstance(a, argparse._SubParsersAction)).choices
    return {name: set(sub._option_string_actions) for name, sub in commands.items()}


@cache
def _defined(file: Path) -> set[str]:
    """Names that a file defines or brings in, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add(node.asname or node.name)
    return found


def _is_name(dotted: str) -> bool:
    """Whether a dotted name is a module of ours, or something in one."""
    path, parts = ROOT, dotted.split(".")
    while parts and (path / parts[0]).is_dir():
        path = path / parts.pop(0)
    if parts and path.joinpath(f"{parts[0]}.py").is_file():
        path = path / f"{parts.pop(0)}.py"
    file = path if path.is_file() else path / "__init__.py"
    return all(part in _defined(file) for part in parts)


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_names_is_there(path):
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        # Without marks for code: every word may be a path.
        text = re.sub(r"\S+", lambda word: f"`{word[0]}`" if _PATH.match(word[0]) else word[0], text)
    assert problems(text, path.parent) == []


@pytest.mark.parametrize(
    "text",
    [
        "[the road](road.md)",
        "![a picture](docs/images/nothing.png)",
        "[words](#no-such-heading)",
        "[words](docs/architecture.md#no-such-heading)",
        "see `backend/lite/model.py`",
        "see `tests/nothing/*.npz`",
        "see `backend/nothing/NAME.py`",
        "see `backend/fit/{results,nothing}.py`",
        "run `python -m bench.nothing`",
        "run `python -m backend dance`",
        "run `python -m backend mocap CLIP\n--dance`",
        "run `python -m backend.errors`",
        "```\n.venv/bin/python -m bench.fit --nothing 3\n```",
        "run `python install.py dance`",
        "run `python install.py demo --dance`",
        "call `backend.fit.bodyfitter.Nothing`",
        "call `backend.nothing.BodyFitter`",
        "`Nothing` (`backend/pipeline.py`) is the road",
        "`Nothing` in `backend/pipeline.py`",
    ],
)
def test_the_check_sees_a_break(text):
    assert problems(text, ROOT)


def test_the_check_lets_good_things_pass():
    text = """# A word, and more

[here](#a-word-and-more), [there](docs/architecture.md#the-wire), [far](https://example.org/a.md)
`backend/pipeline.py`, `backend/localizers/NAME/`, `tests/golden/*.npz`, `backend/fit/{results,track}.py`
`python -m backend mocap CLIP -o OUT --fbx --max-people 3`, `python -m bench.fit --seed 7 --n 8`, `python -m bench.NAME`
`python -m backend COMMAND`, `python -m pytest tests/fit`, `python -m backend.synth.shards OUT --count 3`
`python install.py extension --platform all`, `backend.fit.bodyfitter.BodyFitter`, `bench.fit`
`mocap` (`backend/pipeline.py`)
"""
    assert problems(text, ROOT) == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_the_readme_leads_to_every_document():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [p.name for p in sorted((ROOT / "docs").glob("*.md")) if f"(docs/{p.name}" not in text] == []


@pytest.mark.parametrize("program", ["backend", "blender_addon"])
def test_every_room_is_described(program):
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.parent.name for path in (ROOT / program).glob("*/*.py")}
    assert [room for room in sorted(rooms) if f"`{program}/{room}/`" not in text] == []


def test_every_command_is_described():
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`python -m backend {name}`" not in text] == []
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert [name for name in _install_commands() if f"`python install.py {name}" not in text] == []


def test_every_bench_has_a_row():
    text = (ROOT / "docs" / "measured.md").read_text(encoding="utf-8")
    sources = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "bench").glob("*.py"))}
    scripts = [name for name, source in sources.items() if "from bench.report import finish" in source]
    assert len(scripts) > 10
    assert [name for name in scripts if f"python -m bench.{name}" not in text] == []


def test_sections_of_the_nlf_page_that_the_code_names_exist():
    text = (ROOT / "docs" / "nlf.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^#{2,3} (\d+(?:\.\d+)?)", text, re.MULTILINE))
    # The pitfalls are one numbered list.
    pitfalls = text[text.index("## 14") :]
    sections |= {f"14.{n}" for n in re.findall(r"^(\d+)\. ", pitfalls, re.MULTILINE)}
    named = re.compile(r"docs/nlf\.md,? (?:sections? )?(\d+(?:\.\d+)?(?:(?:,| and) \d+(?:\.\d+)?)*)")
    found = 0
    for folder in ("backend", "bench", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for match in named.finditer(path.read_text(encoding="utf-8")):
                numbers = re.findall(r"\d+(?:\.\d+)?", match[1])
                found += len(numbers)
                assert set(numbers) <= sections, (path, match[0])
    assert found > 20

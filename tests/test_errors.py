"""Every error code that is raised or sent stands in `backend.errors`, with its sentence, and every one there is used.

A code must be written down where it is raised or sent. What only passes one on says so by its form: `error.code` of an
error that was caught, or a parameter called `code`, whose callers are looked at instead.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.errors import CODES, JobError

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("backend", "bench", "tools")
SENDERS = {"_refuse": 1, "_end": 1}
"""Functions of the server that send a code, and which of their arguments it is."""
READERS = ("REMEDIES", "REFUSED")
"""Names of the add-on's tables of codes."""


def nodes_of(tree: ast.AST, known: frozenset[str] = frozenset()) -> Iterator[tuple[ast.AST, frozenset[str]]]:
    """Every node of a file, with the parameters of the function in which it stands."""
    if isinstance(tree, ast.FunctionDef):
        known = frozenset(a.arg for a in [*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs])
    for child in ast.iter_child_nodes(tree):
        yield child, known
        yield from nodes_of(child, known)


def said_by(node: ast.AST, wire: bool) -> list[ast.expr]:
    """What a node gives as a code. `wire`: it belongs to what speaks with the add-on, and so may send one."""
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        place = 0 if name == "JobError" else SENDERS.get(name, -1) if wire else -1
        return node.args[place : place + 1] + [k.value for k in node.keywords if wire and k.arg == "code"]
    if wire and isinstance(node, ast.Dict):
        names = [k.value if isinstance(k, ast.Constant) else None for k in node.keys]
        return [value for name, value in zip(names, node.values, strict=True) if name == "code"]
    if wire and isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
        pairs = zip(node.targets[0].elts, getattr(node.value, "elts", ()), strict=False)
        return [value for target, value in pairs if getattr(target, "id", "") == "code"]
    return []


def codes_in(text: str, where: str) -> set[str]:
    """The codes that a file raises or sends. Fails for one that cannot be read off."""
    found = set()
    for node, known in nodes_of(ast.parse(text)):
        for value in said_by(node, where.startswith("backend/serve/")):
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found.add(value.value)
                continue
            of_an_error = isinstance(value, ast.Attribute) and value.attr == "code"
            given = isinstance(value, ast.Name) and value.id == "code" and "code" in known
            assert of_an_error or given, f"{where}: write the code down instead of {ast.unparse(value)}"
    return found


def used() -> dict[str, str]:
    """Every code, and a file in which it is raised or sent."""
    found = {}
    for path in [p for folder in FOLDERS for p in sorted((ROOT / folder).rglob("*.py"))]:
        where = path.relative_to(ROOT).as_posix()
        found |= dict.fromkeys(codes_in(path.read_text(encoding="utf-8"), where), where)
    return found


def test_every_code_that_is_raised_or_sent_is_in_the_table():
    assert {code: where for code, where in used().items() if code not in CODES} == {}


@pytest.mark.slow
def test_every_code_of_the_table_is_raised_or_sent():
    assert set(CODES) - set(used()) == set()


@pytest.mark.slow
def test_codes_that_the_wire_alone_has_are_seen():
    """Else the two tests above could agree on nothing."""
    wire = {"internal", "no_hello", "bad_token", "version", "malformed", "stopped", "silent", "cancelled"}
    assert wire <= set(used()) and len(used()) > 40


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_one_plain_sentence(code):
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)
    text = CODES[code]
    assert text[0].isupper() and text.endswith(".") and "\n" not in text and text == text.strip()
    assert ". " not in text and len(text) < 110


def test_the_add_on_knows_no_other_codes():
    read = {}
    for path in sorted((ROOT / "blender_addon").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in READERS:
                # Keys of a table, or all of a tuple.
                read[node.targets[0].id] = set(ast.literal_eval(node.value))
    assert set(read) == set(READERS) and all(read.values())
    assert set().union(*read.values()) <= set(CODES)


def test_an_unknown_code_cannot_be_raised():
    with pytest.raises(AssertionError, match=r"'typo' is missing from backend\.errors\.CODES"):
        JobError("typo", "A sentence.")
    error = JobError("no_job", "There is no job x here.")
    assert error.code == "no_job" and str(error) == "There is no job x here."


@pytest.mark.parametrize(
    "line",
    [
        'raise JobError("typo", "A sentence.")',
        'raise errors.JobError("typo", "A sentence.")',
        'self._refuse(identity, "typo", "A sentence.")',
        'self._end(FAILED, "typo", "A sentence.")',
        'self.say("error", code="typo", text="A sentence.")',
        'Said("", "error", {"code": "typo", "text": "A sentence."})',
        'code, text = "typo", "A sentence."',
    ],
)
def test_the_walk_sees_a_code_however_it_is_said(line):
    assert codes_in(f"def f(self):\n    {line}", "backend/serve/x.py") == {"typo"}


@pytest.mark.parametrize(
    "line", ["raise JobError(kind, text)", 'JobError("bad_" + kind, text)', "self.say('error', code=code)"]
)
def test_a_code_that_is_worked_out_is_refused(line):
    with pytest.raises(AssertionError, match="write the code down"):
        codes_in(f"def f(self, kind):\n    {line}", "backend/serve/x.py")


def test_a_code_that_is_passed_on_is_not_worked_out():
    text = "def f(code):\n    send(code=code)\ntry: ...\nexcept E as e: _refuse(one, e.code)"
    assert codes_in(text, "backend/serve/x.py") == set()

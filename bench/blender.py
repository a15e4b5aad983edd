"""Runs the half of a benchmark that needs Blender, in a Python that has its module `bpy`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from backend.errors import JobError

ROOT = Path(__file__).resolve().parents[1]


def in_blender(module: str, *arguments: str, python: str | None = None) -> dict:
    """`python -m module arguments`, with `module` looked up in tests/ -> the JSON object in its last line.

    `python`: an interpreter with bpy, None for this one. Raises JobError("no_bpy") with its own last words.
    """
    # "tests" itself is the name of a package that others install too, so the room below it is named.
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    command = [python or sys.executable, "-m", module, *arguments]
    ran = subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, encoding="utf-8", check=False
    )
    lines = [line for line in ran.stdout.splitlines() if line.startswith("{")]
    if ran.returncode or not lines:
        why = (ran.stderr.strip().splitlines() or ["it left no word"])[-1]
        raise JobError(
            "no_bpy", f"The benchmark needs a Python with bpy and the tests beside the backend: {why}"
        )
    return json.loads(lines[-1])

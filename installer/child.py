"""The set-up as Blender's add-on runs it: a process of its own that says on standard output how it gets on.

    python -m installer.child --venv DIR --locator FILE [--index URL] [--torch-index URL] [--wheels DIR]
                              [--package WHEEL]

Each line is one JSON object: {"type": "progress", "text", "detail"}, {"type": "note", "text"}, at the end
{"type": "done", "python"} or {"type": "error", "text"}. Run again after an interruption, it
continues where it stopped. It is in the extension too (folder `setup_files`), beside a copy of `pyproject.toml`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from installer import ROOT, SetupError
from installer.environment import Environment, locate, set_up
from installer.terminal import Line


class Spoken(Line):
    """Progress as JSON lines; the same words are not said twice."""

    def __init__(self) -> None:
        super().__init__()
        self._said = ("", "")

    def __enter__(self) -> Spoken:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def show(self, label: str, fraction: float | None = None, detail: str = "") -> None:
        """See `Line.show`."""
        if (label, detail) != self._said:
            self._said = (label, detail)
            say("progress", text=label, detail=detail)

    def note(self, text: str) -> None:
        """See `Line.note`."""
        say("note", text=text)


def say(kind: str, **fields: object) -> None:
    """One line."""
    print(json.dumps({"type": kind, **fields}), flush=True)


def main(arguments: list[str]) -> int:
    """Exit code: 0 done, 1 failed."""
    parser = argparse.ArgumentParser(prog="installer.child")
    parser.add_argument("--venv", required=True)
    parser.add_argument("--locator", type=Path, required=True)
    for name in ("--index", "--torch-index", "--torch", "--wheels", "--package"):
        parser.add_argument(name)
    args = parser.parse_args(arguments)
    args.blender = None
    try:
        env = set_up(args, ("base",), Spoken)
        root: Path | None = ROOT
        if args.package:
            _install_package(env, Path(args.package))
            root = None
        locate(args.locator, env.python, root)
    except SetupError as error:
        say("error", text=str(error))
        return 1
    say("done", python=str(env.python))
    return 0


def _install_package(env: Environment, wheel: Path) -> None:
    """The backend itself, when it comes as a wheel; again when it is another one."""
    wanted = [wheel.name, str(wheel.stat().st_size)]
    if not env.finished("backend", wanted):
        with Spoken() as line:
            env.pip(
                "Installing the backend",
                ["install", "--no-deps", "--no-index", "--force-reinstall", str(wheel)],
                line,
            )
        env.note("backend", wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

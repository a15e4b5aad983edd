"""Take away what install.py made: the add-on in every Blender, the environment, the way to it, and jobs if asked."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from installer import SetupError
from installer.environment import STATE_FILE, Environment, ask_addon


def environment_to_remove(env: Environment) -> Path | None:
    """Its folder, None where there is none. Raises SetupError for a folder that was not made here."""
    if not env.folder.exists():
        return None
    if not (env.folder / STATE_FILE).is_file() or not (env.folder / "pyvenv.cfg").is_file():
        raise SetupError(
            f"{env.folder} is no environment that install.py made: delete it yourself if you want."
        )
    if Path(sys.prefix).resolve() == env.folder.resolve():
        raise SetupError(
            f"This Python lies in {env.folder}, which is to be removed: run the command with a different Python."
        )
    return env.folder


def what_is_there(env: Environment, jobs: bool) -> list[tuple[Path, str]]:
    """(path, size in words) of all that would be deleted. Raises SetupError, also while a backend runs."""
    said = json.loads(
        ask_addon(
            "__import__('json').dumps([[str(p), setup.in_words(setup.size_of(p))] for p in "
            f"[home.Path({str(env.folder)!r}), home.locator_path(), *setup.records()]])"
        )
    )
    if pid := ask_addon("getattr(process.running_endpoint(), 'pid', '')"):
        raise SetupError(f"The backend is running (process {pid}): close Blender, then run this again.")
    (_, size), (locator, _), *records = said
    found = [(folder, size)] if (folder := environment_to_remove(env)) else []
    if names_this(Path(locator), env):
        found.append((Path(locator), "the add-on's way to it"))
    return [*found, *((Path(path), words) for path, words in records if jobs)]


def names_this(locator: Path, env: Environment) -> bool:
    """Whether the add-on's locator file leads to this environment; that of *Set Up Backend* is another."""
    try:
        return Path(json.loads(locator.read_text("utf-8"))["python"]).is_relative_to(env.folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def delete(paths: list[Path]) -> None:
    """Delete files and folders. Raises SetupError with the first that stays."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        if path.exists():
            raise SetupError(f"{path} could not be deleted whole: close what uses it, then run this again.")

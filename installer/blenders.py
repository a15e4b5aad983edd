"""Blenders found on this machine, and what their own Python needs to run the add-on without a window."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from installer import SetupError
from installer.environment import Environment
from installer.pins import pin_of
from installer.terminal import Line

OLDEST = (4, 2)
"""The first Blender with extensions."""


@dataclass(frozen=True)
class Blender:
    """A Blender on this machine."""

    path: Path
    """Of the program."""
    version: tuple[int, ...]
    """Of Blender, as numbers."""
    python: tuple[int, int]
    """Version of the Python inside it, as numbers."""

    def __str__(self) -> str:
        version, python = (".".join(map(str, numbers)) for numbers in (self.version, self.python))
        return f"Blender {version} (Python {python}) at {self.path}"


def candidates() -> list[Path]:
    """Programs that may be Blender: on PATH first, then the usual folders, newest first."""
    found = [Path(p) for p in [shutil.which("blender")] if p]
    if os.name == "nt":
        bases = [
            Path(os.environ[k])
            for k in ("ProgramFiles", "ProgramFiles(x86)", "LOCALAPPDATA")
            if k in os.environ
        ]
        patterns = ["Blender Foundation/Blender*/blender.exe", "Steam/steamapps/common/Blender/blender.exe"]
    else:
        bases = [Path("/Applications"), Path("/opt"), Path("/usr/local"), Path("/snap/bin"), Path.home()]
        bases += [Path.home() / "Applications", Path.home() / ".local" / "share", Path.home() / "Downloads"]
        patterns = ["Blender*.app/Contents/MacOS/Blender", "blender", "blender*/blender", "Blender*/blender"]
    for base in bases:
        for pattern in patterns:
            found += sorted((p for p in base.glob(pattern) if p.is_file()), key=_numbers, reverse=True)
    return list(dict.fromkeys(found))


def _numbers(path: Path) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", str(path))]


def ask(path: Path) -> Blender | None:
    """Start a Blender and let it say its versions; None when it is none or does not start."""
    code = "import bpy, sys; print('VERSIONS', *bpy.app.version, *sys.version_info[:2])"
    try:
        run = subprocess.run(
            [str(path), "-b", "--factory-startup", "--python-expr", code],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=120,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = re.search(r"VERSIONS (\d+) (\d+) (\d+) (\d+) (\d+)", run.stdout)
    numbers = [int(n) for n in said.groups()] if said else []
    return Blender(path, tuple(numbers[:3]), (numbers[3], numbers[4])) if said else None


def choose(wanted: str | None) -> Blender:
    """The Blender that the user named, or the first found that is new enough. Raises SetupError."""
    if wanted:
        blender = ask(Path(shutil.which(wanted) or wanted))
        if blender is None:
            raise SetupError(
                f"{wanted} does not start as a Blender: give --blender the path of Blender's program."
            )
        if blender.version < OLDEST:
            raise SetupError(f"{blender} is too old: Bodyfield needs Blender 4.2 or newer.")
        return blender
    for path in candidates():
        blender = ask(path)
        if blender and blender.version >= OLDEST:
            return blender
    raise SetupError(
        "Blender has no Python module for this Python, and no Blender 4.2 or newer was found: run this with "
        "Python 3.11 or 3.13, or install Blender, or name it with --blender PATH."
    )


def packages(env: Environment, blender: Blender, line: Line) -> Path:
    """Folder with pyzmq and av for this Blender's Python, filled at the first call."""
    version = ".".join(map(str, blender.python))
    folder, step, wanted = (
        env.folder / f"blender-python-{version}",
        f"blender-{version}",
        [pin_of("pyzmq"), pin_of("av")],
    )
    if folder.is_dir() and env.finished(step, wanted):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    fixed = ["--target", str(folder), "--python-version", version, "--only-binary", ":all:", "--no-deps"]
    env.pip("Installing what Blender's Python needs", ["install", *fixed, *env.sources(), *wanted], line)
    env.note(step, wanted)
    return folder


def background_command(blender: Blender, paths: list[Path], module: str, arguments: list[str]) -> list[str]:
    """Command line that runs `module.main(arguments)` in a windowless Blender; exit code handed on."""
    code = (
        f"import sys, importlib; sys.path[:0] = {[str(p) for p in paths]!r}; "
        f"code = importlib.import_module({module!r}).main(sys.argv[sys.argv.index('--') + 1:]); "
        "sys.stdout.flush(); sys.exit(code or 0)"
    )
    fixed = ["-b", "--factory-startup", "--python-exit-code", "1", "--python-expr", code]
    return [str(blender.path), *fixed, "--", *arguments]


def all_blenders(wanted: str | None) -> list[Blender]:
    """Every Blender on this machine that is new enough, or the one that the user named. Raises SetupError."""
    if wanted:
        return [choose(wanted)]
    found = [blender for blender in map(ask, candidates()) if blender and blender.version >= OLDEST]
    if not found:
        raise SetupError(
            "No Blender 4.2 or newer was found: install one, or name its program with --blender PATH."
        )
    return found


def install_into(blender: Blender, package: Path) -> None:
    """Install and enable the extension for this user, in place of an older one. Raises SetupError."""
    command = [
        str(blender.path),
        "--command",
        "extension",
        "install-file",
        "--repo",
        "user_default",
        "--enable",
    ]
    run = subprocess.run(
        [*command, str(package)], capture_output=True, encoding="utf-8", errors="replace", check=False
    )
    said = (run.stdout + run.stderr).strip()
    if run.returncode:
        raise SetupError(
            f"{blender} did not take {package.name} ({said.splitlines()[-1] if said else 'no reason'}): install it by "
            "hand, Preferences, Get Extensions, Install from Disk."
        )


def remove_from(blender: Blender) -> bool:
    """Uninstall the extension, with the folder that Blender gave it; False where it was not. Raises SetupError."""
    command = [str(blender.path), "--command", "extension", "remove", "bodyfield"]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    said = (run.stdout + run.stderr).strip()
    if run.returncode and '"bodyfield" not installed' not in said:
        raise SetupError(
            f"{blender} did not remove the add-on ({said.splitlines()[-1] if said else 'no reason'}): uninstall it by "
            "hand, Preferences, Add-ons."
        )
    return run.returncode == 0


def installed_module_tool(env: Environment) -> Path | None:
    """Blender's extension tool inside its Python module, None where that is not installed."""
    pattern = "bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py"
    return next(iter(env.site.glob(pattern)), None) if env.site else None


def validate_extension(env: Environment, package: Path, blender: str | None) -> str:
    """Let Blender's own tool check a built zip; returns what it said. Raises SetupError where it says no."""
    tool = None if blender else installed_module_tool(env)
    if tool:
        command = [str(env.python), str(tool), "validate", str(package)]
    else:
        command = [str(choose(blender).path), "--command", "extension", "validate", str(package)]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    said = (run.stdout + run.stderr).strip()
    if run.returncode:
        raise SetupError(
            f"Blender's own check refuses {package}: {said.splitlines()[-1] if said else 'no reason'}"
        )
    return said

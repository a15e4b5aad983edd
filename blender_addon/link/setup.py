# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets up the backend's private environment: a child process, watched without waiting. Standard library only, no bpy.

The child is `installer.child`, run by Blender's own Python. It writes its lines into a file, which is read
as it grows. It may be ended at any time; started again, it continues where it stopped.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ..shared.home import home_folder, locator_path, log_path

LOG, LINES = "setup.log", "setup.jsonl"
_HERE = Path(__file__).resolve().parents[1]


class SetupMissing(Exception):  # noqa: N818 - read as a sentence
    """There is nothing to set up from. The message is one sentence."""


@dataclass(frozen=True)
class Sources:
    """Where packages come from; empty texts mean pip's own default."""

    index: str = ""
    """Address of the package index."""
    torch_index: str = ""
    """Address of the package index for PyTorch alone; empty: as for the others."""
    wheels: str = ""
    """A folder of wheels; with one nothing is fetched from a network."""

    def arguments(self) -> list[str]:
        """As options of `installer.child`."""
        given = {"--index": self.index, "--torch-index": self.torch_index, "--wheels": self.wheels}
        return [word for option, value in given.items() if value for word in (option, value)]


@dataclass
class SetupProcess:
    """A set-up under way."""

    folder: Path
    """Where the environment goes."""
    child: subprocess.Popen
    """The process that sets it up."""
    state: str = "running"
    """"running", then "done", "failed" or "cancelled"."""
    text: str = "Starting"
    """What it does right now, in a few words."""
    detail: str = ""
    """How far it is with that; may be empty."""
    error: str | None = None
    """One sentence when it has failed."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the user, oldest first."""
    _read: int = 0
    """Bytes of its file of lines that have been read."""

    @property
    def log(self) -> Path:
        """All that pip said."""
        return self.folder / LOG

    def poll(self) -> bool:
        """Take in what was said since the last call; True when there was something."""
        if self.state != "running":
            return False
        # Asked first: what is read afterwards is then all that it has said.
        ended = self.child.poll()
        news = self._take_in()
        if ended is not None and self.state == "running":
            self.state = "failed"
            self.error = (
                f"The set-up ended without a word (exit code {ended}); press Set Up Backend to go on."
            )
            return True
        return news

    def cancel(self) -> None:
        """End the child and what it has started; what is finished stays for the next time."""
        if self.state != "running":
            return
        self.state = "cancelled"
        if sys.platform == "win32":
            # The tree: pip is a child of the child.
            subprocess.run(
                ["taskkill", "/F", "/T", "/PID", str(self.child.pid)], capture_output=True, check=False
            )
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.child.wait(5)

    def _take_in(self) -> bool:
        with (self.folder.parent / LINES).open("rb") as file:
            file.seek(self._read)
            lines = file.read().split(b"\n")
        # The last one is still being written, or empty.
        for line in lines[:-1]:
            self._read += len(line) + 1
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._digest(json.loads(line))
        return len(lines) > 1

    def _digest(self, said: dict) -> None:
        if said["type"] == "progress":
            self.text, self.detail = said["text"], said["detail"]
        elif said["type"] == "note":
            self.notes.append(said["text"])
        elif said["type"] == "error":
            self.state, self.error = "failed", said["text"]
        elif said["type"] == "done":
            self.state = "done"


def setup_root() -> tuple[Path, Path | None]:
    """(folder that holds `installer`, the backend's wheel or None in a source tree). Raises SetupMissing."""
    wheels = sorted((_HERE / "backend_wheel").glob("*.whl"))
    for root, wheel in ((_HERE / "setup_files", wheels[-1] if wheels else None), (_HERE.parent, None)):
        if (root / "installer" / "child.py").is_file() and (root / "pyproject.toml").is_file():
            return root, wheel
    raise SetupMissing(
        "This copy of the add-on cannot set the backend up; run 'python install.py setup' in its folder."
    )


def start(folder: Path, sources: Sources, python: str = sys.executable) -> SetupProcess:
    """Start the set-up into `folder`; returns at once. `python`: Blender's own. Raises SetupMissing."""
    root, wheel = setup_root()
    command = [python, "-m", "installer.child", "--venv", str(folder), "--locator", str(locator_path())]
    command += [*sources.arguments(), *(["--package", str(wheel)] if wheel else [])]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}
    options: dict = {"start_new_session": True}
    if sys.platform == "win32":
        options = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lines = folder.parent / LINES
        with lines.open("wb") as out:
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=root,
                env={**kept, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"},
                **options,
            )
    except OSError as error:
        raise SetupMissing(
            f"The set-up could not be started ({error}); check that {folder} can be written."
        ) from error
    return SetupProcess(folder, child)


def remove(folder: Path) -> None:
    """Delete the environment, what its set-up said, and the file by which the add-on finds it if it names this one."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        said = json.loads(locator_path().read_text("utf-8"))
        if Path(said["python"]).is_relative_to(folder):
            locator_path().unlink()
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        (folder.parent / LINES).unlink(missing_ok=True)


def records() -> list[Path]:
    """What is left of jobs in Bodyfield's folder: the jobs themselves and the log, as far as they exist."""
    return [path for path in (home_folder() / "jobs", log_path()) if path.exists()]


def remove_records() -> None:
    """Delete all jobs and the log; what is in .blend files is not touched, nor are weights of the user's own."""
    for path in records():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def size_of(*paths: Path) -> int:
    """Bytes of these files and of all below these folders; what is not there counts nothing."""
    total = 0
    for path in paths:
        files = path.rglob("*") if path.is_dir() else [path]
        for file in files:
            with contextlib.suppress(OSError):
                total += file.lstat().st_size
    return total


def in_words(size: int) -> str:
    """Bytes as 2.1 GB or 310 MB; "nothing" for 0."""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{max(1, round(size / 1e6))} MB" if size else "nothing"

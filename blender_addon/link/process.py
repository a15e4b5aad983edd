# SPDX-License-Identifier: GPL-3.0-or-later
"""Find, start, watch and stop the backend process. Standard library only; no thread, no waiting.

The backend writes `endpoint.json` into the user's Bodyfield folder (`home_folder()`) once it listens, readable by
that user alone, and removes it at its end. Whoever finds the file of a living backend uses that one;
otherwise `connect_or_start` starts a child process that ends with its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..shared.alive import pid_alive
from ..shared.home import Endpoint, endpoint_path, home_folder, locator_path, log_path, read_endpoint
from ..shared.threads import give_way

PYTHON_VARIABLE = "BODYFIELD_PYTHON"
SETUP_HINT = "run 'python install.py setup' in the Bodyfield folder"
MAX_LOG_BYTES = 4 << 20

_CONNECT_S = 0.5


class BackendMissing(Exception):  # noqa: N818 - read as a sentence
    """No backend is installed. The message is one sentence that says how to install it."""


class BackendFailed(Exception):  # noqa: N818
    """The backend could not be started or used. The message is one sentence with the reason."""


@dataclass(frozen=True)
class BackendCommand:
    """How to run the backend."""

    python: Path
    """Interpreter of the backend's environment."""
    root: Path | None = None
    """Folder that holds the package `backend`; None when it is installed in that environment."""

    def arguments(self, *more: str) -> list[str]:
        """The command line of `python -m backend ...`."""
        return [str(self.python), "-m", "backend", *more]

    def environment(self) -> dict[str, str]:
        """This process's environment without what would bend the other Python (Blender sets some of it)."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}
        kept["PYTHONUTF8"] = "1"
        if self.root is not None:
            kept["PYTHONPATH"] = str(self.root)
        give_way(kept)
        return kept


def running_endpoint() -> Endpoint | None:
    """Where the user's backend listens, or None. The file of a backend that died is removed."""
    # Asked first: a file that comes up after this is that of a living backend and must not be removed.
    if not endpoint_path().exists():
        return None
    found = read_endpoint()
    if found is not None and _listens(*found.address):
        return found
    with contextlib.suppress(OSError):
        endpoint_path().unlink()
    return None


def _listens(host: str, port: int) -> bool:
    # After a reboot the pid in the file may belong to somebody else, so the port is asked too.
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_S):
            return True
    except OSError:
        return False


def find_backend(python: str | Path | None = None) -> BackendCommand:
    """The installed backend: `BODYFIELD_PYTHON`, else `python` (the add-on's preference), else the locator.

    Raises BackendMissing with what to do.
    """
    for source, value in ((PYTHON_VARIABLE, os.environ.get(PYTHON_VARIABLE)), ("the preferences", python)):
        if value:
            path = Path(value).expanduser()
            if not path.is_file():
                raise BackendMissing(
                    f"The backend's Python named in {source}, {path}, does not exist: correct it, "
                    f"or {SETUP_HINT}."
                )
            return BackendCommand(path, _source_root() or _root_around(path))
    try:
        located = json.loads(locator_path().read_text("utf-8"))
        path, root = Path(located["python"]), located.get("root")
        root = Path(root) if root else None
    except FileNotFoundError:
        raise BackendMissing(f"The Bodyfield backend is not installed: {SETUP_HINT}.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BackendMissing(f"The file {locator_path()} cannot be read: {SETUP_HINT} again.") from None
    if not path.is_file() or (root is not None and not (root / "backend" / "__main__.py").is_file()):
        raise BackendMissing(f"The backend was moved or removed from {root or path}: {SETUP_HINT} again.")
    return BackendCommand(path, root)


def _source_root() -> Path | None:
    """The folder above the add-on when it is a source tree that holds the backend too."""
    root = Path(__file__).resolve().parents[2]
    return root if (root / "backend" / "__main__.py").is_file() else None


def _root_around(python: Path) -> Path | None:
    """The Bodyfield folder in which `python` lies as that of a virtual environment (`.venv/bin/python`)."""
    above = python.absolute().parents[:4]
    return next((folder for folder in above if (folder / "backend" / "__main__.py").is_file()), None)


class BackendProcess:
    """A backend in use: our own child process, or one that was running already (`child` None)."""

    def __init__(
        self, child: subprocess.Popen | None, endpoint: Endpoint | None = None, log_start: int = 0
    ) -> None:
        self.child = child
        self.endpoint = endpoint
        self._log_start = log_start

    def poll_ready(self) -> Endpoint | None:
        """The endpoint once the backend listens, None while it starts; never waits.

        Raises BackendFailed when the child ended before that.
        """
        if self.endpoint is None:
            ended = self.child.poll()
            self.endpoint = running_endpoint()
            if self.endpoint is None and ended is not None:
                raise BackendFailed(
                    f"The backend ended while starting (exit code {ended}): {_last_words(self._log_start)} "
                    f"The whole log is in {log_path()}."
                )
            check_version(self.endpoint)
        return self.endpoint

    def alive(self) -> bool:
        """False once the backend has ended."""
        if self.child is not None and self.child.poll() is None:
            return True
        return self.endpoint is not None and pid_alive(self.endpoint.pid)

    def stop(self, timeout_s: float = 5.0) -> None:
        """End our child: ask, wait at most `timeout_s`, then force. A backend that is not ours is left alone.

        Where a signal cannot ask (Windows), say `bye` with stop first (`Client.close(stop=True)`).
        """
        if self.child is None:
            return
        if sys.platform != "win32" and self.child.poll() is None:
            self.child.terminate()
        try:
            self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._kill()
            self.child.wait()
        # Removes the endpoint file of a backend that could not do so itself.
        running_endpoint()

    def _kill(self) -> None:
        if sys.platform == "win32":
            self.child.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)


def start(command: BackendCommand, device: str = "auto") -> BackendProcess:
    """Start `python -m backend serve` as a child that ends with this process; returns at once.

    Ask `poll_ready()` for the endpoint. Raises BackendFailed when the system cannot start it.
    """
    folder = home_folder()
    arguments = command.arguments(
        "serve", "--home", str(folder), "--device", device, "--parent-pid", str(os.getpid())
    )
    options: dict = {"start_new_session": True}
    if sys.platform == "win32":
        flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        # Elsewhere the backend steps back itself (`commands.serve`).
        flags |= subprocess.BELOW_NORMAL_PRIORITY_CLASS
        options = {"creationflags": flags}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        log = log_path()
        fresh = not log.exists() or log.stat().st_size > MAX_LOG_BYTES
        with log.open("wb" if fresh else "ab") as output:
            # On Windows a file opened for appending says 0 until its end is sought.
            log_start = output.seek(0, os.SEEK_END)
            child = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=command.environment(),
                **options,
            )
    except OSError as error:
        raise BackendFailed(f"The backend could not be started ({error}): {SETUP_HINT} again.") from None
    return BackendProcess(child, log_start=log_start)


def connect_or_start(python: str | Path | None = None, device: str = "auto") -> BackendProcess:
    """The backend that is running, else a new child. Raises BackendMissing or BackendFailed."""
    endpoint = running_endpoint()
    check_version(endpoint)
    if endpoint is not None:
        return BackendProcess(None, endpoint)
    return start(find_backend(python), device)


def check_version(endpoint: Endpoint | None) -> None:
    """Raises BackendFailed when the endpoint speaks another protocol version than this add-on."""
    # Here, since it imports numpy: the rest serves install.py, in a Python that has nothing, too.
    from ..shared.wire import VERSION

    if endpoint is not None and endpoint.version != VERSION:
        raise BackendFailed(
            f"The backend that is running (process {endpoint.pid}) speaks protocol version "
            f"{endpoint.version}, this add-on version {VERSION}: end it, install the same release of both "
            "and try again."
        )


def _last_words(log_start: int) -> str:
    """The last line that was logged after `log_start` bytes, as a sentence."""
    nothing = "it left no word."
    try:
        with log_path().open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(log_start, end - 4096))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines()]
    except OSError:
        return nothing
    last = next((line for line in reversed(lines) if line), nothing)
    return last if last.endswith((".", "!", "?")) else last + "."

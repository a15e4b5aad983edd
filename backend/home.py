"""The user's Bodyfield folder, and the endpoint file in it by which an add-on finds the running backend."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import platformdirs

from backend.lifeline import pid_alive
from blender_addon.wire import VERSION

HOME_VARIABLE = "BODYFIELD_HOME"


@dataclass(frozen=True)
class EndpointFile:
    """What `endpoint.json` says: where the backend listens, the token to show, its process, its protocol."""

    endpoint: str
    token: str
    pid: int
    version: int = VERSION


class AlreadyRunning(Exception):  # noqa: N818 - read as a sentence
    """Another backend of this user is alive. The message is one sentence that says what to do."""


def home_folder() -> Path:
    """`BODYFIELD_HOME`, else the system's folder for a user's application data."""
    if override := os.environ.get(HOME_VARIABLE):
        return Path(override).expanduser().absolute()
    return Path(platformdirs.user_data_dir("bodyfield", appauthor=False))


def endpoint_path(home: Path) -> Path:
    """The endpoint file of the backend that serves `home`."""
    return home / "endpoint.json"


def read_endpoint(home: Path) -> EndpointFile | None:
    """The endpoint file if it is whole and its process lives, else None. Changes nothing."""
    try:
        data = json.loads(endpoint_path(home).read_text("utf-8"))
        found = EndpointFile(data["endpoint"], data["token"], data["pid"], data["version"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found.pid, int) and pid_alive(found.pid) else None


def running_endpoint() -> str | None:
    """Address of this user's running backend, or None."""
    found = read_endpoint(home_folder())
    return found.endpoint if found else None


def check_alone(home: Path) -> None:
    """Raises AlreadyRunning when a living backend serves `home`; removes what a dead one left."""
    found = read_endpoint(home)
    if found is not None and found.pid != os.getpid():
        raise AlreadyRunning(
            f"A backend already runs for {home} (process {found.pid}, {found.endpoint}): use that one, "
            "end it, or give another folder with --home."
        )
    endpoint_path(home).unlink(missing_ok=True)


def publish(home: Path, endpoint: str) -> EndpointFile:
    """Write the endpoint file with a fresh token, whole or not at all, readable by this user alone.

    Raises AlreadyRunning when another backend was faster.
    """
    file = EndpointFile(endpoint, secrets.token_urlsafe(32), os.getpid())
    path = endpoint_path(home)
    temporary = home / f".endpoint.{os.getpid()}.tmp"
    temporary.unlink(missing_ok=True)
    # On Windows the mode says nothing, but the folder of application data is the user's alone there.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump(asdict(file), out)
        _rename_unless_there(temporary, path)
    except FileExistsError:
        check_alone(home)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return file


def _rename_unless_there(source: Path, target: Path) -> None:
    if sys.platform == "win32":
        source.rename(target)
        return
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without hard links: the tiny race between two backends stays open there.
        source.replace(target)


def withdraw(home: Path, file: EndpointFile) -> None:
    """Remove the endpoint file if it is still ours."""
    found = read_endpoint(home)
    if found is not None and found.token == file.token:
        with contextlib.suppress(OSError):
            endpoint_path(home).unlink()

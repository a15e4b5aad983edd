"""The endpoint file of a running backend: written once it listens, taken away at its end."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
from dataclasses import asdict
from pathlib import Path

from blender_addon.shared.home import Endpoint, endpoint_path, read_endpoint
from blender_addon.shared.wire import VERSION


class AlreadyRunning(Exception):  # noqa: N818 - read as a sentence
    """Another backend of this user is alive. The message is one sentence that says what to do."""


def running_endpoint() -> str | None:
    """Address of this user's running backend, or None."""
    found = read_endpoint()
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


def publish(home: Path, endpoint: str) -> Endpoint:
    """Write the endpoint file with a fresh token, whole or not at all, readable by this user alone.

    Raises AlreadyRunning when another backend was faster.
    """
    file = Endpoint(endpoint, secrets.token_urlsafe(32), os.getpid(), VERSION)
    path = endpoint_path(home)
    temporary = home / f".endpoint.{os.getpid()}.tmp"
    temporary.unlink(missing_ok=True)
    # Not `whole`: it must never replace another backend's file, nor be readable by others even for a moment. On
    # Windows the mode says nothing, but the folder of application data is the user's alone there.
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


def withdraw(home: Path, file: Endpoint) -> None:
    """Remove the endpoint file if it is still ours."""
    found = read_endpoint(home)
    if found is not None and found.token == file.token:
        with contextlib.suppress(OSError):
            endpoint_path(home).unlink()

# SPDX-License-Identifier: Apache-2.0
"""The user's Bodyfield folder and the files in it by which the two sides find each other. Standard library only."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .alive import pid_alive

HOME_VARIABLE = "BODYFIELD_HOME"
_MAX_ENDPOINT_BYTES = 1 << 16


def home_folder() -> Path:
    """Endpoint file, jobs, weights, logs. `BODYFIELD_HOME`, else the system's place for a user's application data."""
    if override := os.environ.get(HOME_VARIABLE):
        return Path(override).expanduser().absolute()
    if sys.platform == "win32":
        # Below LOCALAPPDATA everything is readable by the user alone.
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = os.environ.get("XDG_DATA_HOME", "").strip() or Path.home() / ".local" / "share"
    return Path(base) / "bodyfield"


def endpoint_path(home: Path | None = None) -> Path:
    """The file in which a running backend says where it listens. `home`: another folder than the user's own."""
    return (home or home_folder()) / "endpoint.json"


def log_path() -> Path:
    """What the backend printed, the newest at the end; for the user to read when something failed."""
    return home_folder() / "backend.log"


def locator_path() -> Path:
    """Written by install.py: {"python": interpreter, "root": folder that holds `backend` or null}."""
    return home_folder() / "backend.json"


@dataclass(frozen=True)
class Endpoint:
    """What the endpoint file says of a backend."""

    endpoint: str
    """Where it listens, "tcp://host:port"."""
    token: str
    """What a client must show."""
    pid: int
    """Its process."""
    version: int
    """Of the protocol that it speaks, `wire.VERSION`."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.endpoint)
        return parts.hostname or "", parts.port or 0


def read_endpoint(home: Path | None = None) -> Endpoint | None:
    """The endpoint file if it is whole and its process lives, else None. Changes nothing."""
    try:
        with endpoint_path(home).open("rb") as file:
            data = json.loads(file.read(_MAX_ENDPOINT_BYTES))
        found = Endpoint(data["endpoint"], data["token"], data["pid"], data["version"])
        good = isinstance(found.token, str) and _whole(found.pid) and _whole(found.version)
        host, port = found.address
        good = good and urlsplit(found.endpoint).scheme == "tcp" and bool(host and port)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return found if good and pid_alive(found.pid) else None


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)

"""`python -m backend serve`: the process that Blender talks to."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from backend.errors import JobError
from backend.serve.endpoint import AlreadyRunning
from backend.serve.road import load_road
from backend.serve.server import PortTaken, Server
from blender_addon.shared.home import home_folder


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 0,
    home: Annotated[Path | None, typer.Option(help="Folder of jobs and of the endpoint file.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    parent_pid: Annotated[int | None, typer.Option(help="End when this process has ended.")] = None,
) -> None:
    """Serve the Blender add-on until told to end (Ctrl+C)."""
    start(home, port, parent_pid, lambda: load_road(device))


NICE = 5
"""How far a backend that serves a program on this machine steps back: Blender's window goes first."""


def start(home: Path | None, port: int, parent_pid: int | None, road) -> None:
    """Run a server on the road that `road()` gives; prints one sentence and exits with 1 if it cannot."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        # The port is bound before torch is imported, so that a taken one is told at once.
        server = Server((home or home_folder()).expanduser().absolute(), port, parent_pid)
        if parent_pid is not None and hasattr(os, "nice"):
            os.nice(NICE)
        all_ended = server.serve(road())
    except (AlreadyRunning, PortTaken, JobError) as error:
        sys.exit(str(error))
    except OSError as error:
        sys.exit(f"The backend cannot use its folder ({error}): give another one with --home.")
    if not all_ended:
        # A thread deep inside a library would crash while Python takes the libraries apart around it.
        sys.stderr.flush()
        os._exit(0)

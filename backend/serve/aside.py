"""What is answered beside the jobs at work: one thread for each message that asks, which cannot hold anything up.

Runs in the server's loop and never waits, like `runs`; what a thread has to say goes through the same news.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.errors import JobError
from backend.serve.news import Said
from blender_addon.shared import wire

log = logging.getLogger("bodyfield.server")


class SideWorker(threading.Thread):
    """Says what `work` has to say under its ticket, an "error" if it raises, and at last "finished". `job`: under which
    name the client hears it; `stopped`: nobody wants it any more."""

    def __init__(self, ticket: str, say: Callable[[Said], None], job: str = "") -> None:
        # A daemon, so that it cannot keep the process from ending.
        super().__init__(name=ticket, daemon=True)
        self.job, self.stopped = job, False
        self._ticket, self._say_out = ticket, say

    def work(self) -> None:
        """The work itself. Raises JobError for what the client is to be told."""
        raise NotImplementedError

    def run(self) -> None:
        """See threading.Thread."""
        try:
            self.work()
        except JobError as error:
            self.say("error", code=error.code, text=str(error))
        except Exception as error:
            log.exception("%s failed %s.", self.name, f"for job {self.job}" if self.job else "")
            text = f"The backend made a mistake ({type(error).__name__}): its log has the details, please report it."
            self.say("error", code="internal", text=text)
        finally:
            self.say("finished")

    def say(self, kind: str, arrays: dict[str, np.ndarray] | None = None, **fields: Any) -> None:
        """Let the client hear a message."""
        self._say_out(Said(self._ticket, kind, fields, arrays or {}))


@dataclass(eq=False)
class _Run:
    """A thread that has not ended yet."""

    worker: SideWorker
    """The thread."""
    client: Any
    """Who asked; None when it has gone."""
    asked: int
    """Number of the client's message that asked, which all answers repeat."""


class Asides:
    """Every such thread of one kind that has not ended. `send(client, said, reply=number)`: to a client; False when it
    has gone; `most`: at once, cancelled ones that have not noticed yet too; `busy`: what to say beyond."""

    def __init__(self, kind: str, send: Callable[..., bool], most: int, busy: str) -> None:
        self._kind, self._send, self._most, self._busy = kind, send, most, busy
        self._runs: dict[str, _Run] = {}
        self._count = 0

    def begin(self, client: Any, asked: int, make: Callable[[str], SideWorker]) -> None:
        """Start `make(ticket)` for the client's message number `asked`. Raises JobError."""
        if len(self._runs) >= self._most:
            raise JobError("busy", self._busy)
        self._count += 1
        ticket = f"{self._kind}-{self._count}"
        worker = make(ticket)
        self._runs[ticket] = _Run(worker, client, asked)
        worker.start()

    def cancel(self, client: Any, message: wire.Message) -> bool:
        """Stop the one that a `cancel` message means by its `asked`; False when it means none."""
        asked = message.want("asked", (int, type(None)), None)
        for run in self._runs.values():
            if asked is not None and run.client is client and run.asked == asked:
                run.worker.stopped = True
                return True
        return False

    def leave(self, client: Any) -> None:
        """A client has gone: nobody waits for its answers any more."""
        for run in self._runs.values():
            if run.client is client:
                run.client, run.worker.stopped = None, True

    def digest(self, said: Said) -> bool:
        """Pass on what a thread said; False when it is not one of ours."""
        run = self._runs.get(said.job)
        if run is None:
            return False
        if said.kind == "finished":
            del self._runs[said.job]
        elif run.client is not None:
            # The ticket is known here alone.
            said = Said(run.worker.job, said.kind, said.fields, said.arrays)
            self._send(run.client, said, reply=run.asked)
        return True

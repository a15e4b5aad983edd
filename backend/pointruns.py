"""Second passes for points that users added to a finished clip: one thread each, beside the jobs at work.

Runs in the server's loop and never waits, like `backend.runs`; what a thread has to say goes through the same news.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend import jobs
from backend.jobs import JobFolder, JobStore
from backend.news import News, Said
from backend.records import JobError, Notice
from backend.worker import Road
from blender_addon import wire

MOST_AT_ONCE = 4
log = logging.getLogger("bodyfield.server")


@dataclass(eq=False)
class PointRun:
    """`ticket`: under which its thread speaks; `client`, `asked`: whom the answers go to, and to which message."""

    ticket: str
    client: Any
    asked: int
    worker: PointWorker


class PointWorker(threading.Thread):
    """Says "progress", "points", "warning" and at last "done" or "error" of one pass; ends with "finished"."""

    def __init__(self, ticket: str, folder: JobFolder, entries: list, made_for: str | None, road: Road,
                 say: Callable[[Said], None]) -> None:  # fmt: skip
        # A daemon, so that a pass cannot keep the process from ending.
        super().__init__(name=ticket, daemon=True)
        self.folder, self.stopped = folder, False
        self._ticket, self._entries, self._made_for = ticket, entries, made_for
        self._road, self._say_out = road, say

    def run(self) -> None:
        """See threading.Thread."""
        try:
            self._work()
        except JobError as error:
            self._say("error", code=error.code, text=str(error))
        except Exception as error:
            log.exception("Points of job %s failed.", self.folder.record.id)
            text = f"The backend made a mistake ({type(error).__name__}): its log has the details, please report it."
            self._say("error", code="internal", text=text)
        finally:
            self._say("finished")

    def _work(self) -> None:
        if self._road.points is None:
            raise JobError("no_points", "This backend cannot track points: install its newest release.")
        motions = self.folder.load_finals()
        total, done = sum(len(m.frames) for m in motions), 0
        options = self._road.options(self.folder.record.options)
        self._say("progress", stage="points", done=0, total=total)
        for event in self._road.points(options, self._entries, self._made_for, motions, self.folder):
            if self.stopped:
                self._say("error", code="cancelled", text="Tracking the points was cancelled.")
                return
            if isinstance(event, Notice):
                self._say("warning", text=event.text)
                continue
            arrays = {
                name: np.ascontiguousarray(getattr(event, name), spec[0])
                for name, spec in wire.POINTS.items()
            }
            fields = {"track": int(event.track), "first": int(event.first), "last": bool(event.last)}
            self._say_out(Said(self._ticket, "points", fields, arrays))
            done += len(event.frames)
            self._say("progress", stage="points", done=done, total=total)
        self._say("done", summary={"people": len(motions), "frames": total})

    def _say(self, kind: str, **fields: Any) -> None:
        self._say_out(Said(self._ticket, kind, fields))


class PointRuns:
    """Every pass that has not ended. `send(client, said, reply=number)`: to a client; False when it has gone."""

    def __init__(self, store: JobStore, road: Road, send: Callable[..., bool], news: News) -> None:
        self._store, self._road, self._send, self._news = store, road, send, news
        self._runs: dict[str, PointRun] = {}
        self._count = 0

    def open(self, client: Any, message: wire.Message) -> None:
        """Begin a pass. Raises WireError or JobError."""
        entries = message.want("points", list)
        made_for = message.want("body", (str, type(None)), None)
        folder = self._store.open(message.job or "")
        if folder.record.state != jobs.DONE:
            raise JobError(
                "not_done", f"Job {folder.record.id} is not finished: resume it, then track the points."
            )
        if len(self._runs) >= MOST_AT_ONCE:
            raise JobError("busy", "Points are being tracked already: wait for their end.")
        self._count += 1
        ticket = f"points-{self._count}"
        worker = PointWorker(ticket, folder, entries, made_for, self._road, self._news.say)
        self._runs[ticket] = PointRun(ticket, client, message.seq, worker)
        worker.start()

    def cancel(self, client: Any, message: wire.Message) -> bool:
        """Stop the pass that a `cancel` message means by its `asked`; False when it means none."""
        asked = message.want("asked", (int, type(None)), None)
        for run in self._runs.values():
            if asked is not None and run.client is client and run.asked == asked:
                run.worker.stopped = True
                return True
        return asked is not None

    def leave(self, client: Any) -> None:
        """A client has gone: nobody waits for its points any more."""
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
            # Under the job's own name: the ticket is known here alone.
            said = Said(run.worker.folder.record.id, said.kind, said.fields, said.arrays)
            self._send(run.client, said, reply=run.asked)
        return True

"""Single pictures in which a client wants to see the people, before it opens a job: one thread each, beside the jobs.

Runs in the server's loop and never waits, like `backend.runs`; what a thread has to say goes through the same news.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.news import News, Said
from backend.records import JobError
from backend.worker import Road
from blender_addon import wire

MOST_AT_ONCE = 8
"""Cancelled ones count until their thread has noticed."""
MAX_SIDE = 16384
log = logging.getLogger("bodyfield.server")


@dataclass(eq=False)
class PreviewRun:
    """`client`, `asked`: whom the answer goes to, and to which message; `worker`: who makes it."""

    client: Any
    asked: int
    worker: PreviewWorker


class PreviewWorker(threading.Thread):
    """Says "preview" or "error" under its ticket; ends with "finished"."""

    def __init__(
        self, ticket: str, image: np.ndarray, options: Any, road: Road, say: Callable[[Said], None]
    ) -> None:
        # A daemon, so that a preview cannot keep the process from ending.
        super().__init__(name=ticket, daemon=True)
        self.stopped = False
        self._ticket, self._image, self._options = ticket, image, options
        self._road, self._say = road, say

    def run(self) -> None:
        """See threading.Thread."""
        try:
            seen = self._road.preview(self._image, self._options, lambda: self.stopped)
            if seen is None:
                raise JobError("cancelled", "The preview was cancelled.")
            self._say(Said(self._ticket, "preview", {}, preview_arrays(seen)))
        except JobError as error:
            self._fail(error.code, str(error))
        except Exception as error:
            log.exception("A preview failed.")
            text = f"The backend made a mistake ({type(error).__name__}): its log has the details, please report it."
            self._fail("internal", text)
        finally:
            self._say(Said(self._ticket, "finished"))

    def _fail(self, code: str, text: str) -> None:
        self._say(Said(self._ticket, "error", {"code": code, "text": text}))


class Previews:
    """Every preview that has not ended. `send(client, said, reply=number)`: to a client; False when it has gone."""

    def __init__(self, road: Road, send: Callable[..., bool], news: News) -> None:
        self._road, self._send, self._news = road, send, news
        self._runs: dict[str, PreviewRun] = {}
        self._count = 0

    def open(self, client: Any, message: wire.Message) -> None:
        """Begin one. Raises WireError or JobError."""
        sizes = message.check_arrays(wire.FRAME)
        options = message.want("options", dict)
        if not (1 <= sizes["w"] <= MAX_SIDE and 1 <= sizes["h"] <= MAX_SIDE):
            raise wire.WireError(
                f"A picture of {sizes['w']} x {sizes['h']} pixels cannot be looked at: it must have 1 to {MAX_SIDE} "
                "each way."
            )
        if self._road.preview is None:
            raise JobError(
                "no_preview", "This backend cannot show people before a job: install its newest release."
            )
        checked = self._road.options(options)
        if len(self._runs) >= MOST_AT_ONCE:
            raise JobError("busy", "Too many pictures are being looked at: wait for their end.")
        self._count += 1
        ticket = f"preview-{self._count}"
        worker = PreviewWorker(ticket, message.arrays["image"], checked, self._road, self._news.say)
        self._runs[ticket] = PreviewRun(client, message.seq, worker)
        worker.start()

    def cancel(self, client: Any, message: wire.Message) -> bool:
        """Stop the preview that a `cancel` message means by its `asked`; False when it means none."""
        asked = message.want("asked", (int, type(None)), None)
        for run in self._runs.values():
            if asked is not None and run.client is client and run.asked == asked:
                run.worker.stopped = True
                return True
        return False

    def leave(self, client: Any) -> None:
        """A client has gone: nobody waits for its previews any more."""
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
            self._send(run.client, Said("", said.kind, said.fields, said.arrays), reply=run.asked)
        return True


def preview_arrays(seen: Any) -> dict[str, np.ndarray]:
    """A `backend.preview.Seen` as the arrays of wire.PREVIEW."""
    outlines = [np.asarray(o, np.float32).reshape(-1, 2) for o in seen.outlines]
    arrays = {
        "boxes": np.asarray(seen.boxes, np.float32).reshape(-1, 4),
        "scores": np.asarray(seen.scores, np.float32),
        "outlines": np.concatenate([np.zeros((0, 2), np.float32), *outlines]),
        "offsets": np.cumsum([0, *map(len, outlines)]),
    }
    return {name: np.ascontiguousarray(arrays[name], spec[0]) for name, spec in wire.PREVIEW.items()}

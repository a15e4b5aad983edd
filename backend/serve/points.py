"""Second passes for points that users added to a finished clip, beside the jobs at work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from backend.errors import JobError
from backend.jobs import folder as jobs
from backend.jobs.folder import JobFolder, JobStore
from backend.records import Notice
from backend.serve.aside import Asides, SideWorker
from backend.serve.news import News, Said
from backend.serve.road import Road
from blender_addon.shared import wire

MOST_AT_ONCE = 4


class PointWorker(SideWorker):
    """Says "progress", "points", "warning" and at last "done" or "error" of one pass."""

    def __init__(self, ticket: str, folder: JobFolder, entries: list, made_for: str | None, road: Road,
                 say: Callable[[Said], None]) -> None:  # fmt: skip
        super().__init__(ticket, say, folder.record.id)
        self._folder, self._entries, self._made_for, self._road = folder, entries, made_for, road

    def work(self) -> None:
        """See SideWorker."""
        if self._road.points is None:
            raise JobError("no_points", "This backend cannot track points: install its newest release.")
        motions = self._folder.load_finals()
        total, done = sum(len(m.frames) for m in motions), 0
        options = self._road.options(self._folder.record.options)
        self.say("progress", stage="points", done=0, total=total)
        for event in self._road.points(options, self._entries, self._made_for, motions, self._folder):
            if self.stopped:
                raise JobError("cancelled", "Tracking the points was cancelled.")
            if isinstance(event, Notice):
                self.say("warning", text=event.text)
                continue
            arrays = {
                name: np.ascontiguousarray(getattr(event, name), spec[0])
                for name, spec in wire.POINTS.items()
            }
            self.say("points", arrays, track=int(event.track), first=int(event.first), last=bool(event.last))
            done += len(event.frames)
            self.say("progress", stage="points", done=done, total=total)
        self.say("done", summary={"people": len(motions), "frames": total})


class PointRuns(Asides):
    """Every pass that has not ended."""

    def __init__(self, store: JobStore, road: Road, send: Callable[..., bool], news: News) -> None:
        super().__init__(
            "points", send, MOST_AT_ONCE, "Points are being tracked already: wait for their end."
        )
        self._store, self._road, self._news = store, road, news

    def open(self, client: Any, message: wire.Message) -> None:
        """Begin a pass. Raises WireError or JobError."""
        entries = message.want("points", list)
        made_for = message.want("body", (str, type(None)), None)
        folder = self._store.open(message.job or "")
        if folder.record.state != jobs.DONE:
            raise JobError(
                "not_done", f"Job {folder.record.id} is not finished: resume it, then track the points."
            )
        self.begin(
            client,
            message.seq,
            lambda ticket: PointWorker(ticket, folder, entries, made_for, self._road, self._news.say),
        )

    def cancel(self, client: Any, message: wire.Message) -> bool:
        """See Asides; True also for a pass that has ended meanwhile, whose job is not meant."""
        return super().cancel(client, message) or message.fields.get("asked") is not None

"""The jobs at work and in line: who gets the worker, how many frames may come, what happens when someone leaves.

All of this runs in the server's loop and never waits; `backend.serve.worker` does the work in a thread per job.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from backend.errors import JobError
from backend.jobs import folder as jobs
from backend.jobs.folder import JobFolder, JobStore
from backend.jobs.keeper import changed
from backend.serve.eta import Eta
from backend.serve.news import News, Said
from backend.serve.road import Road
from backend.serve.worker import Worker
from blender_addon.shared import wire
from blender_addon.shared.frames import Frame

MAX_QUEUED_BYTES = 64 << 20
MAX_QUEUED_FRAMES, MIN_QUEUED_FRAMES = 16, 2
MAX_SIDE = 16384
PROGRESS_S = 0.1
PATIENCE_S = 300.0
"""A client that says nothing for so long loses its turn, if another one waits."""

log = logging.getLogger("bodyfield.server")


class Client(Protocol):
    """A client that showed the token. `heard`: when it last spoke (time.monotonic)."""

    heard: float


class Send(Protocol):
    """Sends a message to a client; False when it has gone."""

    def __call__(self, client: Any, said: Said, **more: Any) -> bool: ...


@dataclass(eq=False)
class Run:
    """A job at work or in line. `client`: None when it has gone; `asked`: number of its message that asked for
    the job, which all answers repeat; `limit`: most frames on the way or queued; `credit`: how many of them the
    client may still send; `next_frame`: the index that must come next; `paused`: its client wants it to stand still,
    `standing`: and so it does; `fed`: no more frames are needed; `over`: its last word was said."""

    worker: Worker
    client: Client | None
    asked: int
    limit: int
    credit: int = 0
    next_frame: int = 0
    started: bool = False
    paused: bool = False
    standing: bool = False
    fed: bool = False
    over: bool = False
    body: Said | None = None
    progress: dict[str, Any] = field(default_factory=lambda: {"stage": "queued", "done": 0, "total": None})
    progress_sent: float = 0.0
    eta: Eta = field(default_factory=Eta)

    @property
    def id(self) -> str:
        return self.worker.folder.record.id

    @property
    def folder(self) -> JobFolder:
        return self.worker.folder


class Runs:
    """Every job that is not finished. `send` may call `leave` from within, when a client turns out to be gone.

    One job at a time has the turn (`_current`), the others stand in `_line`. A paused job gives its turn away and
    stands first in line, passed over until it is to go on: so it holds nobody up and is held up by one job at most.
    """

    def __init__(self, store: JobStore, road: Road, send: Send, news: News) -> None:
        self._store, self._road, self._send, self._news = store, road, send, news
        self._runs: dict[str, Run] = {}
        self._line: deque[Run] = deque()
        self._current: Run | None = None
        self._waiting: dict[str, tuple[Client, wire.Message]] = {}

    # What clients ask ---------------------------------------------------------------------------------

    def open(self, client: Client, message: wire.Message) -> None:
        """A new job. Raises WireError or JobError."""
        options, clip = message.want("options", dict), _check_clip(message)
        folder = self._store.create(options, clip)
        run = self._add(folder, client, message.seq, resume=False)
        if self._tell(run, Said(run.id, "opened", {"next_frame": 0, "complete": False})):
            self._stand_in_line(run)

    def resume(self, client: Client, message: wire.Message) -> None:
        """An old job, or one that went on by itself when its client had gone; with the field `options`, the end of a
        finished one anew. Raises WireError or JobError."""
        job_id = message.job or ""
        run = self._runs.get(job_id)
        changes = message.want("options", (dict, type(None)), None)
        changed({}, changes)
        if run is None:
            folder = self._store.open(job_id)
            run = self._add(folder, client, message.seq, resume=True, changes=changes)
            if folder.record.state == jobs.DONE and changes is None:
                # Nothing is computed, so it need not wait for its turn.
                self._start(run)
            else:
                self._stand_in_line(run)
        elif run.over or run.worker.stopping or (run.client is None and changes is not None):
            self._waiting[job_id] = (client, message)
        elif run.client is None:
            run.client, run.asked = client, message.seq
            self._tell(run, Said(run.id, "opened", {"next_frame": run.next_frame, "complete": True}))
            if run.body is not None:
                self._tell(run, run.body)
        elif run.client is client or self._send(run.client, Said("", "pong")):
            raise JobError("job_busy", f"Job {job_id} is at work already: wait for its end or cancel it.")
        else:
            self.resume(client, message)

    def frame(self, client: Client, message: wire.Message) -> None:
        """A frame. One that may not come fails its job; one for a job that is over was merely late."""
        run = self._of(client, message.job)
        if run is None or run.over or run.fed or run.worker.stopping:
            return
        try:
            if run.credit <= 0:
                raise JobError(
                    "credit", "The add-on sent more frames than it may: install its newest release."
                )
            frame = _check_frame(run, message)
        except (JobError, wire.WireError) as error:
            run.worker.fail(error if isinstance(error, JobError) else JobError("bad_frame", str(error)))
            return
        run.credit -= 1
        run.next_frame += 1
        run.worker.queue.put(frame)

    def end(self, client: Client, message: wire.Message) -> None:
        """The clip has no more frames."""
        run = self._of(client, message.job)
        if run is None or run.fed:
            return
        count, damage = message.want("frames", int), message.want("damage", (str, type(None)), None)
        if not run.started or count != run.next_frame:
            error = f"The clip ended after {count} frames, but {run.next_frame} came: import it once more."
            run.worker.fail(JobError("bad_end", error))
            return
        run.fed = True
        run.worker.queue.end(count, damage)

    def pause(self, client: Client, message: wire.Message) -> None:
        """Let a job stand still, or go on where it stood. Raises WireError."""
        run, on = self._of(client, message.job), message.want("on", bool)
        if run is None or run.over or run.worker.stopping or run.paused == on:
            return
        run.paused, run.standing = on, not run.started
        if on:
            run.worker.hold(True)
            if run is self._current:
                self._current = None
                self._line.appendleft(run)
        elif run not in self._line:
            run.worker.hold(False)
        self._next()
        self._tell(run, self._where(run))

    def cancel(self, client: Client, message: wire.Message) -> None:
        """Stop a job; its chunks are kept."""
        run = self._of(client, message.job)
        waits = self._waiting.get(message.job or "")
        if waits is not None and waits[0] is client:
            del self._waiting[message.job]
        elif run is not None and run.started:
            run.worker.stop(jobs.CANCELLED)
        elif run is not None:
            self._forget(run, jobs.CANCELLED)
            self._tell(run, Said(run.id, "error", {"code": "cancelled", "text": "The job was cancelled."}))

    def leave(self, client: Client) -> None:
        """A client said goodbye or vanished. A job that has all its frames goes on; others, and paused ones, which
        nobody would wake, are kept for later."""
        self._waiting = {job: pair for job, pair in self._waiting.items() if pair[0] is not client}
        for run in list(self._runs.values()):
            if run.client is client:
                run.client = None
                if not run.started:
                    self._forget(run, jobs.INTERRUPTED)
                elif not run.over and (run.paused or not run.fed):
                    log.info("The client of job %s has gone; the job can be resumed.", run.id)
                    run.worker.stop(jobs.INTERRUPTED)

    # What workers say ---------------------------------------------------------------------------------

    def digest(self, said: Said) -> None:
        """Pass on what a worker said, and keep the books."""
        run = self._runs.get(said.job)
        if run is None:
            return
        match said.kind:
            case "taken":
                self._grant(run)
            case "progress":
                self._note_progress(run, said)
            case "finished":
                self._finish(run)
            case "standing":
                run.standing = run.paused
                self._tell(run, self._where(run))
            case "body":
                run.body = said
                self._tell(run, said)
                self._grant(run)
            case _:
                if said.kind == "opened":
                    run.next_frame, run.fed = said.fields["next_frame"], said.fields["complete"]
                run.over = run.over or said.kind in ("done", "error")
                self._tell(run, said)

    def beat(self) -> None:
        """Now and then: tell every client where its job stands, which also finds out who has gone."""
        now = time.monotonic()
        for run in list(self._runs.values()):
            if run.over or not self._tell(run, self._where(run)):
                continue
            silent = run.client is not None and now - run.client.heard > PATIENCE_S
            wanted = any(not other.paused for other in self._line)
            if silent and run is self._current and wanted and not run.fed:
                text = f"Another job waited while the add-on sent nothing: resume job {run.id} to go on."
                run.over = True
                self._tell(run, Said(run.id, "error", {"code": "silent", "text": text}))
                run.worker.stop(jobs.INTERRUPTED)

    def stop_all(self) -> list[Worker]:
        """Stop everything; the workers that were at work."""
        self._line.clear()
        for run in self._runs.values():
            run.worker.stop(jobs.INTERRUPTED)
        return [run.worker for run in self._runs.values() if run.started]

    def states(self) -> list[dict[str, Any]]:
        """The newest jobs, finished ones too, for a client to choose what to resume."""
        return [
            {
                "id": record.id,
                "state": self._state(record),
                "name": record.clip.get("name"),
                "created": record.created,
                "frames": record.frames,
            }
            for record in self._store.list()
        ]

    # In between ---------------------------------------------------------------------------------------

    def _state(self, record: jobs.JobRecord) -> str:
        dead = record.state == jobs.RUNNING and record.id not in self._runs
        return jobs.INTERRUPTED if dead else record.state

    def _of(self, client: Client, job_id: str | None) -> Run | None:
        run = self._runs.get(job_id or "")
        return run if run is not None and run.client is client else None

    def _add(
        self, folder: JobFolder, client: Client, asked: int, resume: bool, changes: dict | None = None
    ) -> Run:
        clip = folder.record.clip
        fitting = MAX_QUEUED_BYTES // (clip["width"] * clip["height"] * 3)
        limit = max(MIN_QUEUED_FRAMES, min(MAX_QUEUED_FRAMES, fitting))
        run = Run(Worker(folder, self._road, self._news.say, resume, changes), client, asked, limit)
        self._runs[run.id] = run
        return run

    def _stand_in_line(self, run: Run) -> None:
        self._line.append(run)
        if self._current is not None:
            self._tell(run, self._where(run))
        self._next()

    def _next(self) -> None:
        run = next((run for run in self._line if not run.paused), None)
        if self._current is not None or run is None:
            return
        self._line.remove(run)
        self._current = run
        if run.started:
            run.eta.restart()
            run.worker.hold(False)
        else:
            self._start(run)

    def _start(self, run: Run) -> None:
        run.started = True
        run.progress = {"stage": "starting", "done": 0, "total": None}
        run.worker.start()

    def _finish(self, run: Run) -> None:
        self._remove(run)
        if run is self._current:
            self._current = None
        if run.id in self._waiting:
            client, message = self._waiting.pop(run.id)
            try:
                self.resume(client, message)
            except JobError as error:
                said = Said(run.id, "error", {"code": error.code, "text": str(error)})
                self._send(client, said, reply=message.seq)
        self._next()

    def _forget(self, run: Run, state: str) -> None:
        """Let go of a job that never started; one that was finished before stays so."""
        self._remove(run)
        # Without this the job counts as interrupted, which is as good.
        with contextlib.suppress(JobError):
            if run.folder.record.state != jobs.DONE:
                run.folder.update(state=state)

    def _remove(self, run: Run) -> None:
        del self._runs[run.id]
        with contextlib.suppress(ValueError):
            self._line.remove(run)

    def _grant(self, run: Run) -> None:
        """Give credit for the room that there is, in portions, so that not every frame needs an answer."""
        free = run.limit - run.credit - len(run.worker.queue)
        if run.body is None or run.fed or run.over or run.worker.stopping or free < max(1, run.limit // 4):
            return
        run.credit += free
        self._tell(run, Said(run.id, "credit", {"frames": free}))

    def _note_progress(self, run: Run, said: Said) -> None:
        stage, done, total = (said.fields[name] for name in ("stage", "done", "total"))
        fresh = stage != run.progress["stage"] or done == total
        run.progress = {**said.fields, "seconds_left": run.eta.seconds_left(stage, done, total)}
        if fresh or time.monotonic() - run.progress_sent > PROGRESS_S:
            run.progress_sent = time.monotonic()
            self._tell(run, self._where(run))

    def _where(self, run: Run) -> Said:
        """The `progress` of a job: its last one, under the name of what keeps it from going on."""
        said = run.progress
        if run.paused or (run.started and run in self._line):
            stage = "queued" if not run.paused else "paused" if run.standing else "pausing"
            said = {**said, "stage": stage, "seconds_left": None}
        return Said(run.id, "progress", said)

    def _tell(self, run: Run, said: Said) -> bool:
        return run.client is not None and self._send(run.client, said, reply=run.asked)


def _check_clip(message: wire.Message) -> dict[str, Any]:
    """The clip of an `open` message. Raises WireError."""
    clip = wire.Message("clip", fields=message.want("clip", dict))
    checked = {
        "name": clip.want("name", str)[:1000],
        "width": clip.want("width", int),
        "height": clip.want("height", int),
        "fps": clip.want("fps", (float, type(None)), None),
        "source": clip.want("source", (str, type(None)), None),
        "frame_count": clip.want("frame_count", (int, type(None)), None),
    }
    width, height = checked["width"], checked["height"]
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE) or width * height * 3 > wire.MAX_ARRAY_BYTES:
        raise wire.WireError(f"Pictures of {width} x {height} pixels are not possible: scale the clip down.")
    if checked["frame_count"] is not None and checked["frame_count"] <= 0:
        checked["frame_count"] = None
    return checked


def _check_frame(run: Run, message: wire.Message) -> Frame:
    """The frame in a `frame` message of a job. Raises WireError."""
    sizes = message.check_arrays(wire.FRAME)
    index, time_s = message.want("index", int), float(message.want("time_s", float))
    clip = run.folder.record.clip
    if index != run.next_frame:
        raise wire.WireError(f"Frame {index} came where frame {run.next_frame} was due.")
    if (sizes["w"], sizes["h"]) != (clip["width"], clip["height"]):
        raise wire.WireError(
            f"Frame {index} has {sizes['w']} x {sizes['h']} pixels, but the clip {clip['width']} x "
            f"{clip['height']}: convert it to one size."
        )
    return Frame(index, time_s, message.arrays["image"])

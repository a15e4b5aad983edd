# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's end of the wire: one DEALER socket, the jobs in flight, and `pump`, called from a timer.

No thread and no bpy. Everything happens inside `Client.pump(budget_s)`: it receives what has come, sends
frames where the backend gave credit, and notices when the backend is gone. Frames are taken from the clip one
at a time and only against credit, so that neither end ever holds more than a few.

    client = Client(endpoint, alive=process.alive)
    with open_clip(path) as clip:
        job = client.open(clip, {"max_people": 1})
        while not job.finished:
            client.pump(0.1)
            for result in job.take_results(): ...

A job ends as "done", "failed" (`job.error`: one sentence) or "cancelled". Finished frames are kept by the
backend: `resume(job.id, lambda: open_clip(path))` goes on from there, also with another client.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import zmq

from ..shared import wire
from ..shared.frames import clip_facts
from ..shared.home import Endpoint
from .job import BodyMessage, CameraInfo, Job, JobProgress, Result

__all__ = ["BodyMessage", "CameraInfo", "Client", "Job", "JobProgress", "Result"]

NAME = "bodyfield-blender"
PING_S = 2.0
SILENCE_S = 30.0
"""Seconds of pumping without any answer after which the backend counts as dead."""
MOST_COUNTED_S = 1.0
"""A pause between two pumps (Blender renders, a file dialog is open) counts as no more than this."""
REFUSED = ("bad_token", "no_hello", "version")
"""Codes of errors after which the backend will not speak with this client."""


class Client:
    """One connection to a backend. `capabilities`: what it said of itself, None until then; `error`: one
    sentence once the connection has ended. `alive`: asked at each pump, False means it died."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        alive: Callable[[], bool] = lambda: True,
        silence_s: float = SILENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capabilities: dict[str, Any] | None = None
        self.error: str | None = None
        self.jobs: list[Job] = []
        self.ignored = 0
        """Messages that were malformed, late, doubled or for no job of this client."""
        self._alive, self._silence_s, self._clock = alive, silence_s, clock
        self._seq = 0
        self._last_heard = 0
        self._waited_s, self._last_pump, self._last_ping = 0.0, clock(), clock()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, wire.MAX_ARRAY_BYTES)
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._socket.connect(endpoint.endpoint)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._say("hello", token=endpoint.token, client=NAME, version=wire.VERSION)

    def open(self, frames: Iterable, options: Mapping, clip_info: Mapping | None = None) -> Job:
        """Start a job on `frames` (a Clip, or any iterable of Frame). Returns at once.

        `options`: fields of the backend's MocapOptions; `clip_info`: name, width, height, fps, frame_count
        (None: taken from the Clip). The clip is closed when the job ends.
        """
        job = Job(self, lambda: frames)
        self._add(job, "open", options=dict(options), clip=dict(clip_info or clip_facts(frames)))
        return job

    def resume(self, job_id: str, clip_opener: Callable[[], Iterable], changes: Mapping | None = None) -> Job:
        """Go on with a job of this or an earlier backend; `clip_opener()` is called if frames are needed. `changes`:
        options for the end of the job in place of its own; that of a finished job is then done anew, without frames."""
        job = Job(self, clip_opener, job_id)
        self._add(job, "resume", job_id, **({} if changes is None else {"options": dict(changes)}))
        return job

    def pump(self, budget_s: float = 0.01) -> bool:
        """Receive, dispatch and send for about `budget_s` seconds; True when anything happened.

        Waits for news only while there is nothing to do, never beyond the budget; the one thing that can
        overrun it is a single piece of a frame (decoding or converting it) that takes longer. May be called with 0.
        """
        if self._socket.closed:
            return False
        now = self._clock()
        deadline = now + budget_s
        self._waited_s += min(now - self._last_pump, MOST_COUNTED_S)
        self._last_pump = now
        busy = self._receive(deadline)
        busy = self._feed(deadline) or busy
        while (left := deadline - self._clock()) > 0 and self.error is None:
            if not self._poller.poll(0 if busy else left * 1000):
                if not busy or not self._feed(deadline):
                    break
                continue
            busy = self._receive(deadline) or busy
            busy = self._feed(deadline) or busy
        self._watch(busy)
        return busy

    def close(self, stop: bool = False) -> None:
        """Say goodbye and let go of everything; running jobs fail. `stop`: also end the backend if nobody
        else uses it. May be called twice."""
        if self._socket.closed:
            return
        if self.error is None:
            # With linger 0 an unsent goodbye is dropped at once, so it is given a moment.
            self._socket.setsockopt(zmq.LINGER, 200)
            self._say("bye", stop=stop)
            self._lost("The connection to the backend was closed")
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close()
        self._context.term()

    # Sending ------------------------------------------------------------------------------------------

    def _say(self, kind: str, job: str | None = None, arrays: Mapping | None = None, **fields: Any) -> None:
        if self.error is not None:
            return
        self._seq += 1
        buffers = wire.pack(kind, job, self._seq, arrays, **fields)
        try:
            # Never waits: with credit the pipe fills up only when the backend takes nothing any more.
            self._socket.send_multipart(buffers, zmq.DONTWAIT, copy=False)
        except zmq.ZMQError:
            self._lost("The backend took no more messages")

    def _add(self, job: Job, kind: str, job_id: str | None = None, **fields: Any) -> None:
        if self.error is not None:
            job._end("failed", self.error)
            return
        self.jobs.append(job)
        try:
            self._say(kind, job_id, **fields)
        except wire.WireError as error:
            job._end("failed", f"The job cannot be described to the backend: {error}")
        job._asked = self._seq

    def _feed(self, deadline: float) -> bool:
        """Send frames against credit, one of each job in turn; True when one was sent or skipped."""
        fed = False
        waiting = [job for job in self.jobs if job._wants_frames()]
        while waiting and self.error is None:
            for job in list(waiting):
                began = self._clock()
                # A piece that might end beyond the budget waits for the next pump, unless it is the first.
                if fed and began + job._cost_s > deadline:
                    return True
                job._send_next()
                fed = True
                # Decoding and converting take turns: what counts is the longer one.
                job._cost_s = max(0.9 * job._cost_s, self._clock() - began)
                if not job._wants_frames():
                    waiting.remove(job)
        return fed

    # Receiving ----------------------------------------------------------------------------------------

    def _receive(self, deadline: float) -> bool:
        """Dispatch what has come until nothing is left or time is up; True when something had come."""
        heard = False
        while self.error is None and not (heard and self._clock() > deadline):
            try:
                frames = self._socket.recv_multipart(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                self._look_for_hangup()
                break
            heard = True
            self._waited_s = 0.0
            self._dispatch(frames)
        return heard

    def _look_for_hangup(self) -> None:
        """Asked only when all that the backend said last has been heard."""
        with contextlib.suppress(zmq.Again):
            self._monitor.recv_multipart(zmq.DONTWAIT)
            self._lost("The backend ended")

    def _dispatch(self, frames: list) -> None:
        try:
            message = wire.unpack(frames)
            if message.seq <= self._last_heard:
                raise wire.WireError("A message came twice.")
            self._last_heard = message.seq
            if message.type == "capabilities":
                self.capabilities = message.fields
            elif message.type == "error" and message.fields.get("code") in REFUSED:
                self._refused(message.want("text", str))
            elif message.type == "error" and message.fields.get("code") == "stopped":
                self._lost("The backend was stopped")
            elif message.type != "pong" and not any(job._take(message) for job in self.jobs):
                raise wire.WireError("A message is for no job of ours.")
        except wire.VersionError as error:
            self._refused(str(error))
        except wire.WireError:
            self.ignored += 1

    # Watching -----------------------------------------------------------------------------------------

    def _watch(self, busy: bool) -> None:
        self.jobs = [job for job in self.jobs if not job._over()]
        if self.error is not None:
            return
        if not busy and not self._alive():
            self._lost("The backend ended")
        elif self._waited_s > self._silence_s:
            self._lost(f"The backend gave no answer for {self._silence_s:.0f} seconds")
        elif self._clock() - self._last_ping > PING_S:
            self._last_ping = self._clock()
            self._say("ping")

    def _lost(self, reason: str) -> None:
        """The backend has gone: nothing more is sent, every job fails and can be resumed."""
        self.error = f"{reason}."
        for job in self.jobs:
            job._fail(reason)

    def _refused(self, sentence: str) -> None:
        """The backend will not have us: nothing more is sent, every job fails with its sentence."""
        self.error = sentence
        for job in self.jobs:
            if not job.finished:
                job._end("failed", sentence)

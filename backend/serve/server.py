"""The backend's socket: who may speak, and what is said to whom.

One loop owns the ROUTER socket and waits for nothing but news. Nothing that arrives can end it: garbage, a
wrong version or a wrong token get an `error` answer. Jobs are kept by `backend.serve.runs`.
"""

from __future__ import annotations

import hmac
import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from backend.errors import JobError
from backend.jobs.folder import JobStore
from backend.serve import endpoint as endpoint_file
from backend.serve.lifeline import Parent
from backend.serve.news import News, Said
from backend.serve.points import PointRuns
from backend.serve.previews import Previews
from backend.serve.road import Road
from backend.serve.runs import MAX_QUEUED_FRAMES, Runs
from blender_addon.shared import wire

HOST = "127.0.0.1"
POLL_MS = 200
BEAT_S = 1.0
PARTING_S = 5.0
"""How long workers may take to stop when the backend ends."""
AT_ONCE = 64
"""Most messages that are heard before workers get their turn."""

log = logging.getLogger("bodyfield.server")


class PortTaken(Exception):  # noqa: N818 - read as a sentence
    """The port cannot be used. The message is one sentence that says what to do."""


@dataclass(eq=False)
class Session:
    """A client that showed the token."""

    identity: bytes
    """By which the socket finds the client."""
    heard: float
    """When it last spoke (time.monotonic)."""
    seq: int = 0
    """Number of the last message to it."""


class Server:
    """`home`: the user's Bodyfield folder; `port` 0: any free one; `parent_pid`: end when that process has
    ended and nobody else is connected. Raises PortTaken or AlreadyRunning."""

    def __init__(self, home: Path, port: int = 0, parent_pid: int | None = None) -> None:
        home.mkdir(parents=True, exist_ok=True)
        endpoint_file.check_alone(home)
        self._home = home
        self._parent = Parent(parent_pid)
        self._sessions: dict[bytes, Session] = {}
        self._stopping = False
        self._news = News()
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        # Sending to someone who has gone fails, instead of being dropped without a word.
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._router.setsockopt(zmq.MAXMSGSIZE, wire.MAX_ARRAY_BYTES)
        self._router.setsockopt(zmq.SNDHWM, 0)
        self._router.setsockopt(zmq.RCVHWM, 4 * MAX_QUEUED_FRAMES)
        # Answered below Python, so that a Blender that is busy for minutes does not count as gone.
        self._router.setsockopt(zmq.HEARTBEAT_IVL, 5000)
        self._router.setsockopt(zmq.HEARTBEAT_TIMEOUT, 30000)
        try:
            self._router.bind(f"tcp://{HOST}:{port or '*'}")
        except zmq.ZMQError as error:
            self._context.destroy(0)
            raise PortTaken(
                f"Port {port} of this computer cannot be used ({os.strerror(error.errno)}): choose another one with "
                "--port, or leave it out to get a free one."
            ) from None
        self.endpoint = self._router.getsockopt(zmq.LAST_ENDPOINT).decode().rstrip("\0")

    def serve(self, road: Road) -> bool:
        """Publish the endpoint file and serve until told to end; False when a worker would not stop.

        Raises AlreadyRunning when another backend was faster.
        """
        self._device, self._localizers = road.device, list(road.localizers)
        self._runs = Runs(JobStore(self._home), road, self._send, self._news)
        self._points = PointRuns(JobStore(self._home), road, self._send, self._news)
        self._previews = Previews(road, self._send, self._news)
        self._file = endpoint_file.publish(self._home, self.endpoint)
        JobStore(self._home).settle()
        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), self._on_signal)
        log.info("Listens on %s, works on %s, keeps jobs in %s.", self.endpoint, road.device, self._home)
        try:
            self._loop()
        finally:
            endpoint_file.withdraw(self._home, self._file)
            all_ended = self._part()
        return all_ended

    def _on_signal(self, *_: Any) -> None:
        self._stopping = True

    def _loop(self) -> None:
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._news.bell, zmq.POLLIN)
        beat = time.monotonic()
        while not self._stopping:
            ready = dict(poller.poll(POLL_MS))
            for said in self._news.take():
                if not (self._points.digest(said) or self._previews.digest(said)):
                    self._runs.digest(said)
            if self._router in ready:
                self._hear()
            if time.monotonic() - beat > BEAT_S:
                beat = time.monotonic()
                self._runs.beat()
                if self._parent.gone() and not self._anyone_else(None):
                    log.info("Ends with the process that started it.")
                    self._stopping = True

    def _part(self) -> bool:
        """Tell everybody, stop the workers, close the socket; True when all workers ended in time."""
        text = "The backend was stopped"
        for session in list(self._sessions.values()):
            self._send(session, Said("", "error", {"code": "stopped", "text": text}))
        workers = self._runs.stop_all()
        deadline = time.monotonic() + PARTING_S
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        self._router.close(500)
        self._context.term()
        self._news.close()
        log.info("Ended.")
        return not any(worker.is_alive() for worker in workers)

    # Hearing ------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        for _ in range(AT_ONCE):
            try:
                frames = self._router.recv_multipart(zmq.DONTWAIT, copy=False)
            except zmq.Again:
                return
            identity = frames[0].bytes
            try:
                self._answer(identity, frames[1:])
            except Exception:
                # A mistake of ours with one client's message must not take the others' jobs down.
                log.exception("A message could not be handled.")
                self._refuse(identity, "internal", "The backend made a mistake; its log has the details.")

    def _answer(self, identity: bytes, frames: list[zmq.Frame]) -> None:
        message = None
        try:
            message = wire.unpack(frames)
            session = self._sessions.get(identity)
            if message.type == "hello":
                self._hello(identity, message)
            elif session is None:
                self._refuse(identity, "no_hello", "Say hello and show the token first.", message)
            else:
                session.heard = time.monotonic()
                self._obey(session, message)
        except wire.VersionError as error:
            self._refuse(identity, "version", str(error))
        except wire.WireError as error:
            self._refuse(identity, "malformed", str(error), message)
        except JobError as error:
            self._refuse(identity, error.code, str(error), message)

    def _obey(self, session: Session, message: wire.Message) -> None:
        match message.type:
            case "frame":
                self._runs.frame(session, message)
            case "end":
                self._runs.end(session, message)
            case "open":
                self._runs.open(session, message)
            case "resume":
                self._runs.resume(session, message)
            case "points":
                self._points.open(session, message)
            case "pause":
                self._runs.pause(session, message)
            case "preview":
                self._previews.open(session, message)
            case "cancel":
                if not (self._previews.cancel(session, message) or self._points.cancel(session, message)):
                    self._runs.cancel(session, message)
            case "ping":
                self._send(session, Said("", "pong"), reply=message.seq)
            case "bye":
                stop = message.want("stop", bool, False)
                self._drop(session)
                self._stopping = self._stopping or (stop and not self._anyone_else(session))
            case _:
                raise wire.WireError(f"A client cannot say '{message.type}'.")

    def _hello(self, identity: bytes, message: wire.Message) -> None:
        shown = message.want("token", str)
        # Compared in constant time, so that the answer's delay tells nothing of the token.
        if not hmac.compare_digest(shown.encode("utf-8", "replace"), self._file.token.encode()):
            text = "The token is wrong: the endpoint file is of another backend, connect once more."
            self._refuse(identity, "bad_token", text, message)
            return
        session = self._sessions.setdefault(identity, Session(identity, time.monotonic()))
        capabilities = {
            "version": wire.VERSION,
            "device": self._device,
            "localizers": self._localizers,
            "jobs": self._runs.states(),
        }
        self._send(session, Said("", "capabilities", capabilities), reply=message.seq)

    # Speaking -----------------------------------------------------------------------------------------

    def _send(self, session: Session, said: Said, **more: Any) -> bool:
        """Send to a client; False, and the client is dropped, when it has gone."""
        session.seq += 1
        buffers = wire.pack(said.kind, said.job or None, session.seq, said.arrays, **said.fields, **more)
        if self._post(session.identity, buffers):
            return True
        self._drop(session)
        return False

    def _refuse(self, identity: bytes, code: str, text: str, message: wire.Message | None = None) -> None:
        """Answer a message that cannot be obeyed; `reply` is its number, 0 when it could not be read."""
        session = self._sessions.get(identity) or Session(identity, 0.0)
        session.seq += 1
        job, reply = (message.job, message.seq) if message else (None, 0)
        log.warning("Refused (%s): %s", code, text.encode("ascii", "backslashreplace").decode())
        self._post(identity, wire.pack("error", job, session.seq, code=code, text=text, reply=reply))

    def _post(self, identity: bytes, buffers: list) -> bool:
        try:
            self._router.send_multipart([identity, *buffers], zmq.DONTWAIT, copy=False)
        except zmq.ZMQError:
            return False
        return True

    def _drop(self, session: Session) -> None:
        if self._sessions.pop(session.identity, None) is not None:
            self._runs.leave(session)
            self._points.leave(session)
            self._previews.leave(session)

    def _anyone_else(self, session: Session | None) -> bool:
        """Whether a client besides `session` is still there; asks each, since a dead one says no goodbye."""
        others = [s for s in self._sessions.values() if s is not session]
        return sum(self._send(other, Said("", "pong")) for other in others) > 0

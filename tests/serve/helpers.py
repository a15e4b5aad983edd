"""A backend in a child process of its own, raw sockets and synthetic clips for the tests of this room."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zmq

from blender_addon.link.client import Client
from blender_addon.shared import wire
from blender_addon.shared.frames import Frame
from blender_addon.shared.home import Endpoint

ROOT = Path(__file__).resolve().parents[2]
TOY = Path(__file__).with_name("toy_backend.py")
PYTHON = os.environ.get("BODYFIELD_PYTHON") or sys.executable
"""Runs the backend: this Python, or a named one where this has no torch or is Blender's own."""
DEADLINE_S = 180.0
"""Only for hanging tests: nothing below waits for time to pass."""


def wait_for(condition, what="it"):
    """Poll until `condition()` is true."""
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.01)
    return value


class Toy:
    """`toy_backend.py` as a child process that serves `home`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.child: subprocess.Popen | None = None
        self.clients: list[Client] = []

    @property
    def endpoint_file(self) -> Path:
        return self.home / "endpoint.json"

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(**json.loads(self.endpoint_file.read_text()))

    def spawn(self, *arguments: str, **options) -> subprocess.Popen:
        """Start one without waiting for it."""
        command = [PYTHON, str(TOY), str(self.home), *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, **options
        )

    def start(self, *arguments: str, **options) -> "Toy":
        self.child = self.spawn(*arguments, **options)
        wait_for(lambda: self._listens() or self.child.poll() is not None, "the backend")
        assert self.child.poll() is None, self.child.stderr.read()
        return self

    def _listens(self) -> bool:
        # A killed predecessor may have left its endpoint file.
        return self.endpoint_file.exists() and self.endpoint.pid == self.child.pid

    def client(self, **options) -> Client:
        """A connected client of the add-on."""
        self.clients.append(Client(self.endpoint, **options))
        return self.clients[-1]

    def kill(self) -> None:
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()

    def release(self) -> None:
        """Let go of frames that say HOLD or STALL."""
        (self.home / "release").touch()

    def folder(self, job_id: str) -> Path:
        return self.home / "jobs" / job_id

    def record(self, job_id: str) -> dict:
        return json.loads((self.folder(job_id) / "job.json").read_text())


@dataclass
class Synthetic:
    """A clip of noise; `commands`: frame index -> what its first pixel tells the toy."""

    count: int
    width: int = 8
    height: int = 6
    commands: dict[int, int] = field(default_factory=dict)
    name: str = "noise.mp4"
    fps: float = 25.0
    damage: str | None = None
    taken: int = 0
    closed: bool = False

    @property
    def frame_count(self) -> int:
        return self.count

    def __iter__(self):
        for index in range(self.count):
            self.taken += 1
            noise = np.random.default_rng(index)
            image = noise.integers(0, 200, (self.height, self.width, 3)).astype(np.uint8)
            image[0, 0, 0] = self.commands.get(index, 0)
            yield Frame(index, index / self.fps, image)

    def close(self):
        self.closed = True


class Raw:
    """A DEALER that says exactly what a test wants said."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.token = endpoint.token
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.connect(endpoint.endpoint)
        self.seq = 0

    def say(self, kind, job=None, arrays=None, **fields):
        self.seq += 1
        self.socket.send_multipart(wire.pack(kind, job, self.seq, arrays, **fields))

    def hello(self):
        self.say("hello", token=self.token, client="raw", version=wire.VERSION)
        return self.expect("capabilities")

    def hear(self) -> wire.Message:
        assert self.socket.poll(DEADLINE_S * 1000), "the backend said nothing"
        return wire.unpack(self.socket.recv_multipart())

    def expect(self, kind) -> wire.Message:
        """The next message of this kind; progress is not worth stopping at."""
        while (message := self.hear()).type != kind:
            assert message.type in ("progress", "pong", "body", "credit", "warning"), message
        return message

    def open(self, width=8, height=6, frames=10, **options):
        clip = {"name": "raw", "width": width, "height": height, "fps": 25.0, "frame_count": frames}
        self.say("open", options=options, clip=clip)
        return self.expect("opened").job

    def frame(self, job, index, image=None, time_s=0.0):
        image = np.zeros((6, 8, 3), np.uint8) if image is None else image
        self.say("frame", job, {"image": image}, index=index, time_s=time_s)

    def close(self):
        self.context.destroy(0)


def run(client: Client, *jobs):
    """Pump until the jobs are finished; the results of the first."""

    def finished():
        client.pump(0.1)
        return all(job.finished for job in jobs)

    wait_for(finished, "the job")
    return jobs[0].take_results()

"""What workers have to say, on its way to the loop that owns the socket."""

from __future__ import annotations

import contextlib
import queue
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Said:
    """Something for a client, or for the server alone: "taken" (a frame left the queue), "standing" (the thread
    stands still, since its job is paused) and "finished" (the thread is about to end)."""

    job: str
    """Name of the job, or the ticket of a `SideWorker`; empty if it is about neither."""
    kind: str
    """Type of the message, or one of the words for the server alone."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Of the message."""
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    """Of the message, by name."""


class News:
    """A queue from any thread to the loop, with a bell that wakes a poller (`bell`, a socket, readable then)."""

    def __init__(self) -> None:
        self._said: queue.SimpleQueue[Said] = queue.SimpleQueue()
        self.bell, self._ring = socket.socketpair()
        for end in (self.bell, self._ring):
            end.setblocking(False)

    def say(self, said: Said) -> None:
        """Add something; from any thread; never waits."""
        self._said.put(said)
        # A full pipe rings already; a closed one has nobody left to hear.
        with contextlib.suppress(OSError):
            self._ring.send(b"!")

    def take(self) -> Iterator[Said]:
        """Everything said so far."""
        with contextlib.suppress(OSError):
            self.bell.recv(1 << 16)
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._said.get_nowait()

    def close(self) -> None:
        """Let go of the bell."""
        self.bell.close()
        self._ring.close()

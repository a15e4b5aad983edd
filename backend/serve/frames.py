"""Frames on their way from the socket to the worker."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from blender_addon.shared.frames import Frame


class Stopped(Exception):  # noqa: N818 - not an error
    """The job was told to stop while it waited for frames."""


class FrameQueue:
    """Frames on their way from the socket to the worker; bounded by the credit that the server gives.

    Here the worker also stands still while its job is paused. `taken`: called when a frame left; `standing`: when the
    worker stands still. Both from the worker's thread.
    """

    def __init__(self, taken: Callable[[], None], standing: Callable[[], None] = lambda: None) -> None:
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._taken, self._standing = taken, standing
        self._failure: Exception | None = None
        self._held = False
        self.ended = False
        self.length: int | None = None
        self.damage: str | None = None

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: Frame) -> None:
        """Add a frame; never waits."""
        with self._changed:
            if self._failure is None:
                self._frames.append(frame)
            self._changed.notify()

    def end(self, length: int, damage: str | None) -> None:
        """No more frames will come; the clip has `length` of them."""
        with self._changed:
            self.ended, self.length, self.damage = True, length, damage
            self._changed.notify()

    def abort(self, failure: Exception) -> None:
        """Throw away what waits and raise `failure` in the worker."""
        with self._changed:
            self._failure = self._failure or failure
            self._frames.clear()
            self._changed.notify()

    def hold(self, on: bool) -> None:
        """Let the worker stand still at its next step, or go on; never waits."""
        with self._changed:
            self._held = on
            self._changed.notify()

    def breathe(self) -> None:
        """For the worker, between two steps: stands still while held. Raises what `abort` was given."""
        with self._changed:
            self._stand(lambda: True)

    def _stand(self, ready: Callable[[], Any]) -> None:
        while not self._failure and (self._held or not ready()):
            if self._held:
                self._standing()
            self._changed.wait()
        if self._failure:
            raise self._failure

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._stand(lambda: self._frames or self.ended)
                if not self._frames:
                    return
                frame = self._frames.popleft()
            self._taken()
            yield frame
            # Not held while the next one is awaited: a frame may be 100 MB.
            del frame

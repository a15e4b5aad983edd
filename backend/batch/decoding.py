"""Frames decoded while the road works on those before: a thread with a short queue, for clips on this machine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

from blender_addon.shared.frames import Frame

AHEAD_BYTES = 32 << 20
"""Decoded and not yet taken, at most; two frames in any case."""
_MOST = 16


class _Failed:
    """What ended the decoding."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def decoded_ahead(frames: Iterator[Frame]) -> Iterator[Frame]:
    """The same frames, some of them ahead of time. Raises what `frames` raises, after the frames before it.

    When this is closed, by an error or Ctrl-C, the thread ends with the frame that it has in hand.
    """
    first = next(frames, None)
    if first is None:
        return
    room = max(2, min(_MOST, AHEAD_BYTES // max(first.image.nbytes, 1)))
    waiting: queue.Queue[Frame | _Failed] = queue.Queue(room)
    stop = threading.Event()
    thread = threading.Thread(target=_decode, args=(frames, waiting, stop), name="decoding", daemon=True)
    thread.start()
    try:
        yield first
        del first
        while not isinstance(item := waiting.get(), _Failed):
            yield item
            # Not held while the next one is awaited: a frame may be 100 MB.
            del item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        while thread.is_alive():
            _drain(waiting)
            thread.join(0.01)


def _decode(frames: Iterator[Frame], waiting: queue.Queue[Frame | _Failed], stop: threading.Event) -> None:
    error = None
    try:
        for frame in frames:
            if stop.is_set():
                return
            waiting.put(frame)
    except BaseException as raised:
        # It is raised where the frames are wanted.
        error = raised
    waiting.put(_Failed(error))


def _drain(waiting: queue.Queue[Frame | _Failed]) -> None:
    try:
        while True:
            waiting.get_nowait()
    except queue.Empty:
        pass

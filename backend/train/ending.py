"""How a training is asked to end, so that it ends between two steps and can go on later."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def asked_to_end() -> Iterator[list[int]]:
    """A list that gets an entry when the process is asked to end; a second Ctrl-C ends it at once."""
    asked: list[int] = []

    def ask(number: int, _) -> None:
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    try:
        old = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        # Not in the main thread: whoever runs us there has the signals.
        yield asked
        return
    try:
        yield asked
    finally:
        for s, handler in old.items():
            signal.signal(s, handler)

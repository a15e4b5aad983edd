"""One line of progress on the terminal."""

from __future__ import annotations

import shutil
import sys
import threading
import time


class Line:
    """A line that is rewritten in place, by a clock too, since pip is silent while it downloads.

    Where the output is no terminal, each new label gets a line of its own. Use as a context manager.
    """

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._tty = sys.stderr.isatty()
        self._label, self._fraction, self._detail = "", None, ""
        self._done = threading.Event()
        self._ticker = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Line:
        if self._tty:
            self._ticker.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        if self._ticker.is_alive():
            self._ticker.join()
        if self._tty and self._label:
            self._draw()
            print(file=sys.stderr, flush=True)

    def show(self, label: str, fraction: float | None = None, detail: str = "") -> None:
        """`fraction`: 0..1 of all the work that this line stands for, None while unknown; `detail`: any word."""
        if label != self._label and not self._tty:
            print(label, file=sys.stderr, flush=True)
        self._label, self._fraction, self._detail = label, fraction, detail

    def note(self, text: str) -> None:
        """A sentence that stays, above the line."""
        if self._tty:
            print("\r" + " " * self._width() + "\r", end="", file=sys.stderr)
        print(text, file=sys.stderr, flush=True)

    def _tick(self) -> None:
        while not self._done.wait(0.2):
            if self._label:
                self._draw()

    def _width(self) -> int:
        return shutil.get_terminal_size().columns - 1

    def _draw(self) -> None:
        passed = time.monotonic() - self._start
        text = in_words(self._label, self._fraction, self._detail, passed)
        width = self._width()
        print("\r" + text[:width].ljust(width), end="", file=sys.stderr, flush=True)


def in_words(label: str, fraction: float | None, detail: str, passed: float) -> str:
    """The line after `passed` seconds; the time left is what the rest takes at the mean speed so far."""
    if fraction is None:
        return f"{label}  {clock(passed)}  {detail}"
    fraction = min(1.0, max(0.0, fraction))
    left = f"{clock(passed / fraction - passed)} left" if fraction >= 0.03 else ""
    bar = ("#" * int(24 * fraction)).ljust(24, ".")
    return f"[{bar}] {100 * fraction:3.0f} %  {left}  {label}  {detail}"


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"

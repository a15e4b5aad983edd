"""One line of progress on the terminal."""

from __future__ import annotations

import shutil
import sys
import time


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Line:
    """A line that is rewritten in place; where the output is no terminal, one line a change of label."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._tty = sys.stderr.isatty()
        self._label = ""
        self._open = False

    def show(self, label: str, fraction: float | None = None, detail: str = "") -> None:
        """`fraction`: 0..1 of the work done, None while unknown; `detail`: what changes often."""
        if not self._tty:
            if label != self._label:
                print(label, file=sys.stderr, flush=True)
            self._label = label
            return
        passed = clock(time.monotonic() - self._start)
        if fraction is None:
            text = f"{label} … {passed}  {detail}"
        else:
            filled = int(24 * min(1.0, max(0.0, fraction)))
            text = (
                f"[{'#' * filled}{'.' * (24 - filled)}] {100 * fraction:3.0f} %  {label}  {detail}  {passed}"
            )
        width = shutil.get_terminal_size().columns - 1
        print("\r" + text[:width].ljust(width), end="", file=sys.stderr, flush=True)
        self._open = True

    def end(self) -> None:
        """Leave the line as it stands."""
        if self._open:
            print(file=sys.stderr)
        self._open = False

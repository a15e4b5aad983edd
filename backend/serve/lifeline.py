"""Has the process that started us gone?"""

from __future__ import annotations

import os
import sys

from blender_addon.shared.alive import held_runs, hold, pid_alive


class Parent:
    """The process that this one must not outlive. `pid` None: nobody in particular."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        # A child of another process than its direct parent (a launcher stands between) asks by pid alone.
        self._direct = sys.platform != "win32" and os.getppid() == pid
        # Holding the handle keeps Windows from giving the pid to somebody else.
        self._handle = hold(pid) if sys.platform == "win32" and pid else None

    def gone(self) -> bool:
        """True once that process has ended."""
        if self.pid is None:
            return False
        if self._direct:
            # An orphan is given another parent; the dead one may linger as a zombie with its pid.
            return os.getppid() != self.pid
        if sys.platform == "win32":
            return self._handle is None or not held_runs(self._handle)
        return not pid_alive(self.pid)

"""Is a process alive; has the one that started us gone? On POSIX and Windows, without another package."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

_SYNCHRONIZE, _TIMED_OUT, _ACCESS_DENIED = 0x00100000, 0x00000102, 5


class Parent:
    """The process that this one must not outlive. `pid` None: nobody in particular."""

    def __init__(self, pid: int | None) -> None:
        self.pid = pid
        # A child of another process than its direct parent (a launcher stands between) asks by pid alone.
        self._direct = sys.platform != "win32" and os.getppid() == pid
        # Holding the handle keeps Windows from giving the pid to somebody else.
        self._handle = _open(pid) if sys.platform == "win32" and pid else None

    def gone(self) -> bool:
        """True once that process has ended."""
        if self.pid is None:
            return False
        if self._direct:
            # An orphan is given another parent; the dead one may linger as a zombie with its pid.
            return os.getppid() != self.pid
        if sys.platform == "win32":
            return self._handle is None or not _runs(self._handle)
        return not pid_alive(self.pid)


def pid_alive(pid: int) -> bool:
    """True while a process with this id exists (on Linux an unreaped dead one counts as dead)."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        # os.kill(pid, 0) would end the process there.
        handle = _open(pid)
        if handle is None:
            import ctypes

            return ctypes.get_last_error() == _ACCESS_DENIED
        try:
            return _runs(handle)
        finally:
            _kernel().CloseHandle(handle)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError, IndexError):
        # The state stands behind the name, which may itself hold spaces and brackets.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return True


def _kernel():
    import ctypes
    from ctypes import wintypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
    kernel.OpenProcess.restype = wintypes.HANDLE
    kernel.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
    kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
    return kernel


def _open(pid: int):
    return _kernel().OpenProcess(_SYNCHRONIZE, False, pid) or None


def _runs(handle) -> bool:
    return _kernel().WaitForSingleObject(handle, 0) == _TIMED_OUT

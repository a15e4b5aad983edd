# SPDX-License-Identifier: Apache-2.0
"""Does a process live? One answer for add-on and backend, on POSIX and Windows. Standard library only."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

_MOST = 0xFFFFFFFF
"""No system's process ids go further (Windows: 32 bits)."""
_SYNCHRONIZE, _TIMED_OUT, _ACCESS_DENIED = 0x00100000, 0x00000102, 5


def pid_alive(pid: int) -> bool:
    """True while a process with this id exists; never raises, whatever number a file held.

    A dead child that nobody has waited for counts as dead where the system tells (Linux).
    """
    if not 0 < pid <= _MOST:
        return False
    if sys.platform == "win32":
        # os.kill(pid, 0) would end the process there.
        handle = hold(pid)
        if handle is None:
            import ctypes

            return ctypes.get_last_error() == _ACCESS_DENIED
        try:
            return held_runs(handle)
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


def hold(pid: int):
    """Windows only: a handle of the process, which keeps its id from being given to another; None if refused."""
    return _kernel().OpenProcess(_SYNCHRONIZE, False, pid) or None


def held_runs(handle) -> bool:
    """Windows only: whether the process of a handle from `hold` still runs."""
    return _kernel().WaitForSingleObject(handle, 0) == _TIMED_OUT


def _kernel():
    import ctypes
    from ctypes import wintypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
    kernel.OpenProcess.restype = wintypes.HANDLE
    kernel.WaitForSingleObject.argtypes = (wintypes.HANDLE, wintypes.DWORD)
    kernel.CloseHandle.argtypes = (wintypes.HANDLE,)
    return kernel

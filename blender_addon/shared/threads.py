# SPDX-License-Identifier: Apache-2.0
"""Threads that give way: how the number crunchers of a process wait, and how many there are. Standard library only.

PyTorch computes on OpenMP's threads, numpy on OpenBLAS's. Between two pieces of work these spin by default, in the
hope that the next piece comes at once. Where another program wants the core (and Blender always does), the thread that
is waited for cannot run, and the work takes up to twenty times as long. So they sleep instead. It costs a few
microseconds a piece.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

PASSIVE = {
    # Every OpenMP: GNU's (Linux), LLVM's (macOS), Intel's (Windows).
    "OMP_WAIT_POLICY": "PASSIVE",
    # GNU's own word for it.
    "GOMP_SPINCOUNT": "0",
    # Intel's and LLVM's, milliseconds.
    "KMP_BLOCKTIME": "0",
}
"""What tells each OpenMP to sleep while it waits. Read once, when the library is loaded."""
BLAS = {"OPENBLAS_NUM_THREADS": "1"}
"""numpy's and scipy's own linear algebra, on Linux and Windows: its threads spin too, for a tenth of a second after
every product, and know no word against it. The products here are small."""
COUNT = "OMP_NUM_THREADS"


def give_way(environ: MutableMapping[str, str] | None = None) -> None:
    """Let the OpenMP threads of a process sleep while they wait, and be no more than the cores that it may use.

    `environ`: of a process that is to be started; None: of this one, and of all that it starts, before torch is loaded.
    What the user has set stays: none of the waiting is touched when any of it is set.
    """
    environ = os.environ if environ is None else environ
    if not any(name in environ for name in PASSIVE):
        environ.update(PASSIVE)
    for name, value in BLAS.items():
        environ.setdefault(name, value)
    cores = usable_cores()
    # Otherwise the library knows better: it counts real cores, and not those that hyper-threading makes of them.
    if COUNT not in environ and cores < (os.cpu_count() or 1):
        environ[COUNT] = str(cores)


def usable_cores() -> int:
    """How many cores this process may really use: what the system schedules it on, and what its container grants."""
    if hasattr(os, "process_cpu_count"):
        cores = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _granted())))


def _granted(root: Path = Path("/sys/fs/cgroup")) -> float:
    """Cores that the container grants; infinity without a limit, and on systems without containers."""
    if not sys.platform.startswith("linux"):
        return math.inf
    least = math.inf
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        groups = []
    own = next((line.partition("::")[2] for line in groups if line.startswith("0::")), "/")
    folder = root / own.lstrip("/")
    for place in (folder, *folder.parents):
        if not place.is_relative_to(root):
            break
        least = min(least, _quota(place))
    return least


def _quota(group: Path) -> float:
    try:
        quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        pass
    try:
        # The first version of control groups.
        quota, period = (int((group / "cpu" / f"cpu.cfs_{n}_us").read_text()) for n in ("quota", "period"))
        return quota / period if quota > 0 and period > 0 else math.inf
    except (OSError, ValueError):
        return math.inf

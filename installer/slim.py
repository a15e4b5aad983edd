"""What lies in the installed packages and is of use to their own authors alone: tests. Removed after the set-up.

PyTorch's wheel for processors carries 130 MB of test programs, scipy, sympy and numpy 80 MB of test files. Headers
stay: PyTorch's compiler wants them.
"""

from __future__ import annotations

import shutil
from pathlib import Path

FOLDERS = {
    "torch": ("test",),
    "scipy": ("**/tests",),
    "sympy": ("**/tests",),
    "numpy": ("**/tests",),
    "networkx": ("**/tests",),
}
"""Package -> folders in it that go."""
FILES = {"torch": ("bin/test_*", "bin/*Test", "bin/*Test.exe", "lib/*test*")}
"""Package -> files in it that go."""


def slim(site: Path) -> int:
    """Remove them from the site-packages folder `site`; -> bytes that were freed. What cannot be removed stays."""
    freed = 0
    for package, patterns in FOLDERS.items():
        for folder in [f for pattern in patterns for f in sorted((site / package).glob(pattern))]:
            if folder.is_dir():
                size = size_of(folder)
                shutil.rmtree(folder, ignore_errors=True)
                freed += size - (size_of(folder) if folder.exists() else 0)
    for package, patterns in FILES.items():
        for file in [f for pattern in patterns for f in sorted((site / package).glob(pattern))]:
            size = file.stat().st_size
            try:
                file.unlink()
            except OSError:
                continue
            freed += size
    return freed


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(f.lstat().st_size for f in folder.rglob("*") if f.is_file())

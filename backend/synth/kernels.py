"""The decorators of the compiled loops: single thread, compiled once per version of this package's sources.

numba's own cache notices a change of the file a loop stands in, not of the files whose loops it calls. The
compiled code is therefore kept in a folder named after all sources together, beside the byte code.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numba

_HERE = Path(__file__).resolve().parent


def _version() -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(_HERE.glob("*.py")):
        text = source.read_bytes()
        # The outfit's numbers are compiled into what reads them.
        if any(mark in text for mark in (b"@kernel", b"@helper", b"@piece")) or source.name == "outfit.py":
            digest.update(text)
    return digest.hexdigest()[:16]


_FOLDER = _HERE / "__pycache__" / f"kernels-{_version()}"
_MATHS = {"fastmath": {"contract", "arcp", "nsz"}, "error_model": "numpy"}
"""Division by zero gives inf as in numpy."""
# References are not counted in what a loop calls: to do so for every pixel took half as long again as the work. The
# loop itself holds the arrays, and what it calls makes none.
_CALLED = {**_MATHS, "_nrt": False}


def kernel(function):
    """Compile `function` for arrays of float32 and integers, and for tuples of them.

    Take what the innermost loops need out of a tuple before they begin: references are counted here.
    """
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_FOLDER)
    try:
        return numba.njit(function, cache=True, **_MATHS)
    finally:
        numba.config.CACHE_DIR = before


def helper(function):
    """A function for the loops to call: of numbers, and of arrays or tuples that it reads or fills. It must not make
    arrays."""
    return numba.njit(function, inline="never", **_CALLED)


def piece(function):
    """A helper that one place calls: a named piece of a loop, compiled in its place."""
    return numba.njit(function, forceinline=True, **_CALLED)

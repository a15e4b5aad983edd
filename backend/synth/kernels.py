"""The decorator of the compiled loops: single thread, compiled once per version of this package's sources.

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
        if b"@kernel" in text or b"@helper" in text or source.name == "outfit.py":
            digest.update(text)
    return digest.hexdigest()[:16]


_FOLDER = _HERE / "__pycache__" / f"kernels-{_version()}"


def kernel(function):
    """Compile `function` for arrays of float32 and integers; division by zero gives inf as in numpy."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_FOLDER)
    try:
        return numba.njit(function, cache=True, fastmath={"contract", "arcp", "nsz"}, error_model="numpy")
    finally:
        numba.config.CACHE_DIR = before


def helper(function):
    """A piece of a loop: a function of numbers and of arrays, or tuples of them, that it reads or fills.

    It must not make arrays: it is compiled without counting references, of which a loop over all pixels would do so
    many that they took half as long again as the work.
    """
    return numba.njit(
        function, inline="never", fastmath={"contract", "arcp", "nsz"}, error_model="numpy", _nrt=False
    )

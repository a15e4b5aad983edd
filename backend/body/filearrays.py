"""The arrays of a body file, .npz or pickle, told apart by what is in them.

The file is untrusted: a pickle is walked as data and never run, and every array of an .npz is checked by its header
before a byte of it is unpacked.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix, csr_matrix

from backend.files.pickles.data import MAX_BYTES, Thing, unpickled
from backend.files.pickles.inert import Refusal, said

_MAX_ARRAY = 1 << 30
"""No array of a body may unpack to more bytes; SMPL-X's largest has 122 MB."""
_BROKEN = (
    *(ValueError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error),
    tokenize.TokenError,  # numpy reads headers with Python's tokenizer
)
_PICKLE = (b"\x80", b"(dp", b"(d", b"ccopy_reg")
"""How a pickle of protocol 2 and newer begins, and Python 2's."""


class RefusedError(Exception):
    """Why a file is not a body: half a sentence."""


class FileArrays:
    """Numeric arrays of a file by name. RefusedError for a file that is missing or holds none."""

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise RefusedError("there is no such file")
        self.file = file
        self.sizes: dict[str, int] = {}
        """Sizes of the named dimensions, fixed by who reads the first array that has them."""
        self._pickled: Mapping[str, Any] | None = None
        try:
            if zipfile.is_zipfile(file):
                with zipfile.ZipFile(file) as z:
                    self.names = {i.filename[:-4] for i in z.infolist() if i.filename.endswith(".npy")}
                return
            self._pickled = _unpickled(file)
        except (zipfile.BadZipFile, OSError) as e:
            raise RefusedError("it is damaged") from e
        self.names = {n for n in self._pickled if isinstance(n, str)}

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def read(self, name: str, shape: tuple[int | str, ...], integer: bool = False) -> np.ndarray:
        """Array `name`; `shape` gives fixed sizes as numbers and equal ones by the same letter."""
        if name not in self.names:
            raise RefusedError(f"it holds no {name}, so it is not in SMPL-X's, SMPL-H's or SMPL's layout")
        if self._pickled is not None:
            array = _numbers(self._pickled[name], name)
            self._check(name, shape, array.shape, array.dtype, integer)
        else:
            array = self._from_zip(name, shape, integer)
        if not integer and not np.isfinite(array).all():
            raise RefusedError(f"its {name} holds numbers that are not finite")
        # uint32 stands for -1 at the root of the kinematic tree.
        return array.astype(np.int64) if integer else array

    def _from_zip(self, name: str, shape: tuple[int | str, ...], integer: bool) -> np.ndarray:
        try:
            with zipfile.ZipFile(self.file) as z:
                with z.open(f"{name}.npy") as member:
                    found, dtype = _header(member)
                self._check(name, shape, found, dtype, integer)
                with z.open(f"{name}.npy") as member:
                    return np.lib.format.read_array(member, allow_pickle=False)
        except _BROKEN as e:
            raise RefusedError(f"its {name} is damaged") from e

    def _check(self, name, shape, found, dtype, integer) -> None:
        wanted = [self.sizes.get(s, s) for s in shape]
        same = len(found) == len(wanted) and all(
            isinstance(w, str) or w == n for w, n in zip(wanted, found, strict=True)
        )
        if not same:
            text = " x ".join(str(n) for n in found)
            raise RefusedError(
                f"its {name} has the size {text}, which is not SMPL-X's, SMPL-H's or SMPL's layout"
            )
        if dtype.kind not in ("iu" if integer else "iuf"):
            raise RefusedError(f"its {name} holds {dtype} values in place of numbers")
        if int(np.prod(found, dtype=object)) * max(dtype.itemsize, 4) > _MAX_ARRAY:
            raise RefusedError(f"its {name} is too large")


def _header(member) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        found, _, dtype = np.lib.format.read_array_header_1_0(member)
    else:
        found, _, dtype = np.lib.format.read_array_header_2_0(member)
    return found, dtype


def _unpickled(file: Path) -> Mapping[str, Any]:
    with file.open("rb") as opened:
        if not opened.read(16).startswith(_PICKLE):
            raise RefusedError("it is neither an .npz file nor a pickle")
    if file.stat().st_size > MAX_BYTES:
        raise RefusedError(f"it has more than {MAX_BYTES >> 20} MB")
    try:
        found = unpickled(file.read_bytes())
    except Refusal as e:
        raise RefusedError(str(e)) from e
    if not isinstance(found, Mapping):
        raise RefusedError("the pickle in it holds no body")
    return found


def _numbers(value: Any, name: str, depth: int = 0) -> np.ndarray:
    """An array; a chumpy array's values; a scipy matrix written out."""
    if isinstance(value, Thing) and depth < 4:
        a = value.attributes
        if "x" in a:  # chumpy.ch.Ch
            return _numbers(a["x"], name, depth + 1)
        if {"a", "idxs", "preferred_shape"} <= a.keys():  # chumpy.reordering.Select
            return _selected(a, name, depth)
        if {"data", "indices", "indptr"} <= a.keys():
            return _written_out(a, value.cls, name)
        raise RefusedError(f"its {name} is a {said(value.cls)}, which is not known here")
    if not isinstance(value, np.ndarray):
        raise RefusedError(f"its {name} holds no numbers")
    return value


def _selected(a: Mapping[str, Any], name: str, depth: int) -> np.ndarray:
    try:
        flat = _numbers(a["a"], name, depth + 1).ravel()[np.asarray(a["idxs"])]
        return flat.reshape(tuple(int(n) for n in np.atleast_1d(a["preferred_shape"])))
    except (ValueError, TypeError, IndexError) as e:
        raise RefusedError(f"its {name} is damaged") from e


def _written_out(a: Mapping[str, Any], cls: str, name: str) -> np.ndarray:
    shape = a.get("_shape", a.get("shape"))
    kind = csr_matrix if "csr" in cls else csc_matrix
    try:
        rows, columns = (int(n) for n in shape)
        if rows * columns * 8 > _MAX_ARRAY or min(rows, columns) < 0:
            raise RefusedError(f"its {name} is too large")
        made = kind((a["data"], a["indices"], a["indptr"]), (rows, columns))
        made.check_format(full_check=True)
        return made.toarray()
    except (ValueError, TypeError, IndexError) as e:
        raise RefusedError(f"its {name} is damaged") from e

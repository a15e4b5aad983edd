"""The arrays of a dataset's npz and mat files, read without running anything in them, and within bounds."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from backend.errors import JobError
from backend.files.pickles.data import unpickled
from backend.files.pickles.inert import Refusal

MAX_ARRAY = 4 << 30
"""Bytes of one array; the largest of BEDLAM (projected vertices) are never asked for."""
_MAX_OBJECTS = 256 << 20
_BROKEN = (ValueError, EOFError, OSError, NotImplementedError, zipfile.BadZipFile, zlib.error, KeyError, TypeError,
           RuntimeError, MemoryError, SyntaxError, tokenize.TokenError)  # fmt: skip


class Npz:
    """An npz file, whose arrays are read one by one when asked for. `what`: the file's kind, for refusals.

    JobError("bad_data") for a file that is missing, damaged or lacks what is asked for.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what
        try:
            with zipfile.ZipFile(path) as z:
                self.names = {i.filename.removesuffix(".npy") for i in z.infolist()}
        except (OSError, zipfile.BadZipFile) as e:
            raise self.wrong("it is missing, damaged or no npz file") from e

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def read(self, name: str, *shape: int | None) -> np.ndarray:
        """Array `name` of the given shape (None: any size); without a shape as it is. Texts stay texts; arrays of
        objects are read as plain data and made an array again."""
        if name not in self.names:
            raise self.wrong(f"it holds no {name}")
        try:
            with zipfile.ZipFile(self.path) as z, z.open(f"{name}.npy") as member:
                array = self._array(member, name, z.getinfo(f"{name}.npy").file_size)
        except Refusal as e:
            raise self.wrong(f"its {name} is refused, because {e}") from e
        except _BROKEN as e:
            raise self.wrong(f"its {name} is damaged") from e
        sizes = " x ".join("n" if s is None else str(s) for s in shape)
        fits = len(shape) == array.ndim and all(
            s in (None, n) for s, n in zip(shape, array.shape, strict=False)
        )
        if shape and not fits:
            raise self.wrong(f"its {name} is not of the size {sizes}")
        return array

    def wrong(self, why: str) -> JobError:
        """The refusal of this file."""
        return JobError("bad_data", f"{self.path} cannot be used as {self.what}: {why}.")

    def _array(self, member, name: str, size: int) -> np.ndarray:
        if size > MAX_ARRAY:
            raise Refusal(f"it has {size >> 20} MB")
        version = np.lib.format.read_magic(member)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = header(member)
        if not dtype.hasobject:
            if dtype.kind not in "iufbUS":
                raise Refusal(f"it holds {dtype.kind} values")
            count = int(np.prod(shape, dtype=object))
            if min(shape, default=0) < 0:
                raise Refusal("it has an impossible size")
            if count * dtype.itemsize > size:
                raise Refusal("it is shorter than it says")
            flat = np.frombuffer(member.read(count * dtype.itemsize), dtype)
            return flat.reshape(shape, order="F" if fortran else "C")
        if size > _MAX_OBJECTS:
            raise Refusal(f"it has {size >> 20} MB of objects")
        values = unpickled(member.read())
        return np.array(values if isinstance(values, list) else values.tolist())


def read_mat(path: Path, what: str, *names: str) -> list[Any]:
    """The variables `names` of a MATLAB file of version 5 (4 to 7.2), structures as objects with attributes.

    JobError("bad_data") for a file that is missing, damaged, lacks one of them, or is of version 7.3 (HDF5).
    """
    try:
        with path.open("rb") as file:
            head = file.read(128)
        if head.startswith(b"MATLAB 7.3") or head.startswith(b"\x89HDF"):
            raise JobError(
                "bad_data",
                f"{path} is a MATLAB 7.3 file, which is not read here: load it in MATLAB and save it with -v7.",
            )
        found = loadmat(path, struct_as_record=False, squeeze_me=True, variable_names=list(names))
    except (*_BROKEN, MatReadError, IndexError, OverflowError, AttributeError) as e:
        raise JobError(
            "bad_data", f"{path} cannot be used as {what}: it is missing, damaged or no MATLAB file."
        ) from e
    for name in names:
        if name not in found:
            raise JobError("bad_data", f"{path} cannot be used as {what}: it holds no {name}.")
    return [found[name] for name in names]


def listed(value: Any) -> list:
    """What MATLAB squeezed: a list of one entry, or of none, is a list again."""
    if isinstance(value, np.ndarray):
        return list(value.ravel()) if value.dtype == object else list(np.atleast_1d(value))
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]

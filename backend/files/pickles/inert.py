"""What a pickle is turned into: descriptions of tensors, arrays and objects, none of which does anything."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

STORAGES: dict[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
"""Kinds of storages that weights may have."""
DTYPES = {str(dtype).removeprefix("torch."): dtype for dtype in STORAGES.values()}
_MAX_DIMENSIONS = 8
_MAX_ELEMENTS = 1 << 31


class Refusal(Exception):  # noqa: N818 - read as a reason
    """Why a file is not taken: half a sentence that follows 'FILE cannot be used as weights: '."""


def said(text: object, most: int = 80) -> str:
    """A word out of an untrusted file, fit for a terminal: printable ASCII, not too long."""
    plain = "".join(c if " " <= c <= "~" else "?" for c in str(text)[: most + 1])
    return plain if len(plain) <= most else plain[: most - 1] + "..."


@dataclass(frozen=True)
class Global:
    """A name that the pickle wants imported. It is not."""

    module: str
    """In which module it would be looked for."""
    name: str
    """Of the class or function there."""

    @property
    def dotted(self) -> str:
        return f"{'builtins' if self.module == '__builtin__' else self.module}.{self.name}"


class Record:
    """An object of some class: its class's name, its attributes, and what it holds as a mapping or as a list."""

    __slots__ = ("attributes", "cls", "elements", "items")

    def __init__(self, cls: str) -> None:
        self.cls = cls
        self.attributes: dict[str, Any] = {}
        self.items: dict[Any, Any] = {}
        self.elements: list[Any] = []

    def set_state(self, state: Any) -> None:
        """Attributes from a dictionary, or from a pair of them (classes with slots); other states say nothing."""
        for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            if isinstance(part, dict):
                self.attributes.update((k, v) for k, v in part.items() if isinstance(k, str))


@dataclass(frozen=True)
class StorageRef:
    """A run of numbers in the archive."""

    key: str
    """Name of the archive's member."""
    dtype: torch.dtype | None
    """Type of the numbers; None for plain bytes."""
    numel: int
    """How many there are."""
    foreign: bool = False
    """Of a kind that weights never have (complex numbers, say); tensors of it are passed over."""

    @classmethod
    def of(cls, pid: Any) -> StorageRef:
        """From torch's persistent id ('storage', kind, key, location, number of elements)."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise Refusal("it refers to something outside of the archive")
        kind, key, numel = pid[1], pid[2], pid[4]
        if not isinstance(kind, Global) or not isinstance(key, str) or not _natural(numel):
            raise Refusal("one of its storages is damaged")
        if kind.name == "UntypedStorage":
            return cls(key, None, numel)
        known = kind.module in ("torch", "torch.cuda") and kind.name in STORAGES
        return cls(key, STORAGES[kind.name], numel) if known else cls(key, None, numel, foreign=True)


@dataclass(frozen=True)
class TensorRef:
    """A view of a storage, checked to lie inside the number of elements that the storage claims to have."""

    storage: StorageRef
    """Where its numbers are."""
    dtype: torch.dtype
    """Type of the numbers."""
    offset: int
    """Of the first one, in numbers."""
    shape: tuple[int, ...]
    """Its size."""
    stride: tuple[int, ...]
    """Numbers from one row to the next, along each dimension."""

    @classmethod
    def of(cls, storage: Any, offset: Any, shape: Any, stride: Any, dtype: torch.dtype | None = None):
        """Raises Refusal when anything of it points outside of the storage."""
        if not isinstance(storage, StorageRef):
            raise Refusal("one of its tensors has no storage")
        dtype = dtype or storage.dtype or torch.uint8
        numel = storage.numel if storage.dtype else storage.numel // dtype.itemsize
        shape, stride = tuple(shape), tuple(stride)
        sound = len(shape) == len(stride) <= _MAX_DIMENSIONS and all(
            _natural(n) for n in (offset, *shape, *stride)
        )
        if not sound:
            raise Refusal("one of its tensors has an impossible size")
        last = offset + sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
        if (0 not in shape and last >= numel) or math.prod(shape) > _MAX_ELEMENTS:
            raise Refusal(f"a tensor of size {_size(shape)} reaches outside of its storage")
        return cls(storage, dtype, offset, shape, stride)

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.numel * self.dtype.itemsize


class DtypeRef:
    """A numpy type: bool, integer, float or text. Others are refused."""

    def __init__(self, code: Any) -> None:
        self.code = str(code).lstrip("<>=|")
        if self.code[:1] not in ("b", "i", "u", "f", "S", "U", "O") or not self.code[1:].isdigit():
            raise Refusal(f"it holds a numpy array of the kind {said(code)}")
        self.order = "="

    def set_state(self, state: Any) -> None:
        """numpy's (version, byte order, …); only the byte order matters here."""
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "=", "|"):
            raise Refusal("one of its numpy arrays is damaged")
        if len(state) > 4 and (state[2] is not None or state[4] is not None):
            raise Refusal("it holds a numpy array of records")
        self.order = state[1]

    def dtype(self) -> np.dtype:
        """The type itself."""
        return np.dtype(self.code).newbyteorder(self.order)


class ArrayRef:
    """A numpy array before its numbers are looked at."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = (0,)
        self.kind: DtypeRef | None = None
        self.fortran = False
        self.data: bytes | list = b""

    def set_state(self, state: Any) -> None:
        """numpy's (version, shape, type, is Fortran order, bytes or list of objects)."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise Refusal("one of its numpy arrays is damaged")
        _, shape, kind, fortran, data = state
        # A pickle of Python 2.
        if isinstance(data, str):
            data = data.encode("latin-1")
        sound = isinstance(shape, tuple) and all(_natural(n) for n in shape) and isinstance(kind, DtypeRef)
        if not sound or len(shape) > _MAX_DIMENSIONS or not isinstance(data, (bytes, bytearray, list)):
            raise Refusal("one of its numpy arrays is damaged")
        self.shape, self.kind, self.fortran, self.data = shape, kind, bool(fortran), data

    def values(self) -> Any:
        """The array as nested lists of Python's own numbers and texts."""
        if self.kind is None:
            return []
        if isinstance(self.data, list):
            if len(self.shape) != 1 or len(self.data) != self.shape[0]:
                raise Refusal("one of its numpy arrays is damaged")
            return self.data
        try:
            dtype = self.kind.dtype()
            if dtype.hasobject or math.prod(self.shape) * dtype.itemsize != len(self.data):
                raise Refusal("one of its numpy arrays has more or fewer numbers than it says")
            flat = np.frombuffer(self.data, dtype) if self.data else np.zeros(0, dtype)
            return flat.reshape(self.shape, order="F" if self.fortran else "C").tolist()
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            raise Refusal("one of its numpy arrays is damaged") from error


def _natural(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MAX_ELEMENTS << 5


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape) or "one"

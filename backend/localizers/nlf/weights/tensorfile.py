"""Safetensors files written one tensor at a time, so that a conversion needs the memory of its largest tensor.

The format (huggingface/safetensors): 8 bytes little-endian length of a JSON header, the header, the raw numbers.
The library's own writer wants all tensors at once.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
}


@dataclass(frozen=True)
class Entry:
    """One tensor to be written."""

    name: str
    """Name in the file."""
    shape: tuple[int, ...]
    """Shape in the file."""
    dtype: torch.dtype
    """Type in the file, whatever `load` gives."""
    load: Callable[[], torch.Tensor]
    """Fetches the numbers when the tensor's turn comes."""

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def write_tensors(path: Path, entries: Iterable[Entry], wrote: Callable[[int], None] = lambda _: None) -> str:
    """Write `path` and return its sha256. `wrote` is told the bytes of every tensor. Raises OSError.

    The same tensors give the same bytes. Wide numbers come first, so that every tensor is aligned.
    """
    entries = sorted(entries, key=lambda e: (-e.dtype.itemsize, e.name))
    header, offset = {}, 0
    for entry in entries:
        places = [offset, offset + entry.bytes]
        header[entry.name] = {
            "dtype": _NAMES[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": places,
        }
        offset = places[1]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("xb") as file:
        for part in (struct.pack("<Q", len(text)), text):
            digest.update(part)
            file.write(part)
        for entry in entries:
            tensor = entry.load()
            if tuple(tensor.shape) != entry.shape:
                raise ValueError(f"{entry.name} came as {tuple(tensor.shape)}")
            raw = memoryview(tensor.to(entry.dtype).contiguous().view(-1).view(torch.uint8).numpy())
            digest.update(raw)
            file.write(raw)
            wrote(entry.bytes)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

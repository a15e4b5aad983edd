"""Zip archives of weights, read without executing or extracting anything, and within bounds.

`Archive` is any zip file; `TorchArchive` one that torch.save or torch.jit.save wrote: a pickle `data.pkl` that
describes the objects, and the numbers of every tensor as a member of its own beside it. Every size that a file
claims is checked before memory is spent on it. All failures are `Refusal`s.
"""

from __future__ import annotations

import io
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import torch

from backend.files.pickles.inert import Refusal, TensorRef, said
from backend.files.pickles.machine import MAX_BYTES, read_pickle

MAX_ARCHIVE = 4 << 30
MAX_ENTRIES = 200_000
MAX_STORAGE = 1 << 30
"""No tensor's numbers may take more; all of NLF-L in float32 are 480 MB."""
_MAX_READ = 24 << 20
"""The table of contents of 200,000 entries; zipfile reads it in one piece and asks nobody."""
_MAX_INFLATION = 200
"""Of members that unpack to more than 16 MB; weights shrink by a tenth, only a zip bomb shrinks like this."""
_ENCRYPTED = 0x1
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, NotImplementedError)


class _Reader(io.BufferedReader):
    """A file from which nobody gets more than `_MAX_READ` bytes at once."""

    def read(self, size: int | None = -1) -> bytes:
        whole = size is None or size < 0
        data = super().read(_MAX_READ + 1 if whole else min(size, _MAX_READ + 1))
        if len(data) > _MAX_READ:
            raise Refusal("its table of contents is too large")
        return data


class Archive:
    """A zip file. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.is_file():
                raise Refusal("there is no such file")
            size = path.stat().st_size
            if size > MAX_ARCHIVE:
                raise Refusal(f"it has {size / 1e9:.1f} GB, more than {MAX_ARCHIVE / 1e9:.1f}")
            self._file = _Reader(path.open("rb", buffering=0))
        except OSError as error:
            raise Refusal(f"it cannot be read ({error.strerror or type(error).__name__})") from error
        try:
            start = self._file.read(4)
            if start[:2] != b"PK":
                raise Refusal(_no_zip(start))
            self._file.seek(0)
            try:
                self._zip = zipfile.ZipFile(self._file)
            except _BROKEN as error:
                raise Refusal("it is damaged or not complete: download it again") from error
            entries = self._zip.infolist()
            if len(entries) > MAX_ENTRIES:
                raise Refusal(f"it has {len(entries)} entries, more than {MAX_ENTRIES}")
            members = [e for e in entries if not e.filename.endswith("/")]
            self.entries = {e.filename: e for e in members}
            """All members by name; nothing is ever written under these names."""
            if len(self.entries) < len(members):
                raise Refusal("two of its entries have the same name")
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
        self._file.close()

    def read(self, name: str, limit: int) -> bytearray:
        """The member `name`, unpacked; refused when it says, or turns out, to have more than `limit` bytes."""
        entry = self.entries.get(name)
        if entry is None:
            raise Refusal(f"it holds no {said(name)}")
        size, packed = entry.file_size, entry.compress_size
        if size > limit:
            raise Refusal(f"its {said(name)} has {size / 1e6:.0f} MB, more than {limit / 1e6:.0f}")
        if entry.flag_bits & _ENCRYPTED:
            raise Refusal("it is locked with a password")
        stored = entry.compress_type == zipfile.ZIP_STORED
        if not stored and entry.compress_type != zipfile.ZIP_DEFLATED:
            raise Refusal("it is packed in a way that weights never are")
        if (stored and size != packed) or (size > 16 << 20 and size > _MAX_INFLATION * packed):
            raise Refusal(f"its {said(name)} says that it unpacks to more than is there")
        data = bytearray(size)
        try:
            with self._zip.open(entry) as member:
                filled = _fill(member, data)
                if filled != size or member.read(1):
                    raise Refusal(f"its {said(name)} is damaged or not complete")
        except _BROKEN as error:
            raise Refusal(f"its {said(name)} is damaged: download the file again") from error
        return data


class TorchArchive:
    """What torch wrote: `root`, the described object as inert data, and `load` for the tensors in it."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        found = [n for n in archive.entries if n.endswith("/data.pkl") and n.count("/") == 1]
        if len(found) != 1:
            raise Refusal("it is a zip archive, but not one that torch wrote")
        self.top = found[0].removesuffix("/data.pkl")
        order = f"{self.top}/byteorder"
        if order in archive.entries and bytes(archive.read(order, 64)).strip() != b"little":
            raise Refusal("its numbers are in big-endian order")
        if sys.byteorder != "little":
            raise Refusal("this machine stores numbers in big-endian order, for which there is no reader")
        self.is_script = f"{self.top}/constants.pkl" in archive.entries
        """True for TorchScript (torch.jit.save), False for torch.save."""
        self.root = read_pickle(bytes(archive.read(found[0], MAX_BYTES)))
        self._last: tuple[str, bytearray] = ("", bytearray())

    def load(self, ref: TensorRef) -> torch.Tensor:
        """The numbers of `ref`, contiguous, in memory of their own; only one storage is held at a time."""
        if ref.bytes > MAX_STORAGE:
            raise Refusal(
                f"one of its tensors has {ref.bytes / 1e6:.0f} MB, more than {MAX_STORAGE / 1e6:.0f}"
            )
        if ref.numel == 0:
            return torch.zeros(ref.shape, dtype=ref.dtype)
        raw = self._storage(ref.storage.key)
        width = 1 if ref.storage.dtype is None else ref.storage.dtype.itemsize
        if ref.storage.numel * width > len(raw):
            raise Refusal(f"its storage {said(ref.storage.key)} is shorter than it says")
        flat = torch.frombuffer(raw, dtype=ref.dtype, count=len(raw) // ref.dtype.itemsize)
        return torch.as_strided(flat, ref.shape, ref.stride, ref.offset).clone(
            memory_format=torch.contiguous_format
        )

    def _storage(self, key: str) -> bytearray:
        if self._last[0] != key:
            self._last = ("", bytearray())
            self._last = (key, self.archive.read(f"{self.top}/data/{key}", MAX_STORAGE))
        return self._last[1]


def _fill(member: io.BufferedIOBase, data: bytearray) -> int:
    filled, view = 0, memoryview(data)
    while filled < len(data):
        part = member.read(min(len(data) - filled, 4 << 20))
        if not part:
            break
        view[filled : filled + len(part)] = part
        filled += len(part)
    return filled


def _no_zip(start: bytes) -> str:
    if start[:1] == b"\x80":
        return "it is a bare pickle, which only a program could read: save it again with torch 1.6 or newer"
    if start.lstrip()[:1] == b"<":
        return "it is a web page and no weights: download the file itself"
    return "it is not a file that torch wrote (they are zip archives)"

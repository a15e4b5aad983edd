"""What the end of a job was made of, kept piece by piece, so that a correction solves only what it changes.

A piece is found again by what it was made from: its name is a digest of that. So none can be wrong, only missing, and
whatever is missing is made anew: after a new release, with other options, or when the folder was emptied.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from backend.jobs.folder import DAMAGED
from blender_addon.shared.whole import write_whole

PIECES = "solved"
"""The folder of them in a job's folder."""
MOST = 4.0
"""They take no more room than so many times what the chunks do; a correction is undone as fast as it was made."""
LEAST_BYTES = 64 << 20
"""Unless that is less than this."""


class Pieces:
    """The pieces of one job. `folder`: the job's; None: nothing is kept. No method raises for a disk that is full or
    a file that is damaged: what cannot be kept or read is made anew."""

    def __init__(self, folder: Path | None = None) -> None:
        self._job = folder
        self._folder = None if folder is None else folder / PIECES

    def get(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays of a piece; None when it is not there."""
        if self._folder is None:
            return None
        path = self._folder / f"{name}.npz"
        try:
            with np.load(path, allow_pickle=False) as arrays:
                found = {n: arrays[n] for n in arrays.files}
        except DAMAGED:
            return None
        with contextlib.suppress(OSError):
            # The least used ones go first.
            path.touch()
        return found

    def put(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep a piece."""
        if self._folder is not None:
            with contextlib.suppress(OSError):
                write_whole(self._folder / f"{name}.npz", lambda out: np.savez(out, **arrays))

    def tidy(self) -> None:
        """Remove those that were not used for longest, until the others have room."""
        if self._folder is None or self._job is None:
            return
        with contextlib.suppress(OSError):
            room = max(MOST * sum(p.stat().st_size for p in self._job.glob("chunk_*.npz")), LEAST_BYTES)
            found = sorted(((p.stat(), p) for p in self._folder.glob("*.npz")), key=lambda f: -f[0].st_mtime)
            for stat, path in found:
                room -= stat.st_size
                if room < 0:
                    path.unlink(missing_ok=True)


def digest(*made_of: object) -> str:
    """A name for what is made of arrays, texts, numbers, None and tuples of these."""
    out = hashlib.blake2b(digest_size=16)
    for part in made_of:
        if isinstance(part, np.ndarray):
            out.update(f"{part.dtype.str}{part.shape}".encode())
            out.update(np.ascontiguousarray(part).tobytes())
        else:
            out.update(f"{type(part).__name__}{part!r}".encode())
        out.update(b"\0")
    return out.hexdigest()


__all__ = ["Pieces", "digest"]

# SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all: written under another name, then renamed. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


def part_of(path: Path) -> Path:
    """The name under which `path` is written: in its folder, hidden, with its ending, of this process."""
    return path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A name to write to in place of `path`. At the end of the block it is renamed to `path`, with whose file it
    takes its place; when the block raises, `path` stays as it was. Nothing else is left. The folder is made if missing.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(path)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, write: Callable[[IO[bytes]], Any], durable: bool = False) -> None:
    """Let `write` fill the file `path`. `durable`: it is on the disk, and not in the system's memory, when this
    returns. Raises OSError, and what `write` raises."""
    with aside(path) as part, part.open("wb") as out:
        write(out)
        if durable:
            out.flush()
            os.fsync(out.fileno())


def write_text(path: Path, text: str) -> None:
    """`write_whole` of a text, UTF-8, with line ends as they are. Raises OSError."""
    write_whole(path, lambda out: out.write(text.encode("utf-8")))

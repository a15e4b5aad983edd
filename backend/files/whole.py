"""Files that are there whole or not at all, with a sentence for whoever cannot write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from backend.errors import JobError
from blender_addon.shared.whole import aside, part_of, write_whole


def check_writable(path: Path) -> None:
    """Make the folder and see that files can be made in it. Raises JobError("cannot_write")."""
    with sentence(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = part_of(path)
        try:
            with part.open("wb"):
                pass
        finally:
            part.unlink(missing_ok=True)


def write_aside(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """`write_whole` whose OSError is a JobError("cannot_write")."""
    with sentence(path):
        write_whole(path, write)


@contextmanager
def file_aside(path: Path) -> Iterator[Path]:
    """`aside`, for writers that open files themselves, whose OSError is a JobError("cannot_write")."""
    with sentence(path), aside(path) as part:
        yield part


@contextmanager
def sentence(path: Path) -> Iterator[None]:
    """An OSError of the block is a JobError("cannot_write") about `path`."""
    try:
        yield
    except OSError as error:
        raise JobError("cannot_write", f"{path} could not be written: {error.strerror or error}.") from error

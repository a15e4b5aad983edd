"""Finding a dataset's files, and saying in one sentence what is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend.errors import JobError

_MOST_JSON = 4 << 30


def wrong(what: str, folder: Path | str, why: str) -> JobError:
    """The refusal of a dataset's folder."""
    return JobError("bad_data", f"{folder} cannot be used as {what}: {why}.")


def first(folder: Path, names: Sequence[str], what: str) -> Path:
    """The first of `names` (paths in `folder`) that is there. JobError("bad_data") if none is."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    listed = " or ".join(names)
    raise wrong(what, folder, f"it holds no {listed}")


def every(files: Sequence[Path], folder: Path, what: str, which: str) -> list[Path]:
    """`files` in order. JobError("bad_data") if there are none."""
    if not files:
        raise wrong(what, folder, f"it holds no {which}")
    return sorted(files)


def read_json(path: Path, what: str) -> Any:
    """What the file says. JobError("bad_data") for one that is missing, damaged or too large."""
    try:
        if path.stat().st_size > _MOST_JSON:
            raise wrong(what, path, f"it has more than {_MOST_JSON >> 30} GB")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        raise wrong(what, path, "it is missing or no JSON") from e


def inside(folder: Path, name: str, what: str) -> Path:
    """`folder`/`name`, as annotations name a file. JobError("bad_data") if that leads out of the folder."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise wrong(what, folder, "its annotations name a picture outside of it")
    return folder / name

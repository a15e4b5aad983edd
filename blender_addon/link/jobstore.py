# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs that the backend keeps in the user's Bodyfield folder, as read from there: no backend need run for that.

`backend/jobs/folder.py` says what lies in a job's folder. Nothing is written here; `remove` deletes one job.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..shared.frames import Clip, ClipError
from ..shared.home import home_folder
from ..shared.wire import is_job_id
from . import process

NEWEST = 30
"""Most jobs that are read, newest first: the names of their folders begin with the date."""
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError)


class StoreError(Exception):
    """A job cannot be found or removed. The message is one sentence that says what to do."""


@dataclass(frozen=True)
class StoredJob:
    """A job as its folder tells of it."""

    id: str
    """The name of its folder."""
    state: str
    """"running", "done", "failed", "cancelled", or "interrupted" when its backend died with it."""
    name: str
    """The name of the video."""
    created: float
    """Seconds since 1970."""
    done: int
    """Frames that are finished."""
    total: int | None
    """Frames that there are; None while nobody knows."""
    source: Path | None
    """Where the video was; None when the job does not say."""
    width: int
    """Pixels of the upright picture."""
    height: int
    """Pixels of the upright picture."""
    fps: float | None
    """Average rate of the video, as far as it tells."""
    frame_count: int | None
    """Frames of the video, as far as it tells."""
    options: dict[str, Any] = field(default_factory=dict)
    """What was asked for, by the names of the backend's options."""

    @property
    def finished(self) -> bool:
        """Its results are there: importing them needs no video."""
        return self.state == "done"

    @property
    def resumable(self) -> bool:
        """There is something to go on with, and nobody is at it."""
        return self.state in ("interrupted", "cancelled") or (self.state == "failed" and self.done > 0)

    def check_clip(self, clip: Clip) -> None:
        """Raises ClipError when `clip` is not the video of this job."""
        hint = f"choose the video that job {self.id} began with"
        if (clip.width, clip.height) != (self.width, self.height):
            raise ClipError(
                f"{clip.name} has {clip.width} x {clip.height} pixels, but {self.name} had {self.width} x "
                f"{self.height}: {hint}."
            )
        if clip.frame_count and self.frame_count and clip.frame_count != self.frame_count:
            raise ClipError(
                f"{clip.name} has {clip.frame_count} frames, but {self.name} had {self.frame_count}: {hint}."
            )


def stored_jobs() -> list[StoredJob]:
    """The newest jobs first; what cannot be read is left out."""
    folder = home_folder() / "jobs"
    found = []
    with contextlib.suppress(OSError):
        names = sorted((p.name for p in folder.iterdir() if is_job_id(p.name)), reverse=True)
        for name in names[:NEWEST]:
            with contextlib.suppress(*_UNREADABLE):
                found.append(_read(folder / name))
    return sorted(found, key=lambda job: job.created, reverse=True)


def stored_job(job_id: str) -> StoredJob:
    """One job. Raises StoreError."""
    try:
        if not is_job_id(job_id):
            raise ValueError("no name of a job")
        return _read(home_folder() / "jobs" / job_id)
    except _UNREADABLE:
        raise StoreError(f"There is no job {job_id} here any more: import the video once more.") from None


def remove(job_id: str) -> None:
    """Delete a job, its finished frames and results. Raises StoreError, also for one that is at work."""
    job = stored_job(job_id)
    if job.state == "running":
        raise StoreError(f"{job.name} is being worked on: cancel it, then remove it.")
    folder = home_folder() / "jobs" / job_id
    # Under a name that is no job's first, so that half of a job is never listed.
    gone = folder.with_name(f".{job_id}")
    try:
        folder.replace(gone)
        shutil.rmtree(gone)
    except OSError as error:
        raise StoreError(
            f"{job.name} cannot be removed ({error.strerror or error}): delete {folder} yourself."
        ) from error


def _read(folder: Path) -> StoredJob:
    """Raises one of _UNREADABLE when there is no job, or one that is not what the backend writes."""
    data = json.loads((folder / "job.json").read_text("utf-8"))
    clip, state, frames = data["clip"], data["state"], data["frames"]
    if state == "running" and process.running_endpoint() is None:
        # Its backend died with it; one that lives has set right what an earlier one left.
        state = "interrupted"
    count = _whole(clip.get("frame_count"))
    # The command line of release 0.1 called it `path`.
    source = clip.get("source") or clip.get("path")
    total = _whole(frames) or count
    done = total or 0 if state == "done" else _frames_done(folder)
    return StoredJob(
        folder.name,
        str(state),
        str(clip["name"]),
        float(data["created"]),
        done,
        total,
        Path(source) if isinstance(source, str) and source else None,
        int(clip["width"]),
        int(clip["height"]),
        None if clip.get("fps") is None else float(clip["fps"]),
        count,
        dict(data["options"]),
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _frames_done(folder: Path) -> int:
    """How many frames are finished, from the newest chunk that can be read."""
    for path in sorted(folder.glob("chunk_*.npz"), reverse=True):
        with (
            contextlib.suppress(*_UNREADABLE, zipfile.BadZipFile, zlib.error),
            np.load(path, allow_pickle=False) as arrays,
        ):
            return int(arrays["last"]) + 1
    return 0

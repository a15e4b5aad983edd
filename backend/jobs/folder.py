"""Jobs on disk: one folder each, so that nothing finished is lost when a process or the machine goes down.

    <home>/jobs/<id>/job.json           what was asked, of which clip, and how far it came
                     chunk_00000.npz    finished localizations, the unit of resuming
                     features_00000.npz what the localizer keeps of the same frames (see `backend.jobs.features`)
                     shot_001.npz       the first shot and its camera (see `shared.shot`)
                     final_001.npz      the final motion of track 1
                     final_001_2.npz    the same (or a shot) once the job's end was done anew twice
                     solved/            what the end of the job was made of (see `backend.jobs.pieces`)
                     log.txt

Every file is written aside and renamed (`shared/whole.py`), so it is there whole or not at all.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import secrets
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np

from backend.errors import JobError
from backend.records import Chunk, Shot, TrackMotion
from blender_addon.shared.told import LEAST_MM, MOST_MM
from blender_addon.shared.whole import write_whole
from blender_addon.shared.wire import is_job_id

T = TypeVar("T")
RUNNING, DONE, FAILED, CANCELLED, INTERRUPTED = "running", "done", "failed", "cancelled", "interrupted"
_DISK_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
FEATURES = "features_"
_FINAL = re.compile(r"(final|shot)_(\d+)(?:_(\d+))?\.npz")
"""Kind, number and revision of a final motion or a shot."""
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
"""What reading a file of a job raises when it is not what was written."""


@dataclass
class JobRecord:
    """What job.json holds."""

    id: str
    """Name of the job and of its folder."""
    options: dict[str, Any]
    """What was asked for, see `MocapOptions.to_dict`."""
    clip: dict[str, Any]
    """Of which clip, see `shared.frames.clip_facts`."""
    state: str = RUNNING
    """RUNNING, DONE, FAILED, CANCELLED or INTERRUPTED."""
    created: float = 0.0
    """Seconds since 1970."""
    frames: int | None = None
    """Length of the clip, once its end was seen."""
    damage: str | None = None
    """One sentence when the clip was cut short."""
    error: str | None = None
    """One sentence when the job failed."""
    summary: dict[str, Any] | None = None
    """Of a finished job, see `Summary.as_json`."""
    revision: int = 0
    """How often the end of the finished job was done anew: it names the files of its final motions."""


def focal_of(clip: Mapping[str, Any]) -> float | None:
    """The 35 mm focal length that a record's clip tells, millimetres; None where it is nothing that a lens can have."""
    told = clip.get("focal_35mm")
    if isinstance(told, bool) or not isinstance(told, (int, float)) or not LEAST_MM <= told <= MOST_MM:
        return None
    return float(told)


class JobFolder:
    """One job on disk. All methods raise JobError("disk_full" or "cannot_write") when they cannot write."""

    def __init__(self, path: Path, record: JobRecord) -> None:
        self.path = path
        self.record = record

    @property
    def log_path(self) -> Path:
        return self.path / "log.txt"

    def update(self, **changes: Any) -> None:
        """Set fields of the record and write it."""
        for name, value in changes.items():
            setattr(self.record, name, value)
        text = json.dumps(asdict(self.record), indent=1)
        self._write("job.json", lambda out: out.write(text.encode("utf-8")))

    def save_chunk(self, number: int, chunk: Chunk) -> None:
        """Keep the `number`-th chunk of the clip."""
        arrays = chunk.to_arrays()
        self._write(f"chunk_{number:05d}.npz", lambda out: np.savez(out, **arrays))

    def save_features(self, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the features that belong to the `number`-th chunk. When the disk is full they are what is given up."""
        self._write(f"{FEATURES}{number:05d}.npz", lambda out: np.savez(out, **arrays))

    def features(self) -> dict[int, Path]:
        """The files of features that there are, whole or not, by the numbers of their chunks."""
        return {_number(path): path for path in sorted(self.path.glob(f"{FEATURES}*.npz"), key=_number)}

    def numbers(self) -> list[int]:
        """Numbers of all chunks of which anything is there, whole or not."""
        chunks = (_number(path) for path in self.path.glob("chunk_*.npz"))
        return sorted({*chunks, *self.features()})

    def clear_features(self) -> bool:
        """Remove all features; whether there were any."""
        found = list(self.features().values())
        for path in found:
            with contextlib.suppress(OSError):
                path.unlink()
        return bool(found)

    def load_chunk(self, number: int) -> Chunk | None:
        """The `number`-th chunk; None when it is missing or damaged."""
        try:
            # Never pickled objects: the folder may have been copied from anywhere.
            with np.load(self.path / f"chunk_{number:05d}.npz", allow_pickle=False) as arrays:
                return Chunk.from_arrays(arrays)
        except DAMAGED:
            return None

    def load_chunks(self) -> list[Chunk]:
        """The finished chunks that follow each other from frame 0 without a gap.

        A chunk that is missing or damaged ends the list: it and what follows is computed anew.
        """
        chunks: list[Chunk] = []
        while True:
            chunk = self.load_chunk(len(chunks))
            expected = chunks[-1].last + 1 if chunks else 0
            if chunk is None or chunk.first != expected or chunk.last < chunk.first:
                return chunks
            chunks.append(chunk)

    def save_final(self, motion: TrackMotion, revision: int = 0) -> None:
        """Keep the final motion of one track. `revision`: it counts once the record is at this one."""
        self._save_result("final", motion.track, motion.to_file(), revision)

    def save_shot(self, shot: Shot, revision: int = 0) -> None:
        """Keep a shot. `revision`: as of `save_final`."""
        self._save_result("shot", shot.number, shot.to_file(), revision)

    def _save_result(self, kind: str, number: int, arrays: Mapping[str, np.ndarray], revision: int) -> None:
        more = f"_{revision}" if revision else ""
        self._write(f"{kind}_{number:03d}{more}.npz", lambda out: np.savez(out, **arrays))

    def load_finals(self) -> list[TrackMotion]:
        """The final motions in the order of their tracks. Raises JobError("damaged_job")."""
        return self._load_results("final", TrackMotion.from_file)

    def load_shots(self) -> list[Shot]:
        """The shots in the order of time; none of a job of an earlier release. Raises JobError("damaged_job")."""
        return self._load_results("shot", Shot.from_file)

    def _load_results(self, kind: str, read: Callable[[Any], T]) -> list[T]:
        results = []
        for path in self._finals(self.record.revision, kind):
            try:
                with np.load(path, allow_pickle=False) as arrays:
                    results.append(read(arrays))
            except DAMAGED:
                raise JobError(
                    "damaged_job",
                    f"The result {path.name} of job {self.record.id} is damaged: import the clip once more.",
                ) from None
        return results

    def clear_finals(self, keep: int | None = None) -> None:
        """Remove the results of earlier and unfinished ends, but for those of the revision `keep`, and the leftovers of
        interrupted writing."""
        kept = [] if keep is None else [*self._finals(keep), *self._finals(keep, "shot")]
        for pattern in ("final_*.npz", "shot_*.npz", ".*.part.*", ".*.tmp"):
            for path in self.path.glob(pattern):
                with contextlib.suppress(OSError):
                    if path not in kept:
                        path.unlink()

    def _finals(self, revision: int, kind: str = "final") -> list[Path]:
        """The files of the final motions (or shots) of one revision, in the order of their numbers."""
        found = {path: _FINAL.fullmatch(path.name) for path in self.path.glob(f"{kind}_*.npz")}
        of_it = {path: name for path, name in found.items() if name and int(name[3] or 0) == revision}
        return sorted(of_it, key=lambda path: int(of_it[path][2]))

    def _write(self, name: str, fill: Callable[[IO[bytes]], Any]) -> None:
        try:
            write_whole(self.path / name, fill, durable=True)
        except OSError as error:
            if error.errno in _DISK_FULL and not name.startswith(FEATURES) and self.clear_features():
                self._write(name, fill)
                return
            raise _cannot_write(error, self.path, self.record.id) from error


class JobStore:
    """All jobs of a home folder."""

    def __init__(self, home: Path) -> None:
        self.path = home / "jobs"

    def create(self, options: Mapping[str, Any], clip: Mapping[str, Any]) -> JobFolder:
        """A new job with an id of its own. Raises JobError when it cannot be written."""
        job_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
        folder = JobFolder(
            self.path / job_id, JobRecord(job_id, dict(options), dict(clip), created=time.time())
        )
        try:
            folder.path.mkdir(parents=True)
        except OSError as error:
            raise _cannot_write(error, self.path, job_id) from error
        folder.update()
        return folder

    def open(self, job_id: str) -> JobFolder:
        """An existing job. Raises JobError("no_job" or "damaged_job")."""
        path = self.path / job_id
        if not is_job_id(job_id) or not path.is_dir():
            raise JobError("no_job", f"There is no job {job_id} here: import the clip once more.")
        try:
            return JobFolder(path, _read_record(path))
        except DAMAGED:
            raise JobError(
                "damaged_job", f"The description of job {job_id} is damaged: import the clip once more."
            ) from None

    def settle(self) -> None:
        """When the only backend of this folder begins: what still counts as running was interrupted."""
        for record in self.list(newest=sys.maxsize):
            if record.state == RUNNING:
                with contextlib.suppress(JobError):
                    JobFolder(self.path / record.id, record).update(state=INTERRUPTED)

    def list(self, newest: int = 50) -> list[JobRecord]:
        """The newest jobs first; folders that hold no readable job are left out."""
        records = []
        with contextlib.suppress(OSError):
            for path in self.path.iterdir():
                with contextlib.suppress(*DAMAGED, TypeError):
                    records.append(_read_record(path))
        return sorted(records, key=lambda r: r.created, reverse=True)[:newest]


def _read_record(path: Path) -> JobRecord:
    """Raises ValueError and the like when the file is not what `JobFolder.update` writes."""
    data = json.loads((path / "job.json").read_text("utf-8"))
    if not isinstance(data, dict):
        raise ValueError("not an object")
    # Release 0.1 kept no revision.
    data = {"revision": 0, **data}
    record = JobRecord(**{f.name: data[f.name] for f in fields(JobRecord)})
    whole = (record.frames is None or isinstance(record.frames, int)) and isinstance(record.revision, int)
    if record.id != path.name or not isinstance(record.options, dict) or not whole:
        raise ValueError("not a job")
    if not isinstance(record.clip, dict) or not isinstance(record.created, int | float):
        raise ValueError("not a job")
    return record


def _number(path: Path) -> int:
    return int("".join(re.findall(r"\d", path.stem)) or 0)


def _cannot_write(error: OSError, path: Path, job_id: str) -> JobError:
    if error.errno in _DISK_FULL:
        return JobError(
            "disk_full",
            f"The disk that holds {path} is full: free some space and resume job {job_id}, whose frames "
            "finished so far are kept.",
        )
    return JobError(
        "cannot_write",
        f"Nothing can be written to {path} ({error.strerror or error}): check its permissions.",
    )

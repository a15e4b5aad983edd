"""A backend in this process that does the end of a job anew with the corrections of its people, as fast as asked.

For what needs many updates in seconds; that the real backend takes the same words is tested beside it.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from blender_addon.link.job import JobProgress, Result
from blender_addon.link.jobstore import StoredJob
from blender_addon.shared.motion import PER_FRAME, joined

from .people import open_body


def stored(job: str = "job-1", **options) -> StoredJob:
    """What its folder would tell of a finished job."""
    return StoredJob(job, "done", "walk.mp4", 0.0, 20, 20, None, 640, 360, 30.0, 20, options)


@dataclass
class _Job:
    """As `link.job.Job`, done from the start."""

    id: str
    results: list[Result]
    shots: dict
    state: str = "done"
    error: str | None = None
    error_code: str | None = None
    warnings: list = field(default_factory=list)
    body: object = field(default_factory=open_body)
    progress: JobProgress = field(default_factory=JobProgress)
    summary: dict = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return True

    def take_results(self) -> list[Result]:
        taken, self.results = self.results, []
        return taken

    def pause(self, on: bool = True) -> None: ...

    def cancel(self) -> None: ...


class Cast:
    """Stands for `work.backend.Backend` and its client. `people`: the results before any correction; `asked`: what it
    was asked for, in order; `refuses`: a sentence with which every job fails."""

    def __init__(self, people: list[Result], shots: dict | None = None) -> None:
        self.people, self.shots = people, shots or {}
        self.asked: list[dict] = []
        self.refuses: str | None = None

    def pump(self, budget_s: float) -> "Cast":
        return self

    def keep_alive(self) -> None: ...

    def close(self) -> None: ...

    def resume(self, job_id: str, opener, changes=None) -> _Job:
        self.asked.append(dict(changes or {}))
        if self.refuses:
            return _Job(job_id, [], {}, "failed", self.refuses, "bad_options")
        return _Job(job_id, corrected(self.people, (changes or {}).get("edits", [])), self.shots)


def rows(result: Result, kept: np.ndarray) -> Result:
    """Some frames of a result."""
    return replace(result, **{name: getattr(result, name)[kept] for name in PER_FRAME})


def corrected(people: list[Result], edits: list[dict]) -> list[Result]:
    """The people after corrections, as the option's description says, in the plainest way."""
    found = {p.track: p for p in people}
    for edit in edits:
        a, *b = edit.get("tracks", [edit.get("track")])
        at = edit.get("frame", 0)
        if edit["op"] == "exclude":
            del found[a]
        elif edit["op"] == "merge":
            parts = sorted((found[a], found.pop(b[0])), key=lambda p: p.frames[0])
            found[a] = replace(joined(parts), track=a)
        elif edit["op"] == "split":
            whole, new = found[a], max(found) + 1
            found[a] = rows(whole, whole.frames < at)
            found[new] = replace(rows(whole, whole.frames >= at), track=new)
        elif edit["op"] == "swap":
            one, other = found[a], found[b[0]]
            parts = [rows(one, one.frames < at), rows(other, other.frames >= at)]
            found[a] = replace(joined(parts), track=a)
            found[b[0]] = joined([rows(other, other.frames < at), rows(one, one.frames >= at)])
            found[b[0]] = replace(found[b[0]], track=b[0])
        elif edit["op"] == "same":
            found[b[0]] = replace(found[b[0]], person=np.int32([a]))
    return [found[track] for track in sorted(found)]

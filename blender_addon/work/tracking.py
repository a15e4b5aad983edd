# SPDX-License-Identifier: GPL-3.0-or-later
"""The second pass on its way into the scene: asks the backend for the points of a finished job, keys their empties.

Like `importing.VideoImport`, which `running` moves on by the same few words; nothing here waits.
"""

import time
from collections.abc import Mapping, Sequence
from functools import partial

import bpy

from ..languages.words import iface
from ..link.client import Client
from ..link.pointsjob import PointsJob
from ..link.process import BackendFailed, BackendMissing
from ..points.canonical import Place
from ..scene.clip_keys import JOB_KEY, TRACK_KEY
from ..scene.points import POINT_KEY
from ..scene.steps import Steps, VanishedError
from ..scene.tracked import clip_collection, tracked, tracked_steps
from .backend import Backend

GONE = "The clip of these points was deleted from the file meanwhile; undo that and press Track Points once more."


class PointTracking:
    """`state`: "running", "done", "failed" or "cancelled"; `error`: one sentence when failed.

    `job_id`: the finished job of the clip; `places`: id -> what to track, in order; `body`: whose numbers they hold.
    """

    source = waiting = paused = None
    undo_message = "Track Points"

    def __init__(
        self, backend: Backend, job_id: str, clip_name: str, places: Mapping[int, Place], body: str
    ) -> None:
        self.job_id, self.places, self.body = job_id, dict(places), body
        self.state, self.error = "running", None
        self.warnings: list[str] = []
        self.empties: list[str] = []
        self._clip_name, self._backend = clip_name, backend
        self._job: PointsJob | None = None
        self._steps: Steps[None] | None = None

    @property
    def name(self) -> str:
        """What the user calls this."""
        return iface("Points of {clip}", clip=self._clip_name)

    @property
    def outcome(self) -> str:
        """What came of it, in a few words."""
        return iface("{count} tracked", count=len(self.places))

    @property
    def changed_scene(self) -> bool:
        """True when something of it lies in the scene."""
        return bool(self.empties)

    @property
    def finished(self) -> bool:
        """True once nothing will change any more."""
        return self.state != "running"

    @property
    def progress(self) -> tuple[str, int, int | None, float | None]:
        """(stage, frames done, of how many if known, seconds left if known)."""
        if self._job is None:
            return "opening", 0, None, None
        p = self._job.progress
        return "points", p.done, p.total, p.seconds_left

    def pump(self, budget_s: float = 0.01) -> bool:
        """Do about `budget_s` seconds of work; True when something changed that is worth drawing."""
        if self.finished:
            return False
        if self._steps is not None:
            self._backend.keep_alive()
            return self._write(time.perf_counter() + budget_s)
        try:
            client = self._backend.pump(budget_s)
        except (BackendMissing, BackendFailed) as error:
            self.fail(str(error))
            return True
        if client is None:
            return False
        if self._job is None:
            self._job = self._ask(client)
        if self._job.finished:
            self._steps = self._finish(self._job)
        return False

    def cancel(self) -> None:
        """Stop; what is in the scene stays as it is."""
        if not self.finished:
            if self._job is not None:
                self._job.cancel()
            self.state = "cancelled"
            self._steps = None

    def fail(self, error: str) -> None:
        """End with one sentence."""
        self.cancel()
        self.state, self.error = "failed", error

    def _ask(self, client: Client) -> PointsJob:
        entries = [place.entry() for place in self.places.values()]
        return PointsJob.ask(client, self.job_id, entries, self.body)

    def _write(self, deadline: float) -> bool:
        """Go on keying until about `deadline`; True when that came to an end."""
        try:
            while True:
                next(self._steps)
                if time.perf_counter() >= deadline:
                    return False
        except StopIteration:
            self._steps = None
        except VanishedError:
            self.fail(GONE)
        return True

    def _finish(self, job: PointsJob) -> Steps[None]:
        self.warnings += job.warnings
        if job.state != "done":
            self.state, self.error = job.state, job.error
            return
        there = [armature[TRACK_KEY] for armature in people_of(self.job_id)]
        if not there:
            raise VanishedError
        names = [place.name for place in self.places.values()]
        for track, points in job.tracks.items():
            for number in range(there.count(track)):
                find = partial(_person, self.job_id, track, number)
                yield from tracked_steps(find, names, list(self.places), points)
                self.empties += [ob.name for ob in tracked(find()) if ob[POINT_KEY] in self.places]
                yield
        self.state = "done"


def _person(job_id: str, track: int, number: int) -> bpy.types.Object | None:
    """The armature of a track; `number` counts the copies that the user made of it."""
    found = [armature for armature in people_of(job_id) if armature[TRACK_KEY] == track]
    return found[number] if number < len(found) else None


def people_of(job_id: str) -> Sequence[bpy.types.Object]:
    """The armatures of a clip in this file."""
    clip = clip_collection(job_id)
    found = clip.objects if clip is not None else ()
    return [ob for ob in found if ob.type == "ARMATURE" and ob.get(JOB_KEY) == job_id and TRACK_KEY in ob]

# SPDX-License-Identifier: GPL-3.0-or-later
"""The second pass on its way into the scene: asks the backend for the points of a finished job, keys their empties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import bpy

from ..languages.words import iface
from ..link.client import Client
from ..link.job import JobProgress
from ..link.pointsjob import PointsJob
from ..points.canonical import Place
from ..scene.clip_keys import JOB_KEY, TRACK_KEY
from ..scene.points import POINT_KEY
from ..scene.steps import Steps, VanishedError
from ..scene.tracked import clip_collection, tracked, tracked_steps
from .backend import Backend
from .work import Work, WorkError

GONE = "The clip of these points was deleted from the file meanwhile; undo that and press Track Points once more."


class PointTracking(Work):
    """Tracks points through a clip that was imported before, for everybody in it."""

    undo_message = "Track Points"
    _job: PointsJob | None

    def __init__(
        self, backend: Backend, job_id: str, clip_name: str, places: Mapping[int, Place], body: str
    ) -> None:
        """`job_id`: the finished job of the clip; `clip_name`: what the user calls the clip; `places`: id -> what to
        track, in order; `body`: the body whose vertex and triangle numbers the places hold."""
        super().__init__(backend)
        self.job_id, self.body = job_id, body
        self.places = dict(places)
        self.empties: list[str] = []
        """Names of the empties that have been keyed."""
        self._clip_name = clip_name

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
        """Whether something of it lies in the scene."""
        return bool(self.empties)

    @property
    def progress(self) -> JobProgress:
        """How many frames are done."""
        return JobProgress() if self._job is None else replace(self._job.progress, stage="points")

    def _talk(self, client: Client) -> bool:
        if self._job is None:
            entries = [place.entry() for place in self.places.values()]
            self._job = PointsJob.ask(client, self.job_id, entries, self.body)
        if self._job.finished:
            self._steps = self._key()
        return False

    def _write(self, deadline: float) -> bool:
        try:
            return super()._write(deadline)
        except VanishedError:
            raise WorkError(GONE) from None

    def _key(self) -> Steps[None]:
        """Key the empties of everybody, step by step. Raises VanishedError when the clip is gone."""
        self._warn(self._job.warnings)
        if self._job.state != "done":
            self._end_as_job()
            return
        there = [armature[TRACK_KEY] for armature in people_of(self.job_id)]
        if not there:
            raise VanishedError
        names = [place.name for place in self.places.values()]
        for track, points in self._job.tracks.items():
            for number in range(there.count(track)):
                find = partial(_person, self.job_id, track, number)
                yield from tracked_steps(find, names, list(self.places), points)
                self.empties += [ob.name for ob in tracked(find()) if ob[POINT_KEY] in self.places]
                yield
        self._end("done")


def _person(job_id: str, track: int, number: int) -> bpy.types.Object | None:
    """The armature of a track; `number` counts the copies that the user made of it."""
    found = [armature for armature in people_of(job_id) if armature[TRACK_KEY] == track]
    return found[number] if number < len(found) else None


def people_of(job_id: str) -> Sequence[bpy.types.Object]:
    """The armatures of a clip in this file."""
    clip = clip_collection(job_id)
    found = clip.objects if clip is not None else ()
    return [ob for ob in found if ob.type == "ARMATURE" and ob.get(JOB_KEY) == job_id and TRACK_KEY in ob]

# SPDX-License-Identifier: GPL-3.0-or-later
"""The second pass as the add-on sees it: points of a finished job, asked for by the entries of a file of points.

job = PointsJob.ask(client, job_id, entries, body="open")
while not job.finished:
    client.pump(0.1)
for track, points in job.tracks.items(): ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..shared import wire
from .client import Client
from .job import Job


@dataclass(frozen=True, eq=False)
class TrackedPoints:
    """P points of one person over n frames. The arrays are those of `wire.POINTS`."""

    track: int
    """Number of the person in the job."""
    frames: np.ndarray
    """(n,) int32 indices of the clip's frames, from 0."""
    times: np.ndarray
    """(n,) float64 seconds from the clip's first frame."""
    positions: np.ndarray
    """(n, P, 3) float32 metres, camera space."""
    uncertainty: np.ndarray
    """(n, P) float32 metres, one sigma."""


class PointsJob(Job):
    """A `Job` without frames and without a body. `tracks`: the people whose points have come completely."""

    def __init__(self, client: Client, job_id: str, count: int) -> None:
        super().__init__(client, lambda: (), job_id)
        self.tracks: dict[int, TrackedPoints] = {}
        self.state = "running"
        self._count = count
        self._blocks: dict[int, list[dict[str, np.ndarray]]] = {}

    @classmethod
    def ask(cls, client: Client, job_id: str, entries: Sequence[dict], body: str | None = None) -> PointsJob:
        """Begin a pass over the finished job `job_id`; returns at once. `body`: whose numbers the entries hold."""
        job = cls(client, job_id, len(entries))
        client._add(job, "points", job_id, points=list(entries), body=body)
        return job

    def _wants_frames(self) -> bool:
        return False

    def _tell_cancel(self) -> None:
        self._speaker._say("cancel", self.id, asked=self._asked)

    def _fail(self, reason: str) -> None:
        if not self.finished:
            self._end("failed", f"{reason} before the points were tracked; press Track Points once more.")

    def _on_points(self, message: wire.Message) -> None:
        sizes = message.check_arrays(wire.POINTS)
        track, first = message.want("track", int), message.want("first", int)
        blocks = self._blocks.setdefault(track, [])
        if sizes["p"] != self._count or first != sum(len(b["frames"]) for b in blocks):
            raise wire.WireError("A block of points does not follow the one before it.")
        blocks.append(message.arrays)
        if message.want("last", bool):
            whole = {name: np.concatenate([b[name] for b in blocks]) for name in wire.POINTS}
            self.tracks[track] = TrackedPoints(track, **whole)
            del self._blocks[track]

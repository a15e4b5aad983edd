# SPDX-License-Identifier: GPL-3.0-or-later
"""One picture in which the backend is asked for the people, before an import.

job = PreviewJob.ask(client, picture, options)
while not job.finished:
    client.pump(0.1)
for person in job.people: ...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..shared import wire
from .client import Client
from .job import Job


@dataclass(frozen=True, eq=False)
class SeenPerson:
    """Somebody in a picture."""

    box: np.ndarray
    """(4,) x, y, width, height, pixels."""
    score: float
    """How sure the detector is, 0 to 1."""
    outline: np.ndarray
    """(k, 2) pixels, k >= 3: the corners of a closed polygon."""


class PreviewJob(Job):
    """A `Job` of one picture, which the backend keeps nothing of. `people`: from left to right, once it is done."""

    def __init__(self, client: Client) -> None:
        super().__init__(client, lambda: ())
        self.state = "running"
        self.people: list[SeenPerson] = []

    @classmethod
    def ask(cls, client: Client, picture: np.ndarray, options: Mapping[str, object]) -> PreviewJob:
        """Ask for the people in `picture` (H, W, 3) uint8 RGB; returns at once. `options`: those of the import."""
        job = cls(client)
        client._add(job, "preview", arrays={"image": picture}, options=dict(options))
        return job

    def _over(self) -> bool:
        # Without a name at the backend there is nothing to wait for after a cancel.
        return self.finished

    def _wants_frames(self) -> bool:
        return False

    def _tell_cancel(self) -> None:
        self._speaker._say("cancel", None, asked=self._asked)

    def _fail(self, reason: str) -> None:
        if not self.finished:
            self._end("failed", f"{reason} before the people were found; press Choose People once more.")

    def _on_preview(self, message: wire.Message) -> None:
        sizes = message.check_arrays(wire.PREVIEW)
        arrays = message.arrays
        boxes, outlines, ends = arrays["boxes"], arrays["outlines"], arrays["offsets"].tolist()
        corners = np.diff(ends)
        good = (
            len(ends) == sizes["n"] + 1
            and ends[0] == 0
            and ends[-1] == sizes["k"]
            and bool((corners >= 3).all())
        )
        if not (good and np.isfinite(boxes).all() and np.isfinite(outlines).all()):
            raise wire.WireError("A preview with outlines that do not belong to its people.")
        self.people = [
            SeenPerson(box, float(score), outlines[first:end])
            for box, score, first, end in zip(boxes, arrays["scores"], ends, ends[1:], strict=False)
        ]
        self._end("done")

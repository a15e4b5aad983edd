# SPDX-License-Identifier: GPL-3.0-or-later
"""`Work`: something that goes on while Blender stays free: an import, a pass for points, shape keys, a set-up.

`running` holds all work of the session and calls `pump` from Blender's timer. Nothing here waits: `pump` does a little
of whatever is next and returns. The state lives in Python and not in the .blend, so that neither an undo nor loading a
file ends the work.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from ..link.client import Client
from ..link.job import FINISHED, Job, JobProgress
from ..link.process import BackendFailed, BackendMissing
from ..scene.rest import BodyError
from ..scene.steps import Steps
from ..shared.frames import ClipError
from .backend import Backend

STAGES = {
    "opening": "Starting the backend",
    "queued": "Waiting for another job",
    "pausing": "Pausing after this step",
    "paused": "Paused",
    "starting": "Getting ready",
    "prepare": "Getting the localizer ready",
    "localize": "Following people",
    "body": "Fitting bodies",
    "scene": "Building the scene",
    "points": "Tracking points",
    "keys": "Making shape keys",
}
"""What the panel calls a stage of `Work.progress`; a stage that is not here is shown as it is."""
REMEDIES = {"bad_body": "preferences", "bad_weights": "preferences", "internal": "log", "cannot_write": "log"}
"""What helps against an error of the backend, by its code; see `Work.remedy`."""


class WorkError(Exception):
    """The work cannot go on. The message is one sentence."""


SENTENCES = (WorkError, BackendMissing, BackendFailed, BodyError, ClipError)
"""Errors that end the work with their message, which is one sentence for the user."""


class Work(ABC):
    """One piece of work, from its start to its end.

    A kind of work fills in what differs:

    - `name` and `outcome`, and `changed_scene` and `progress` where those below do not fit.
    - `_talk(client)`: called while there is nothing to write. It asks the backend, takes in what has come, and leaves
      in `_steps` what is to be written.
    - `_steps`: a generator that writes to the scene and yields wherever Blender may go on. It calls `_end` last.
    - `_advance(budget_s)`: overridden only by work that does not go this way from talking to writing.
    - `_let_go()`: overridden only by work that something other than `_job` does.

    Each of them may raise one of `SENTENCES`, which ends the work as failed.
    """

    undo_message: ClassVar[str] = ""
    """What Blender calls the undo step that is made at the end when `changed_scene`."""
    can_pause: ClassVar[bool] = False
    """Whether `pause` does anything."""
    source: Path | None = None
    """The video with which this work can be resumed; None when it cannot."""
    job_id: str | None = None
    """The backend's job that this work is about, once it is known."""

    def __init__(self, backend: Backend | None = None) -> None:
        """`backend`: None for work that needs none."""
        self.state = "running"
        """"running", then "done", "failed" or "cancelled"."""
        self.error: str | None = None
        """One sentence when the work has failed."""
        self.remedy: str | None = None
        """Which button helps when the work has failed: "setup", "preferences" or "log"; None when none does."""
        self.warnings: list[str] = []
        """Sentences for the user, oldest first."""
        self.waiting: str | None = None
        """One sentence while the work waits for the user."""
        self.paused = False
        """Whether the work stands still because the user wants it to."""
        self._backend = backend
        self._job: Job | None = None
        self._steps: Steps | None = None

    # What differs -------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def name(self) -> str:
        """What the user calls this."""

    @property
    @abstractmethod
    def outcome(self) -> str:
        """What came of it, in a few words."""

    @property
    def changed_scene(self) -> bool:
        """Whether something of it lies in the scene."""
        return False

    @property
    def progress(self) -> JobProgress:
        """How far it is."""
        return self._job.progress if self._job is not None else JobProgress()

    def _talk(self, client: Client) -> bool:
        """Ask the backend, or take in what has come from it; True when something changed that is worth drawing."""
        raise NotImplementedError

    def _advance(self, budget_s: float) -> bool:
        """Do about `budget_s` seconds of work; True when something changed that is worth drawing."""
        if self._steps is not None:
            if self._backend is not None:
                self._backend.keep_alive()
            return self._write(time.perf_counter() + budget_s)
        client = self._backend.pump(budget_s)
        return client is not None and self._talk(client)

    def _let_go(self) -> None:
        """Stop what is being done elsewhere for this work."""
        if self._job is not None:
            self._job.cancel()

    # What is the same for all -------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """True once nothing will change any more."""
        return self.state in FINISHED

    def pump(self, budget_s: float = 0.01) -> bool:
        """Do about `budget_s` seconds of work, but one step at least; True when something changed that is worth
        drawing. An error with a sentence for the user ends the work; every other one is raised."""
        if self.finished:
            return False
        try:
            return self._advance(budget_s) or self.finished
        except SENTENCES as error:
            self.fail(str(error))
            self.remedy = _remedy(error)
            return True

    def pause(self, on: bool = True) -> None:
        """Stand still, here and at the backend, or go on."""
        if self.can_pause and not self.finished:
            self.paused = on
            if self._job is not None:
                self._job.pause(on)

    def cancel(self) -> None:
        """Stop. What is in the scene stays there, and the backend keeps the frames that are finished."""
        if not self.finished:
            self._let_go()
            self._end("cancelled")

    def fail(self, error: str) -> None:
        """End as failed. `error`: one sentence."""
        self._let_go()
        self._end("failed", error)

    # For the kinds of work ----------------------------------------------------------------------------

    def _write(self, deadline: float) -> bool:
        """Do one of the `_steps`, and more until about `deadline` (`time.perf_counter`); True when that was the last
        one."""
        while True:
            try:
                next(self._steps)
            except StopIteration:
                self._steps = None
                return True
            if time.perf_counter() >= deadline:
                return False

    def _warn(self, texts: Iterable[str]) -> None:
        """Add to the warnings what is not among them yet."""
        self.warnings += [text for text in texts if text not in self.warnings]

    def _end(self, state: str, error: str | None = None) -> None:
        """Nothing changes from here on. `error`: one sentence when the state is "failed"."""
        self.state, self.error = state, error
        self.waiting, self.paused = None, False
        self._drop_steps()

    def _end_as_job(self) -> None:
        """End in the state in which the backend's job has ended."""
        self._end(self._job.state, self._job.error)
        self.remedy = REMEDIES.get(self._job.error_code or "")

    def _drop_steps(self) -> None:
        """Leave off writing."""
        steps, self._steps = self._steps, None
        # The last of the steps ends the work itself, and a generator cannot close itself.
        if steps is not None and not steps.gi_running:
            steps.close()


def _remedy(error: Exception) -> str | None:
    if isinstance(error, BackendMissing):
        return "setup"
    return "log" if isinstance(error, BackendFailed) else None

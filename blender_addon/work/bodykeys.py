# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of one person's body, made little by little while Blender stays free."""

from __future__ import annotations

import time
from collections.abc import Iterator

import bpy

from ..languages.words import iface
from ..link.job import BodyMessage, Job
from ..link.process import BackendFailed, BackendMissing
from ..scene.bodykeys import (
    add_correctives,
    add_shape_keys,
    persons_mesh,
)
from ..scene.clip_keys import JOB_KEY
from ..work.backend import Backend

WORDS = {"off": "Off", "body": "Body", "all": "All"}


class KeysWork:
    """Makes the keys of one person; `running` moves it on. `what`: "shape", or a level of correctives."""

    source = waiting = paused = None
    job_id = None

    def __init__(
        self, backend: Backend, armature: bpy.types.Object, what: str, body: BodyMessage | None
    ) -> None:
        self.state, self.error = "running", None
        self.warnings: list[str] = []
        self.what, self.made = what, 0
        self._armature, self._job_name = armature.name, armature[JOB_KEY]
        self._backend, self._body = backend, body
        self._job: Job | None = None
        self._steps: Iterator[str] | None = None

    @property
    def name(self) -> str:
        """What the user calls this."""
        return (
            iface("Shape Sliders")
            if self.what == "shape"
            else iface("Correctives: {level}", level=iface(WORDS[self.what]))
        )

    undo_message = "Shape Keys"

    @property
    def outcome(self) -> str:
        """What came of it, in a few words."""
        return iface("{count} keys made", count=self.made)

    @property
    def changed_scene(self) -> bool:
        """True when something of it lies in the scene."""
        return self._steps is not None

    @property
    def finished(self) -> bool:
        """True once nothing will change any more."""
        return self.state != "running"

    @property
    def progress(self) -> tuple[str, int, int | None, float | None]:
        """(stage, keys made, of how many if known, seconds left if known)."""
        return ("opening" if self._body is None else "keys"), self.made, None, None

    def cancel(self) -> None:
        """Stop; the keys made so far stay."""
        if not self.finished:
            self.state = "cancelled"

    def fail(self, error: str) -> None:
        """End with one sentence."""
        self.cancel()
        self.state, self.error = "failed", error

    def pump(self, budget_s: float = 0.01) -> bool:
        """Do about `budget_s` seconds of work; True when something changed that is worth drawing."""
        if self.finished:
            return False
        if self._body is None and not self._fetch(budget_s):
            return self.finished
        mesh = self._mesh()
        if mesh is None:
            self.fail("The body is not in the file any more.")
            return True
        if mesh.mode != "OBJECT":
            self.fail(f"Leave {mesh.mode.title()} Mode of {mesh.name} first.")
            return True
        if self._steps is None:
            self._steps = self._begin()
        end = time.perf_counter() + budget_s
        while time.perf_counter() < end:
            name = next(self._steps, None)
            if name is None:
                self.state = "done"
                break
            self.made += bool(name)
        return True

    def _mesh(self) -> bpy.types.Object | None:
        return persons_mesh(bpy.data.objects.get(self._armature))

    def _begin(self) -> Iterator[str]:
        return (
            add_shape_keys(self._mesh, self._body)
            if self.what == "shape"
            else add_correctives(self._mesh, self._body, self.what)
        )

    def _fetch(self, budget_s: float) -> bool:
        """Get the body from the backend, which keeps it with the job; True when it is there."""
        try:
            client = self._backend.pump(budget_s)
        except (BackendMissing, BackendFailed) as error:
            self.fail(str(error))
            return False
        if client is None:
            return False
        if self._job is None:
            self._job = client.resume(self._job_name, lambda: ())
        if self._job.body is not None:
            self._body = self._job.body
            self._job.cancel()
        elif self._job.finished:
            self.fail(self._job.error or "The backend does not know the body of this job any more.")
        return self._body is not None

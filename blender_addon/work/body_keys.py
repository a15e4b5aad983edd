# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape keys of one person's body, made a few at a time while Blender stays free."""

from __future__ import annotations

import bpy

from ..languages.words import iface
from ..link.client import Client
from ..link.job import BodyMessage, JobProgress
from ..scene.bodykeys import add_correctives, add_shape_keys, persons_mesh
from ..scene.clip_keys import JOB_KEY
from ..scene.steps import Steps
from .backend import Backend
from .work import Work, WorkError

WORDS = {"off": "Off", "body": "Body", "all": "All"}
"""What the panel calls the levels of correctives."""


class BodyKeys(Work):
    """Makes the shape sliders or the pose correctives of one person."""

    undo_message = "Shape Keys"

    def __init__(
        self, backend: Backend | None, armature: bpy.types.Object, what: str, body: BodyMessage | None
    ) -> None:
        """`what`: "shape", or a level of correctives; `body`: the person's body, None to ask the backend for it."""
        super().__init__(backend)
        self.what = what
        self.made = 0
        """How many keys are there by now."""
        self._armature, self._job_name = armature.name, armature[JOB_KEY]
        self._begun = False
        self._steps = self._make(body) if body is not None else None

    @property
    def name(self) -> str:
        """What the user calls this."""
        if self.what == "shape":
            return iface("Shape Sliders")
        return iface("Correctives: {level}", level=iface(WORDS[self.what]))

    @property
    def outcome(self) -> str:
        """What came of it, in a few words."""
        return iface("{count} keys made", count=self.made)

    @property
    def changed_scene(self) -> bool:
        """Whether keys were made or removed."""
        return self._begun

    @property
    def progress(self) -> JobProgress:
        """How many keys are made."""
        return JobProgress() if self._steps is None else JobProgress("keys", self.made)

    def _talk(self, client: Client) -> bool:
        """Get the body from the backend, which keeps it with the job."""
        if self._job is None:
            self._job = client.resume(self._job_name, lambda: ())
        if self._job.body is not None:
            self._steps = self._make(self._job.body)
            self._job.cancel()
        elif self._job.finished:
            raise WorkError(self._job.error or "The backend does not know the body of this job any more.")
        return False

    def _make(self, body: BodyMessage) -> Steps[None]:
        self._begun = True
        if self.what == "shape":
            names = add_shape_keys(self._mesh, body)
        else:
            names = add_correctives(self._mesh, body, self.what)
        for name in names:
            self.made += bool(name)
            yield
        self._end("done")

    def _write(self, deadline: float) -> bool:
        # Not every step looks at the mesh.
        self._mesh()
        super()._write(deadline)
        # Each key changes the mesh, so there is always something to draw.
        return True

    def _mesh(self) -> bpy.types.Object:
        """The mesh as it is now, also after an undo. Raises WorkError when it cannot be changed."""
        mesh = persons_mesh(bpy.data.objects.get(self._armature))
        if mesh is None:
            raise WorkError("The body is not in the file any more.")
        if mesh.mode != "OBJECT":
            raise WorkError(f"Leave {mesh.mode.title()} Mode of {mesh.name} first.")
        return mesh

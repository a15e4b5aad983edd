# SPDX-License-Identifier: GPL-3.0-or-later
"""Shape sliders and pose correctives: asks the backend for the body, makes the keys little by little."""

import time
from collections.abc import Iterator

import bpy
from bpy.props import EnumProperty

from ..job import BodyMessage, Job
from ..process import BackendFailed, BackendMissing
from ..scene.bodykeys import (
    LEVELS,
    SHAPE,
    add_correctives,
    add_shape_keys,
    keys_of,
    persons_mesh,
    remove_keys,
)
from ..scene.clip_keys import JOB_KEY
from ..scene.words import iface
from . import running
from .backend import Backend
from .export_fbx import chosen_person
from .operators import guarded, put_on_its_way

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


def known_body(job: str) -> BodyMessage | None:
    """The body of a job that was imported in this session."""
    clips = (getattr(one, "clip", None) for one in running.imports)
    return next((clip.body for clip in clips if clip is not None and clip.job == job), None)


class _OnPerson:
    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A person of ours must be chosen."""
        cls.poll_message_set(iface("Select the armature or the body of a person"))
        return persons_mesh(chosen_person(context)) is not None

    def start(self, context: bpy.types.Context, what: str) -> set[str]:
        person = chosen_person(context)
        return put_on_its_way(
            self, lambda: KeysWork(running.backend, person, what, known_body(person[JOB_KEY]))
        )


class BODYFIELD_OT_shape_keys(_OnPerson, bpy.types.Operator):
    """Add sliders for the body's shape as shape keys; at 0 the body is as it was fitted"""

    bl_idname = "bodyfield.shape_keys"
    bl_label = "Shape Sliders"
    bl_options = {"REGISTER"}

    mode: EnumProperty(
        name="Mode",
        items=(
            ("ADD", "Add", "Add the sliders that are missing"),
            ("REMOVE", "Remove", "Remove all of them"),
        ),
    )

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add or remove."""
        if self.mode == "ADD":
            return self.start(context, "shape")
        remove_keys(persons_mesh(chosen_person(context)), SHAPE)
        bpy.ops.ed.undo_push(message="Remove Shape Sliders")
        return {"FINISHED"}


class BODYFIELD_OT_correctives(_OnPerson, bpy.types.Operator):
    """Let the skin follow the pose more truly by driven shape keys; more of them make playback slower"""

    bl_idname = "bodyfield.correctives"
    bl_label = "Pose Correctives"
    bl_options = {"REGISTER"}

    level: EnumProperty(
        name="Level",
        items=(
            ("off", "Off", "Plain skinning: the fastest"),
            ("body", "Body", "Correct the skin around the joints of trunk, arms and legs"),
            ("all", "All", "Fingers and face too: the slowest"),
        ),
    )

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Put the keys on their way, or remove them."""
        assert self.level in LEVELS
        return self.start(context, self.level)


def has_shape_keys(mesh: bpy.types.Object) -> bool:
    """Whether the sliders are there."""
    return bool(keys_of(mesh, SHAPE))

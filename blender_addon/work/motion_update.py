# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of a finished job put into motion anew: other camera, floor, feet, smoothing or height, or with people
merged, split, swapped or left out; without the video."""

from collections.abc import Callable, Iterable, Mapping

import bpy

from ..languages.words import iface
from ..link.client import Client
from ..link.jobstore import StoredJob
from ..scene.clip import Footage
from ..scene.clip_keys import JOB_KEY, RATE_KEY, TRACK_KEY
from ..scene.edits import edits_of, names_in
from ..scene.keys import users_key_count
from ..scene.listing import is_person, remove_person
from ..scene.people_items import select
from ..scene.person import find_collection, objects_of
from ..scene.steps import Steps
from ..scene.tracked import tracked
from ..shared.frames import ClipError
from .backend import Backend
from .video_import import VideoImport


class MotionUpdate(VideoImport):
    """Lets the backend do the end of a job again and keys what comes of it on the people who are there. Whoever is not
    in the new result leaves the scene, except with keys of the user's own that nobody was warned of."""

    undo_message = "Update Motion"

    def __init__(
        self,
        backend: Backend,
        job: StoredJob,
        changes: Mapping[str, object],
        scene: str,
        *,
        edits: Iterable[Mapping] | None = None,
        gone: Iterable[int] = (),
        then: int | None = None,
        message: str | None = None,
        take_back: Callable[[], None] | None = None,
    ) -> None:
        """`changes`: the backend's options that are to differ from the job's; `scene`: the name of a scene; `edits`:
        the corrections of the people, None for those that the file has; `gone`: tracks of which the user knows that
        they will not be there any more; `then`: the track to be selected; `message`: what to call the undo step;
        `take_back`: called when nothing came of it. Raises ClipError when the job is not in this file."""
        super().__init__(backend, None, {}, job_id=job.id, scene=scene, set_scene=False)
        found = find_collection(job.id)
        if found is None:
            raise ClipError(f"Nobody of {job.name} is in this file: import the job first.")
        self._changes, self._gone, self._then, self._take_back = dict(changes), set(gone), then, take_back
        self._names = names_in(edits_of(found))
        self._edits = edits_of(found) if edits is None else [dict(one) for one in edits]
        if self._edits or job.options.get("edits"):
            # The file's are the ones that count: after an undo the job has others.
            self._changes["edits"] = self._edits
        if message is not None:
            self.undo_message = message
        # Its rate, and not one guessed from the results: every key must stand where it stood.
        self.footage = Footage(found.name, None, job.width, job.height, found[RATE_KEY], length=job.total)

    @property
    def name(self) -> str:
        """What the user calls this."""
        return iface("Update of {name}", name=super().name)

    def _begin(self, client: Client) -> None:
        self._job = client.resume(self.job_id, self._open, self._changes)
        self._job.pause(self.paused)

    def _finish(self) -> Steps[None]:
        if self._job.state == "done" and self.results and self.clip is not None:
            self._part_with_the_lost()
            if any(tracked(ob) for ob in self._people()):
                self._warn(["The tracked points are those of the motion before: track them once more."])
        yield from super()._finish()

    def _people(self) -> list[bpy.types.Object]:
        return [ob for ob in objects_of(self.job_id) if is_person(ob)]

    def _part_with_the_lost(self) -> None:
        for armature in [ob for ob in self._people() if ob[TRACK_KEY] not in self.results]:
            if armature[TRACK_KEY] in self._gone or not users_key_count(armature):
                remove_person(armature)
            else:
                self._warn([f"{armature.name} is not in the new motion and stays as it was."])

    def _choose(self) -> None:
        active = bpy.context.view_layer.objects.active
        chosen = self.clip.armature(self._then) if self._then is not None else None
        if chosen is not None:
            select(bpy.context, chosen)
        elif active is None or active.get(JOB_KEY) != self.job_id:
            super()._choose()

    def _end(self, state: str, error: str | None = None) -> None:
        super()._end(state, error)
        if state != "done" and self._take_back is not None:
            self._take_back()

# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of a finished job put into motion anew: other floor, feet, smoothing or height, without the video."""

from collections.abc import Mapping

from ..languages.words import iface
from ..link.client import Client
from ..link.jobstore import StoredJob
from ..scene.clip import Footage
from ..scene.clip_keys import RATE_KEY, TRACK_KEY
from ..scene.person import find_collection, objects_of
from ..scene.steps import Steps
from ..scene.tracked import tracked
from ..shared.frames import ClipError
from .backend import Backend
from .video_import import VideoImport


class MotionUpdate(VideoImport):
    """Lets the backend do the end of a job again and keys what comes of it on the people who are there."""

    undo_message = "Update Motion"

    def __init__(self, backend: Backend, job: StoredJob, changes: Mapping[str, object], scene: str) -> None:
        """`changes`: the backend's options that are to differ from the job's; `scene`: the name of a scene. Raises
        ClipError when the job is not in this file."""
        super().__init__(backend, None, {}, job_id=job.id, scene=scene, set_scene=False)
        self._changes = dict(changes)
        found = find_collection(job.id)
        if found is None:
            raise ClipError(f"Nobody of {job.name} is in this file: import the job first.")
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
        if self._job.state == "done":
            people = [ob for ob in objects_of(self.job_id) if ob.type == "ARMATURE"]
            self._warn(
                f"{ob.name} is not in the new motion and stays as it was."
                for ob in people
                if ob.get(TRACK_KEY) not in self.results
            )
            if any(tracked(ob) for ob in people):
                self._warn(["The tracked points are those of the motion before: track them once more."])
        yield from super()._finish()

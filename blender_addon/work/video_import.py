# SPDX-License-Identifier: GPL-3.0-or-later
"""One video on its way into the scene: clip, backend, job, results. The operator and headless both run this."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

import bpy
import numpy as np

from ..languages.words import iface
from ..link.client import Client
from ..link.job import JobProgress, Result
from ..link.jobstore import StoreError, stored_job
from ..scene.clip import ClipScene, Footage
from ..scene.listing import mark_doubt
from ..scene.rest import BodyError
from ..scene.steps import Steps, run
from ..shared.frames import Clip, ClipError, open_clip
from .backend import Backend
from .work import Work

UNREADABLE = (
    "The job is done but this add-on cannot read its results: install the same release of the add-on and of the "
    "backend, then import the job again."
)


class VideoImport(Work):
    """Brings the people of a video into the scene while the backend finds them."""

    undo_message = "Video as Mocap"
    can_pause = True

    def __init__(
        self,
        backend: Backend,
        source: Path | None,
        options: Mapping[str, object],
        *,
        job_id: str | None = None,
        fps: float | None = None,
        scene: str | None = None,
        set_scene: bool = True,
        root_bone: bool = False,
        replaces: str | None = None,
    ) -> None:
        """`source`: movie, folder or picture, None to import a finished job by its id alone; `options`: the backend's;
        `job_id`: a job to resume or to import again; `fps`: rate of an image sequence; `scene`: name of the scene to
        build in; `set_scene`: also set that scene's size, rate, range and camera; `root_bone`, `replaces`: see
        `ClipScene`. Raises ClipError for a bad clip."""
        if source is None and job_id is None:
            raise ClipError("Choose a video first.")
        super().__init__(backend)
        self.source, self.options, self.job_id = source, dict(options), job_id
        self.results: dict[int, Result] = {}
        """The final result of each track that has one."""
        self.clip: ClipScene | None = None
        """What is in the scene, None before the first result."""
        self._fps = fps
        self._scene, self._set_scene = scene, set_scene
        self._root_bone, self._replaces = root_bone, replaces
        self._kept = 0
        self._edits: list[dict] | None = None
        self._names: list[dict] | None = None
        # `_last`: the steps are those of the job's end, not of a chunk on the way; `_news`: results came since the last
        # steps were made; `_fed`: the last tick took in news and had no time left.
        self._last = self._news = self._fed = False
        # Opened here, so that a bad file is reported at once and not after the backend has started.
        self._pictures = self._open() if source is not None else None
        self.footage = Footage.of(self._pictures) if self._pictures is not None else None
        """What is known of the clip; None until the first result when there is no `source`."""

    @property
    def name(self) -> str:
        """What the user calls this import."""
        return self.footage.name if self.footage else f"job {self.job_id}"

    @property
    def outcome(self) -> str:
        """What came of it, in a few words."""
        people = len(self.results)
        said = [iface("1 person") if people == 1 else iface("{count} people", count=people)]
        if self._kept:
            said.append(iface("{count} of your own keys kept", count=self._kept))
        return ", ".join(said)

    @property
    def changed_scene(self) -> bool:
        """Whether something of it lies in the scene."""
        return self.clip is not None and not self.clip.replaces

    @property
    def progress(self) -> JobProgress:
        """How many frames are done."""
        return JobProgress("scene") if self._job is not None and self._job.finished else super().progress

    @property
    def summary(self) -> dict:
        """What the backend said when the job was done."""
        return dict(self._job.summary or {}) if self._job else {}

    def _advance(self, budget_s: float) -> bool:
        deadline, changed, fed = time.perf_counter() + budget_s, False, False
        if self._last:
            self._backend.keep_alive()
        elif self._steps is None or not self._fed:
            # While there is something to write, no time is spent on waiting for news.
            client = self._backend.pump(0.0 if self._steps is not None else budget_s)
            if client is None:
                return False
            changed, fed = self._talk(client), True
        # A picture may have taken all the time; then the next tick is for writing only.
        self._fed = fed and time.perf_counter() >= deadline
        if self._steps is not None and not self._fed:
            changed = self._write(deadline) or changed
        return changed

    def cancel(self) -> None:
        """Stop; what is in the scene so far stays there, and the backend keeps its finished frames."""
        if not self.finished:
            self._let_go()
            if self._steps is not None and not self._blocked():
                # Or some bones would have other keys than the rest.
                with contextlib.suppress(BodyError):
                    run(self._steps)
        # The last steps have ended the import themselves.
        super().cancel()

    def _open(self) -> Clip:
        if self.source is None:
            raise ClipError(f"Job {self.job_id} is not finished: choose its video to go on with it.")
        return open_clip(self.source, self._fps)

    def _talk(self, client: Client) -> bool:
        """Begin the job, then take in what comes."""
        if self._job is None:
            self._begin(client)
        return self._take_in()

    def _begin(self, client: Client) -> None:
        if self.job_id is not None:
            self._job = client.resume(self.job_id, self._open)
        else:
            self._job = client.open(self._pictures, self.options)
        self._job.pause(self.paused)

    def _take_in(self) -> bool:
        """Bring what the job has into the scene; True when results came."""
        job = self._job
        self.job_id = job.id or self.job_id
        self._warn(job.warnings)
        results = job.take_results()
        if results:
            self._scene_for(results[0]).add(results)
            self.results |= {r.track: r for r in results if r.final}
            self._news = True
        if self.clip is not None and job.body is not None:
            self.clip.set_body(job.body)
            self.clip.set_shots(job.shots)
        if job.finished and not self._last:
            self._drop_steps()
            self._last, self._steps = True, self._finish()
        elif self._news and self._steps is None and self.clip is not None and job.body is not None:
            self._news, self._steps = False, self.clip.steps()
        return bool(results)

    def _write(self, deadline: float) -> bool:
        """Go on only while the user is not editing what must change."""
        blocked = self._blocked()
        self.waiting = blocked if self._last else None
        return False if blocked else super()._write(deadline)

    def _blocked(self) -> str | None:
        return self.clip.blocked() if self.clip is not None else None

    def _scene_for(self, result: Result) -> ClipScene:
        if self.clip is None:
            if self.footage is None:
                camera = result.camera
                fps = _rate_of(result)
                self.footage = Footage(self.name, None, camera.width, camera.height, fps)
            self.clip = ClipScene(
                self.footage,
                self._job.id,
                scene=self._scene,
                set_scene=self._set_scene,
                root_bone=self._root_bone,
                replaces=self._replaces,
            )
        return self.clip

    def _finish(self) -> Steps[None]:
        """The job is over: bring the scene up to date, step by step."""
        if self._job.state == "done" and (self.clip is None or not self.results or self._job.body is None):
            # The client leaves out messages that it cannot read, so that a job may end without any.
            self._end("failed", UNREADABLE)
            return
        if self.clip is not None:
            if self._job.state == "done":
                self.clip.drop_unfinished()
                self.clip.set_edits(self._corrections(), self._names)
                yield
            yield from self.clip.steps(force=True)
            if self._job.state == "done":
                self.clip.mark_done()
            self._kept = yield from self.clip.users_keys_steps()
            self._choose()
            yield
            self.clip.refresh_points()
            self._mark_doubt()
            if not self.clip.footage_shown:
                self._warn([f"Blender cannot show {self.name} behind the body; the motion is complete."])
        if self._pictures is not None and self._pictures.damage:
            self._warn([self._pictures.damage])
        self._end_as_job()

    def _corrections(self) -> list[dict]:
        """The corrections of the people of which the results came."""
        if self._edits is None:
            try:
                found = stored_job(self.job_id).options.get("edits")
            except StoreError:
                found = None
            self._edits = [dict(one) for one in found or () if isinstance(one, Mapping)]
        return self._edits

    def _choose(self) -> None:
        """Select somebody at the end."""
        self.clip.choose_main_person()

    def _mark_doubt(self) -> None:
        scene = bpy.data.scenes.get(self._scene or "") or bpy.context.scene
        mark_doubt(scene)

    def _end(self, state: str, error: str | None = None) -> None:
        super()._end(state, error)
        if self._pictures is not None:
            with contextlib.suppress(OSError):
                self._pictures.close()


def _rate_of(result: Result) -> float:
    """Frames per second, from the times of a result."""
    steps, seconds = np.ptp(result.frames), np.ptp(result.times)
    return float(steps / seconds) if seconds > 0 else 30.0

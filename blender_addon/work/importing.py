# SPDX-License-Identifier: GPL-3.0-or-later
"""One video on its way into the scene: clip, backend, job, results. The operator and headless both run this.

Nothing here waits: `pump` does a little of whatever is next. The state lives here in Python, not in the .blend,
so neither an undo nor loading a file ends an import.
"""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..languages.words import iface
from ..link.client import Client
from ..link.job import Job, Result
from ..link.process import BackendFailed, BackendMissing
from ..scene.clip import ClipScene, Footage
from ..scene.rest import BodyError
from ..scene.steps import Steps, run
from ..shared.frames import Clip, ClipError, open_clip
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
FINISHED = ("done", "failed", "cancelled")
REMEDIES = {"bad_body": "preferences", "bad_weights": "preferences", "internal": "log", "cannot_write": "log"}
"""What helps against an error of the backend: the add-on's preferences, or a look into the log."""
UNREADABLE = (
    "The job is done but this add-on cannot read its results: install the same release of the add-on and of the "
    "backend, then import the job again."
)


class VideoImport:
    """`state`: "running", "done", "failed" or "cancelled"; `error`: one sentence when failed; `paused`: stands still.

    `source`: movie, folder or picture, None to import a finished job by its id alone; `options`: the backend's;
    `job_id`: a job to resume or to import again; `fps`: rate of an image sequence; `scene`: name of the scene to
    build in; `set_scene`: also set that scene's size, rate, range and camera; `root_bone`, `replaces`: see `ClipScene`.
    `remedy`: which button helps when it failed, one of `REMEDIES` or "setup", None when none does.
    Raises ClipError for a bad clip.
    """

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
        if source is None and job_id is None:
            raise ClipError("Choose a video first.")
        self.source, self.options, self.job_id = source, dict(options), job_id
        self.state, self.error, self.paused = "running", None, False
        self.warnings: list[str] = []
        self.results: dict[int, Result] = {}
        self.clip: ClipScene | None = None
        self.waiting: str | None = None
        self.remedy: str | None = None
        self._backend, self._fps = backend, fps
        self._scene, self._set_scene = scene, set_scene
        self._root_bone, self._replaces = root_bone, replaces
        self._kept = 0
        # What is being written to the scene, in steps; `_last`: it is the end of the job, not a chunk on the way.
        self._steps: Steps | None = None
        self._last = self._news = self._fed = False
        self._job: Job | None = None
        # Opened here once, so that a bad file is told at once and not after the backend has started.
        self._pictures = self._open() if source is not None else None
        self.footage = Footage.of(self._pictures) if self._pictures is not None else None

    @property
    def name(self) -> str:
        """What the user calls this import."""
        return self.footage.name if self.footage else f"job {self.job_id}"

    undo_message = "Video as Mocap"

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
        """True when something of it lies in the scene."""
        return self.clip is not None and not self.clip.replaces

    @property
    def finished(self) -> bool:
        """True once nothing will change any more."""
        return self.state in FINISHED

    @property
    def progress(self) -> tuple[str, int, int | None, float | None]:
        """(stage, frames done, of how many if known, seconds left if known)."""
        if self._job is None:
            return "opening", 0, None, None
        p = self._job.progress
        return ("scene", 0, None, None) if self._job.finished else (p.stage, p.done, p.total, p.seconds_left)

    @property
    def summary(self) -> dict:
        """What the backend said when the job was done."""
        return dict(self._job.summary or {}) if self._job else {}

    def pump(self, budget_s: float = 0.01) -> bool:
        """Do about `budget_s` seconds of work; True when something changed that is worth drawing."""
        if self.finished:
            return False
        deadline, changed, fed = time.perf_counter() + budget_s, False, False
        try:
            if self._last:
                self._backend.keep_alive()
            elif self._steps is None or not self._fed:
                # While there is something to write, no time is spent on waiting for news.
                client = self._backend.pump(0.0 if self._steps is not None else budget_s)
                if client is None:
                    return False
                if self._job is None:
                    self._begin(client)
                changed, fed = self._take_in(), True
            # A picture may have taken all the time; then the next tick is for writing only.
            self._fed = fed and time.perf_counter() >= deadline
            if self._steps is not None and not self._fed:
                changed = self._write(deadline) or changed
            return changed or self.finished
        except (BackendMissing, BackendFailed, BodyError, ClipError) as error:
            self._end("failed", str(error))
            self.remedy = _remedy(error)
            return True

    def pause(self, on: bool = True) -> None:
        """Stand still, here and at the backend, or go on."""
        if not self.finished:
            self.paused = on
            if self._job is not None:
                self._job.pause(on)

    def cancel(self) -> None:
        """Stop; what is in the scene so far stays there, and the backend keeps its finished frames."""
        if not self.finished:
            if self._job is not None:
                self._job.cancel()
            if self._steps is not None and not self._blocked():
                # Or some bones would have other keys than the rest.
                with contextlib.suppress(BodyError):
                    run(self._steps)
            if not self.finished:
                self._end("cancelled")

    def fail(self, error: str) -> None:
        """End with one sentence."""
        if self._job is not None:
            self._job.cancel()
        self._end("failed", error)

    def _open(self) -> Clip:
        if self.source is None:
            raise ClipError(f"Job {self.job_id} is not finished: choose its video to go on with it.")
        return open_clip(self.source, self._fps)

    def _begin(self, client: Client) -> None:
        if self.job_id is not None:
            self._job = client.resume(self.job_id, self._open)
        else:
            self._job = client.open(self._pictures, self.options)
        self._job.pause(self.paused)

    def _take_in(self) -> bool:
        """Bring what the job has into the scene."""
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
        if job.finished and not self._last:
            self._drop_steps()
            self._last, self._steps = True, self._finish()
        elif self._news and self._steps is None and self.clip is not None and job.body is not None:
            self._news, self._steps = False, self.clip.steps()
        return bool(results)

    def _write(self, deadline: float) -> bool:
        """Go on writing to the scene until about `deadline`, unless the user is editing what must change; True when
        that came to an end."""
        blocked = self._blocked()
        self.waiting = blocked if self._last else None
        while not blocked:
            try:
                next(self._steps)
            except StopIteration:
                self._steps = None
                return True
            if time.perf_counter() >= deadline:
                break
        return False

    def _blocked(self) -> str | None:
        return self.clip.blocked() if self.clip is not None else None

    def _drop_steps(self) -> None:
        """Leave off writing; what is half done is made again by the next steps, or was not shown yet."""
        steps, self._steps = self._steps, None
        # The last steps end the import themselves.
        if steps is not None and not steps.gi_running:
            steps.close()

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
                yield
            yield from self.clip.steps(force=True)
            if self._job.state == "done":
                self.clip.mark_done()
            self._kept = yield from self.clip.users_keys_steps()
            self.clip.choose_main_person()
            yield
            self.clip.refresh_points()
            if not self.clip.footage_shown:
                self._warn([f"Blender cannot show {self.name} behind the body; the motion is complete."])
        if self._pictures is not None and self._pictures.damage:
            self._warn([self._pictures.damage])
        self._end(self._job.state, self._job.error)
        self.remedy = REMEDIES.get(self._job.error_code or "")

    def _warn(self, texts: list[str]) -> None:
        self.warnings += [text for text in texts if text not in self.warnings]

    def _end(self, state: str, error: str | None = None) -> None:
        self.state, self.error, self.waiting, self.paused = state, error, None, False
        self._drop_steps()
        if self._pictures is not None:
            with contextlib.suppress(OSError):
                self._pictures.close()


def _remedy(error: Exception) -> str | None:
    return (
        "setup" if isinstance(error, BackendMissing) else "log" if isinstance(error, BackendFailed) else None
    )


def _rate_of(result: Result) -> float:
    """Frames per second, from the times of a result."""
    steps, seconds = np.ptp(result.frames), np.ptp(result.times)
    return float(steps / seconds) if seconds > 0 else 30.0

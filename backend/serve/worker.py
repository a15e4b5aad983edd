"""One job at work: a thread that runs the road on the frames that come, and keeps what is finished on disk.

The thread never touches the socket. It hands what the client is to hear to `say`, which must not block.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from backend.camera.pinhole import Camera
from backend.errors import JobError
from backend.jobs import folder as jobs
from backend.jobs.folder import JobFolder, focal_of
from backend.jobs.keeper import Keeper, changed
from backend.motion.incamera import camera_of
from backend.records import Event, Notice, Progress, Shot, TrackMotion
from backend.serve.frames import FrameQueue, Stopped
from backend.serve.messages import body_said, result_said, shot_said
from backend.serve.news import Said
from backend.serve.road import Road
from blender_addon.shared.frames import Frame


class Worker(threading.Thread):
    """Runs one job. `resume`: go on from the chunks on disk (or send a finished job's results again). `changes`: do
    that with other options for the end of the job, that of a finished one anew; see `Keeper`."""

    def __init__(
        self,
        folder: JobFolder,
        road: Road,
        say: Callable[[Said], None],
        resume: bool,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        # A daemon, so that a worker deep inside a library cannot keep the process from ending.
        super().__init__(name=f"job {folder.record.id}", daemon=True)
        self.folder = folder
        self.queue = FrameQueue(lambda: self._say("taken"), lambda: self._say("standing"))
        self._road, self._resume, self._changes = road, resume, changes
        self._say_out = say
        self._stop_state: str | None = None
        self._cameras: dict[int, Camera] = {}
        self._keeper: Keeper | None = None
        self._log = logging.getLogger(f"bodyfield.job.{folder.record.id}")

    def stop(self, state: str = jobs.INTERRUPTED) -> None:
        """Stop soon, keep the chunks; `state` is what the job is left in. Never waits."""
        self._stop_state = self._stop_state or state
        self.queue.abort(Stopped())

    def fail(self, error: JobError) -> None:
        """Let the job end with `error`."""
        self.queue.abort(error)

    def hold(self, on: bool) -> None:
        """Stand still soon and keep everything, or go on. Never waits."""
        self.queue.hold(on)

    @property
    def stopping(self) -> bool:
        """True once the job was told to stop."""
        return self._stop_state is not None

    def run(self) -> None:
        """See threading.Thread. Ends by saying "finished", whatever happens."""
        handler = self._open_log()
        try:
            finals = self._finals() if self._resume and self._changes is None else None
            if finals is None:
                self._work()
            else:
                self._replay(finals)
        except Stopped:
            self._end(self._stop_state or jobs.INTERRUPTED)
        except JobError as error:
            self._log.error("%s: %s", error.code, error)
            self._end(jobs.FAILED, error.code, str(error))
        except Exception as error:
            self._log.exception("The job failed.")
            text = (
                f"The backend made a mistake ({type(error).__name__}): the details are in "
                f"{self.folder.log_path}, please report them."
            )
            self._end(jobs.FAILED, "internal", text)
        finally:
            self._say("finished")
            if handler is not None:
                self._log.removeHandler(handler)
                handler.close()

    def _work(self) -> None:
        options = self._road.options(changed(self.folder.record.options, self._changes))
        keeper = self._keeper = Keeper(self.folder, self._resume, self._changes)
        if self._resume:
            self._say_resumed(keeper)
        camera = self._say_body(options)
        events = self._road.mocap(
            self._frames(keeper),
            options,
            total=self.folder.record.frames or self.folder.record.clip.get("frame_count"),
            resume=keeper.chunks,
            cancelled=lambda: self.stopping,
            breathe=self.queue.breathe,
            focal_35mm=focal_of(self.folder.record.clip),
            pieces=keeper.pieces,
        )
        with contextlib.closing(events):
            for event in events:
                if lacking := keeper.keep(event):
                    self._warn(lacking)
                self._say_event(event, camera)
                if keeper.summary is None:
                    self.queue.breathe()
        if keeper.summary is None and self.stopping:
            raise Stopped
        summary = keeper.done()
        self._log.info("Done: %s", summary)
        self._say("done", summary=summary)

    def _say_resumed(self, keeper: Keeper) -> None:
        """Tell where the job goes on; nothing more is to come of a clip that was seen to its end."""
        record = self.folder.record
        if keeper.seen:
            self.queue.end(record.frames, record.damage)
        self._say("opened", next_frame=keeper.next_frame, complete=keeper.seen)
        self._log.info("Goes on from frame %d.", keeper.next_frame)

    def _say_event(self, event: Event, camera: Camera) -> None:
        match event:
            case Progress():
                self._say("progress", stage=event.stage, done=event.done, total=event.total)
            case Shot():
                self._say_shot(event)
            case TrackMotion():
                self._say_result(
                    event, self._cameras.get(int(event.shot[0]), camera) if event.final else camera
                )
            case Notice():
                self._warn(event.text)

    def _finals(self) -> list[TrackMotion] | None:
        """The results of a finished job; None when there is work left, also when they were damaged since."""
        if self.folder.record.state != jobs.DONE:
            return None
        try:
            return self.folder.load_finals()
        except JobError as error:
            self._log.warning("%s It is computed anew.", error)
            return None

    def _say_shot(self, shot: Shot) -> None:
        self._cameras[shot.number] = camera_of(shot)
        arrays, fields = shot_said(shot)
        self._say_out(Said(self.folder.record.id, "shot", fields, arrays))

    def _replay(self, motions: list[TrackMotion]) -> None:
        """Say again what a finished job gave; needs no frames."""
        record = self.folder.record
        options = self._road.options(record.options)
        self._say("opened", next_frame=record.frames or 0, complete=True)
        camera = self._say_body(options)
        for shot in self.folder.load_shots():
            self._say_shot(shot)
        for motion in motions:
            self._say_result(motion, self._cameras.get(int(motion.shot[0]), camera))
        self._say("done", summary=record.summary or {})

    def _frames(self, keeper: Keeper) -> Iterator[Frame]:
        yield from self.queue
        keeper.ended(self.queue.length, self.queue.damage)
        if self.queue.damage:
            self._warn(self.queue.damage)

    def _say_body(self, options: Any) -> Camera:
        arrays, fields = body_said(options.load_body(), self._road.landmarks)
        self._say_out(Said(self.folder.record.id, "body", fields, arrays))
        clip = self.folder.record.clip
        return options.pinhole(clip["width"], clip["height"])

    def _say_result(self, motion: TrackMotion, camera: Camera) -> None:
        arrays, fields = result_said(motion, camera)
        self._say_out(Said(self.folder.record.id, "result", fields, arrays))

    def _end(self, state: str, code: str = "", text: str | None = None) -> None:
        error = text if state == jobs.FAILED else None
        if state == jobs.CANCELLED:
            code, text = "cancelled", "The job was cancelled; the frames finished so far are kept."
        if self._keeper is not None:
            self._keeper.end(state, error)
        elif self.folder.record.state != jobs.DONE:
            # When the disk is full the state cannot be written either; the chunks decide on resuming anyway.
            with contextlib.suppress(JobError):
                self.folder.update(state=state, error=error)
        if text is not None:
            self._say("error", code=code, text=text)

    def _warn(self, text: str) -> None:
        self._log.info("%s", text)
        self._say("warning", text=text)

    def _say(self, kind: str, **fields: Any) -> None:
        self._say_out(Said(self.folder.record.id, kind, fields))

    def _open_log(self) -> logging.Handler | None:
        try:
            handler = logging.FileHandler(self.folder.log_path, encoding="utf-8", errors="backslashreplace")
        except OSError:
            return None
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._log.addHandler(handler)
        return handler

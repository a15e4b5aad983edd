"""One job at work: a thread that runs the road on the frames that come, and keeps what is finished on disk.

The thread never touches the socket. It hands what the client is to hear to `say`, which must not block.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backend import jobs
from backend.features import FeatureKeeper
from backend.jobs import JobFolder
from backend.messages import body_said, result_said, summary_said
from backend.news import Said
from backend.records import Camera, Chunk, Features, JobError, Notice, Progress, Summary, TrackMotion
from blender_addon.frames import Frame


@dataclass(frozen=True)
class Road:
    """What a worker needs of the pipeline. `options(given)` checks a client's options and has `.load_body()`
    and `.camera(width, height)`; `mocap` is `backend.pipeline.mocap`, `points` is `backend.pointpass.track_points`,
    `preview` a `backend.preview.Previewer`."""

    options: Callable[[Mapping[str, Any]], Any]
    mocap: Callable[..., Iterator[Any]]
    device: str
    localizers: tuple[str, ...] = ()
    points: Callable[..., Iterator[Any]] | None = None
    preview: Callable[..., Any] | None = None


def load_road(device: str = "auto") -> Road:
    """The real road. Imports torch, which takes seconds. Raises JobError("no_device") or ImportError."""
    from backend.nlf.localizer import localizer_names
    from backend.options import MocapOptions, choose_device
    from backend.pipeline import mocap
    from backend.pointpass import track_points
    from backend.preview import Previewer

    chosen = choose_device(device)

    def options(given: Mapping[str, Any]) -> MocapOptions:
        wanted = dict(given)
        if wanted.get("device", "auto") == "auto":
            wanted["device"] = chosen
        return MocapOptions.from_dict(wanted)

    return Road(options, mocap, chosen, tuple(localizer_names()), track_points, Previewer(chosen))


class Stopped(Exception):  # noqa: N818 - not an error
    """The job was told to stop while it waited for frames."""


class FrameQueue:
    """Frames on their way from the socket to the worker; bounded by the credit that the server gives.

    Here the worker also stands still while its job is paused. `taken`: called when a frame left; `standing`: when the
    worker stands still. Both from the worker's thread.
    """

    def __init__(self, taken: Callable[[], None], standing: Callable[[], None] = lambda: None) -> None:
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._taken, self._standing = taken, standing
        self._failure: Exception | None = None
        self._held = False
        self.ended = False
        self.length: int | None = None
        self.damage: str | None = None

    def __len__(self) -> int:
        return len(self._frames)

    def put(self, frame: Frame) -> None:
        """Add a frame; never waits."""
        with self._changed:
            if self._failure is None:
                self._frames.append(frame)
            self._changed.notify()

    def end(self, length: int, damage: str | None) -> None:
        """No more frames will come; the clip has `length` of them."""
        with self._changed:
            self.ended, self.length, self.damage = True, length, damage
            self._changed.notify()

    def abort(self, failure: Exception) -> None:
        """Throw away what waits and raise `failure` in the worker."""
        with self._changed:
            self._failure = self._failure or failure
            self._frames.clear()
            self._changed.notify()

    def hold(self, on: bool) -> None:
        """Let the worker stand still at its next step, or go on; never waits."""
        with self._changed:
            self._held = on
            self._changed.notify()

    def breathe(self) -> None:
        """For the worker, between two steps: stands still while held. Raises what `abort` was given."""
        with self._changed:
            self._stand(lambda: True)

    def _stand(self, ready: Callable[[], Any]) -> None:
        while not self._failure and (self._held or not ready()):
            if self._held:
                self._standing()
            self._changed.wait()
        if self._failure:
            raise self._failure

    def __iter__(self) -> Iterator[Frame]:
        while True:
            with self._changed:
                self._stand(lambda: self._frames or self.ended)
                if not self._frames:
                    return
                frame = self._frames.popleft()
            self._taken()
            yield frame
            # Not held while the next one is awaited: a frame may be 100 MB.
            del frame


class Worker(threading.Thread):
    """Runs one job. `resume`: go on from the chunks on disk (or send a finished job's results again)."""

    def __init__(self, folder: JobFolder, road: Road, say: Callable[[Said], None], resume: bool) -> None:
        # A daemon, so that a worker deep inside a library cannot keep the process from ending.
        super().__init__(name=f"job {folder.record.id}", daemon=True)
        self.folder = folder
        self.queue = FrameQueue(lambda: self._say("taken"), lambda: self._say("standing"))
        self._road, self._resume = road, resume
        self._say_out = say
        self._stop_state: str | None = None
        self._replaying = False
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
            finals = self._finals() if self._resume else None
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
        folder, record = self.folder, self.folder.record
        options = self._road.options(record.options)
        chunks: list[Chunk] = []
        if self._resume:
            chunks = folder.load_chunks()
            folder.clear_finals()
            folder.update(state=jobs.RUNNING, error=None, summary=None)
            next_frame = chunks[-1].last + 1 if chunks else 0
            complete = record.frames is not None and next_frame >= record.frames
            if complete:
                self.queue.end(record.frames, record.damage)
            self._say("opened", next_frame=next_frame, complete=complete)
            self._log.info("Goes on from frame %d.", next_frame)
        camera = self._say_body(options)
        events = self._road.mocap(
            self._frames(),
            options,
            total=record.frames or record.clip.get("frame_count"),
            resume=chunks,
            cancelled=lambda: self.stopping,
            breathe=self.queue.breathe,
        )
        summary, saved, keeper = None, len(chunks), FeatureKeeper(folder)
        with contextlib.closing(events):
            for event in events:
                match event:
                    case Progress():
                        self._say("progress", stage=event.stage, done=event.done, total=event.total)
                    case Features():
                        if lacking := keeper.save(saved, event):
                            self._warn(lacking)
                    case Chunk():
                        folder.save_chunk(saved, event)
                        saved += 1
                    case TrackMotion():
                        if event.final:
                            folder.save_final(event)
                        self._say_result(event, camera)
                    case Notice():
                        self._warn(event.text)
                    case Summary():
                        summary = summary_said(event)
                if summary is None:
                    self.queue.breathe()
        if summary is None:
            if self.stopping:
                raise Stopped
            raise RuntimeError("the pipeline ended without a summary")
        folder.update(state=jobs.DONE, summary=summary)
        self._log.info("Done: %s", summary)
        self._say("done", summary=summary)

    def _finals(self) -> list[TrackMotion] | None:
        """The results of a finished job; None when there is work left, also when they were damaged since."""
        if self.folder.record.state != jobs.DONE:
            return None
        try:
            return self.folder.load_finals()
        except JobError as error:
            self._log.warning("%s It is computed anew.", error)
            return None

    def _replay(self, motions: list[TrackMotion]) -> None:
        """Say again what a finished job gave; needs no frames."""
        self._replaying = True
        record = self.folder.record
        options = self._road.options(record.options)
        self._say("opened", next_frame=record.frames or 0, complete=True)
        camera = self._say_body(options)
        for motion in motions:
            self._say_result(motion, camera)
        self._say("done", summary=record.summary or {})

    def _frames(self) -> Iterator[Frame]:
        yield from self.queue
        self.folder.update(frames=self.queue.length, damage=self.queue.damage)
        if self.queue.damage:
            self._warn(self.queue.damage)

    def _say_body(self, options: Any) -> Camera:
        arrays, fields = body_said(options.load_body())
        self._say_out(Said(self.folder.record.id, "body", fields, arrays))
        clip = self.folder.record.clip
        return options.camera(clip["width"], clip["height"])

    def _say_result(self, motion: TrackMotion, camera: Camera) -> None:
        arrays, fields = result_said(motion, camera)
        self._say_out(Said(self.folder.record.id, "result", fields, arrays))

    def _end(self, state: str, code: str = "", text: str | None = None) -> None:
        if state == jobs.CANCELLED:
            code, text = "cancelled", "The job was cancelled; the frames finished so far are kept."
        # When the disk is full the state cannot be written either; the chunks decide on resuming anyway.
        with contextlib.suppress(JobError):
            if not self._replaying:
                self.folder.update(state=state, error=text if state == jobs.FAILED else None)
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

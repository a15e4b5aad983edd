# SPDX-License-Identifier: GPL-3.0-or-later
"""One job as the add-on sees it: its state, what has come back, and the clip that feeds it.

A `Job` is made by `Client.open` or `Client.resume` and moved on only by `Client.pump`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ..shared import wire
from ..shared.motion import TrackMotion
from ..shared.shot import FIELDS, Shot

FINISHED = ("done", "failed", "cancelled")
MAX_CREDIT = 4096
_NO_MORE = object()


@dataclass(frozen=True)
class CameraInfo:
    """The pinhole camera of the clip, without distortion. Everything is in pixels; (0, 0) is the centre of the top left
    pixel."""

    width: int
    """Of the picture."""
    height: int
    """Of the picture."""
    fx: float
    """Focal length along x."""
    fy: float
    """Focal length along y."""
    cx: float
    """Principal point, x."""
    cy: float
    """Principal point, y."""


@dataclass(eq=False)
class Result(TrackMotion):
    """The motion of one person as it came from the backend; its arrays are read-only."""

    camera: CameraInfo = field(kw_only=True)
    """That the clip was taken for."""


@dataclass(frozen=True, eq=False)
class BodyMessage:
    """The body to build, at rest: metres, SMPL-X axes (x the subject's left, y up, z forward). The arrays are those of
    `wire.BODY` and read-only."""

    name: str
    """Whose vertex numbers these are: "open", "smplx", "smplh" or "smpl"."""
    joint_names: list[str]
    """The 55 joints, in SMPL-X's order."""
    licence_note: str
    """One sentence for the user."""
    v_template: np.ndarray
    """(V, 3) float32 vertices of the mean body."""
    faces: np.ndarray
    """(F, 3) int32 vertices of each triangle."""
    uv: np.ndarray
    """(T, 2) float32 places on the texture."""
    faces_uv: np.ndarray
    """(F, 3) int32 rows of `uv` at the corners of each triangle; (0, 3) without a texture."""
    weights_index: np.ndarray
    """(V, K) int16 joints that carry a vertex."""
    weights_value: np.ndarray
    """(V, K) float32 how much each of them carries, 0 for the rest."""
    joints_template: np.ndarray
    """(55, 3) float32 joints of the mean body."""
    joints_shapedirs: np.ndarray
    """(55, 3, b) float32 metres by which a unit of each beta moves the joints."""
    joints_exprdirs: np.ndarray
    """(55, 3, e) float32 metres by which a unit of each expression moves the joints."""
    shapedirs: np.ndarray
    """(V, 3, b) float32 metres by which a unit of each beta moves the vertices."""
    exprdirs: np.ndarray
    """(V, 3, e) float32 metres by which a unit of each expression moves the vertices."""
    parents: np.ndarray
    """(55,) int32 the joint above each joint, -1 for the pelvis."""
    landmark_names: list[str] = field(default_factory=list)
    """BlazePose's 33 landmarks in its order, or none."""
    landmarks: np.ndarray = field(default_factory=lambda: np.zeros((33, 3), np.float32))
    """(33, 3) float32 where they lie on the mean body; NaN when they cannot be found on it."""
    posedirs: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 3), np.float16))
    """(q, V, 3) float16 pose correctives: metres by which a unit of each element of R - I of joints 1 to 54 moves the
    vertices; q is 486, or 0 for a body without any."""


@dataclass(frozen=True)
class JobProgress:
    """How far a job, or any other work, is."""

    stage: str = "opening"
    """What is being done: a short word of the backend, or plain words from elsewhere."""
    done: int = 0
    """Frames that this stage has finished, or other things that are counted."""
    total: int | None = None
    """How many there will be in the end; None while nobody knows."""
    seconds_left: float | None = None
    """Until the end of this stage; None while nobody knows."""


class Speaker(Protocol):
    """What a job needs of its client."""

    def _say(self, kind: str, job: str | None = None, arrays: Any = None, **fields: Any) -> None: ...


class Job:
    """`state`: "opening", "running", "done", "failed" or "cancelled". `id`: None until the backend gave one.

    `error`: one sentence when failed; `error_code`: the backend's short word for it, if it came from there;
    `paused`: it stands still until `pause(False)`; `warnings`: sentences for the user; `body`: what to build; `shots`:
    those that came, by their numbers, each before the final results of its people; `summary`: what the backend says
    when done.
    """

    def __init__(self, speaker: Speaker, opener: Callable[[], Iterable], job_id: str | None = None) -> None:
        self.id = job_id
        self.state = "opening"
        self.paused = False
        self.progress = JobProgress()
        self.error: str | None = None
        self.error_code: str | None = None
        self.warnings: list[str] = []
        self.body: BodyMessage | None = None
        self.shots: dict[int, Shot] = {}
        self.summary: dict[str, Any] | None = None
        self.frames_sent = 0
        self._speaker = speaker
        self._opener: Callable[[], Iterable] | None = opener
        self._clip: Any = None
        self._iterator: Iterator | None = None
        self._results: list[Result] = []
        self._asked = 0
        self._credit = 0
        self._next_frame = 0
        self._cost_s = 0.0

    @property
    def finished(self) -> bool:
        """True once the job is done, failed or cancelled: nothing will change any more."""
        return self.state in FINISHED

    def take_results(self) -> list[Result]:
        """The results that came since the last call, oldest first."""
        taken, self._results = self._results, []
        return taken

    def pause(self, on: bool = True) -> None:
        """Stand still, here and at the backend, which keeps everything; or go on exactly there."""
        if not self.finished and on != self.paused:
            self.paused = on
            self._tell_pause()

    def cancel(self) -> None:
        """Stop the job; what comes late is ignored. Frames finished so far stay with the backend."""
        if not self.finished:
            self._tell_cancel()
            self._end("cancelled")

    # For the client -----------------------------------------------------------------------------------

    def _over(self) -> bool:
        """True when no message for this job matters any more."""
        return self.finished and not (self.state == "cancelled" and self.id is None)

    def _wants_frames(self) -> bool:
        feeds = self.state == "running" and not self.paused
        return feeds and self._credit > 0 and self._opener is not None

    def _fail(self, reason: str) -> None:
        """`reason`: the beginning of a sentence on the connection, without a full stop."""
        if self.finished:
            return
        if self.id is None:
            hint = "before the job began; start the backend again and run the import once more"
        else:
            hint = (
                "before the job was done; the frames finished so far are kept: start the backend again and "
                f"resume job {self.id}"
            )
        self._end("failed", f"{reason} {hint}.")

    def _end(self, state: str, error: str | None = None) -> None:
        self.state, self.error, self.paused = state, error, False
        self._credit = 0
        clip, self._clip, self._opener = self._clip, None, None
        close = getattr(self._iterator, "close", None)
        self._iterator = None
        for end in (close, getattr(clip, "close", None)):
            if end is not None:
                end()

    def _tell_cancel(self) -> None:
        if self.id is not None:
            self._speaker._say("cancel", self.id)

    def _tell_pause(self) -> None:
        if self.id is not None:
            self._speaker._say("pause", self.id, on=self.paused)

    def _send_next(self) -> None:
        """Take a piece of the clip: send its picture (or skip it when it was finished before), or say end."""
        try:
            if self._iterator is None:
                self._clip = self._opener()
                start = getattr(self._clip, "pieces", None) or getattr(self._clip, "frames", None)
                self._iterator = iter(start(self._next_frame) if callable(start) else self._clip)
            frame = next(self._iterator, _NO_MORE)
        except Exception as error:
            # Whatever a broken file makes the decoder raise: the job ends here and the user is told.
            self._tell_cancel()
            self._end("failed", _sentence(error))
            return
        if frame is None:
            # The clip is at work on the next picture.
            return
        if frame is _NO_MORE:
            self._speaker._say(
                "end", self.id, frames=self._next_frame, damage=getattr(self._clip, "damage", None)
            )
            self._opener = None
        elif frame.index >= self._next_frame:
            image = {"image": frame.image}
            self._speaker._say("frame", self.id, image, index=int(frame.index), time_s=float(frame.time_s))
            self._next_frame = int(frame.index) + 1
            self._credit -= 1
            self.frames_sent += 1

    def _take(self, message: wire.Message) -> bool:
        """Digest a message; False when it is not for this job. Raises WireError when it makes no sense."""
        # By the number of the asking message, since an earlier run of the same job may still have words on
        # their way.
        if self._over() or message.fields.get("reply") != self._asked:
            return False
        if self.id is not None and message.job not in (None, self.id):
            return False
        if self.state == "cancelled":
            # Cancelled before the backend had named it: only now can the backend be asked to stop.
            self.id = message.job
            self._tell_cancel()
            return True
        handler = getattr(self, f"_on_{message.type}", None)
        if message.type not in wire.BACKEND_TYPES or handler is None:
            raise wire.WireError(f"A job cannot use a '{message.type}' message.")
        handler(message)
        return True

    def _on_opened(self, message: wire.Message) -> None:
        next_frame = message.want("next_frame", int)
        if self.state != "opening" or message.job is None or next_frame < 0:
            raise wire.WireError("A job was opened twice or nowhere.")
        self.id, self.state, self._next_frame = message.job, "running", next_frame
        if self.paused:
            # Asked for before the backend knew the job, or while an earlier run of it was ending.
            self._tell_pause()

    def _on_credit(self, message: wire.Message) -> None:
        frames = message.want("frames", int)
        if not 0 < frames <= MAX_CREDIT:
            raise wire.WireError("Credit for an impossible number of frames.")
        self._credit += frames

    def _on_progress(self, message: wire.Message) -> None:
        whole = (int, type(None))
        self.progress = JobProgress(
            message.want("stage", str),
            message.want("done", int),
            message.want("total", whole, None),
            message.want("seconds_left", (float, type(None)), None),
        )

    def _on_body(self, message: wire.Message) -> None:
        message.check_arrays(wire.BODY)
        names = message.want("joint_names", list)
        if len(names) != 55 or not all(isinstance(name, str) for name in names):
            raise wire.WireError("A body must name its 55 joints.")
        marks = message.want("landmark_names", list)
        if len(marks) not in (0, 33) or not all(isinstance(name, str) for name in marks):
            raise wire.WireError("A body must name its 33 landmarks or none.")
        text = {name: message.want(name, str) for name in ("name", "licence_note")}
        self.body = BodyMessage(joint_names=names, landmark_names=marks, **text, **message.arrays)

    def _on_shot(self, message: wire.Message) -> None:
        message.check_arrays(wire.SHOT)
        shot = Shot(**{name: message.want(name, kind) for name, kind in FIELDS.items()}, **message.arrays)
        self.shots[shot.number] = shot

    def _on_result(self, message: wire.Message) -> None:
        message.check_arrays(wire.RESULT)
        said = wire.Message("camera", fields=message.want("camera", dict))
        size = (said.want(name, int) for name in ("width", "height"))
        lens = (float(said.want(name, float)) for name in ("fx", "fy", "cx", "cy"))
        track, final = message.want("track", int), message.want("final", bool)
        camera = CameraInfo(*size, *lens)
        self._results.append(Result(track, final=final, camera=camera, **message.arrays))

    def _on_warning(self, message: wire.Message) -> None:
        self.warnings.append(message.want("text", str))

    def _on_error(self, message: wire.Message) -> None:
        self.error_code, text = message.want("code", str), message.want("text", str)
        if self.error_code == "cancelled":
            self._end("cancelled")
        else:
            self._end("failed", text)

    def _on_done(self, message: wire.Message) -> None:
        self.summary = message.want("summary", dict)
        self._end("done")


def _sentence(error: Exception) -> str:
    """What to tell the user of an error while reading the clip; a ClipError is a sentence already."""
    if any(cls.__name__ == "ClipError" for cls in type(error).__mro__):
        return str(error)
    detail = " ".join(str(error).split()) or type(error).__name__
    return f"The clip cannot be read any further ({detail}); export it again and run the import once more."

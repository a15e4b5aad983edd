"""One keeper of a running job's results, for the server's worker and the command line alike.

It alone numbers chunks, decides what is resumed, and writes what state a job is in. The end of a finished job can be
done anew with other options, from its chunks: until that is complete the job stays as it is, also on the disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from backend.errors import JobError
from backend.jobs.features import FeatureKeeper
from backend.jobs.folder import CANCELLED, DONE, FAILED, INTERRUPTED, RUNNING, JobFolder
from backend.jobs.pieces import Pieces
from backend.records import Chunk, Event, Features, Shot, Summary, TrackMotion
from blender_addon.shared.frames import Clip, Frame

END_OPTIONS = ("floor", "foot_lock", "smooth", "smooth_up", "smooth_across", "height", "edits", "shots", "camera",
               "camera_path", "lens", "fov_deg", "focal_px")  # fmt: skip
"""The options that concern the end of a job only: it can be done anew with others of these, without the clip."""


def changed(options: Mapping[str, Any], changes: Mapping[str, Any] | None) -> dict[str, Any]:
    """A job's options with `changes` to them. Raises JobError("bad_options") for one that changes more than the end of
    the job."""
    for name in changes or {}:
        if name not in END_OPTIONS:
            known = f"{', '.join(END_OPTIONS[:-1])} and {END_OPTIONS[-1]}"
            text = f"The option '{name}' of a job cannot be changed any more, only {known}: import the clip once more."
            raise JobError("bad_options", text)
    return {**options, **(changes or {})}


class Keeper:
    """Keeps what the road gives of one job, in its folder.

    `resume`: go on after the chunks that are there; results of an earlier end are removed. `changes`: options (of
    `END_OPTIONS`) that a resumed job has from now on; with them, even if they are none, the end of a finished job is
    done anew, and its record and results are replaced when that is complete. Raises JobError("bad_options"), and
    JobError("damaged_job") when chunks of a finished job are missing. All methods raise JobError("disk_full" or
    "cannot_write") when they cannot write.
    """

    def __init__(
        self, folder: JobFolder, resume: bool = False, changes: Mapping[str, Any] | None = None
    ) -> None:
        self.folder = folder
        self.options = changed(folder.record.options, changes)
        """What the job is asked for."""
        self.renews = resume and changes is not None and folder.record.state == DONE
        """The job is finished, and stays so if this comes to nothing."""
        self.chunks: list[Chunk] = folder.load_chunks() if resume else []
        """What was finished before, for the road to go on from."""
        self.motions: list[TrackMotion] = []
        """The final motions that were kept."""
        self.shots: list[Shot] = []
        """The shots that were kept."""
        self.summary: Summary | None = None
        """The road's last word, once it came."""
        self.pieces = Pieces(folder.path)
        """What the end of the job was made of."""
        self._number = len(self.chunks)
        self._features = FeatureKeeper(folder)
        self._before = folder.record.revision
        self._revision = self._before + self.renews
        if self.renews:
            if not self.seen:
                text = f"Some of the frames kept of job {folder.record.id} are damaged: import the clip once more."
                raise JobError("damaged_job", text)
            folder.clear_finals(keep=self._before)
        elif resume:
            folder.clear_finals()
            folder.update(state=RUNNING, error=None, summary=None, options=self.options)

    @property
    def next_frame(self) -> int:
        """The first frame that is still to be seen."""
        return self.chunks[-1].last + 1 if self.chunks else 0

    @property
    def seen(self) -> bool:
        """Every frame of the clip was seen before: only the end of the job is missing."""
        frames = self.folder.record.frames
        return frames is not None and self.next_frame >= frames

    def frames(self, clip: Clip) -> Iterator[Frame]:
        """The frames of `clip`, which is read in this process, on their way to the road; notes its end."""
        count = self.next_frame
        for frame in clip.frames(count):
            count = frame.index + 1
            yield frame
            # Not held while the next one is awaited: a frame may be 100 MB.
            del frame
        self.ended(count, clip.damage)

    def ended(self, frames: int, damage: str | None) -> None:
        """The clip has come to its end: it has `frames` frames; `damage`: the sentence on why it was cut short."""
        self.folder.update(frames=frames, damage=damage)

    def keep(self, event: Event) -> str | None:
        """Keep what of an event is to be kept. A sentence for the user when something could not be kept that the job
        can do without."""
        match event:
            case Features():
                return self._features.save(self._number, event)
            case Chunk():
                self.folder.save_chunk(self._number, event)
                self._number += 1
            case Shot():
                self.folder.save_shot(event, self._revision)
                self.shots.append(event)
            case TrackMotion(final=True):
                self.folder.save_final(event, self._revision)
                self.motions.append(event)
            case Summary():
                self.summary = event
        return None

    def done(self) -> dict:
        """The job is finished; -> its summary, as it was written."""
        if self.summary is None:
            raise RuntimeError("the pipeline ended without a summary")
        summary = self.summary.as_json()
        # One file, written whole or not at all, says whose results count.
        self.folder.update(
            state=DONE, error=None, summary=summary, options=self.options, revision=self._revision
        )
        if self.renews:
            self.folder.clear_finals(keep=self._revision)
        self.pieces.tidy()
        return summary

    def end(self, state: str, error: str | None = None) -> None:
        """The job ends unfinished; its chunks stay, and so does all of a job that was finished before. Where that
        cannot be written either (a full disk), the chunks decide on resuming anyway."""
        if self.renews:
            self.folder.clear_finals(keep=self._before)
            return
        with contextlib.suppress(JobError):
            self.folder.update(state=state, error=error)

    @contextlib.contextmanager
    def watch(self) -> Iterator[Keeper]:
        """Writes how the job ended when the block raises: a JobError is its failure, Ctrl-C its cancelling, anything
        else (also a generator that is closed) an interruption. What was raised goes on."""
        try:
            yield self
        except JobError as error:
            self.end(FAILED, str(error))
            raise
        except KeyboardInterrupt:
            self.end(CANCELLED)
            raise
        except BaseException:
            self.end(INTERRUPTED)
            raise

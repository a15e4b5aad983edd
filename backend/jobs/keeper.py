"""One keeper of a running job's results, for the server's worker and the command line alike.

It alone numbers chunks, decides what is resumed, and writes what state a job is in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from backend.errors import JobError
from backend.jobs.features import FeatureKeeper
from backend.jobs.folder import CANCELLED, DONE, FAILED, INTERRUPTED, RUNNING, JobFolder
from backend.records import Chunk, Event, Features, Summary, TrackMotion
from blender_addon.shared.frames import Clip, Frame


class Keeper:
    """Keeps what the road gives of one job, in its folder.

    `resume`: go on after the chunks that are there; results of an earlier end are removed. All methods raise
    JobError("disk_full" or "cannot_write") when they cannot write.
    """

    def __init__(self, folder: JobFolder, resume: bool = False) -> None:
        self.folder = folder
        self.chunks: list[Chunk] = folder.load_chunks() if resume else []
        """What was finished before, for the road to go on from."""
        self.motions: list[TrackMotion] = []
        """The final motions that were kept."""
        self.summary: Summary | None = None
        """The road's last word, once it came."""
        self._number = len(self.chunks)
        self._features = FeatureKeeper(folder)
        if resume:
            folder.clear_finals()
            folder.update(state=RUNNING, error=None, summary=None)

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
            case TrackMotion(final=True):
                self.folder.save_final(event)
                self.motions.append(event)
            case Summary():
                self.summary = event
        return None

    def done(self) -> dict:
        """The job is finished; -> its summary, as it was written."""
        if self.summary is None:
            raise RuntimeError("the pipeline ended without a summary")
        summary = self.summary.as_json()
        self.folder.update(state=DONE, error=None, summary=summary)
        return summary

    def end(self, state: str, error: str | None = None) -> None:
        """The job ends unfinished; its chunks stay. Where that cannot be written either (a full disk), the chunks
        decide on resuming anyway."""
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

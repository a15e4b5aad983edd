"""Run a clip through the pipeline in this process, with a job folder, as the server does for the add-on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from backend.camera.pinhole import Camera
from backend.errors import JobError
from backend.jobs.features import FeatureKeeper
from backend.jobs.folder import CANCELLED, DONE, FAILED, JobFolder, JobStore
from backend.options import MocapOptions
from backend.pipeline import mocap
from backend.records import Chunk, Event, Features, Notice, Summary, TrackMotion
from blender_addon.shared.frames import Clip, ClipError, open_clip
from blender_addon.shared.home import home_folder


@dataclass
class Outcome:
    """A finished job: `motions` are final, `damage` is a sentence when the clip was cut short."""

    folder: JobFolder
    motions: list[TrackMotion]
    summary: Summary
    camera: Camera
    fps: float
    damage: str | None


def open_video(path: Path) -> Clip:
    """`open_clip` with its error as JobError("bad_clip")."""
    try:
        return open_clip(path)
    except ClipError as error:
        raise JobError("bad_clip", str(error)) from error


def run_clip(
    path: Path, options: MocapOptions, on_event: Callable[[Event], None], home: Path | None = None
) -> Outcome:
    """Run the job to its end. Raises JobError; the job folder keeps every finished chunk either way."""
    with open_video(path) as clip:
        facts = {"name": clip.name, "width": clip.width, "height": clip.height, "fps": clip.fps,
                 "frame_count": clip.frame_count, "path": str(path.resolve())}  # fmt: skip
        folder = JobStore(home or home_folder()).create(options.to_dict(), facts)
        try:
            motions, summary, keeper = [], None, FeatureKeeper(folder)
            for event in _events(clip, options):
                on_event(event)
                if isinstance(event, Features):
                    if lacking := keeper.save(event.first // options.chunk, event):
                        on_event(Notice(lacking))
                elif isinstance(event, Chunk):
                    folder.save_chunk(event.first // options.chunk, event)
                elif isinstance(event, TrackMotion) and event.final:
                    folder.save_final(event)
                    motions.append(event)
                elif isinstance(event, Summary):
                    summary = event
            if clip.damage:
                on_event(Notice(clip.damage))
            folder.update(state=DONE, frames=summary.frames, damage=clip.damage, summary=asdict(summary))
        except KeyboardInterrupt:
            folder.update(state=CANCELLED)
            raise
        except JobError as error:
            folder.update(state=FAILED, error=str(error))
            raise
        camera = options.camera(clip.width, clip.height)
        return Outcome(folder, motions, summary, camera, clip.fps, clip.damage)


def _events(clip: Clip, options: MocapOptions) -> Iterator[Event]:
    try:
        yield from mocap(clip, options, total=clip.frame_count)
    except ClipError as error:
        raise JobError("bad_clip", str(error)) from error

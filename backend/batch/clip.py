"""Run a clip through the road in this process, with a job folder, as the server does for the add-on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.batch.decoding import decoded_ahead
from backend.errors import JobError
from backend.jobs.folder import DONE, JobFolder, JobStore, focal_of
from backend.jobs.keeper import Keeper, changed
from backend.options import MocapOptions
from backend.pipeline import mocap
from backend.records import Event, Notice, Shot, Summary, TrackMotion
from blender_addon.shared.frames import Clip, ClipError, clip_facts, open_clip
from blender_addon.shared.home import home_folder


@dataclass
class Outcome:
    """A finished job."""

    folder: JobFolder
    """Where it is kept."""
    motions: list[TrackMotion]
    """The final ones, in the order of their tracks."""
    summary: Summary
    """What the road said at its end."""
    shots: list[Shot]
    """In the order of time, with their cameras."""
    fps: float
    """Of the clip, frames a second."""
    damage: str | None
    """One sentence when the clip was cut short."""


def open_video(path: Path) -> Clip:
    """`open_clip` with its error as JobError("bad_clip")."""
    try:
        return open_clip(path)
    except ClipError as error:
        raise JobError("bad_clip", str(error)) from error


def run_clip(
    path: Path, options: MocapOptions, on_event: Callable[[Event], None], home: Path | None = None
) -> Outcome:
    """Run the job to its end, without first motions, at which nobody would look. Raises JobError; the job folder keeps
    every finished chunk either way."""
    with open_video(path) as clip:
        store = JobStore(home or home_folder())
        keeper = Keeper(store.create(options.to_dict(), clip_facts(clip)))
        with keeper.watch():
            for event in _events(clip, options, keeper):
                on_event(event)
                if lacking := keeper.keep(event):
                    on_event(Notice(lacking))
            keeper.done()
        if clip.damage:
            on_event(Notice(clip.damage))
        return Outcome(keeper.folder, keeper.motions, keeper.summary, keeper.shots, clip.fps, clip.damage)


def run_again(
    job: str, changes: Mapping[str, object], on_event: Callable[[Event], None], home: Path | None = None
) -> Outcome:
    """The end of a finished job anew with other options (of `END_OPTIONS`), from what it has kept and without its clip.
    What it had stays until that is complete. Raises JobError."""
    folder = JobStore(home or home_folder()).open(job)
    record = folder.record
    if record.state != DONE:
        raise JobError("not_done", f"Job {job} is not finished: resume it first.")
    options = MocapOptions.from_dict(changed(record.options, changes))
    keeper = Keeper(folder, resume=True, changes=changes)
    with keeper.watch():
        told = focal_of(record.clip)
        for event in mocap(
            (), options, total=record.frames, resume=keeper.chunks, previews=False, focal_35mm=told,
            pieces=keeper.pieces,
        ):  # fmt: skip
            on_event(event)
            if lacking := keeper.keep(event):
                on_event(Notice(lacking))
        keeper.done()
    fps = record.clip.get("fps") or _rate_of(keeper.motions)
    return Outcome(folder, keeper.motions, keeper.summary, keeper.shots, fps, record.damage)


def _rate_of(motions: list[TrackMotion]) -> float:
    """Frames a second, from the times of the longest motion."""
    longest = max(motions, key=lambda m: len(m.frames))
    frames, seconds = np.ptp(longest.frames), np.ptp(longest.times)
    return float(frames / seconds) if seconds > 0 else 30.0


def _events(clip: Clip, options: MocapOptions, keeper: Keeper) -> Iterator[Event]:
    try:
        # Closed at once when the job is stopped, so that nobody decodes any more.
        with closing(decoded_ahead(keeper.frames(clip))) as frames:
            yield from mocap(
                frames, options, total=clip.frame_count, previews=False, focal_35mm=clip.focal_35mm,
                pieces=keeper.pieces,
            )  # fmt: skip
    except ClipError as error:
        raise JobError("bad_clip", str(error)) from error

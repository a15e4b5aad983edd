"""`python -m backend overlay JOB VIDEO -o OUT.mp4`: the body's points of a finished job drawn over its footage."""

from __future__ import annotations

from pathlib import Path

import typer

from backend.batch.clip import open_video
from backend.commands import console
from backend.draw.movie import write_overlay
from backend.draw.overlay import OverlayPainter
from backend.errors import JobError
from backend.jobs.folder import DONE, JobFolder, JobStore
from backend.options import MocapOptions
from blender_addon.shared.home import home_folder


@console.ends_plainly
def overlay(
    job: str = typer.Argument(..., help="Id of a finished job, as mocap and the add-on say it."),
    video: Path = typer.Argument(..., help="The clip that the job was made from."),
    out: Path = typer.Option(..., "-o", "--out", help="The .mp4 to write."),
) -> None:
    """Draw the body's points over the footage, with a side view: green is sure, red is a guess."""
    overlay_job(JobStore(home_folder()).open(job), video, out)


def overlay_job(folder: JobFolder, video: Path, out: Path) -> Path:
    """Write the overlay of `folder`'s final motions; -> `out`. Raises JobError("not_done"), or another where the clip
    cannot be read or the overlay not be written."""
    if folder.record.state != DONE:
        raise JobError("not_done", f"Job {folder.record.id} is not finished: resume it first.")
    options = MocapOptions.from_dict(folder.record.options)
    with open_video(video) as clip:
        painter = OverlayPainter(
            options.load_body(), options.camera(clip.width, clip.height), folder.load_finals()
        )
        frames = write_overlay(clip, painter, out, clip.fps)
        for _ in console.counted(frames, "Drawing the overlay", clip.frame_count):
            pass
    return out

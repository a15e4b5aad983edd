"""`python -m backend overlay JOB VIDEO -o OUT.mp4`: the body's points of a finished job drawn over its footage."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.progress import track as progress_track

from backend.batch.clip import open_video
from backend.draw.movie import write_overlay
from backend.draw.overlay import OverlayPainter
from backend.errors import JobError
from backend.jobs.folder import DONE, JobFolder, JobStore
from backend.options import MocapOptions
from blender_addon.shared.home import home_folder


def overlay(
    job: str = typer.Argument(..., help="Id of a finished job, as mocap and the add-on say it."),
    video: Path = typer.Argument(..., help="The clip that the job was made from."),
    out: Path = typer.Option(..., "-o", "--out", help="The .mp4 to write."),
) -> None:
    """Draw the body's points over the footage, with a side view: green is sure, red is a guess."""
    console = Console(stderr=True)
    try:
        overlay_job(JobStore(home_folder()).open(job), video, out, console)
    except JobError as error:
        console.print(f"[red]{error}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from None


def overlay_job(folder: JobFolder, video: Path, out: Path, console: Console) -> Path:
    """Write the overlay of `folder`'s final motions. Raises JobError when the job is not finished."""
    if folder.record.state != DONE:
        raise JobError("unfinished", f"Job {folder.record.id} is not finished: resume it first.")
    options = MocapOptions.from_dict(folder.record.options)
    out.parent.mkdir(parents=True, exist_ok=True)
    with open_video(video) as clip:
        painter = OverlayPainter(
            options.load_body(), options.camera(clip.width, clip.height), folder.load_finals()
        )
        frames = write_overlay(clip, painter, out, clip.fps)
        for _ in progress_track(frames, "Drawing the overlay", total=clip.frame_count, console=console):
            pass
    return out

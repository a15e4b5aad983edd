"""`python -m backend overlay JOB VIDEO -o OUT.mp4`: the bodies of a finished job drawn over its footage."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import typer

from backend.batch.clip import open_video
from backend.commands import console
from backend.draw.movie import write_overlay
from backend.draw.overlay import STYLE, check_style
from backend.draw.shots import ShotsPainter
from backend.errors import JobError
from backend.jobs.folder import DONE, JobFolder, JobStore
from backend.motion.incamera import camera_of, in_camera
from backend.options import MocapOptions
from blender_addon.shared.home import home_folder


@console.ends_plainly
def overlay(
    job: str = typer.Argument(..., help="Id of a finished job, as mocap and the add-on say it."),
    video: Path = typer.Argument(..., help="The clip that the job was made from."),
    out: Path = typer.Option(..., "-o", "--out", help="The .mp4 to write."),
    style: str = typer.Option(STYLE, help="shaded: lit, translucent bodies; dots: points on the skin."),
) -> None:
    """Draw the bodies over the footage, with a side view: green is sure, red is a guess."""
    check_style(style)
    overlay_job(JobStore(home_folder()).open(job), video, out, style)


def overlay_job(folder: JobFolder, video: Path, out: Path, style: str = STYLE) -> Path:
    """Write the overlay of `folder`'s final motions, in a style of `backend.draw.overlay.STYLES`; -> `out`. Raises
    JobError("not_done"), or another where the clip cannot be read or the overlay not be written."""
    if folder.record.state != DONE:
        raise JobError("not_done", f"Job {folder.record.id} is not finished: resume it first.")
    options = MocapOptions.from_dict(folder.record.options)
    with open_video(video) as clip:
        body, shots = options.load_body(), folder.load_shots()
        camera = camera_of(shots[0]) if shots else options.pinhole(clip.width, clip.height)
        motions = [in_camera(m, shots, body) for m in folder.load_finals()]
        painter = ShotsPainter(body, camera, motions, shots, style)
        # Closed at once when it is stopped, and not when Python comes to it: then no half file is left.
        with closing(write_overlay(clip, painter, out, clip.fps)) as frames:
            for _ in console.counted(frames, "Drawing the overlay", clip.frame_count):
                pass
    return out

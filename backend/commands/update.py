"""`python -m backend update JOB -o OUT`: a finished job's motion by other settings, without a look at its clip."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import typer

from backend.batch.clip import run_again
from backend.commands import console
from backend.commands.mocap import (
    CAMERA,
    FOOT_LOCK,
    HEIGHT,
    SHOTS,
    SMOOTH_ACROSS,
    SMOOTH_UP,
    check_blender,
    report,
    show,
    through_blender,
)
from backend.jobs.folder import JobStore
from backend.motion.amass import write_amass
from backend.options import MocapOptions
from backend.people.edits import edits_from_text
from blender_addon.shared.home import home_folder

EDIT = (
    "A correction, as often as you like, in this order: merge=1,3 (3 becomes part of 1), split=1@57 (from frame 57 on "
    "somebody else), swap=1,2@40 (exchanged from frame 40 on), exclude=4, name=1:Anna, same=1,5 (one person in two "
    "shots)."
)


@console.ends_plainly
def update(
    job: str = typer.Argument(..., help="Id of a finished job, as mocap and the add-on say it."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder for the results; made if missing."),
    floor: bool | None = typer.Option(
        None,
        "--floor/--no-floor",
        help="Everybody stands on one floor at height 0, or stays where each was seen.",
    ),
    foot_lock: str | None = typer.Option(None, help=FOOT_LOCK),
    smooth: float | None = typer.Option(None, help="Strength of smoothing in time; 0 for none."),
    smooth_up: float | None = typer.Option(None, help=SMOOTH_UP),
    smooth_across: float | None = typer.Option(None, help=SMOOTH_ACROSS),
    height: float | None = typer.Option(None, help=HEIGHT),
    camera: str | None = typer.Option(None, help=CAMERA),
    fov: float | None = typer.Option(None, help="Field of view on the larger side, degrees."),
    shots: bool | None = typer.Option(None, "--shots/--no-shots", help=SHOTS),
    edit: list[str] = typer.Option([], help=EDIT),
    no_edits: bool = typer.Option(False, "--no-edits", help="Take back the corrections that the job has."),
    fbx: bool = typer.Option(False, help="Write an FBX too (needs bpy in this Python)."),
    bvh: bool = typer.Option(False, help="Write BVH files too (needs bpy)."),
    blend: bool = typer.Option(False, help="Write a .blend too (needs bpy)."),
) -> None:
    """The motion of a finished job anew; what is left out stays as the job has it, which keeps what is new."""
    wanted = {"fbx": fbx, "bvh": bvh, "blend": blend}
    check_blender(any(wanted.values()))
    given = {
        "floor": floor,
        "foot_lock": foot_lock,
        "smooth": smooth,
        "smooth_up": smooth_up,
        "smooth_across": smooth_across,
        "height": height,
        "camera": camera,
        "fov_deg": fov,
        "shots": shots,
    }
    if edit or no_edits:
        before = [] if no_edits else JobStore(home_folder()).open(job).record.options.get("edits", [])
        given["edits"] = [*before, *(e.to_dict() for e in edits_from_text(edit))]
    with console.Stages() as stages:
        outcome = run_again(job, {k: v for k, v in given.items() if v is not None}, partial(show, stages))
    record = outcome.folder.record
    stem = Path(record.clip["name"]).stem
    body = MocapOptions.from_dict(record.options).load_body()
    names = {int(track): name for track, name in outcome.summary.names.items()}
    paths = write_amass(outcome.motions, body, outcome.fps, out, stem, names)
    paths += through_blender(outcome, out, stem, [k for k, on in wanted.items() if on])
    report(outcome, paths)

"""`python -m backend mocap VIDEO -o OUT`: a clip becomes files, for people without Blender."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import typer

from backend.batch.clip import Outcome, run_clip
from backend.commands import console
from backend.commands.overlay import overlay_job
from backend.draw.overlay import STYLE, check_style
from backend.errors import JobError
from backend.motion.amass import write_amass
from backend.options import MocapOptions
from backend.people.choice import PeopleChoice
from backend.records import Event, Notice, Progress

FOOT_LOCK = (
    "off; auto: what rests on the floor stays where it is; always: a foot near the floor always rests; flat: with a "
    "flat sole too."
)
SMOOTH_UP = "The same for the way up and down of the whole body; as --smooth if left out."
SMOOTH_ACROSS = "The same for the way over the floor; as --smooth if left out."
HEIGHT = "Metres that the person is tall who is seen most, if you know it; it sets the scale of everything."
CAMERA = "How the camera was held: auto (as the background tells), still or moving."
SHOTS = "Look for cuts; each shot has its own people, floor and camera."
STAGES = {
    "prepare": "Getting the localizer ready",
    "localize": "Finding and following people",
    "body": "Fitting bodies",
}


@console.ends_plainly
def mocap(
    video: Path = typer.Argument(..., help="A movie, a folder of pictures, or a numbered picture."),
    out: Path = typer.Option(..., "-o", "--out", help="Folder for the results; made if missing."),
    localizer: str = typer.Option(
        MocapOptions.localizer,
        help="field, landmarks-heavy, landmarks-full or landmarks-lite, or weights that you have added.",
    ),
    max_people: int = typer.Option(4, help="How many people to follow at a time."),
    people: str | None = typer.Option(
        None,
        metavar="FRAME:x,y[;x,y...]",
        help="Follow only the people on whom these pixels of this frame (from 0) lie.",
    ),
    fov: float | None = typer.Option(
        None, help="Field of view on the larger side, degrees, if you know the lens."
    ),
    focal: float | None = typer.Option(None, help="Focal length in pixels, if you know it; beats --fov."),
    body: str | None = typer.Option(None, help="Your licensed SMPL-X, SMPL-H or SMPL file."),
    floor: bool = typer.Option(
        True,
        "--floor/--no-floor",
        help="Everybody stands on one floor at height 0, or stays where each was seen.",
    ),
    foot_lock: str = typer.Option(MocapOptions.foot_lock, help=FOOT_LOCK),
    smooth: float = typer.Option(1.0, help="Strength of smoothing in time; 0 for none."),
    smooth_up: float | None = typer.Option(None, help=SMOOTH_UP),
    smooth_across: float | None = typer.Option(None, help=SMOOTH_ACROSS),
    height: float | None = typer.Option(None, help=HEIGHT),
    camera: str = typer.Option(MocapOptions.camera, help=CAMERA),
    shots: bool = typer.Option(True, "--shots/--no-shots", help=SHOTS),
    device: str = typer.Option("auto", help="auto, cpu, cuda, mps."),
    engine: str = typer.Option("auto", help="What runs the networks: auto, torch or onnxruntime."),
    workers: int = typer.Option(0, help="Pictures looked at side by side; 0: as many as there are cores."),
    fbx: bool = typer.Option(False, help="Write an FBX too (needs bpy in this Python)."),
    bvh: bool = typer.Option(False, help="Write BVH files too (needs bpy)."),
    blend: bool = typer.Option(False, help="Write a .blend too (needs bpy)."),
    overlay: bool = typer.Option(False, help="Write a video with the bodies drawn over the footage."),
    overlay_style: str = typer.Option(STYLE, help="Of that video: shaded or dots."),
) -> None:
    """Motion capture of a clip: one AMASS-style .npz per person, and FBX, BVH or .blend where bpy is there."""
    wanted = {"fbx": fbx, "bvh": bvh, "blend": blend}
    check_blender(any(wanted.values()))
    check_style(overlay_style)
    chosen = None if people is None else PeopleChoice.from_text(people)
    options = MocapOptions(
        localizer, max_people, fov, focal, body, smooth, smooth_up, smooth_across, foot_lock, floor, height,
        device=device, people=chosen, engine=engine, workers=workers, camera=camera, shots=shots,
    )  # fmt: skip
    with console.Stages() as stages:
        outcome = run_clip(video, options, partial(show, stages))
    stem = Path(video).stem
    paths = write_amass(outcome.motions, options.load_body(), outcome.fps, out, stem)
    if overlay:
        paths.append(overlay_job(outcome.folder, video, out / f"{stem}_overlay.mp4", overlay_style))
    paths += through_blender(outcome, out, stem, [k for k, on in wanted.items() if on])
    report(outcome, paths)


def check_blender(wanted: bool) -> None:
    """Raises JobError("no_bpy") when files are wanted that Blender's module writes, and it is not there."""
    if wanted and find_spec("bpy") is None:
        text = "FBX, BVH and .blend need Blender's module bpy: run 'python install.py setup'."
        raise JobError("no_bpy", text)


def report(outcome: Outcome, paths: list[Path]) -> None:
    """What came of it, on standard output."""
    said = {"job": outcome.folder.record.id, "files": [str(p) for p in paths], **asdict(outcome.summary)}
    said["shots"] = [
        {"first": int(s.frames[0]), "last": int(s.frames[-1]), **s.fields()} for s in outcome.shots
    ]
    print(json.dumps(said, indent=1))


def through_blender(outcome: Outcome, out: Path, stem: str, kinds: list[str]) -> list[Path]:
    """Hand the finished job to the add-on in a bpy process of its own. -> the files. Raises JobError("blender")."""
    if not kinds:
        return []
    names = [part for kind in kinds for part in (f"--{kind}", f"{stem}.{kind}")]
    job = outcome.folder.record
    # A finished job needs no clip; where there is one, it becomes the background of the camera.
    source = job.clip.get("source")
    source = [source] if source and Path(source).exists() else []
    command = [sys.executable, "-m", "blender_addon.headless", *source, "-o", str(out.absolute()),
               "--job", job.id, *names]  # fmt: skip
    root = Path(__file__).resolve().parents[2]
    # The child talks to a backend of this very installation, whatever the add-on would find otherwise.
    environ = {**os.environ, "BODYFIELD_PYTHON": sys.executable, "PYTHONUTF8": "1"}
    ran = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", cwd=root, env=environ, check=False
    )
    if ran.returncode:
        why = (ran.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise JobError("blender", f"The .npz files are written, but Blender's part failed: {why}")
    said = json.loads(ran.stdout.strip().splitlines()[-1])
    return [Path(file) for file in said["summary"]["files"]]


def show(stages: console.Stages, event: Event) -> None:
    """Show what happens."""
    if isinstance(event, Progress):
        stages.show(STAGES.get(event.stage, event.stage), event.done, event.total)
    elif isinstance(event, Notice):
        console.warn(event.text)

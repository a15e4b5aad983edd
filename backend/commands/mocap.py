"""`python -m backend mocap VIDEO -o OUT`: a clip becomes files, for people without Blender."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from backend import records
from backend.batch.clip import Outcome, run_clip
from backend.motion.amass import write_amass
from backend.options import MocapOptions
from backend.people.choice import PeopleChoice

STAGES = {
    "prepare": "Getting the localizer ready",
    "localize": "Finding and following people",
    "body": "Fitting bodies",
}


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
    smooth: float = typer.Option(1.0, help="Strength of smoothing in time; 0 for none."),
    device: str = typer.Option("auto", help="auto, cpu, cuda, mps."),
    fbx: bool = typer.Option(False, help="Write an FBX too (needs bpy in this Python)."),
    bvh: bool = typer.Option(False, help="Write BVH files too (needs bpy)."),
    blend: bool = typer.Option(False, help="Write a .blend too (needs bpy)."),
    overlay: bool = typer.Option(False, help="Write a video with the body's points drawn over the footage."),
) -> None:
    """Motion capture of a clip: one AMASS-style .npz per person, and FBX, BVH or .blend where bpy is there."""
    console = Console(stderr=True)
    try:
        wanted = {"fbx": fbx, "bvh": bvh, "blend": blend}
        if any(wanted.values()) and find_spec("bpy") is None:
            text = "FBX, BVH and .blend need Blender's module bpy: run 'python install.py setup'."
            raise records.JobError("no_bpy", text)
        chosen = None if people is None else PeopleChoice.from_text(people)
        options = MocapOptions(localizer, max_people, fov, focal, body, smooth, device=device, people=chosen)
        with _bar(console) as (show, _):
            outcome = run_clip(video, options, show)
        stem = Path(video).stem
        paths = write_amass(outcome.motions, options.load_body(), outcome.fps, out, stem)
        if overlay:
            from backend.commands.overlay import overlay_job

            paths.append(overlay_job(outcome.folder, video, out / f"{stem}_overlay.mp4", console))
        paths += _through_blender(outcome, out, stem, [k for k, on in wanted.items() if on])
    except records.JobError as error:
        console.print(f"[red]{error}", soft_wrap=True, highlight=False)
        raise typer.Exit(1) from None
    report = {"job": outcome.folder.record.id, "files": [str(p) for p in paths], **asdict(outcome.summary)}
    print(json.dumps(report, indent=1))


def _through_blender(outcome: Outcome, out: Path, stem: str, kinds: list[str]) -> list[Path]:
    """Hand the finished job to the add-on in a bpy process of its own."""
    if not kinds:
        return []
    names = [part for kind in kinds for part in (f"--{kind}", f"{stem}.{kind}")]
    job = outcome.folder.record
    command = [sys.executable, "-m", "blender_addon.headless", job.clip["path"], "-o", str(out.absolute()),
               "--job", job.id, *names]  # fmt: skip
    root = Path(__file__).resolve().parents[2]
    # The child talks to a backend of this very installation, whatever the add-on would find otherwise.
    environ = {**os.environ, "BODYFIELD_PYTHON": sys.executable, "PYTHONUTF8": "1"}
    ran = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", cwd=root, env=environ, check=False
    )
    if ran.returncode:
        why = (ran.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        raise records.JobError("blender", f"The .npz files are written, but Blender's part failed: {why}")
    said = json.loads(ran.stdout.strip().splitlines()[-1])
    return [Path(file) for file in said["summary"]["files"]]


class _bar:
    """A progress bar per stage with the time left, on `console`; gives a function that shows events."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console)
        self._tasks: dict[str, int] = {}

    def __enter__(self):
        self._progress.__enter__()
        return self._show, self._progress

    def __exit__(self, *error) -> None:
        self._progress.__exit__(*error)

    def _show(self, event: records.Event) -> None:
        if isinstance(event, records.Progress):
            if event.stage not in self._tasks:
                for task in self._progress.tasks:
                    # A stage whose end was not known has ended now.
                    self._progress.update(task.id, total=task.total or max(task.completed, 1))
                    self._progress.update(task.id, completed=task.total)
                self._tasks[event.stage] = self._progress.add_task(
                    STAGES.get(event.stage, event.stage), total=None
                )
            total = None if event.total is None else max(event.total, event.done)
            self._progress.update(self._tasks[event.stage], completed=event.done, total=total)
        elif isinstance(event, records.Notice):
            self._progress.console.print(f"[yellow]{event.text}", soft_wrap=True, highlight=False)

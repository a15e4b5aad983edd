"""`python -m backend train-motion OUT --motion cmu_30fps.npz`: train the temporal network, which needs no pictures."""

from __future__ import annotations

from pathlib import Path

import torch
import typer
from rich.progress import TextColumn

from backend.commands import console
from backend.errors import JobError
from backend.train.temporal.stage import Plan, export, learn

_SHOWN = ("joint", "place", "up", "contact")
"""Costs that are shown beside the bar."""


@console.ends_plainly
def train_motion(
    out: Path = typer.Argument(..., help="Folder for checkpoints and log; made if missing."),
    motion: Path | None = typer.Option(
        None, help="The motion file, cmu_30fps.npz. Without it nothing is trained, see --export."
    ),
    minutes: float | None = typer.Option(
        None, help="How long to train, all starts together; 60 unless --rounds is given."
    ),
    rounds: int | None = typer.Option(None, help="How many steps to train, in place of minutes."),
    seed: int = typer.Option(0, help="Of the weights to begin with and of all lessons."),
    rate: float = typer.Option(Plan.rate, help="Learning rate at its peak."),
    start: Path | None = typer.Option(None, help="Weights to begin with, as --export writes them."),
    resume: bool = typer.Option(False, help="Go on from the newest checkpoint in the folder."),
    export_to: Path | None = typer.Option(
        None, "--export", help="Write the averaged weights to this file, .safetensors, at the end."
    ),
) -> None:
    """Train the temporal network that Bodyfield ships, from motion capture alone."""
    _check(out, motion, minutes, rounds, rate, export_to)
    ended = True
    if motion is not None:
        # The network is small: a second thread only waits.
        torch.set_num_threads(1)
        ended = _run(out, motion, Plan(minutes or 60, rounds or 0, seed, rate), resume, start)
    if not ended:
        console.say(f"Stopped; go on with --resume. The checkpoint is in {out}.")
    if export_to is not None:
        export(out, export_to)
        print(export_to)


def _check(
    out: Path, motion: Path | None, minutes: float | None, rounds: int | None, rate: float, to: Path | None
) -> None:
    if out.exists() and not out.is_dir():
        raise JobError("bad_folder", f"{out} is no folder: name one for checkpoints and log.")
    if motion is None and to is None:
        raise JobError("bad_motion", "There is no motion to learn from: give --motion cmu_30fps.npz.")
    if motion is not None and not motion.is_file():
        raise JobError("bad_motion", f"There is no file {motion}: give cmu_30fps.npz.")
    if minutes is not None and rounds is not None:
        raise JobError("bad_options", "A training ends after minutes or after rounds: give one of the two.")
    for name, value in (("minutes", minutes), ("rounds", rounds), ("rate", rate)):
        if value is not None and not value > 0:
            raise JobError("bad_options", f"The option '{name}' must be more than 0, not {value:g}.")
    if to is not None and to.suffix != ".safetensors":
        raise JobError("bad_output", f"{to} must end in .safetensors.")


def _run(out: Path, motion: Path, plan: Plan, resume: bool, start: Path | None) -> bool:
    with console.bar(TextColumn("{task.fields[text]}")) as bar:
        task = bar.add_task("0", total=1.0, text="")

        def tell(part: float, step: int, means: dict[str, float]) -> None:
            text = "  ".join(f"{k} {means[k]:.3g}" for k in _SHOWN)
            bar.update(task, description=str(step), completed=min(part, 1.0), text=text)

        return learn(out, motion, plan, resume, start, tell)

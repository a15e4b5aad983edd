"""`python -m backend train --config RECIPE.toml --out FOLDER`: train our own localizer field.

Several GPUs or processes: `torchrun --nproc-per-node N -m backend train ...`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import typer
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from backend.commands import console
from backend.evaluate.certainty import calibrate, certainty_figures
from backend.evaluate.field import (
    KnownSet,
    Predict,
    RealSet,
    judge_known,
    judge_real,
    predict_known,
    relative_errors,
)
from backend.localizers.field.file import read_field, save_field
from backend.localizers.field.model import FieldModel
from backend.train.config import Recipe, read_recipe
from backend.train.loop import Judge
from backend.train.loop import Progress as Told
from backend.train.loop import export as export_weights
from backend.train.loop import train as run_training
from backend.train.mix import held_out


@console.ends_plainly
def train(
    config: Path = typer.Option(
        ..., help="The recipe, a TOML file; the shipped one is backend/train/configs/field.toml."
    ),
    out: Path = typer.Option(..., help="Folder for checkpoints, log and weights; made if missing."),
    resume: bool = typer.Option(False, help="Go on from the newest checkpoint in the folder."),
    real: Path | None = typer.Option(
        None, help="A set made by 'python -m backend.evaluate.field' to judge by."
    ),
    export: bool = typer.Option(False, help="Only write the weights of the newest checkpoint in the folder."),
    known: Path | None = typer.Option(None, help="Folder of held-out rendered pictures to judge by."),
) -> None:
    """Train the localizer field that Bodyfield ships."""
    recipe = read_recipe(config)
    known_set = KnownSet(*held_out(recipe, known)) if known else None
    if export:
        path = export_weights(recipe, out)
    else:
        path = _run(recipe, out, resume, make_judges(known_set, RealSet.load(real) if real else None))
    if path is not None and known_set is not None and _leads():
        print(json.dumps(calibrate_file(path, known_set)))
    if path is None:
        console.say(f"Stopped; go on with --resume. Checkpoints are in {out}.")
    else:
        print(path)


def make_judges(known: KnownSet | None, real: RealSet | None) -> dict[str, Judge]:
    """What the training is judged by, by name."""
    judges: dict[str, Judge] = {}
    if known is not None:
        judges["held_out"] = lambda model: judge_known(known, predictor(model))
    if real is not None:
        judges["real"] = lambda model: judge_real(real, predictor(model))
    return judges


def calibrate_file(path: Path, data: KnownSet) -> dict[str, float]:
    """Calibrate the weights in `path` on every other person of `data`, and judge them by the others."""
    model, card = read_field(path)
    model.eval()
    model.sigma.copy_(torch.tensor([1.0, 0.0]))
    places, _, raw = predict_known(data, predictor(model))
    factor, offset = calibrate(relative_errors(data, places)[::2], raw[::2])
    model.sigma.copy_(torch.tensor([factor, offset]))
    figures = certainty_figures(relative_errors(data, places)[1::2], factor * raw[1::2] + offset)
    figures |= {"factor": factor, "offset_m": offset}
    save_field(model, path, {**card, "uncertainty": figures})
    return figures


def predictor(model: FieldModel) -> Predict:
    """A model as `backend.evaluate.field` asks it."""

    def predict(
        images: np.ndarray, K: np.ndarray, points: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        device = model.sigma.device
        with torch.no_grad():
            x = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 255
            x = x.contiguous(memory_format=torch.channels_last)
            relative = model(x, torch.from_numpy(np.asarray(points, np.float32)).to(device))
            placed = model.absolute(relative, torch.from_numpy(K).float().to(device))
        sigma = model.calibrated(relative.uncertainty)
        return placed.points3d.cpu().numpy(), relative.coords2d.cpu().numpy(), sigma.cpu().numpy()

    return predict


def _run(recipe: Recipe, out: Path, resume: bool, judges: dict[str, Judge]) -> Path | None:
    figures = TextColumn("{task.fields[text]}"), TimeElapsedColumn(), TextColumn("left")
    with console.bar(*figures, shown=_leads()) as bar:
        task = bar.add_task(f"0/{recipe.optim.steps}", total=recipe.optim.steps, text="")
        return run_training(recipe, out, resume=resume, judges=judges, tell=_teller(bar, task))


def _teller(bar: Progress, task) -> Callable[[Told], None]:
    def tell(p: Told) -> None:
        shown = "  ".join(f"{k.split('/')[-1]} {v:.3g}" for k, v in p.figures.items() if k.endswith(_SHOWN))
        text = f"{p.rate:.1f} pictures/s  {shown}"
        bar.update(task, description=f"{p.done}/{p.total}", completed=p.done, text=text)

    return tell


def _leads() -> bool:
    return os.environ.get("RANK", "0") == "0"


_SHOWN = ("/pve_mm", "/pixels", "/loss")

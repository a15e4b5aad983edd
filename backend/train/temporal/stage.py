"""Training the temporal network: what a lesson costs, and the loop, which can be stopped and started again.

`python -m backend train-motion OUT --motion cmu_30fps.npz` (`backend/commands/train_motion.py`) runs it.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from backend.errors import JobError
from backend.files.whole import file_aside, sentence
from backend.motion.temporal.describe import FPS, Seen
from backend.motion.temporal.model import PARENTS
from backend.motion.temporal.network import TemporalNet, Told
from backend.train import checkpoint
from backend.train.ending import asked_to_end
from backend.train.temporal.bank import load_bank
from backend.train.temporal.lessons import Lessons, Truth
from backend.train.temporal.localizer import SimulatedLocalizer

BATCH, POOL = 24, 32
_LOG, _SAVE = 50, 200
"""Steps after which a line is written, and a checkpoint."""
FORMAT = "bodyfield-temporal-1"


def chained(turned: Tensor, bones: Tensor) -> Tensor:
    """(B, T, 22, 3, 3) turned as in `Told`, (B, 22, 3) bones -> (B, T, 22, 3) joints about the pelvis."""
    step = (turned[:, :, PARENTS] @ bones[:, None, :, :, None])[..., 0]
    places = [torch.zeros_like(step[:, :, 0])]
    for j in range(1, len(PARENTS)):
        places.append(places[PARENTS[j]] + step[:, :, j])
    return torch.stack(places, 2)


def angle(a: Tensor, b: Tensor) -> Tensor:
    """(..., 3, 3) twice -> (...) radians between them; smooth, also at zero."""
    chord = (a - b).square().sum((-2, -1))
    return 2 * torch.asin((chord / 8).clamp(1e-8, 1 - 1e-6).sqrt())


def costs(told: Told, truth: Truth) -> dict[str, Tensor]:
    """Each part of a lesson's cost, before weights; metres, radians, m/s."""
    good, inner = truth.good, truth.good[:, 1:] * truth.good[:, :-1]
    mean = lambda x, w: (x.flatten(2).mean(-1) * w).sum() / w.sum().clamp_min(1)  # noqa: E731
    turn = angle(told.rotations, truth.turned)
    joints, wanted = chained(told.rotations, truth.bones), chained(truth.turned, truth.bones)
    joint = (joints - wanted).norm(dim=-1)
    place = (told.landmarks - truth.landmarks).norm(dim=-1)
    step = lambda x: (x[:, 1:] - x[:, :-1]) * FPS  # noqa: E731
    walk = (told.velocity - truth.velocity).norm(dim=-1)
    lean = torch.linalg.vector_norm(told.up - truth.up, dim=-1)
    contact = (
        F.binary_cross_entropy_with_logits(told.contacts, truth.contacts, reduction="none") * truth.counts
    )
    return {
        "turn": mean(turn, good), "joint": mean(joint, good), "place": mean(place, good),
        "speed": mean((step(joints) - step(wanted)).norm(dim=-1), inner)
        + mean((step(told.landmarks) - step(truth.landmarks)).norm(dim=-1), inner),
        "walk": mean(walk[..., None], good), "up": mean(lean[..., None], good),
        "contact": mean(contact, good),
        "sure": mean(_unsure(turn, told.rotation_sigma), good) + mean(_unsure(place, told.landmark_sigma), good)
        + mean(_unsure(walk, told.velocity_sigma)[..., None], good)
        + mean(_unsure(lean, told.up_sigma)[..., None], good),
    }  # fmt: skip


WEIGHTS = {
    "turn": 1.0,
    "joint": 8.0,
    "place": 10.0,
    "speed": 0.25,
    "walk": 0.6,
    "up": 1.5,
    "contact": 0.6,
    "sure": 0.1,
}


def _unsure(error: Tensor, sigma: Tensor) -> Tensor:
    """Minus the log likelihood of an error whose mean is `sigma` (exponential, so that a few that are far off do not
    rule); the error itself learns nothing from it."""
    return error.detach() / sigma + sigma.log()


@dataclass(frozen=True)
class Plan:
    """How the network is trained."""

    minutes: float = 60
    """Of this machine's time; the learning rate falls over them."""
    rounds: int = 0
    """Steps, in place of minutes."""
    seed: int = 0
    rate: float = 8e-4
    """Learning rate at its peak."""
    width: int = 320


@dataclass
class _Run:
    """Where a training is."""

    net: TemporalNet
    optimizer: torch.optim.Optimizer
    average: dict[str, Tensor]
    state: checkpoint.State
    sums: dict[str, float] = field(default_factory=dict)
    """Of each cost since the last line of the log."""
    counted: int = 0
    """Steps in them."""


def learn(out: Path, motion: Path, plan: Plan, resume: bool = False, start: Path | None = None,
          tell: Callable[[float, int, dict[str, float]], None] = lambda *_: None) -> bool:  # fmt: skip
    """Train by `plan`; whether it came to its end, and was not asked to end before.

    `out`: a folder for checkpoints and `log.jsonl`; `resume`: go on from its newest checkpoint; `start`: weights to
    begin with, as `export` writes them; `tell`: told now and then which share is done, steps, and mean costs.
    Raises JobError.
    """
    run = _begin(out, plan, resume, start)
    lessons = Lessons(load_bank(motion, "train", plan.seed), SimulatedLocalizer(), seed=plan.seed)
    pool: dict[int, tuple[Seen, Truth]] = {}
    state, begun = run.state, time.monotonic() - run.state.seconds
    with asked_to_end() as asked:
        while not asked and (part := _part(plan, state)) < 1:
            _set_rate(run.optimizer, plan.rate, state.step, part)
            # A lesson costs as much as a step: each is given twice, some time apart.
            index = state.step // (2 * POOL) * POOL + state.step % POOL
            if index not in pool:
                pool[index] = lessons.lesson(index, BATCH)
                pool.pop(index - POOL, None)
            _step(run, *pool[index])
            state.seconds = time.monotonic() - begun
            if state.step % _LOG == 0:
                tell(_part(plan, state), state.step, _log(out, run))
            if state.step % _SAVE == 0:
                _save(out, run)
    _save(out, run)
    return _part(plan, state) >= 1


def _part(plan: Plan, state: checkpoint.State) -> float:
    return state.step / plan.rounds if plan.rounds else state.seconds / (60 * plan.minutes)


def _set_rate(optimizer: torch.optim.Optimizer, peak: float, step: int, part: float) -> None:
    """Warm-up, then cosine to 1 %."""
    for group in optimizer.param_groups:
        group["lr"] = peak * min(1, (step + 1) / 100) * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * part)))


def _begin(out: Path, plan: Plan, resume: bool, start: Path | None) -> _Run:
    with sentence(out):
        out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    net = TemporalNet(plan.width)
    if start is not None:
        net.load_state_dict(_weights(start, net))
    optimizer = torch.optim.AdamW(net.parameters(), plan.rate, weight_decay=1e-3)
    average = {k: v.clone() for k, v in net.state_dict().items()}
    run = _Run(net, optimizer, average, checkpoint.State({"width": plan.width}, _recipe(plan)))
    found = checkpoint.checkpoints(out)
    if found and not resume:
        raise JobError(
            "bad_folder", f"{out} holds a training already: add --resume to go on, or name another folder."
        )
    if found:
        run.state, tensors = checkpoint.load(found[-1], run.state.model)
        if (seed := run.state.recipe.get("seed")) != plan.seed:
            raise JobError(
                "bad_folder", f"{out} holds a training with seed {seed}: go on with --seed {seed}."
            )
        run.state.recipe = _recipe(plan)
        checkpoint.restore(tensors, net, average, optimizer)
    return run


def _recipe(plan: Plan) -> dict[str, float]:
    return {"seed": plan.seed, "rate": plan.rate, "minutes": plan.minutes, "rounds": plan.rounds}


def _step(run: _Run, seen: Seen, truth: Truth) -> None:
    parts = costs(run.net(seen), truth)
    loss = sum(WEIGHTS[k] * v for k, v in parts.items())
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(run.net.parameters(), 1.0)
    run.optimizer.step()
    run.state.step += 1
    run.state.seen += len(seen.here)
    keep = min(0.995, run.state.step / (run.state.step + 10))
    with torch.no_grad():
        for k, v in run.net.state_dict().items():
            run.average[k].lerp_(v, 1 - keep)
    for k, v in parts.items():
        run.sums[k] = run.sums.get(k, 0.0) + float(v.detach())
    run.counted += 1


def _log(out: Path, run: _Run) -> dict[str, float]:
    """Write the mean costs since the last line, and forget them."""
    means = {k: round(v / run.counted, 5) for k, v in run.sums.items()}
    run.sums, run.counted = {}, 0
    line = {"step": run.state.step, "minutes": round(run.state.seconds / 60, 2), **means}
    with sentence(out), (out / "log.jsonl").open("a", encoding="utf-8") as f:
        f.write(json.dumps(line) + "\n")
    return means


def _save(out: Path, run: _Run) -> None:
    with sentence(out):
        checkpoint.save(out, run.state, run.net.state_dict(), run.average, run.optimizer)


def export(out: Path, file: Path) -> None:
    """Write the averaged weights of the newest checkpoint in `out` as float16. Raises JobError."""
    found = checkpoint.checkpoints(out)
    if not found:
        raise JobError(
            "bad_folder", f"{out} holds no checkpoint: train into it first, or name another folder."
        )
    state, tensors = checkpoint.load(found[-1], {"width": Plan.width})
    weights = {
        k.removeprefix("ema."): v.half().contiguous() for k, v in tensors.items() if k.startswith("ema.")
    }
    card = {"step": state.step, "minutes": round(state.seconds / 60, 1), **state.recipe}
    with file_aside(file) as part:
        save_file(weights, str(part), {"format": FORMAT, "card": json.dumps(card)})


def _weights(file: Path, net: TemporalNet) -> dict[str, Tensor]:
    """Of a file that `export` wrote."""
    with suppress(SafetensorError, OSError):
        weights = {k: v.float() for k, v in load_file(file).items()}
        wanted = {k: v.shape for k, v in net.state_dict().items()}
        if {k: v.shape for k, v in weights.items()} == wanted:
            return weights
    raise JobError(
        "bad_weights", f"{file} holds no weights of the temporal network: give what --export wrote."
    )

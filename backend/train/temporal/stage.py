"""Training the temporal network: what a lesson costs, and the loop, which can be stopped and started again.

python -m backend.train.temporal.stage OUT --motion cmu_30fps.npz --minutes 60
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from backend.motion.temporal.describe import FPS, Seen
from backend.motion.temporal.network import TemporalNet, Told
from backend.train.temporal.bank import load_bank
from backend.train.temporal.lessons import Lessons, Truth
from backend.train.temporal.localizer import SimulatedLocalizer

PARENTS = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]
BATCH, POOL = 24, 32
_EVERY = 50


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


def learn(out: Path, motion: Path, minutes: float, rate: float = 8e-4, width: int = 320, seed: int = 0,
          rounds: int = 0, start: Path | None = None) -> None:  # fmt: skip
    """Train for `minutes` of this machine's time, or `rounds` steps if given. `out`: a folder for `last.pt` (weights,
    averaged weights, optimizer) and `log.jsonl`; goes on from `last.pt` if it is there."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    net = TemporalNet(width)
    if start is not None:
        net.load_state_dict(torch.load(start)["average"])
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=1e-3)
    average = {k: v.clone() for k, v in net.state_dict().items()}
    done, spent = 0, 0.0
    if (last := out / "last.pt").exists():
        kept = torch.load(last)
        net.load_state_dict(kept["net"])
        optimizer.load_state_dict(kept["optimizer"])
        average, done, spent = kept["average"], kept["step"], kept["spent"]
    lessons = Lessons(load_bank(motion, "train", seed), SimulatedLocalizer(), seed=seed)
    begun, logged = time.monotonic() - spent, {}
    pool: dict[int, tuple[Seen, Truth]] = {}
    while True:
        spent = time.monotonic() - begun
        part = done / rounds if rounds else spent / (60 * minutes)
        if part >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = (
                rate * min(1, (done + 1) / 100) * (0.01 + 0.99 * (0.5 + 0.5 * math.cos(math.pi * part)))
            )
        # A lesson costs as much as a step: each is given twice, some time apart.
        index = done // (2 * POOL) * POOL + done % POOL
        if index not in pool:
            pool[index] = lessons.lesson(index, BATCH)
            pool.pop(index - POOL, None)
        seen, truth = pool[index]
        parts = costs(net(seen), truth)
        loss = sum(WEIGHTS[k] * v for k, v in parts.items())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        done += 1
        keep = min(0.995, done / (done + 10))
        with torch.no_grad():
            for k, v in net.state_dict().items():
                average[k].lerp_(v, 1 - keep)
        for k, v in parts.items():
            logged[k] = logged.get(k, 0) + float(v.detach()) / _EVERY
        if done % _EVERY == 0:
            line = {
                "step": done,
                "minutes": round(spent / 60, 2),
                **{k: round(v, 5) for k, v in logged.items()},
            }
            with (out / "log.jsonl").open("a", encoding="utf-8") as f:
                f.write(json.dumps(line) + "\n")
            logged = {}
        if done % 200 == 0:
            _save(out, net, average, optimizer, done, spent)
    _save(out, net, average, optimizer, done, spent)


def _save(out: Path, net: TemporalNet, average: dict, optimizer, step: int, spent: float) -> None:
    aside = out / "last.tmp"
    torch.save({"net": net.state_dict(), "average": average, "optimizer": optimizer.state_dict(), "step": step,
                "spent": spent}, aside)  # fmt: skip
    aside.replace(out / "last.pt")


def main(
    out: Path,
    motion: Annotated[Path, typer.Option(help="cmu_30fps.npz")],
    minutes: float = 60,
    rounds: int = 0,
    rate: float = 8e-4,
    seed: int = 0,
    start: Annotated[Path | None, typer.Option(help="A last.pt to begin from.")] = None,
) -> None:
    """Train the temporal network."""
    torch.set_num_threads(1)
    learn(out, motion, minutes, rate, seed=seed, rounds=rounds, start=start)


if __name__ == "__main__":
    typer.run(main)

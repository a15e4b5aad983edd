"""What the temporal network is worth on simulated stretches of performers that it never saw.

python -m backend.train.temporal.judge cmu_30fps.npz --seed 1000
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
import typer

from backend.motion.temporal.describe import hips
from backend.motion.temporal.model import TemporalModel, shipped
from backend.train.temporal.bank import load_bank
from backend.train.temporal.lessons import Lessons
from backend.train.temporal.localizer import SimulatedLocalizer
from backend.train.temporal.stage import angle

FEET = 4


@torch.no_grad()
def judge(model: TemporalModel, lessons: Lessons, count: int, size: int = 24) -> dict[str, float]:
    """Means over `count` lessons of `size` stretches, where somebody was seen: millimetres, degrees, metres a second;
    `within`: share of errors below the stated sigma."""
    rows: dict[str, list[torch.Tensor]] = {}
    hit = wrong = missed = 0.0
    for k in range(count):
        seen, truth = lessons.lesson(k, size)
        told, here = model.net(seen), (seen.here * truth.good) > 0
        given = seen.points - hips(seen.points)[..., None, :]
        off = {
            "given_mm": 1000 * (given - truth.landmarks).norm(dim=-1).mean(-1),
            "place_mm": 1000 * (told.landmarks - truth.landmarks).norm(dim=-1).mean(-1),
            "turn_deg": torch.rad2deg(angle(told.rotations, truth.turned)).mean(-1),
            "velocity_ms": (told.velocity - truth.velocity).norm(dim=-1),
            "up_deg": torch.rad2deg(torch.acos((told.up * truth.up).sum(-1).clamp(-1, 1))),
        }
        off |= {
            "within_turn": (angle(told.rotations, truth.turned) < told.rotation_sigma).float().mean(-1),
            "within_place": ((told.landmarks - truth.landmarks).norm(dim=-1) < told.landmark_sigma)
            .float()
            .mean(-1),
            "within_velocity": (off["velocity_ms"] < told.velocity_sigma).float(),
            "within_up": (torch.deg2rad(off["up_deg"]) < told.up_sigma).float(),
        }
        for name, value in off.items():
            rows.setdefault(name, []).append(value[here])
        said, true = told.contacts[..., :FEET] > 0, truth.contacts[..., :FEET] > 0.5
        use = here[..., None].expand_as(said)
        hit += float((said & true)[use].sum())
        wrong += float((said & ~true)[use].sum())
        missed += float((~said & true)[use].sum())
    out = {name: float(torch.cat(parts).mean()) for name, parts in rows.items()}
    up = torch.cat(rows["up_deg"]).numpy()
    return out | {"up_deg_median": float(np.median(up)), "up_deg_90": float(np.percentile(up, 90)),
                  "contact_f1": 2 * hit / (2 * hit + wrong + missed)}  # fmt: skip


def main(motion: Path, seed: int = 1000, count: int = 12, split: str = "held-out") -> None:
    """Print the figures of the shipped network."""
    torch.set_num_threads(1)
    lessons = Lessons(load_bank(motion, split, mirror=False), SimulatedLocalizer(), seed=seed)
    print(json.dumps(judge(shipped(), lessons, count), indent=1))


if __name__ == "__main__":
    typer.run(main)

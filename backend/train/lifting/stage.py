"""The first stage of a training: the lifter and the field's places, from bodies without pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from backend.localizers.field.model import FieldModel
from backend.train.config import Lifting, Recipe
from backend.train.learner import Average
from backend.train.lifting.error import lesson_error, open_lessons

_LOG = 100


def lift(
    model: FieldModel, recipe: Recipe, note: Callable[[int, dict[str, float]], None] = lambda *_: None
) -> None:
    """Train what needs no pictures, in place. Repeatable: a function of the recipe and the model's weights."""
    plan, lessons = recipe.lifting, open_lessons(recipe)
    parts = {
        "lifter": model.lifter,
        "places": model.field.place,
        "road": model.field.place_mlp,
    }
    weights = [p for part in parts.values() for p in part.parameters()]
    optimizer = torch.optim.AdamW(weights, plan.lr, weight_decay=1e-3)
    average = Average(torch.nn.ModuleDict(parts), plan.ema)
    kept: list[Tensor] = []
    begun = time.monotonic()
    for step in range(plan.steps):
        for group in optimizer.param_groups:
            group["lr"] = plan.lr * rate(step, plan)
        error = lesson_error(
            model, lessons.lesson(step, plan.batch, plan.points), recipe.run.precision == "bf16"
        )
        optimizer.zero_grad(set_to_none=True)
        error.backward()
        torch.nn.utils.clip_grad_norm_([w for w in weights if w.grad is not None], 1.0)
        optimizer.step()
        average.update(torch.nn.ModuleDict(parts), step)
        kept.append(error.detach())
        if (step + 1) % _LOG == 0 or step + 1 == plan.steps:
            mean = float(torch.stack(kept).mean())
            note(step + 1, {"lifting/mm": 1000 * mean, "lifting/seconds": time.monotonic() - begun})
            kept.clear()
    torch.nn.ModuleDict(parts).load_state_dict(average.values)


def rate(step: int, plan: Lifting) -> float:
    """Share of the peak learning rate: warm-up, then cosine to 1 %."""
    return min(1.0, (step + 1) / 100) * (
        0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / max(plan.steps, 1)))
    )

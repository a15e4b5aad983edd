"""What a lesson without pictures costs a model, and the lessons of a recipe."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from backend.localizers.field.lifter import describe
from backend.localizers.field.model import FieldModel, guess
from backend.train.config import Recipe
from backend.train.lifting.bodies import BodyLessons, Lesson
from backend.train.mix import recipe_body
from backend.train.streams.points import point_pool


def open_lessons(recipe: Recipe) -> BodyLessons:
    """The lessons of a recipe."""
    body = recipe_body(recipe)
    plan = recipe.lifting
    return BodyLessons(body, point_pool(body), Path(plan.motion), recipe.run.seed, plan.bank)


def lesson_error(model: FieldModel, lesson: Lesson, bf16: bool = False) -> Tensor:
    """Mean error in metres of the guess, of all points."""
    world = torch.where(lesson.has_world[:, None, None], lesson.world, 0.0)
    seen = describe(lesson.xy, lesson.visibility, world)
    seen = torch.cat([seen[..., :-1], seen[..., -1:] * lesson.has_world[:, None, None]], -1)
    with torch.autocast(seen.device.type, torch.bfloat16, enabled=bf16):
        code = model.lifter(seen)
        found = guess(model.field.places(lesson.points), code)
    return torch.linalg.vector_norm(found - lesson.places, dim=-1).mean()

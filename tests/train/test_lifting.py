"""Lessons without pictures: the same for the same number, landmarks where the body has them, and they teach."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from backend.localizers.field.lifter import describe
from backend.train.config import Lifting
from backend.train.learner import build_model
from backend.train.lifting.bodies import BodyLessons, Noise
from backend.train.lifting.error import lesson_error
from backend.train.lifting.stage import lift
from backend.train.streams.points import point_pool
from train.test_loop import motion


@pytest.fixture(scope="module")
def lessons(body, tmp_path_factory):
    return BodyLessons(body, point_pool(body, 200, 100), motion(tmp_path_factory.mktemp("m")), bank=20)


def test_same_number_same_lesson(lessons):
    a, b, c = lessons.lesson(4, 6, 10), lessons.lesson(4, 6, 10), lessons.lesson(5, 6, 10)
    assert torch.equal(a.places, b.places)
    assert torch.equal(a.xy, b.xy)
    assert not torch.equal(a.places, c.places)
    assert a.places.shape == (6, 65, 3)


def test_people_are_upright_and_in_front(lessons):
    lesson = lessons.lesson(1, 200, 10)
    marks = lesson.places[:, 22:55]
    hips, shoulders = marks[:, [23, 24]].mean(1), marks[:, [11, 12]].mean(1)
    assert hips.norm(dim=-1).max() < 1e-5
    axis = lesson.xy[:, [11, 12]].mean(1) - lesson.xy[:, [23, 24]].mean(1)
    # Upright in the crop (y down), but for the shake of its roll.
    assert (axis[:, 1] < 0).float().mean() > 0.97
    assert (shoulders[:, 1] < 0).float().mean() > 0.9
    size = marks.flatten(1).norm(dim=-1)
    assert 1.5 < size.median() < 5


def test_noiseless_landmarks_are_projections(lessons):
    quiet = replace_noise(lessons, Noise(0, 0, 0, 0, 0))
    lesson = quiet.lesson(2, 50, 10)
    marks = lesson.places[:, 22:55]
    # A pinhole keeps directions about the hips nearly as they are.
    a = lesson.xy - lesson.xy[:, [23, 24]].mean(1, keepdim=True)
    b = marks[..., :2] - marks[:, [23, 24], :2].mean(1, keepdim=True)
    cosine = torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1))
    assert cosine.min() > 0.9


def replace_noise(lessons, noise):
    import copy

    other = copy.copy(lessons)
    other.noise = noise
    return other


def test_description_ignores_where_the_person_is():
    xy = torch.rand(3, 33, 2)
    sure, world = torch.ones(3, 33), torch.randn(3, 33, 3)
    one, other = describe(xy, sure, world), describe(5 * xy + 7, sure, world + 2)
    assert torch.allclose(one, other, atol=1e-4)
    assert (describe(xy, sure, None)[..., 3:] == 0).all()
    assert (one[..., -1] == 1).all()


@pytest.mark.slow
def test_lifting_learns(recipe, body, tmp_path):
    plan = Lifting(steps=60, motion=str(motion(tmp_path)), batch=32, points=8, bank=20, lr=3e-3, ema=0.9)
    recipe = replace(recipe, lifting=plan)
    model, told = build_model(recipe), []
    lesson = BodyLessons(body, point_pool(body), motion(tmp_path), bank=20).lesson(10**6, 64, 8)
    before = float(lesson_error(model, lesson).detach())
    trunk = {k: v.clone() for k, v in model.trunk.state_dict().items()}
    lift(model, recipe, lambda step, figures: told.append((step, figures["lifting/mm"])))
    after = float(lesson_error(model, lesson).detach())
    assert after < 0.6 * before
    assert told[-1][0] == 60
    assert all(torch.equal(v, trunk[k]) for k, v in model.trunk.state_dict().items())

"""The loss: only valid targets count, gradients reach what shall learn and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from backend.nets.heatmaps import HeadOutput
from backend.train.learner import Objective, build_model, freeze_parts, make_optimizer, rate, set_rates
from backend.train.mix import MixedBatches
from backend.train.objective import Schedule, batch_loss

pytestmark = pytest.mark.slow

MIX = torch.full((4, 1, 1), 0.5)


def answer(batch, wrong: float = 0.05, seed: int = 0) -> HeadOutput:
    """What a model with errors of about `wrong` metres might say."""
    g = torch.Generator().manual_seed(seed)
    noise = lambda *s: wrong * torch.randn(*s, generator=g)  # noqa: E731
    B, P = batch.points3d.shape[:2]
    return HeadOutput(
        (batch.points2d + 100 * noise(B, P, 2)).requires_grad_(True),
        (batch.points3d - 3 + noise(B, P, 3)).requires_grad_(True),
        (wrong + 0.02 * torch.rand(B, P, generator=g)).requires_grad_(True),
    )


@pytest.mark.parametrize("step", [0, 10, 10_000])
@pytest.mark.parametrize("stream", [0, 1])
def test_masks_are_honoured(mixed_recipe, step, stream):
    batch = MixedBatches(mixed_recipe, 8, 10)[1][stream]
    hidden = torch.zeros_like(batch.valid3d)
    hidden[:, 40::3] = True
    hidden[:, 3] = True
    masked = replace(batch, valid3d=batch.valid3d & ~hidden, valid2d=batch.valid2d & ~hidden)
    wild = replace(
        masked,
        points3d=torch.where(hidden[..., None], torch.full((), torch.nan), batch.points3d),
        points2d=torch.where(hidden[..., None], torch.full((), torch.nan), batch.points2d),
    )
    results = []
    for b in (masked, wild):
        out = answer(batch)
        loss, figures = batch_loss(out, b, step, MIX, schedule=Schedule(5, 8))
        loss.backward()
        results.append((loss.detach(), [t.grad for t in (out.coords2d, out.coords3d_rel, out.uncertainty)]))
        assert torch.isfinite(loss)
        assert all(torch.isfinite(v) for v in figures.values())
        for grad in results[-1][1]:
            assert torch.isfinite(grad).all()
        # A hidden point has no say, so nothing is asked of its certainty.
        assert (out.uncertainty.grad[hidden] == 0).all()
        assert (out.uncertainty.grad[masked.valid3d & masked.valid2d] != 0).any()
    assert torch.equal(results[0][0], results[1][0])
    for a, b in zip(results[0][1], results[1][1], strict=True):
        assert torch.equal(a, b)


def test_nothing_known_costs_nothing(mixed_recipe):
    batch = MixedBatches(mixed_recipe, 8, 10)[1][0]
    nothing = torch.zeros_like(batch.valid3d)
    loss, _ = batch_loss(answer(batch), replace(batch, valid3d=nothing, valid2d=nothing), 100, MIX)
    assert float(loss.detach()) == 0


def test_worse_answers_cost_more(mixed_recipe):
    for batch in MixedBatches(mixed_recipe, 8, 10)[1]:
        losses = []
        for wrong in (0.01, 0.05, 0.2):
            out = answer(batch, wrong)
            out = replace(out, uncertainty=torch.full_like(out.uncertainty, 0.05))
            losses.append(float(batch_loss(out, batch, 10_000, MIX)[0].detach()))
        assert losses == sorted(losses)
        assert losses[0] < losses[2]


@pytest.mark.parametrize(
    ("freeze", "some", "all_of"), [("none", True, True), ("stride8", True, False), ("all", False, False)]
)
def test_gradients_reach_the_trunk_unless_frozen(recipe, freeze, some, all_of):
    model = build_model(recipe)
    with torch.no_grad():  # it starts at zero, which lets no gradient through in the very first step
        model.field.last.weight.normal_(std=0.01)
    freeze_parts(model, replace(recipe.optim, freeze=freeze))
    loss, _ = Objective(model, recipe)(MixedBatches(recipe, 4, 10)[0], 5)
    loss.backward()
    maps = {n: p.grad is not None and bool((p.grad != 0).any()) for n, p in model.trunk.named_parameters()}
    assert any(maps.values()) == some
    first = next(iter(maps))
    assert maps[first] == all_of
    for part in (model.neck.attention, model.neck.blocks, model.neck.to_code, model.field.mlp):
        assert touched(part)


def touched(part: torch.nn.Module) -> bool:
    return any(p.grad is not None and bool((p.grad != 0).any()) for p in part.parameters())


@pytest.mark.parametrize("apart", [True, False])
def test_pictures_leave_the_lifter_alone_if_told_to(recipe, apart):
    model = build_model(recipe)
    recipe = replace(recipe, lifting=replace(recipe.lifting, apart=apart))
    loss, _ = Objective(model, recipe)(MixedBatches(recipe, 4, 10)[0], 5)
    loss.backward()
    assert touched(model.neck.to_code)
    for part in (model.lifter, model.field.place, model.field.place_mlp):
        assert touched(part) == (not apart)


def test_rates_warm_up_and_fall(recipe):
    o = replace(recipe.optim, steps=100, warmup=10, trunk_from=50, lr=1.0, trunk_lr=0.5, final=0.1)
    values = [rate(s, 0, o) for s in range(101)]
    assert values[0] == pytest.approx(0.1, rel=0.01)
    assert max(values) > 0.97
    assert values[-1] == pytest.approx(0.1)
    assert values[10:] == sorted(values[10:], reverse=True)
    optimizer = make_optimizer(build_model(recipe), o)
    for step, ready in ((49, False), (60, True)):
        set_rates(optimizer, o, step)
        for group in optimizer.param_groups:
            assert (group["lr"] > 0) == (ready or not group["trunk"])


def branched(recipe):
    """The recipe with a branch, and a trunk that never learns and is run by those who prepare the pictures."""
    return replace(
        recipe,
        model=replace(recipe.model, trunk="full", branch="full"),
        optim=replace(recipe.optim, freeze="all", freeze_branch="stride16"),
        run=replace(recipe.run, ahead=True),
    )


def test_a_branch_learns_beside_a_trunk_that_was_run_ahead(recipe):
    recipe = branched(recipe)
    model = build_model(recipe)
    with torch.no_grad():
        model.field.last.weight.normal_(std=0.01)
    freeze_parts(model, recipe.optim)
    ahead = MixedBatches(recipe, 4, 10)[0]
    plain = MixedBatches(replace(recipe, run=replace(recipe.run, ahead=False)), 4, 10)[0]
    assert all(b.maps is not None for b in ahead)
    assert all(b.maps is None for b in plain)
    losses = [Objective(model, recipe)(batches, 5)[0] for batches in (ahead, plain)]
    assert float(losses[0].detach()) == pytest.approx(float(losses[1].detach()), rel=1e-4)
    losses[0].backward()
    assert not touched(model.trunk)
    assert model.branch is not None
    learns = [bool(p.grad is not None and (p.grad != 0).any()) for p in model.branch.parameters()]
    assert any(learns)
    assert not learns[0]
    # Without the trunk's own say the maps that were made ahead must be what counts.
    wrong = [replace(b, maps={k: torch.zeros_like(v) for k, v in b.maps.items()}) for b in ahead]
    assert float(Objective(model, recipe)(wrong, 5)[0].detach()) != pytest.approx(
        float(losses[1].detach()), rel=1e-4
    )

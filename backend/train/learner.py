"""Model, optimiser and average of the weights, and what one step does with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from backend.errors import JobError
from backend.localizers.field.file import new_model, read_field, set_body
from backend.localizers.field.model import BRANCH, FieldModel
from backend.localizers.field.trunk import describe
from backend.nets.blazepose import ASSETS
from backend.nets.graph import Graph, load_graph
from backend.train.config import Optim, Recipe
from backend.train.datasets.open import group_shares
from backend.train.lifting.error import lesson_error, open_lessons
from backend.train.mix import recipe_body
from backend.train.objective import Schedule, batch_loss
from backend.train.streams.batch import Batch


def build_model(recipe: Recipe) -> FieldModel:
    """The model to begin with; the recipe's seed decides about what is random in it."""
    torch.manual_seed(recipe.run.seed)
    if not recipe.start:
        model = new_model(recipe.model)
        set_body(model, recipe_body(recipe))
        return model
    model, _ = read_field(Path(recipe.start))
    if model.config != recipe.model:
        raise JobError(
            "bad_config", f"start names weights of another model: make model the same as in {recipe.start}."
        )
    return model


def freeze_parts(model: FieldModel, o: Optim) -> None:
    """Take trunk and branch, or their parts up to a tap, out of the training."""
    freeze_graph(model.trunk, model.config.trunk, o.freeze)
    if model.branch is not None:
        freeze_graph(model.branch, model.config.branch, o.freeze_branch)


def freeze_graph(graph: Graph, variant: str, freeze: str) -> None:
    """Take `graph`, BlazePose's `variant`, or its part up to the tap `freeze`, out of the training."""
    if freeze == "none":
        return
    if freeze == "all":
        graph.requires_grad_(False)
        return
    whole = graph if freeze in graph.names else load_graph(ASSETS / f"blazepose_{variant}.safetensors")
    # The tap may have been cut off, its value was not.
    spec, _ = describe(whole, [freeze])
    for node in spec["nodes"]:
        if node["op"] == "conv":
            graph.convs[node["name"]].requires_grad_(False)


def make_optimizer(model: FieldModel, o: Optim) -> torch.optim.AdamW:
    """AdamW in four groups: trunk and branch or not, decayed (matrices) or not."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, p in model.named_parameters():
        if p.requires_grad:
            groups.setdefault((name.startswith(("trunk.", BRANCH)), p.ndim > 1), []).append(p)
    return torch.optim.AdamW(
        [
            {"params": ps, "trunk": trunk, "weight_decay": o.weight_decay if decay and not trunk else 0.0}
            for (trunk, decay), ps in sorted(groups.items())
        ],
        lr=o.lr,
    )


def set_rates(optimizer: torch.optim.Optimizer, o: Optim, step: int) -> float:
    """Warm-up, then cosine down to `final`; the trunk begins at `trunk_from` with a warm-up of its own. -> lr."""
    for group in optimizer.param_groups:
        begin = o.trunk_from if group["trunk"] else 0
        peak = o.trunk_lr if group["trunk"] else o.lr
        group["lr"] = peak * rate(step, begin, o)
    return o.lr * rate(step, 0, o)


def rate(step: int, begin: int, o: Optim) -> float:
    """Share of the peak learning rate at `step` (0 before `begin`)."""
    if step < begin:
        return 0.0
    warm = min(1.0, (step - begin + 1) / max(o.warmup, 1))
    done = min(1.0, step / max(o.steps, 1))
    return warm * (o.final + (1 - o.final) * 0.5 * (1 + math.cos(math.pi * done)))


class Average:
    """Exponential moving average of all weights; follows faster in the beginning."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """After step number `step`."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        ours, theirs = [], []
        for name, value in model.state_dict().items():
            ours.append(self.values[name])
            theirs.append(value.detach())
        torch._foreach_lerp_(ours, theirs, share)


class Objective(nn.Module):
    """The model with its loss, so that one `forward` covers a whole step (as DistributedDataParallel wants it)."""

    def __init__(self, model: FieldModel, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        d = recipe.data
        self.weights = {"synthetic": 1.0, "real": d.real.weight} | {s.label: s.in_loss for s in d.sources}
        # The streams of one of NLF's groups have one mean loss; ours are a group each, but synthetic bodies are bodies.
        self.groups = {"synthetic": "parametric", "real": "real"} | {s.label: s.group for s in d.sources}
        self.direct2d = recipe.optim.direct2d
        self.seed = recipe.run.seed
        warm = recipe.optim.warmup
        self.schedule = Schedule(full=warm, trusted=2 * warm)
        self.bf16 = recipe.run.precision == "bf16"
        self.plan = recipe.lifting
        self.lessons = open_lessons(recipe) if recipe.lifting.along else None
        self.apart = recipe.lifting.apart

    def forward(self, batches: Sequence[Batch], step: int, rank: int = 0) -> tuple[Tensor, dict[str, Tensor]]:
        """Total loss and figures named `<stream>/<figure>`. One pass of trunk and neck serves all streams."""
        images = torch.cat([b.images for b in batches]).float().div_(255)
        images = images.contiguous(memory_format=torch.channels_last)
        kind = images.device.type
        # On a CPU only large matrix products gain from 16 bits; the trunk's narrow convolutions lose.
        with torch.autocast(kind, torch.bfloat16, enabled=self.bf16 and kind != "cpu"):
            maps = self.model.look(images, _joined([b.maps for b in batches]))
        with torch.autocast(kind, torch.bfloat16, enabled=self.bf16):
            features = self.model.features(maps, self.apart)
        total, figures, start = images.new_zeros(()), {}, 0
        chance = torch.Generator().manual_seed((self.seed * 1_000_003 + step) * 4099 + rank)
        for b, share in zip(batches, group_shares(batches, self.groups), strict=True):
            part = features.rows(slice(start, start + len(b)))
            start += len(b)
            with torch.autocast(kind, torch.bfloat16, enabled=self.bf16):
                out = self.model.find(part, b.points, b.mirrored, self.apart)
            mix = torch.rand((len(b), 1, 1), generator=chance).to(images.device)
            loss, found = batch_loss(out, b, step, mix, self.direct2d, self.schedule)
            total = total + self.weights[b.stream] * share * loss
            figures |= {f"{b.stream}/{k}": v for k, v in found.items()}
        if self.lessons:
            # Numbers that the stage before did not use; each process has its own.
            number = self.plan.steps + step * 64 + rank
            lesson = self.lessons.lesson(number, self.plan.along, self.plan.points)
            error = lesson_error(self.model, lesson.to(images.device), self.bf16)
            total = total + error
            figures["lifting/mm"] = 1000 * error.detach()
        return total, figures


def _joined(parts: Sequence[dict[str, Tensor] | None]) -> dict[str, Tensor] | None:
    """The trunk's maps of several batches as one, if all have them."""
    known = [p for p in parts if p is not None]
    if len(known) < len(parts):
        return None
    joined = {k: torch.cat([p[k] for p in known]) for k in known[0]}
    return {
        k: v.contiguous(memory_format=torch.channels_last) if v.ndim == 4 else v for k, v in joined.items()
    }

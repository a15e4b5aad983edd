"""The training loop: one process or several (torchrun), resumable to the bit, ended in order by SIGTERM or Ctrl-C."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from backend.errors import JobError
from backend.localizers.field.file import save_field
from backend.localizers.field.model import FieldModel
from backend.train import checkpoint
from backend.train.board import Board, picture_grid
from backend.train.config import Recipe, check
from backend.train.ending import asked_to_end
from backend.train.learner import Average, Objective, build_model, freeze_parts, make_optimizer, set_rates
from backend.train.lifting.stage import lift
from backend.train.mix import MixedBatches
from backend.train.streams.batch import Batch

WEIGHTS = "field.safetensors"
LIFTED = "lifted.safetensors"
Judge = Callable[[FieldModel], dict[str, float]]
"""Looks at a model (the averaged weights, eval) and gives figures by name."""


@dataclass(frozen=True)
class Progress:
    """What is reported after every step."""

    done: int
    """Steps so far."""
    total: int
    """Steps in all."""
    rate: float
    """Pictures a second, of all processes, since this start."""
    left: float
    """Seconds that are left, estimated."""
    figures: dict[str, float]
    """The latest means, by name."""


@dataclass(frozen=True)
class Team:
    """The processes of a training."""

    rank: int
    """Number of this process, from 0."""
    size: int
    """How many processes there are."""
    device: torch.device
    """That this process works on."""

    @property
    def leads(self) -> bool:
        return self.rank == 0


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    judges: dict[str, Judge] | None = None,
    tell: Callable[[Progress], None] = lambda _: None,
    stop_at: int | None = None,
) -> Path | None:
    """Train by `recipe` into the folder `out`: checkpoints, log, board, and at the end the averaged weights.

    `resume`: go on from the folder's newest checkpoint, if there is one; without it, a folder that has some is
    refused. `judges`: asked every `run.judge` steps. `stop_at`: stop there as if by a signal. -> the weights' file,
    or None when it was stopped before the end (the checkpoint is written).
    """
    check(recipe)
    with _team(recipe) as team:
        training = _Training(recipe, out, team, resume)
        try:
            return training.run(judges or {}, tell, stop_at)
        finally:
            training.close()


def export(recipe: Recipe, out: Path) -> Path:
    """Write the averaged weights of the newest checkpoint in `out`; JobError("bad_folder") if there is none."""
    found = checkpoint.checkpoints(out)
    if not found:
        raise JobError(
            "bad_folder", f"{out} holds no checkpoint: train into it first, or name another folder."
        )
    model = build_model(recipe)
    state, tensors = checkpoint.load(found[-1], model.describe())
    model.load_state_dict({k.removeprefix("ema."): v for k, v in tensors.items() if k.startswith("ema.")})
    save_field(model, out / WEIGHTS, _card(state))
    return out / WEIGHTS


def _card(state: checkpoint.State) -> dict:
    return {k: v for k, v in vars(state).items() if k != "model"}


class _Training:
    def __init__(self, recipe: Recipe, out: Path, team: Team, resume: bool) -> None:
        self.recipe, self.out, self.team = recipe, out, team
        if recipe.optim.batch % team.size:
            raise JobError(
                "bad_config",
                f"optim.batch must be a multiple of the {team.size} processes: change the recipe.",
            )
        if recipe.run.threads:
            torch.set_num_threads(recipe.run.threads)
        out.mkdir(parents=True, exist_ok=True)
        self.model = build_model(recipe).to(team.device)
        freeze_parts(self.model, recipe.optim)
        self.optimizer = make_optimizer(self.model, recipe.optim)
        self.average = Average(self.model, recipe.optim.ema)
        self.state = checkpoint.State(self.model.describe(), recipe.describe())
        self._begin(resume)
        self.objective: torch.nn.Module = Objective(self.model, recipe)
        if team.size > 1:
            ids = [team.device.index] if team.device.type == "cuda" else None
            # A lifter that the pictures leave alone, or a trunk's landmarks, get no gradient in some recipes.
            self.objective = DistributedDataParallel(
                self.objective, device_ids=ids, find_unused_parameters=True
            )

    def _begin(self, resume: bool) -> None:
        """Begin anew, with the stage that needs no pictures, or where the newest checkpoint was written."""
        found = checkpoint.checkpoints(self.out)
        if found and not resume:
            raise JobError(
                "bad_folder",
                f"{self.out} holds a training already: add --resume to go on, or name another folder.",
            )
        if not found:
            self._lift()
            return
        self.state, tensors = checkpoint.load(found[-1], self.model.describe())
        self.state.recipe = self.recipe.describe()
        checkpoint.restore(tensors, self.model, self.average.values, self.optimizer)

    def _lift(self) -> None:
        """The lifter's own training. Several processes do the same work and come to the same weights."""
        if not self.recipe.lifting.steps:
            return
        with self._board() as board:
            lift(self.model, self.recipe, board.scalars if board else lambda *_: None)
        self.average = Average(self.model, self.recipe.optim.ema)
        if self.team.leads:
            save_field(self.model, self.out / LIFTED, {"recipe": self.recipe.describe()}, half=False)

    def run(
        self, judges: dict[str, Judge], tell: Callable[[Progress], None], stop_at: int | None
    ) -> Path | None:
        """All steps that are left."""
        run, total = self.recipe.run, self.recipe.optim.steps
        end = total if stop_at is None else min(total, stop_at)
        first, begun, before = self.state.step, time.monotonic(), self.state.seconds
        sums: dict[str, list[torch.Tensor]] = defaultdict(list)
        figures: dict[str, float] = {}
        with asked_to_end() as asked, self._board() as board:
            for step, batches in self._batches(first, end):
                for name, value in self._step(step, batches).items():
                    sums[name].append(value)
                done = self.state.step = step + 1
                self.state.seen += self.recipe.optim.batch
                self.state.seconds = before + time.monotonic() - begun
                rate = (done - first) * self.recipe.optim.batch / max(time.monotonic() - begun, 1e-6)
                stop = self._agreed(asked)
                if done % run.log == 0 or done == end:
                    figures = {k: float(torch.stack([x.detach() for x in v]).mean()) for k, v in sums.items()}
                    sums.clear()
                    if board:
                        board.scalars(done, {**figures, "pictures_per_s": rate, "seen": self.state.seen})
                if board and done % run.pictures == 0:
                    self._draw(board, batches)
                if done % run.save == 0 or done == end or stop:
                    self._save()
                if board and judges and (done % run.judge == 0 or done == total):
                    board.scalars(done, self._judged(judges))
                left = (total - done) * self.recipe.optim.batch / max(rate, 1e-9)
                tell(Progress(done, total, rate, left, figures))
                if stop:
                    break
        if self.state.step < total:
            return None
        return self._finish()

    def close(self) -> None:
        """Let go of what holds on to the other processes: left to the interpreter's end, their connection can be
        torn down while its threads still run, which aborts the process."""
        del self.objective
        gc.collect()

    def _step(self, step: int, batches: list[Batch]) -> dict[str, torch.Tensor]:
        o = self.recipe.optim
        set_rates(self.optimizer, o, step)
        batches = [b.to(self.team.device) for b in batches]
        loss, figures = self.objective(batches, step, self.team.rank)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([p for p in self.model.parameters() if p.requires_grad], o.clip)
        # A step of one bad batch (nothing of the sort was ever seen) must not end in weights of NaN.
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            self.average.update(self.model, step)
        return {**figures, "gradient": norm.detach()}

    def _batches(self, first: int, end: int) -> Iterator[tuple[int, list[Batch]]]:
        team, run = self.team, self.recipe.run
        size = self.recipe.optim.batch // team.size
        data = MixedBatches(self.recipe, size, self.recipe.optim.steps * team.size)
        mine = [step * team.size + team.rank for step in range(first, end)]
        loader = DataLoader(
            data, batch_size=None, sampler=mine, num_workers=run.workers,
            prefetch_factor=4 if run.workers else None, worker_init_fn=_alone, pin_memory=team.device.type == "cuda",
        )  # fmt: skip
        yield from zip(range(first, end), loader, strict=True)

    def _averaged(self) -> FieldModel:
        model = self.model.eval()
        self._own = {k: v.detach().clone() for k, v in model.state_dict().items()}
        model.load_state_dict(self.average.values)
        return model

    def _back(self) -> None:
        self.model.load_state_dict(self._own)
        self.model.train()
        del self._own

    def _judged(self, judges: dict[str, Judge]) -> dict[str, float]:
        model = self._averaged()
        try:
            with torch.no_grad():
                return {f"{name}/{k}": v for name, judge in judges.items() for k, v in judge(model).items()}
        finally:
            self._back()

    def _draw(self, board: Board, batches: list[Batch]) -> None:
        model = self._averaged()
        for b in batches:
            board.picture(self.state.step, f"pictures_{b.stream}", picture_grid(model, b))
        self._back()

    def _save(self) -> None:
        if self.team.leads:
            checkpoint.save(self.out, self.state, self.model.state_dict(), self.average.values, self.optimizer,
                            self.recipe.run.keep)  # fmt: skip

    def _finish(self) -> Path:
        path = self.out / WEIGHTS
        if self.team.leads:
            save_field(self._averaged(), path, _card(self.state))
            self._back()
        return path

    @contextmanager
    def _board(self) -> Iterator[Board | None]:
        if not self.team.leads:
            yield None
            return
        with Board(self.out) as board:
            yield board

    def _agreed(self, asked: list[int]) -> bool:
        """Whether any process was asked to stop: all of them must stop after the same step."""
        if self.team.size == 1:
            return bool(asked)
        flag = torch.tensor([len(asked)], device=self.team.device)
        dist.all_reduce(flag)
        return bool(flag.item())


def _alone(_: int) -> None:
    torch.set_num_threads(1)
    # The main process decides when to stop; its helpers end with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _team(recipe: Recipe) -> Iterator[Team]:
    """One process, or those that torchrun started."""
    wanted = recipe.run.device
    wanted = ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team(0, 1, torch.device(wanted))
        return
    local = int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", local) if wanted == "cuda" else torch.device(wanted)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=30))
    try:
        yield Team(dist.get_rank(), size, device)
        # Whoever is done first must not hang up on those who still listen.
        dist.barrier()
    finally:
        dist.destroy_process_group()

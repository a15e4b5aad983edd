"""Frames of a track by themselves, under a shape that is known: a few from nothing, the others from their neighbours.

A frame from nothing begins in the mean pose and takes four or five steps of the solver; one that begins on the way
between two solved neighbours takes one or two. Where that leads to a worse fit than its neighbours have, the frame is
solved from nothing too and the better of both is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from backend.fit import track
from backend.fit.solver import timing
from backend.fit.solver.newton import Newton, Solution
from backend.fit.solver.observe import Data, root_from_rays
from backend.fit.solver.skin import State
from backend.fit.solver.start import start

CHUNK = 64
"""Frames that are solved at once."""
KEY_S = 0.12
"""Seconds from one frame that is solved from nothing to the next."""
WIDE = 5.0
"""First the robust loss is so many times wider: from a start far off it would take the right points for outliers."""
WORSE, SLACK = 1.2, 3.0
"""A frame whose cost is so many times that of the worse neighbour and so much more is solved from nothing too."""


@dataclass(frozen=True)
class Effort:
    """How near to its end a frame is brought."""

    wide: float = 1e-2
    """With the wide loss a frame is at its end when a step lowers its cost by less than this part."""
    narrow: float = 3e-3
    """The same with the loss that counts."""
    shape_rounds: int = 3
    """Steps to the common shape, once every frame of the sample has found its own."""
    polish: bool = True
    """Solve the frames of the sample on under the common shape; those steps leave them near their end."""


def from_nothing(
    newton: Newton, obs: Data, mean: Tensor, pull: Tensor, coefs: Tensor | None, effort: Effort
) -> Solution:
    """Mean pose (55, 3, 3, 1), turned onto the 3D points, moved to where the rays meet it, then solved. `pull`: as of
    `start`; `coefs`: (nc, 1) of the shape, None where it is solved for."""
    state = start(newton.model, obs.targets, obs.weights, None, mean, pull, coefs)
    at = newton.model.pose(replace(state, root=torch.zeros_like(state.root)))
    state = replace(state, root=root_from_rays(at.points, obs))
    wide = newton.with_options(steps=4, tolerance=effort.wide, robust=WIDE * newton.options.robust)
    narrow = newton.with_options(tolerance=effort.narrow)
    return narrow.iterate(obs, wide.iterate(obs, state).state)


def keys(times: np.ndarray, seen: np.ndarray, every_s: float) -> np.ndarray:
    """Rows of frames in which something is seen (`seen`, (n,)), about `every_s` apart, the first and the last among
    them; `times`: (n,) seconds, rising."""
    rows = np.flatnonzero(seen)
    if len(rows) < 3:
        return rows
    at = times[rows]
    wanted = np.linspace(at[0], at[-1], int(np.ceil((at[-1] - at[0]) / every_s - 1e-6)) + 1)
    after = np.searchsorted(at, wanted).clip(1, len(at) - 1)
    nearest = after - (wanted - at[after - 1] < at[after] - wanted)
    return rows[np.unique(nearest)]


class Frames:
    """All frames of `obs` on their way to being solved. `known`: rows of frames that are solved already under another
    shape or nearly, and `state` their bodies."""

    def __init__(self, newton: Newton, obs: Data, coefs: Tensor, mean: Tensor, pull: Tensor, times: np.ndarray,
                 effort: Effort, known: Tensor | None = None, state: State | None = None) -> None:  # fmt: skip
        self.newton = newton.with_options(tolerance=effort.narrow)
        self.obs, self.coefs, self.mean, self.pull, self.effort = obs, coefs, mean, pull, effort
        n, device = len(times), coefs.device
        self.state = newton.model.rest_state(n).shaped(coefs)
        self.cost = torch.full((n,), torch.inf, device=device)
        seen = track.shows(obs)
        self.known = torch.zeros(n, dtype=torch.bool, device=device)
        if known is not None and state is not None:
            self._put(known, state.shaped(coefs))
            self.known[known] = True
        rows = torch.as_tensor(keys(times, seen.cpu().numpy(), KEY_S), device=device)
        self.first = rows[~self.known[rows]]
        self.known &= seen

    def solve(self) -> Iterator[tuple[int, bool]]:
        """Solve them, batch by batch: after each the number of frames that are done, and whether from nothing."""
        for rows in _batches(self.first):
            self._solve(rows, self._from_nothing(rows))
            yield len(rows), True
        self.known[self.first] = True
        self.state = timing.bridge(self.state, self.known)
        ahead = torch.ones_like(self.known)
        ahead[self.first] = False
        others = torch.where(ahead)[0]
        if not bool(self.known.any()):
            # Nothing is seen in any of them.
            for rows in _batches(others):
                self._solve(rows, self._from_nothing(rows))
                yield len(rows), False
            return
        for rows in _batches(others):
            self._solve(rows, self.newton.iterate(self.obs.take(rows), self.state.take(rows)))
            yield len(rows), False
        for rows in _batches(self._worse(others)):
            self._solve(rows, self._from_nothing(rows))

    def _from_nothing(self, rows: Tensor) -> Solution:
        return from_nothing(self.newton, self.obs.take(rows), self.mean, self.pull, self.coefs, self.effort)

    def _worse(self, rows: Tensor) -> Tensor:
        """Those of `rows` that fit worse than the nearest known frames before and behind them."""
        known = torch.where(self.known)[0]
        after = torch.searchsorted(known, rows).clamp(max=len(known) - 1)
        # A known frame is compared with those beside it.
        after = torch.where(known[after] == rows, (after + 1).clamp(max=len(known) - 1), after)
        before = (torch.searchsorted(known, rows) - 1).clamp_min(0)
        limit = torch.maximum(self.cost[known[before]], self.cost[known[after]])
        return rows[self.cost[rows] > WORSE * limit + SLACK]

    def _solve(self, rows: Tensor, found: Solution) -> None:
        """Keep what was found for `rows` where it costs less than what stood there."""
        data, state = self.obs.take(rows), found.state
        cost = self.newton.cost(found.look or self.newton.look(data, state), found.noise)
        better = cost < self.cost[rows]
        self._put(rows, state.where(better, self.state.take(rows)))
        self.cost[rows] = torch.where(better, cost, self.cost[rows])

    def _put(self, rows: Tensor, state: State) -> None:
        for whole, part in zip(self.state.parts[:2], state.parts[:2], strict=True):
            whole[..., rows] = part


def _batches(rows: Tensor) -> tuple[Tensor, ...]:
    return rows.split(CHUNK) if len(rows) else ()


__all__ = ["CHUNK", "Effort", "Frames", "from_nothing", "keys"]

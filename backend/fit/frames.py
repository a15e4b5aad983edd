"""Frames of a track by themselves: from nothing to a solved body, some dozens at once.

To begin between solved neighbours instead was measured (every 0.07 to 0.3 s a frame from nothing, on our clips): a
quarter less work, and single frames of `two_people.mp4` that end 30 % costlier, in a pose that is wrong alike beside
them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from backend.fit.solver.newton import Newton, Solution
from backend.fit.solver.observe import Data, root_from_rays
from backend.fit.solver.start import start

CHUNK = 64
"""Frames that are solved at once."""
WIDE = 5.0
"""First the robust loss is so many times wider: from a start far off it would take the right points for outliers."""


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


FULL = Effort()
"""That of a final fit."""


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


__all__ = ["CHUNK", "FULL", "Effort", "from_nothing"]

"""The camera of each frame, for a body that moves in a world in which the camera moves too.

What was seen is known in camera space; ties between frames hold in the world. A still camera has no view: its space is
the world.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from backend.fit.solver import batchlast as bl
from backend.fit.solver.skin import State


@dataclass(frozen=True)
class View:
    """Of n frames: a place x of the world is `rotation @ (x - place)` in camera space, metres."""

    rotation: Tensor
    """(3, 3, n) world to camera."""
    place: Tensor
    """(3, n) the camera's, in the world."""

    @classmethod
    def of(cls, turns: np.ndarray, places: np.ndarray, device: torch.device | str = "cpu") -> View:
        """From (n, 3, 3) and (n, 3)."""
        return cls(*(torch.as_tensor(np.moveaxis(a, 0, -1).copy(), dtype=torch.float32, device=device)
                     for a in (turns, places)))  # fmt: skip

    def take(self, frames: slice) -> View:
        """Some frames."""
        return View(self.rotation[..., frames], self.place[:, frames])

    def inward(self, state: State) -> State:
        """Bodies of the world in camera space."""
        turned = torch.cat([bl.mm(self.rotation, state.rotations[0])[None], state.rotations[1:]])
        return replace(state, rotations=turned, root=bl.mv(self.rotation, state.root - self.place))

    def outward(self, state: State) -> State:
        """Bodies of camera space in the world."""
        back = bl.transpose(self.rotation)
        turned = torch.cat([bl.mm(back, state.rotations[0])[None], state.rotations[1:]])
        return replace(state, rotations=turned, root=bl.mv(back, state.root) + self.place)

    def outside(self, points: np.ndarray) -> np.ndarray:
        """(n, q, 3) places of camera space in the world."""
        R, c = self.rotation.permute(2, 0, 1).cpu().numpy(), self.place.T.cpu().numpy()
        return (points @ R + c[:, None]).astype(points.dtype)

    def equations(self, H: Tensor, g: Tensor, first: bool) -> tuple[Tensor, Tensor]:
        """Matrix (n, D, D) and slope (n, D) of increments about the camera's axes as about the world's: those of the
        root's place, the last three, and of its turn, the first three, where that is among them (`first`)."""
        turn = torch.eye(g.shape[1]).to(H).repeat(len(H), 1, 1)
        R = self.rotation.permute(2, 0, 1).to(H)
        turn[:, -3:, -3:] = R
        if first:
            turn[:, :3, :3] = R
        return turn.mT @ H @ turn, (turn.mT @ g[..., None])[..., 0]


__all__ = ["View"]

"""The light localizer field: a canonical point -> weights of the heat-map head, without a volume's eigenfunctions.

Point -> Fourier features -> MLP -> (c + 1) x 10 weights, in the head's layout (docs/nlf.md 4.3), and the
weights of the point's place in the lifter's code.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backend.nets.heatmaps import CHANNELS

CENTER = (0.0, -0.35, 0.0)
"""Middle of the body's rest T-pose, metres: positions are taken relative to it."""
SPREAD = (0.05, 0.25, 1.0)
"""Standard deviations of the frequencies (radians per centimetre, a third of them each): a body part, a limb's
width, skin."""


class PointNetwork(nn.Module):
    """`channels`: of the map that the weights act on."""

    def __init__(
        self, channels: int = 256, frequencies: int = 192, hidden: int = 384, code: int = 256
    ) -> None:
        super().__init__()
        self.channels = channels
        third = frequencies // len(SPREAD)
        self.frequency = nn.Linear(3, third * len(SPREAD), bias=False)
        with torch.no_grad():
            scale = torch.tensor(SPREAD).repeat_interleave(third)[:, None] * 100 / 3
            self.frequency.weight.copy_(torch.randn(third * len(SPREAD), 3) * scale)
        self.frequency.requires_grad_(False)
        self.register_buffer("center", torch.tensor(CENTER), persistent=False)
        # Two roads: what says where a body's points are is not disturbed by what says how they look.
        self.mlp, self.place_mlp = (_mlp(2 * third * len(SPREAD) + 3, hidden) for _ in range(2))
        self.last = nn.Linear(hidden, (channels + 1) * CHANNELS)
        # Maps start flat: the guess stands alone until something is learnt.
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.code = code
        self.place = nn.Linear(hidden, 3 * (code + 1))
        nn.init.normal_(self.place.weight, std=1 / math.sqrt(hidden * code))
        nn.init.zeros_(self.place.bias)

    def encode(self, points: Tensor) -> Tensor:
        """(P, 3) metres -> (P, 2 f + 3) sines and cosines, and the position itself."""
        with torch.autocast(points.device.type, enabled=False):
            x = points.float() - self.center
            phase = F.linear(x, self.frequency.weight)
            return torch.cat([phase.sin(), phase.cos(), 2 * x], -1)

    def places(self, points: Tensor) -> Tensor:
        """(P, 3) metres -> (P, 3, code + 1): a point's place is this times the code of a person, and a constant."""
        return self.place(self.place_mlp(self.encode(points))).unflatten(-1, (3, self.code + 1))

    def maps(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(P, 3) metres -> weights (P, 10, c) and biases (P, 10)."""
        w = self.last(self.mlp(self.encode(points))).unflatten(-1, (CHANNELS, self.channels + 1))
        return w[..., :-1], w[..., -1]


def _mlp(inputs: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU())

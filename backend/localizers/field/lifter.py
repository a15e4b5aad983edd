"""From landmarks in the picture to a guess of any canonical point in space: what a body's build and habits allow.

A network of its own reads BlazePose's landmarks and gives a code; a point's place is linear in the code, with weights
that the field gives for the point. It needs no picture, so it is trained on more bodies than could ever be drawn.
Axes of the crop's camera, metres, relative to the middle of the hips.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LANDMARKS = 33
HIPS = (23, 24)
NUMBERS = 7
"""Of each landmark: x, y in half sizes of the person, visibility, three of BlazePose's metric guess, one that says
whether there is a guess."""


class Lifter(nn.Module):
    """`code`: numbers that describe a person."""

    def __init__(self, code: int = 256, hidden: int = 768, blocks: int = 3) -> None:
        super().__init__()
        self.first = nn.Linear(LANDMARKS * NUMBERS, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(hidden), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, hidden)
            )
            for _ in range(blocks)
        )
        self.last = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, code))

    def forward(self, landmarks: Tensor) -> Tensor:
        """(B, 33, 7) of `describe` -> code (B, c)."""
        x = self.first(landmarks.flatten(1))
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


def describe(xy: Tensor, visibility: Tensor, world: Tensor | None) -> Tensor:
    """`xy`: (B, 33, 2), any unit; `visibility`: (B, 33) 0..1; `world`: (B, 33, 3) metres or None -> (B, 33, 7).

    Place and size of the person in the crop are taken out: a crop is laid anyhow.
    """
    hips = xy[:, list(HIPS)].mean(1, keepdim=True)
    size = torch.linalg.vector_norm(xy - hips, dim=-1).amax(1).clamp_min(1e-3)
    place = (xy - hips) / size[:, None, None]
    if world is None:
        guess = torch.zeros_like(xy[..., :1]).expand(-1, -1, 4)
    else:
        centred = world - world[:, list(HIPS)].mean(1, keepdim=True)
        guess = torch.cat([2 * centred, torch.ones_like(xy[..., :1])], -1)
    return torch.cat([place, visibility[..., None], guess], -1)

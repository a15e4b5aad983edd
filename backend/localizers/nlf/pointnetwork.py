"""The localizer field: a canonical point -> the weights of the heat-map head that finds this point in a picture.

Point -> learnable Fourier features -> global point signature (1024 Laplacian eigenfunctions of the body's volume,
distilled into an MLP) -> weights (docs/nlf.md 4). Names are those of the official state dict
(`heatmap_head.weight_field.*`); buffers are not in it and come through `CropModel.load_constants`. Operations stand
in the reference's order: on a machine like the one of the fixtures the float32 results are equal to the last bit.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backend.nets.heatmaps import CHANNELS

FEATURES = 512
"""Channels that the head's weights act on."""
EIGENFUNCTIONS = 1024
_FOURIER, _GPS_HIDDEN, _HIDDEN = 512, 2048, 384


class LearnableFourier(nn.Module):
    """(…, 3) -> (…, 512): sines, then cosines, of learnt directions, times 1/sqrt(512)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, _FOURIER // 2, bias=False)
        nn.init.normal_(self.linear.weight, std=12.0)

    def forward(self, x: Tensor) -> Tensor:
        # Phases reach tens of radians: in half precision they would be noise, autocast or not.
        with torch.autocast(x.device.type, enabled=False):
            weight = self.linear.weight
            weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
            phase = F.linear(x.to(weight.dtype), weight)
            return torch.cat([phase.sin(), phase.cos()], -1) * (1 / math.sqrt(_FOURIER))


class GpsNet(nn.Module):
    """Canonical point (…, 3) metres -> (…, 1024) eigenfunctions there.

    `mini`, `maxi`, `center`: (3,) bounds in metres of the volume mesh that the eigenfunctions live on. They are not
    the bounds of the points asked for (docs/nlf.md 14.6).
    """

    def __init__(self) -> None:
        super().__init__()
        self.learnable_fourier = LearnableFourier()
        self.mlp = nn.Sequential(
            nn.Linear(_FOURIER, _GPS_HIDDEN), nn.GELU(), nn.Linear(_GPS_HIDDEN, EIGENFUNCTIONS)
        )
        self.register_buffer("mini", -torch.ones(3), persistent=False)
        self.register_buffer("maxi", torch.ones(3), persistent=False)
        self.register_buffer("center", torch.zeros(3), persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        x = (points - self.center) / (self.maxi - self.mini)
        return self.mlp(self.learnable_fourier(x))


class PointNetwork(nn.Module):
    """`r_sqrt_eigva`: (1024,), 1/sqrt(eigenvalue): smooth eigenfunctions weigh more."""

    def __init__(self) -> None:
        super().__init__()
        self.gps_net = GpsNet()
        self.pred_mlp = nn.Sequential(
            nn.Linear(EIGENFUNCTIONS, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, (FEATURES + 1) * CHANNELS)
        )
        self.register_buffer("r_sqrt_eigva", torch.ones(EIGENFUNCTIONS), persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        """(…, 3) metres -> (…, 5130): [513 in, 10 out] flattened, the last row is the bias (docs/nlf.md 4.3, 14.3)."""
        return self.pred_mlp(self._signature(points))

    def weights(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(…, 3) metres -> weights (…, 10, 512) and biases (…, 10): `forward` in the order the head multiplies by.

        The last layer's rows are re-ordered, which is some millions of numbers once, and not its output, which is
        5130 numbers a point.
        """
        hidden = self.pred_mlp[1](self.pred_mlp[0](self._signature(points)))
        last = self.pred_mlp[2]
        matrix = last.weight.unflatten(0, (FEATURES + 1, CHANNELS))
        offset = last.bias.unflatten(0, (FEATURES + 1, CHANNELS))
        w = F.linear(hidden, matrix[:-1].transpose(0, 1).flatten(0, 1), offset[:-1].T.flatten())
        return w.unflatten(-1, (CHANNELS, FEATURES)), F.linear(hidden, matrix[-1], offset[-1])

    def regularizer(self) -> Tensor:
        """Mean over the 1024 inputs of the squared norms of the first layer's columns (docs/nlf.md 12.2)."""
        return eigenvalue_regularizer(self.pred_mlp[0].weight)

    def _signature(self, points: Tensor) -> Tensor:
        return self.gps_net(points) * self.r_sqrt_eigva * 0.1


def eigenvalue_regularizer(weight: Tensor) -> Tensor:
    """`weight`: (out, in) -> mean over inputs of the sum of squares of the columns."""
    return weight.square().sum(0).mean()

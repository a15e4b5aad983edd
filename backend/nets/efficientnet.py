"""EfficientNetV2-S and -L as feature extractors, with the names of torchvision's state dicts.

The network of NLF (docs/nlf.md 3.1): RGB in [0, 1], (B, 3, S, S) -> (B, 1280, S/32, S/32). Two things differ from
torchvision: BatchNorm has eps 1e-3, and the depthwise convolution that makes the last stride is padded at the
bottom and right only, so that heat-map cell i looks at pixel 32 i + 16 and not at the corner of its cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

OUT_CHANNELS = 1280
STRIDE = 32
_SQUEEZE = 4
"""The squeeze-excite bottleneck is a quarter of the block's input."""
_DEPTH_DROP = 0.2
"""Drop probability of the last block; it grows linearly from 0 (torchvision, both sizes)."""

norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.01)
"""The BatchNorm of all of NLF."""


@dataclass(frozen=True)
class Stage:
    """One row of the published table: blocks that follow one another."""

    fused: bool
    """A 3x3 convolution in place of 1x1 + depthwise + squeeze-excite."""
    expand: int
    """Channels inside a block, in multiples of those that it is given."""
    stride: int
    """Of the first block; the others have 1."""
    channels: int
    """Out of each block."""
    blocks: int
    """How many there are."""


@dataclass(frozen=True)
class Size:
    """The layer table of one size of the network."""

    side: int
    """Of the square input, pixels."""
    stem: int
    """Channels after the first convolution."""
    stages: tuple[Stage, ...]
    """In order, first to last."""


SIZES = {
    "s": Size(256, 24, (
        Stage(True, 1, 1, 24, 2), Stage(True, 4, 2, 48, 4), Stage(True, 4, 2, 64, 4),
        Stage(False, 4, 2, 128, 6), Stage(False, 6, 1, 160, 9), Stage(False, 6, 2, 256, 15),
    )),
    "l": Size(384, 32, (
        Stage(True, 1, 1, 32, 4), Stage(True, 4, 2, 64, 7), Stage(True, 4, 2, 96, 7),
        Stage(False, 4, 2, 192, 10), Stage(False, 6, 1, 224, 19), Stage(False, 6, 2, 384, 25),
        Stage(False, 6, 1, 640, 7),
    )),
}  # fmt: skip
"""Layer tables of EfficientNetV2 (Tan & Le 2021) with the input sides that NLF uses (docs/nlf.md 1)."""


class Preprocess(nn.Module):
    """[0, 1] -> [-1, 1]. Without tensors of its own, so that a state dict has none either."""

    def forward(self, images: Tensor) -> Tensor:
        return images * 2 - 1


class BottomRightConv(nn.Conv2d):
    """3x3 convolution whose two rows of zeros both lie at the bottom and right (docs/nlf.md 3.1, 14.1)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 2, 0, 2)))


def _conv(
    i: int, o: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True, shift: bool = False
) -> nn.Sequential:
    """Convolution (child 0), norm (1) and, with `act`, SiLU (2)."""
    kind, padding = (BottomRightConv, 0) if shift else (nn.Conv2d, kernel // 2)
    layers = [kind(i, o, kernel, stride, padding, groups=groups, bias=False), norm(o)]
    return nn.Sequential(*layers, *([nn.SiLU(inplace=True)] if act else []))


class SqueezeExcite(nn.Module):
    """Channel gates from the picture's mean."""

    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeeze, 1)
        self.fc2 = nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.silu(self.fc1(x.mean((2, 3), keepdim=True)))
        return x * torch.sigmoid(self.fc2(gate))


class Block(nn.Module):
    """An inverted bottleneck, plain or fused, with its residual; `drop`: probability of leaving it out."""

    def __init__(self, stage: Stage, channels: int, stride: int, drop: float, shift: bool) -> None:
        super().__init__()
        wide, out = channels * stage.expand, stage.channels
        if stage.fused and stage.expand == 1:
            layers = [_conv(channels, out, 3, stride)]
        elif stage.fused:
            layers = [_conv(channels, wide, 3, stride), _conv(wide, out, 1, act=False)]
        else:
            layers = [
                _conv(channels, wide, 1),
                _conv(wide, wide, 3, stride, groups=wide, shift=shift),
                SqueezeExcite(wide, max(1, channels // _SQUEEZE)),
                _conv(wide, out, 1, act=False),
            ]
        self.block = nn.Sequential(*layers)
        self.residual = stride == 1 and channels == out
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        y = self.block(x)
        if not self.residual:
            return y
        if self.training and self.drop > 0:
            keep = torch.rand(len(y), 1, 1, 1, device=y.device) >= self.drop
            y = y * keep.to(y.dtype) / (1 - self.drop)
        return x + y


def efficientnet_features(size: str) -> nn.Sequential:
    """Children 0 (stem), 1… (stages), last (1x1 convolution to 1280), as torchvision's `features`."""
    table = SIZES[size]
    total, done, channels = sum(s.blocks for s in table.stages), 0, table.stem
    last_stride = max(i for i, s in enumerate(table.stages) if s.stride == 2)
    children: list[nn.Module] = [_conv(3, channels, 3, 2)]
    for i, stage in enumerate(table.stages):
        blocks = []
        for k in range(stage.blocks):
            first = k == 0
            blocks.append(
                Block(
                    stage,
                    channels,
                    stage.stride if first else 1,
                    _DEPTH_DROP * done / total,
                    shift=first and i == last_stride,
                )
            )
            channels, done = stage.channels, done + 1
        children.append(nn.Sequential(*blocks))
    children.append(_conv(channels, OUT_CHANNELS, 1))
    net = nn.Sequential(*children)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return net


class Backbone(nn.Sequential):
    """A sequence with a forward of its own, since torch.compile steps over those that are torch's."""

    def forward(self, images: Tensor) -> Tensor:
        for part in self:
            images = part(images)
        return images


def backbone(size: str) -> Backbone:
    """(B, 3, S, S) RGB in [0, 1] -> (B, 1280, S/32, S/32); child 1 holds all tensors."""
    return Backbone(Preprocess(), efficientnet_features(size))

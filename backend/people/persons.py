"""Where are people in a picture? NanoDet, what knows people of it: boxes, of people near and far, whole and in part.

It looks at 416 x 416 pixels and knows people from a twentieth of its window to all of it, half hidden ones too. It does
not say which way up they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from backend.nets.engine import create_engine
from backend.nets.graph import Graph, load_graph
from backend.nets.hands import ONE, Hands
from backend.people.window import cut_window

SIDE = 416
"""Pixels of the network's window."""
STRIDES = (8, 16, 32)
_BINS = 11
"""Of the distance of an edge, counted in strides: the network says how likely each is."""
# The network's own: what it was taught with, blue first.
_MEAN = (103.53, 116.28, 123.675)
_SPREAD = (57.375, 57.12, 58.395)
_GREY = 114
"""What is round a picture in its window."""
OVERLAP = 0.6
"""Boxes that share more (intersection over union) are one person's."""
_LESS_OVERLAP = 0.4
"""The same, of boxes that are not sure."""
_PART, SURE = 0.85, 0.5
"""Share of a box that may lie in a surer one, and the score from which on it may lie there all the same (rendered
crowds of `bench.people`, seed 100)."""
_EDGE = 6.0
"""Pixels of the window: what reaches so near to an edge inside the picture is part of somebody."""

Window = tuple[float, float, float]
"""x, y, side: a square of a picture, pixels."""


class PersonNet(nn.Module):
    """The network, from bytes to boxes."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        cells = [torch.arange(SIDE // s, dtype=torch.float32) for s in STRIDES]
        places = [
            torch.stack([(c + 0.5).repeat(len(c)), (c + 0.5).repeat_interleave(len(c))], -1) * s
            for c, s in zip(cells, STRIDES, strict=True)
        ]
        self.register_buffer("places", torch.cat(places), persistent=False)
        sides = torch.cat([torch.full((len(p), 1), float(s)) for p, s in zip(places, STRIDES, strict=True)])
        self.register_buffer("strides", sides, persistent=False)
        self.register_buffer("bins", torch.arange(_BINS, dtype=torch.float32), persistent=False)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("spread", torch.tensor(_SPREAD)[:, None, None], persistent=False)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 416, 416, 3) uint8 RGB -> scores (B, 3549) 0..1, boxes (B, 3549, 4) x0, y0, x1, y1: pixels of the
        window, counted from its edge."""
        x = (pictures.flip(-1).permute(0, 3, 1, 2).float() - self.mean) / self.spread
        maps = self.graph(x)
        rows = torch.cat([maps[f"stride{s}"].flatten(2) for s in STRIDES], -1).transpose(1, 2)
        chances = rows[..., 1:].unflatten(-1, (4, _BINS)).softmax(-1)
        reach = (chances * self.bins).sum(-1) * self.strides
        boxes = torch.cat([self.places - reach[..., :2], self.places + reach[..., 2:]], -1)
        return rows[..., 0].sigmoid(), boxes


def person_net() -> PersonNet:
    """The shipped network."""
    assets = Path(__file__).resolve().parents[1] / "assets"
    return PersonNet(load_graph(assets / "nanodet.safetensors")).eval()


class PersonBoxes:
    """Finds boxes of people in pictures."""

    def __init__(
        self,
        device: str | torch.device = "cpu",
        engine: str = "auto",
        hands: Hands = ONE,
        least: float = 0.25,
    ) -> None:
        """`least`: score from which on something is worth a look; for the others see `detect.PersonDetector`."""
        self.least = least
        self.engine = create_engine("nanodet", person_net(), device, engine)
        self._hands = hands

    def find(self, windows: Sequence[tuple[np.ndarray, Window]]) -> list[np.ndarray]:
        """For each (picture, window): (n, 5) x0, y0, x1, y1 in pixels of the picture, score; people who are cut off by
        an edge of the window inside the picture are left out."""
        parts = self._hands.batches(self._find_some, self.engine.batch, windows)
        return [boxes for part in parts for boxes in part]

    def _find_some(self, windows: Sequence[tuple[np.ndarray, Window]]) -> list[np.ndarray]:
        cuts = [cut_window(image, *window, SIDE, _GREY) for image, window in windows]
        scores, boxes = (t.float().cpu().numpy() for t in self.engine.run(np.stack([c[0] for c in cuts])))
        out = []
        for (image, (x, y, side)), (_, scale, offset), s, b in zip(windows, cuts, scores, boxes, strict=True):
            likely = s >= self.least
            b, s = b[likely], s[likely]
            size = np.array(image.shape[1::-1] * 2, float)
            inside = np.array([x > 0, y > 0, x + side < size[0], y + side < size[1]])
            cut_off = np.concatenate([b[:, :2] < _EDGE, b[:, 2:] > SIDE - _EDGE], 1) & inside
            b = np.clip(b * np.tile(scale, 2) + np.tile(offset, 2), -0.5, size - 0.5)
            whole = ~cut_off.any(1) & (b[:, 2:] - b[:, :2] > 1).all(1)
            out.append(one_each(np.concatenate([b, s[:, None]], 1)[whole]))
        return out


def one_each(boxes: np.ndarray, overlap: float = OVERLAP) -> np.ndarray:
    """(n, 5) boxes with scores -> the best of each person, best first. What lies within a surer box must be sure
    itself: it is a part of that person more often than somebody in front."""
    left = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    out = []
    while len(left):
        best, left = left[0], left[1:]
        out.append(best)
        unsure = left[:, 4] < SURE
        part = (within(left, best[None])[:, 0] > _PART) & unsure
        left = left[(shared(best[None], left)[0] <= np.where(unsure, _LESS_OVERLAP, overlap)) & ~part]
    return np.array(out).reshape(-1, 5)


def within(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, >= 4), (m, >= 4) boxes x0, y0, x1, y1 -> (n, m) how much of each `a` lies in each `b`, 0..1."""
    return _common(a, b) / np.maximum(_area(a)[:, None], 1e-9)


def shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, >= 4), (m, >= 4) boxes x0, y0, x1, y1 -> (n, m) intersection over union."""
    both = _common(a, b)
    return both / np.maximum(_area(a)[:, None] + _area(b)[None] - both, 1e-9)


def _common(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    return np.prod(np.clip(high - low, 0, None), -1)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.clip(boxes[:, 2:4] - boxes[:, :2], 0, None), -1)

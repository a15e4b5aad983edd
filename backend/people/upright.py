"""Which way up is somebody, and where are the hips? MediaPipe's person detector, in a window around each person.

The network (an SSD on 224 x 224 pixels) knows people who fill a third to all of its window and stand more or less
upright in it, so a window around somebody who may lie is looked at lying too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from backend.nets.engine import create_engine
from backend.nets.graph import Graph, load_graph
from backend.nets.hands import ONE, Hands
from backend.people.window import cut_window

ASSETS = Path(__file__).resolve().parents[1] / "assets"
SIDE = 224
"""Pixels of the network's window."""
_STRIDES = ((8, 2), (16, 2), (32, 6))
"""Stride, and anchors in a cell: MediaPipe's strides 8, 16, 32, 32, 32 with two each."""
_SCORE_CLIP = 100.0
_OVERLAP = 0.3
"""Finds of one window are one person when the intersection over union of their head boxes is above this."""
_CANDIDATE = 0.3
"""Least score of a find."""
_RADIUS = 60.0
"""Pixels of the window: the size that a person is given in it. Of 60, 80 and 100 the one that finds most (rendered
crowds of `bench.people`, seeds 100 and 101)."""
# From here on as in rendered crowds (seeds 100 to 102): hips and size by the box of somebody who is seen whole are off
# by 0.07 and 3 % of the size there, by this network 0.09 and 8 %; at an edge it is the other way round.
_RADIUS_OF_LENGTH = 0.52
"""Radius of the circle around a person, in lengths of the person."""
_BREADTH = 0.5
"""Breadth in lengths of somebody whose lower end is out of the picture."""
_MOST_HIDDEN = 2.5
"""Most length, in heights of the box, that somebody is believed to have."""
_INWARD = 0.2
"""In heights: where the hips are, from the inner edge of somebody who is cut off at a side."""
_EDGE = 0.01
"""In larger sides of the picture: a box that ends so near to an edge of the picture ends there."""
_UPRIGHT = 1.3
"""Height of a box, in its widths, from which on a person stands."""
_WIDE = 1.0
"""Width of a box, in its heights, from which on a person may lie."""
_REACH, _REACH_CUT = 0.35, 0.7
"""Of the size of the person: how far hips may be from the middle of a box, and of a broad one or one that ends at
an edge of the picture. In rendered crowds nine of ten are nearer than 0.2 and 0.5."""
_SIZES = (0.75, 3.0)
"""Sizes of a find in those guessed from the box; people who are cut off are larger than what is seen of them."""


@dataclass(frozen=True)
class Axis:
    """How somebody is placed in a picture."""

    hips: np.ndarray
    """(2,) pixels, the middle between the hips."""
    top: np.ndarray
    """(2,) pixels, a point on the circle around the hips that holds the whole person, in the direction of the head."""
    shoulders: np.ndarray
    """(2,) pixels, the middle between the shoulders."""
    score: float
    """0..1: how sure the network is; 0 where it saw nobody, and the axis is guessed from the box."""

    @property
    def radius(self) -> float:
        """Pixels from the hips to the circle around the whole person."""
        return float(np.linalg.norm(self.top - self.hips))


class DetectorNet(nn.Module):
    """The network, from bytes to numbers that count from the anchors."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 224, 224, 3) uint8 RGB -> scores (B, 2254) 0..1, and (B, 2254, 6, 2) centre, size and four points, in
        sides of the window, all but the size from the anchor's centre."""
        y = self.graph(pictures.permute(0, 3, 1, 2).float() / 127.5 - 1)
        scores = y["scores"][..., 0].clamp(-_SCORE_CLIP, _SCORE_CLIP).sigmoid()
        return scores, y["boxes"].reshape(scores.shape[0], -1, 6, 2) / SIDE


def detector_net() -> DetectorNet:
    """The shipped network."""
    return DetectorNet(load_graph(ASSETS / "blazepose_detector.safetensors")).eval()


class AxisFinder:
    """Looks at people in boxes."""

    def __init__(self, device: str | torch.device = "cpu", engine: str = "auto", hands: Hands = ONE) -> None:
        """`engine`: see `nets.engine`; `hands`: who look into the windows."""
        self.engine = create_engine("blazepose_detector", detector_net(), device, engine)
        self._hands = hands
        self._anchors = _anchors()

    def find(self, people: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Axis]:
        """For each (picture, box (4,) x0, y0, x1, y1): the axis of the person in the box."""
        guesses = [guessed(box, image.shape) for image, box in people]
        windows, owner = [], []
        for n, ((image, box), guess) in enumerate(zip(people, guesses, strict=True)):
            middle, side = (box[:2] + box[2:4]) / 2, guess.radius * SIDE / _RADIUS
            wide = box[2] - box[0] > _WIDE * (box[3] - box[1])
            for turn in (0, 1, 3) if wide else (0,):
                windows.append((image, (*(middle - side / 2), side), turn))
                owner.append(n)
        best = list(guesses)
        for n, finds in zip(owner, self.search(windows), strict=True):
            (_, box), guess = people[n], guesses[n]
            for f in finds:
                if f.score > best[n].score and _fits(f, box, guess, people[n][0].shape):
                    best[n] = f
        return [
            laid(b, g, box, image.shape) for b, g, (image, box) in zip(best, guesses, people, strict=True)
        ]

    def search(self, windows: Sequence[tuple]) -> list[list[Axis]]:
        """Run the network on square windows (picture, (x, y, side), quarter turns counter-clockwise); -> everybody in
        each, in pixels of the picture."""
        parts = self._hands.batches(self._search_some, self.engine.batch, windows)
        return [finds for part in parts for finds in part]

    def _search_some(self, windows: Sequence[tuple]) -> list[list[Axis]]:
        cuts = [cut_window(image, *window, SIDE) for image, window, _ in windows]
        turned = [np.rot90(c[0], turn) for c, (*_, turn) in zip(cuts, windows, strict=True)]
        scores, boxes = (t.float().cpu().numpy() for t in self.engine.run(np.stack(turned)))
        return [
            self._finds(s, b, scale, offset, turn)
            for s, b, (_, scale, offset), (*_, turn) in zip(scores, boxes, cuts, windows, strict=True)
        ]

    def _finds(self, scores, boxes, scale, offset, turn: int) -> list[Axis]:
        """Somebody each, from the network's numbers (2254,) and (2254, 6, 2) for one window."""
        likely = scores >= _CANDIDATE
        boxes = boxes[likely]
        boxes[:, 0] += self._anchors[likely]
        boxes[:, 2:] += self._anchors[likely, None]
        finds = []
        for score, points in weighted_nms(scores[likely], boxes):
            hips, top, shoulders = turned_back(points[2:5] * SIDE, turn) * scale + offset
            finds.append(Axis(hips, top, shoulders, score))
        return finds


def guessed(box: np.ndarray, shape: Sequence[int]) -> Axis:
    """The axis of somebody upright of whom only the box is known, in a picture of this shape."""
    x0, y0, x1, y1 = box[:4]
    width, height = x1 - x0, y1 - y0
    left, _, right, below = cut_off(box, shape)
    hips = np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    length = max(width, height)
    if below:
        length = float(np.clip(width / _BREADTH, height, _MOST_HIDDEN * height))
        hips[1] = y0 + length / 2
    elif left != right:
        hips[0] = x1 - _INWARD * height if left else x0 + _INWARD * height
    radius, up = _RADIUS_OF_LENGTH * length, np.array([0.0, -1.0])
    return Axis(hips, hips + up * radius, hips + 0.5 * up * radius, 0.0)


def cut_off(box: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """(4,) bool: whether a box ends at the left, upper, right and lower edge of a picture of this shape."""
    edge = _EDGE * max(shape[:2])
    return np.array([*(box[:2] < edge), *(box[2:4] > np.array(shape[1::-1]) - 1 - edge)])


def laid(find: Axis, guess: Axis, box: np.ndarray, shape: Sequence[int]) -> Axis:
    """`find`, by the box where that is better: of somebody upright who is seen whole, hips and size; of somebody whose
    legs are out of the picture the size, if the box says a larger one."""
    width, height = box[2:4] - box[:2]
    cut = cut_off(box, shape)
    r, up = guess.radius, (find.top - find.hips) / max(find.radius, 1e-6)
    if find.score and cut[3] and r > find.radius:
        hips = find.top - up * r
        return Axis(hips, find.top, hips + 0.5 * up * r, find.score)
    if cut.any() or height < _UPRIGHT * width:
        return find
    return Axis(guess.hips, guess.hips + up * r, guess.hips + 0.5 * up * r, find.score)


def turned_back(points: np.ndarray, turn: int) -> np.ndarray:
    """(n, 2) places from the edge of a window that was turned by so many quarters (`numpy.rot90`) -> in the window."""
    for _ in range(turn):
        points = np.stack([SIDE - points[:, 1], points[:, 0]], 1)
    return points


def _fits(find: Axis, box: np.ndarray, guess: Axis, shape: Sequence[int]) -> bool:
    """Whether `find` can be the person in `box`, and not somebody beside."""
    middle = (find.hips + find.shoulders) / 2
    outside = np.maximum(np.maximum(box[:2] - middle, middle - box[2:4]), 0)
    centre = (box[:2] + box[2:4]) / 2
    lies = box[2] - box[0] > _WIDE * (box[3] - box[1])
    reach = _REACH_CUT if lies or cut_off(box, shape).any() else _REACH
    near = np.linalg.norm(find.hips - centre) < reach * max(find.radius, guess.radius)
    ratio = find.radius / max(guess.radius, 1e-6)
    return bool(near and (outside <= 0).all() and _SIZES[0] < ratio < _SIZES[1])


def _anchors() -> np.ndarray:
    """(2254, 2) float32 centres of the anchors, 0..1, in the network's order."""
    out = []
    for stride, count in _STRIDES:
        cells = SIDE // stride
        c = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        y, x = np.meshgrid(c, c, indexing="ij")
        out.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), count, axis=0))
    return np.concatenate(out)


def weighted_nms(scores: np.ndarray, boxes: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Finds (n,), (n, 6, 2) (centre, size, 4 points) -> one averaged find per person, best first.

    As MediaPipe: all finds that overlap the best one are averaged, weighted by score; the score is the best.
    """
    order = np.argsort(-scores)
    scores, boxes = scores[order], boxes[order]
    low, high = boxes[:, 0] - boxes[:, 1] / 2, boxes[:, 0] + boxes[:, 1] / 2
    area = np.prod(np.maximum(high - low, 0), axis=1)
    left = np.ones(len(scores), bool)
    out = []
    for i in range(len(scores)):
        if not left[i]:
            continue
        shared = np.minimum(high, high[i]) - np.maximum(low, low[i])
        shared = np.prod(np.maximum(shared, 0), axis=1)
        group = left & (shared > _OVERLAP * np.maximum(area + area[i] - shared, 1e-12))
        group[i] = True
        left &= ~group
        out.append((float(scores[i]), np.average(boxes[group], axis=0, weights=scores[group])))
    return out

"""Where are the people in a picture? MediaPipe's person detector, over the whole picture and over tiles.

The network (an SSD on 224 x 224 pixels) knows people who fill a third to all of its window. The whole picture
is looked at first; a find that is small or unsure is looked at again in a window of its own; and people far
away are sought in overlapping square tiles of a half and a quarter of the picture's larger side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from backend.nlf.graph import load_graph
from backend.people.crop import Roi

ASSETS = Path(__file__).resolve().parents[1] / "assets"
SIDE = 224
_STRIDES = (
    (8, 2),
    (16, 2),
    (32, 6),
)  # stride, anchors a cell: MediaPipe's strides 8, 16, 32, 32, 32, two each
_SCORE_CLIP = 100.0
_OVERLAP = 0.3  # intersection over union of head boxes above which finds of one window are one person
_CANDIDATE = 0.25  # least score of a find that is worth a second look
_SECURE = 0.75  # at this score, and at a good size, no second look is needed
_GOOD_RADIUS = (45.0, 105.0)  # pixels of the window: size of people at which the network is at its best
_ZOOM_RADIUS = 72.0  # size that the second look gives a person
_BATCH = 16
_MIN_PICTURE = 8  # pixels: nobody can be seen in less


@dataclass(frozen=True)
class Detection:
    """One person. `box`: (4,) x, y, w, h pixels around the whole person, inside the picture; `score`: 0..1;
    `roi`: the square for the landmark network; `hips`, `shoulders`: (2,) pixels, middle of each pair."""

    box: np.ndarray
    score: float
    roi: Roi
    hips: np.ndarray
    shoulders: np.ndarray

    @property
    def radius(self) -> float:
        """Pixels from the hips to the circle around the whole person."""
        return self.roi.size / 2.5


@dataclass(frozen=True)
class _Find:
    """Scores and points, pixels of the picture: `points` (4, 2) hips, top, shoulders, upper top."""

    score: float
    points: np.ndarray
    window_radius: float  # pixels of the window

    @property
    def radius(self) -> float:
        return float(np.linalg.norm(self.points[1] - self.points[0]))


class PersonDetector:
    """Finds people in pictures, several pictures at a time."""

    def __init__(self, device: str | torch.device = "cpu", threshold: float = 0.5) -> None:
        """`threshold`: least score (0..1) of a person that is reported."""
        self.device = torch.device(device)
        self.threshold = threshold
        self.graph = load_graph(ASSETS / "blazepose_detector.safetensors", self.device)
        self._anchors = torch.from_numpy(_anchors()).to(self.device)

    def detect(self, images: Sequence[np.ndarray], far: bool | None = None) -> list[list[Detection]]:
        """People in each of `images` ((H, W, 3) uint8 RGB, sizes may differ), best first.

        `far`: also search in tiles for small people; None: only in pictures where nobody else is found.
        ValueError for a picture of another shape or type.
        """
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(f"A picture must be (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}.")
        seen = [i for i, image in enumerate(images) if min(image.shape[:2]) >= _MIN_PICTURE]
        found: list[list[Detection]] = [[] for _ in images]
        people = self._search([(images[i], whole_window(images[i])) for i in seen])
        for i, finds in zip(seen, self._look_again([images[i] for i in seen], people), strict=True):
            found[i] = [_detection(f, images[i]) for f in finds]
        tiled = [i for i in seen if far or (far is None and not found[i])]
        for i in tiled:
            finds = [f for tile in self._search([(images[i], t) for t in tiles(images[i])]) for f in tile]
            finds = self._look_again([images[i]], [_one_each(finds)])[0]
            known = [_find(d) for d in found[i]]
            found[i] = [_detection(f, images[i]) for f in _one_each([*known, *finds])]
        return found

    def _look_again(self, images: list[np.ndarray], people: list[list[_Find]]) -> list[list[_Find]]:
        """Second look at every find that is not secure, in a window made for its size; then the threshold."""
        unsure = [(i, f) for i, finds in enumerate(people) for f in finds if not _secure(f)]
        windows = [
            (images[i], (*(f.points[0] - (w := f.radius * SIDE / _ZOOM_RADIUS) / 2), w)) for i, f in unsure
        ]
        out = [[f for f in finds if _secure(f)] for finds in people]
        for (i, old), news in zip(unsure, self._search(windows), strict=True):
            same = [n for n in news if _same_person(old, n, 0.6)]
            if same:
                out[i].append(max(same, key=lambda n: n.score))
        return [_one_each([f for f in finds if f.score >= self.threshold]) for finds in out]

    @torch.inference_mode()
    def _search(self, windows: list[tuple[np.ndarray, tuple]]) -> list[list[_Find]]:
        """Run the network on square windows (picture, (x, y, side)); -> finds of each, in picture pixels."""
        out = []
        for start in range(0, len(windows), _BATCH):
            cut = [cut_window(image, *window) for image, window in windows[start : start + _BATCH]]
            x = torch.from_numpy(np.stack([c[0] for c in cut])).to(self.device)
            y = self.graph(x.permute(0, 3, 1, 2).float().div_(127.5).sub_(1))
            scores = y["scores"][..., 0].clamp(-_SCORE_CLIP, _SCORE_CLIP).sigmoid()
            boxes = y["boxes"].reshape(len(cut), -1, 6, 2) / SIDE
            boxes[:, :, 0] += self._anchors
            boxes[:, :, 2:] += self._anchors[:, None]
            scores, boxes = scores.float().cpu().numpy(), boxes.float().cpu().numpy()
            for s, b, (_, scale, offset) in zip(scores, boxes, cut, strict=True):
                good = s >= _CANDIDATE
                finds = weighted_nms(s[good], b[good])
                out.append(
                    [
                        _Find(score, p[2:] * SIDE * scale + offset, SIDE * np.linalg.norm(p[3] - p[2]))
                        for score, p in finds
                    ]
                )
        return out


def _anchors() -> np.ndarray:
    """(2254, 2) float32 centres of the anchors, 0..1, in the network's order."""
    out = []
    for stride, count in _STRIDES:
        cells = SIDE // stride
        c = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        y, x = np.meshgrid(c, c, indexing="ij")
        out.append(np.repeat(np.stack([x, y], -1).reshape(-1, 2), count, axis=0))
    return np.concatenate(out)


def whole_window(image: np.ndarray) -> tuple[float, float, float]:
    """The square (x, y, side) around the whole picture."""
    h, w = image.shape[:2]
    side = max(h, w)
    return (w - side) / 2, (h - side) / 2, side


def tiles(image: np.ndarray) -> list[tuple[float, float, float]]:
    """Squares (x, y, side) of a half and a quarter of the larger side, overlapping by half."""
    h, w = image.shape[:2]
    out = []
    for part in (2, 4):
        side = max(h, w) / part
        if side < 64:  # a person in it would be smaller than anything the network knows
            continue
        xs, ys = (
            [(length - side) / 2]
            if length <= side
            else np.linspace(0, length - side, int(np.ceil((length - side) / (side / 2) - 1e-6)) + 1)
            for length in (w, h)
        )
        out += [(float(x), float(y), side) for y in ys for x in xs]
    return out


def cut_window(
    image: np.ndarray, x: float, y: float, side: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A square window as (224, 224, 3) uint8, black outside the picture.

    -> picture, scale (2,), offset (2,): pixel of the picture = place in the window (0..224) * scale + offset.
    """
    h, w = image.shape[:2]
    x0, y0 = int(np.clip(np.floor(x), 0, w - 1)), int(np.clip(np.floor(y), 0, h - 1))
    x1, y1 = int(np.clip(np.ceil(x + side), x0 + 1, w)), int(np.clip(np.ceil(y + side), y0 + 1, h))
    zoom = SIDE / side
    left, top = (round(min(max((a - b) * zoom, 0), SIDE - 1)) for a, b in ((x0, x), (y0, y)))
    size = tuple(
        min(max(round((b - a) * zoom), 1), SIDE - place) for a, b, place in ((x0, x1, left), (y0, y1, top))
    )
    out = np.zeros((SIDE, SIDE, 3), np.uint8)
    shrink = size[0] < x1 - x0
    part = cv2.resize(image[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    out[top : top + size[1], left : left + size[0]] = part
    scale = np.array([(x1 - x0) / size[0], (y1 - y0) / size[1]])
    # The network counts from the window's edge, we from the first pixel's centre: hence the half.
    return out, scale, np.array([x0, y0]) - np.array([left, top]) * scale - 0.5


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


def _secure(f: _Find) -> bool:
    return f.score >= _SECURE and _GOOD_RADIUS[0] <= f.window_radius <= _GOOD_RADIUS[1]


def _same_person(a: _Find, b: _Find, limit: float) -> bool:
    """Hips and shoulders lie closer together than `limit` of the person's size."""
    gap = np.linalg.norm(a.points[[0, 2]] - b.points[[0, 2]], axis=1).mean()
    return gap < limit * max(a.radius, b.radius)


def _one_each(finds: list[_Find]) -> list[_Find]:
    """Of finds of one picture from several windows, the best of each person, best first."""
    out: list[_Find] = []
    for f in sorted(finds, key=lambda f: -f.score):
        if not any(_same_person(f, g, 0.4) for g in out):
            out.append(f)
    return out


def _detection(f: _Find, image: np.ndarray) -> Detection:
    """Box: a rectangle along the body's axis, as long as the circle is wide, 0.6 as broad, laid upright."""
    roi = Roi.from_axis(f.points[0], f.points[1])
    r, c, s = f.radius, abs(np.cos(roi.angle)), abs(np.sin(roi.angle))
    half = np.array([0.6 * r * c + r * s, 0.6 * r * s + r * c])
    limit = np.array(image.shape[1::-1], float)
    low, high = np.clip(f.points[0] - half, 0, limit), np.clip(f.points[0] + half, 0, limit)
    return Detection(np.concatenate([low, high - low]), f.score, roi, f.points[0], f.points[2])


def _find(d: Detection) -> _Find:
    top = d.roi.center + d.radius * np.array([np.sin(d.roi.angle), -np.cos(d.roi.angle)])
    points = np.stack([d.hips, top, d.shoulders, d.shoulders])
    return _Find(d.score, points, _ZOOM_RADIUS)

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
from torch import Tensor, nn

from backend.camera.turned import Roi
from backend.nets.engine import create_engine
from backend.nets.graph import Graph, load_graph
from backend.nets.hands import ONE, Hands

ASSETS = Path(__file__).resolve().parents[1] / "assets"
SIDE = 224
"""Pixels of the network's window."""
_STRIDES = ((8, 2), (16, 2), (32, 6))
"""Stride, and anchors in a cell: MediaPipe's strides 8, 16, 32, 32, 32 with two each."""
_SCORE_CLIP = 100.0
_OVERLAP = 0.3
"""Finds of one window are one person when the intersection over union of their head boxes is above this."""
_CANDIDATE = 0.25
"""Least score of a find that is worth a second look."""
_SECURE = 0.9
"""At this score, and at a good size, no second look is needed."""
_GOOD_RADIUS = (45.0, 105.0)
"""Pixels of the window: the size of people at which the network is at its best."""
_FIRST_LOOK = ((72.0, False),)
"""The look that gets place and size right: size that a person is given, mirrored or not."""
_WORTH = 0.5
"""Least score in that look that is worth the others."""
_LOOKS = ((60.0, False), (60.0, True), (85.0, False), (85.0, True))
"""The looks that count. Things that are taken for people rarely pass all of them."""
_SMALL = 0.08
"""People smaller than this part of the picture's larger side, hips to circle, must be surer."""
_SMALL_THRESHOLD = 0.8
"""Least score of small ones: lamps, cameras and bags pass as people when they are a few pixels large."""
_MIN_PICTURE = 8
"""Pixels: nobody can be seen in a smaller picture."""


@dataclass(frozen=True)
class Detection:
    """One person."""

    box: np.ndarray
    """(4,) x, y, w, h pixels around the whole person, inside the picture."""
    score: float
    """0..1, how sure it is that this is a person."""
    roi: Roi
    """The square for the landmark network."""
    hips: np.ndarray
    """(2,) pixels, the middle between the hips."""
    shoulders: np.ndarray
    """(2,) pixels, the middle between the shoulders."""

    @property
    def radius(self) -> float:
        """Pixels from the hips to the circle around the whole person."""
        return self.roi.size / 2.5


@dataclass(frozen=True)
class _Find:
    """Somebody in one window."""

    score: float
    """0..1."""
    points: np.ndarray
    """(4, 2) hips, top, shoulders, upper top; pixels of the picture."""
    window_radius: float
    """From the hips to the top, in pixels of the window."""

    @property
    def radius(self) -> float:
        return float(np.linalg.norm(self.points[1] - self.points[0]))


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


class PersonDetector:
    """Finds people in pictures, several pictures at a time."""

    def __init__(
        self,
        device: str | torch.device = "cpu",
        threshold: float = 0.5,
        engine: str = "auto",
        hands: Hands = ONE,
    ) -> None:
        """`threshold`: least score (0..1, mean of the second looks) of a person who is reported; `engine`: see
        `nets.engine`; `hands`: who look into the windows."""
        self.threshold = threshold
        self.engine = create_engine("blazepose_detector", detector_net(), device, engine)
        self._hands = hands
        self._anchors = _anchors()

    def detect(
        self,
        images: Sequence[np.ndarray],
        far: bool | None = None,
        parts: Sequence[int] = (2, 4),
        enough: int | None = None,
    ) -> list[list[Detection]]:
        """People in each of `images` ((H, W, 3) uint8 RGB, sizes may differ), best first.

        `far`: also search in tiles for small people; None: only in pictures where nobody else is found.
        `parts`: sizes of the tiles, as parts of the picture's larger side (6 and 28 windows for 16:9).
        `enough`: no tiles for a picture in which the first look finds so many people.
        ValueError for a picture of another shape or type.
        """
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(f"A picture must be (H, W, 3) uint8 RGB, not {image.shape} {image.dtype}.")
        seen = [i for i, image in enumerate(images) if min(image.shape[:2]) >= _MIN_PICTURE]
        people: list[list[_Find]] = [[] for _ in images]
        finds = self._search([(images[i], whole_window(images[i])) for i in seen])
        for i, checked in zip(seen, self._check([images[i] for i in seen], finds), strict=True):
            people[i] = checked
        for i in seen:
            if enough is not None and len(people[i]) >= enough:
                continue
            if far or (far is None and not people[i]):
                tiled = self._search([(images[i], t) for t in tiles(images[i], parts)])
                new = _one_each([f for finds in tiled for f in finds], known=people[i], size=1.5)
                people[i] += self._check([images[i]], [new], trust=False)[0]
        return [
            [_detection(f, image) for f in _one_each(finds)]
            for image, finds in zip(images, people, strict=True)
        ]

    def _check(self, images: list[np.ndarray], finds: list[list[_Find]], trust=True) -> list[list[_Find]]:
        """Look again, in windows made for its size, at each find that is not secure (`trust`: some are).

        One look to get place and size right, then four whose points are averaged and whose mean score counts.
        """
        out = [[f for f in some if trust and _secure(f)] for some in finds]
        unsure = [(i, f) for i, some in enumerate(finds) for f in some if not (trust and _secure(f))]
        better: list[list[_Find]] = [[] for _ in images]
        for (i, _), (new,) in zip(unsure, self._looks(images, unsure, _FIRST_LOOK, 0.6), strict=True):
            if new and new.score >= _WORTH:
                better[i].append(new)
        unsure = [(i, f) for i, some in enumerate(better) for f in _one_each(some, known=out[i])]
        for (i, _), looks in zip(unsure, self._looks(images, unsure, _LOOKS, 0.3), strict=True):
            weights = [f.score for f in looks if f]
            if not weights:
                continue
            # Someone else in the window may outshout the person in one look: the best three count.
            score = sum(sorted(weights)[-3:]) / 3
            points = np.average([f.points for f in looks if f], axis=0, weights=weights)
            find = _Find(score, points, _LOOKS[0][0])
            small = find.radius < _SMALL * max(images[i].shape[:2])
            if score >= (max(_SMALL_THRESHOLD, self.threshold) if small else self.threshold):
                out[i].append(find)
        return [_one_each(some) for some in out]

    def _looks(self, images, finds: list[tuple[int, _Find]], looks, limit: float) -> list[list[_Find | None]]:
        """-> for each (picture number, find) what each look finds of that person: within `limit` of its size."""
        windows = []
        for i, f in finds:
            for radius, mirrored in looks:
                side = f.radius * SIDE / radius
                windows.append((images[i], (*(f.points[0] - side / 2), side), mirrored))
        seen = iter(self._search(windows))
        return [[_nearest(old, next(seen), limit) for _ in looks] for _, old in finds]

    def _search(self, windows: list[tuple]) -> list[list[_Find]]:
        """Run the network on square windows (picture, (x, y, side)[, mirrored]); -> finds of each, in pixels."""
        parts = self._hands.batches(self._search_some, self.engine.batch, windows)
        return [finds for part in parts for finds in part]

    def _search_some(self, windows: list[tuple]) -> list[list[_Find]]:
        cut = [cut_window(image, *window) for image, window, *_ in windows]
        flip = [bool(rest and rest[0]) for _, _, *rest in windows]
        pictures = np.stack([c[0][:, ::-1] if m else c[0] for c, m in zip(cut, flip, strict=True)])
        scores, boxes = (t.float().cpu().numpy() for t in self.engine.run(pictures))
        return [
            self._finds(s, b, *place, m)
            for s, b, (_, *place), m in zip(scores, boxes, cut, flip, strict=True)
        ]

    def _finds(self, scores, boxes, scale, offset, mirrored: bool) -> list[_Find]:
        """Somebody each, from the network's numbers (2254,) and (2254, 6, 2) for one window."""
        likely = scores >= _CANDIDATE
        boxes = boxes[likely]
        boxes[:, 0] += self._anchors[likely]
        boxes[:, 2:] += self._anchors[likely, None]
        finds = []
        for score, points in weighted_nms(scores[likely], boxes):
            points = points[2:] * SIDE
            radius = float(np.linalg.norm(points[1] - points[0]))
            if mirrored:
                points[:, 0] = SIDE - points[:, 0]
            finds.append(_Find(score, points * scale + offset, radius))
        return finds


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


def tiles(image: np.ndarray, parts: Sequence[int] = (2, 4)) -> list[tuple[float, float, float]]:
    """Squares (x, y, side) of these parts of the larger side (a half, a quarter), overlapping by half."""
    h, w = image.shape[:2]
    out = []
    for part in parts:
        side = max(h, w) / part
        # A person in it would be smaller than anything the network knows.
        if side < 64:
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


def _gap(a: _Find, b: _Find) -> float:
    """Mean distance of the hips and of the shoulders, in sizes of the larger person."""
    return float(np.linalg.norm(a.points[[0, 2]] - b.points[[0, 2]], axis=1).mean() / max(a.radius, b.radius))


def _nearest(old: _Find, finds: list[_Find], limit: float) -> _Find | None:
    """The find that best continues `old`: sure and near; None when none is within `limit` of its size."""
    near = [(f.score - _gap(old, f) / limit, n) for n, f in enumerate(finds) if _gap(old, f) < limit]
    return finds[max(near)[1]] if near else None


def _one_each(finds: list[_Find], known: Sequence[_Find] = (), size: float = np.inf) -> list[_Find]:
    """Of finds of one picture from several windows, the best of each person who is not `known`, best first.

    `size`: finds whose sizes differ by more than this factor are kept apart.
    """
    out: list[_Find] = []
    for f in sorted(finds, key=lambda f: -f.score):
        rivals = [g for g in out if max(f.radius, g.radius) < size * min(f.radius, g.radius)]
        if not any(_gap(f, g) < 0.3 for g in (*known, *rivals)):
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

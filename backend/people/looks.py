"""What somebody looks like: colours of parts of the body, and whether two looks are one person's. Pure.

The landmarks say where each part is in any pose, so that a shirt is compared with a shirt and trousers with trousers.
Parts that lie outside the picture, behind somebody nearer, or where the localizer is unsure, count little or nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from backend.people.choice import BONES
from backend.records import LOOKS

PARTS = ("hair", "face", "chest", "upper back", "belly", "lower back", "upper arms", "forearms", "hips", "thighs",
         "shins", "feet")  # fmt: skip
"""In the order of the rows of looks (LOOKS, 4): L, a, b of CIELAB and a weight 0..1 each."""
assert len(PARTS) == LOOKS
_L_SHOULDER, _R_SHOULDER, _L_HIP, _R_HIP = 11, 12, 23, 24
_CHEST, _BACK, _BELLY, _LOINS = 2, 3, 4, 5
_BODY = np.concatenate([BONES, [[11, 23], [12, 24], [11, 24], [12, 23], [0, 11], [0, 12]]])
"""Strokes by which a body covers others."""
_THICK = 0.13
"""Half of a stroke's width, in sizes of the person."""
_PATCH = 0.012
"""Distance of the pixels that are taken around a place, in sizes of the person."""
_SURE_M = 0.1
"""Metres of uncertainty from which on a part counts less."""
_SIDEWAYS = 0.12, 0.3
"""Distance of the shoulders over the length of the trunk: below the first neither front nor back is seen well, above
the second one of them is."""
# One sigma of a part's colour, of one person in two views and of two people: the lightness counts for half. Chosen on
# crowds of `bench.people`, seeds from 100 on.
_LIGHT = 0.5
_ONE, _TWO = 5.5, 24.0
_MOST, _LEAST = 1.0, -2.5
"""Bounds of what one part says: clothes are often alike, and a shadow is no other person."""
_TOGETHER = 0.7
"""Parts do not speak for themselves alone: a shade falls on several of them."""
HOLD = 60.0
"""Frames' worth of weight that a model holds at most."""


def _sites() -> tuple[np.ndarray, np.ndarray]:
    """(S, 33) weights of the landmarks and (S,) part: where colours are taken."""
    rows, parts = [], []

    def site(part: int, *given: tuple[int, float]) -> None:
        row = np.zeros(33)
        for k, w in given:
            row[k] += w
        rows.append(row)
        parts.append(part)

    for k in (0, 9, 10):
        site(1, (k, 1.0))
    site(1, (0, 0.5), (2, 0.5))
    site(1, (0, 0.5), (5, 0.5))
    # Above the eyes, as far as the mouth is below them.
    for eye, mouth in ((2, 9), (5, 10)):
        site(0, (eye, 2.1), (mouth, -1.1))
        site(0, (eye, 1.5), (mouth, -1.0), (7 if eye == 2 else 8, 0.5))
    for down in (0.12, 0.25, 0.4, 0.6, 0.75, 0.88):
        for across in (0.3, 0.5, 0.7):
            weights = ((_L_SHOULDER, (1 - down) * (1 - across)), (_R_SHOULDER, (1 - down) * across),
                       (_L_HIP, down * (1 - across)), (_R_HIP, down * across))  # fmt: skip
            for part in (_CHEST, _BACK) if down < 0.5 else (_BELLY, _LOINS):
                site(part, *weights)
    for a, b, part in ((11, 13, 6), (12, 14, 6), (13, 15, 7), (14, 16, 7), (23, 25, 9), (24, 26, 9), (25, 27, 10),
                       (26, 28, 10)):  # fmt: skip
        for t in (0.25, 0.45, 0.65, 0.85):
            site(part, (a, 1 - t), (b, t))
    for across in (0.2, 0.5, 0.8):
        site(8, (_L_HIP, 1 - across), (_R_HIP, across))
    for heel, toe in ((29, 31), (30, 32)):
        for t in (0.3, 0.6):
            site(11, (heel, 1 - t), (toe, t))
    return np.stack(rows), np.array(parts)


_WHERE, _PART = _sites()
_OF_PART = (_PART[None] == np.arange(LOOKS)[:, None]).astype(float)
_GRID = np.stack(np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]), -1).reshape(-1, 2)


def observed(image: np.ndarray, points: np.ndarray, sigma: np.ndarray, depth: float,
             others: Sequence[tuple[np.ndarray, float]] = ()) -> np.ndarray:  # fmt: skip
    """(LOOKS, 4) float16 looks of somebody in `image` (H, W, 3) uint8 RGB.

    `points`: (33, 2) landmarks, pixels; `sigma`: (33,) metres; `depth`: metres from the camera; `others`: landmarks and
    depth of everybody else: whoever is nearer covers.
    """
    out = np.zeros((LOOKS, 4), np.float16)
    if not np.isfinite(points).all():
        return out
    size = body_size(points)
    places = _WHERE @ points
    pixels = np.rint(places[:, None] + _GRID * max(1.0, _PATCH * size)).astype(int)
    height, width = image.shape[:2]
    inside = ((pixels >= 0) & (pixels < [width, height])).all(-1)
    x, y = (np.clip(pixels[..., k], 0, n - 1) for k, n in ((0, width), (1, height)))
    lab = cv2.cvtColor(image[y, x].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    weight = inside.all(1).astype(float)
    for theirs, far in others:
        if far < depth and np.isfinite(theirs).all():
            weight[covers(theirs, places)] = 0
    weight *= np.minimum(1.0, _SURE_M / np.maximum(np.abs(_WHERE) @ sigma, 1e-3)) ** 2
    colour = lab.mean(1)
    total = _OF_PART @ weight
    mean = (_OF_PART * weight) @ colour / np.maximum(total, 1e-9)[:, None]
    share = total / _OF_PART.sum(1)
    share[[_CHEST, _BELLY]] *= _facing(points)
    share[[_BACK, _LOINS]] *= _facing(points, -1.0)
    # A person of a few pixels has no colours of its own.
    share *= np.clip(size / 40, 0.1, 1)
    out[:, :3], out[:, 3] = mean, share
    return out


def everybodys_looks(image: np.ndarray,
                     people: Sequence[tuple[np.ndarray, np.ndarray, float]]) -> list[np.ndarray]:  # fmt: skip
    """Looks of all in a picture: landmarks (33, 2), their uncertainty (33,), and depth of each."""
    out = []
    for k, (points, sigma, depth) in enumerate(people):
        others = []
        for n, (theirs, _, far) in enumerate(people):
            # Two tracks on one body do not cover each other.
            apart = np.linalg.norm(theirs - points, axis=1).mean() > 0.15 * body_size(points)
            if n != k and apart:
                others.append((theirs, far))
        out.append(observed(image, points, sigma, depth, others))
    return out


def body_size(points: np.ndarray) -> float:
    """Pixels from the hips to the farthest of the landmarks (33, 2)."""
    return float(np.linalg.norm(points - points[[_L_HIP, _R_HIP]].mean(0), axis=1).max())


def _facing(points: np.ndarray, sign: float = 1.0) -> float:
    """0..1: how much of the front (`sign` 1) or the back (-1) of the trunk is seen."""
    across = points[_L_SHOULDER] - points[_R_SHOULDER] + points[_L_HIP] - points[_R_HIP]
    down = points[[_L_HIP, _R_HIP]].sum(0) - points[[_L_SHOULDER, _R_SHOULDER]].sum(0)
    # Upright and from the front, the left side is on the right.
    turn = sign * (across[0] * down[1] - across[1] * down[0]) / max(float(down @ down), 1e-6)
    low, high = _SIDEWAYS
    return float(
        np.clip(
            0.3 + 0.7 * (turn - low) / (high - low) if turn > low else 0.3 * (turn + low) / (2 * low), 0, 1
        )
    )


def covers(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(S,) bool: which of `places` (S, 2) lie on the body with landmarks `points` (33, 2)."""
    start, way = points[_BODY[:, 0]], points[_BODY[:, 1]] - points[_BODY[:, 0]]
    share = ((places[:, None] - start) * way).sum(-1) / np.maximum((way**2).sum(-1), 1e-9)
    gap = np.linalg.norm(start + np.clip(share, 0, 1)[..., None] * way - places[:, None], axis=-1)
    return gap.min(1) < _THICK * body_size(points)


def learnt(model: np.ndarray | None, looks: np.ndarray) -> np.ndarray:
    """A model (LOOKS, 4), whose weights are sums, with one more frame's `looks`; it forgets slowly."""
    looks = np.asarray(looks, float)
    if model is None:
        return looks.copy()
    old, new = model[:, 3], looks[:, 3]
    total = old + new
    out = np.empty_like(model)
    out[:, :3] = (model[:, :3] * old[:, None] + looks[:, :3] * new[:, None]) / np.maximum(total, 1e-9)[
        :, None
    ]
    out[:, 3] = np.minimum(total, HOLD)
    return out


def model_of(looks: np.ndarray) -> np.ndarray:
    """(n, LOOKS, 4) of many frames -> one model (LOOKS, 4): medians of what was seen well; weights are sums."""
    looks = np.asarray(looks, float)
    out = np.zeros((LOOKS, 4))
    for k in range(LOOKS):
        w = looks[:, k, 3]
        good = w > 0.5 * w.max(initial=0) if len(w) else np.zeros(0, bool)
        if good.any():
            out[k, :3] = np.median(looks[good, k, :3], axis=0)
            out[k, 3] = min(w.sum(), HOLD)
    return out


def same(a: np.ndarray, b: np.ndarray) -> float:
    """How much likelier looks or models `a` and `b` (LOOKS, 4) are one person's than two people's: natural logarithm
    of the ratio; 0 where nothing can be said."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    weight = np.minimum(np.minimum(a[:, 3], b[:, 3]), 1.0)
    step = (a[:, :3] - b[:, :3]) * [_LIGHT, 1, 1]
    square = (step**2).sum(1)
    said = 3 * np.log(_TWO / _ONE) - square / 2 * (_ONE**-2 - _TWO**-2)
    return float((np.clip(said, _LEAST, _MOST) * weight).sum() * _TOGETHER)

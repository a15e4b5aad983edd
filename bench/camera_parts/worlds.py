"""What a made-up camera looks at: a panorama or a photograph infinitely far away, and a cut-out person in front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from backend.synth.backgrounds import still

Look = Callable[[np.ndarray], np.ndarray]
"""Directions (h, w, 3) in the world, y down -> (h, w, 3) uint8 RGB."""
_WIDE = 8192
"""Columns of a panorama after it was made finer."""
_PHOTO_DEG = 80.0
"""Of a photograph's longer side: the camera's view is a part of it."""


def panorama(file: Path, grain: np.ndarray) -> Look:
    """An HDR panorama. They are coarse, so it gets the fine grain of a photograph (h, w, 3)."""
    image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)[..., 2::-1]
    image = np.clip((image / (2.5 * np.median(image))) ** (1 / 2.2), 0, 1).astype(np.float32)
    image = cv2.resize(image, (_WIDE, _WIDE // 2), interpolation=cv2.INTER_CUBIC)
    grey = cv2.cvtColor(grain, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine = (grey - cv2.blur(grey, (41, 41))) / 255
    fine = np.concatenate(
        [np.concatenate([fine, fine[:, ::-1]], 1), np.concatenate([fine, fine[:, ::-1]], 1)[::-1]], 0
    )
    times = -(-(_WIDE // 2) // fine.shape[0]), -(-_WIDE // fine.shape[1])
    image = image + 0.9 * np.tile(fine, times)[: _WIDE // 2, :_WIDE, None]
    texture = (np.clip(image, 0, 1) * 255).astype(np.uint8)

    def look(rays: np.ndarray) -> np.ndarray:
        x, y, z = np.moveaxis(rays, -1, 0)
        u = ((np.arctan2(x, z) / (2 * np.pi) + 0.5) % 1 * _WIDE).astype(np.float32)
        v = ((0.5 + np.arctan2(y, np.hypot(x, z)) / np.pi) * _WIDE / 2).astype(np.float32)
        return cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)

    return look


def photograph(image: np.ndarray) -> Look:
    """A picture (h, w, 3) as if it were infinitely far away; mirrored beyond its edges."""
    h, w = image.shape[:2]
    f = 0.5 * max(h, w) / np.tan(np.radians(_PHOTO_DEG) / 2)

    def look(rays: np.ndarray) -> np.ndarray:
        flat = rays[..., :2] / np.maximum(rays[..., 2:], 0.05)
        at = (f * flat + [(w - 1) / 2, (h - 1) / 2]).astype(np.float32)
        return cv2.remap(image, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)

    return look


@dataclass(frozen=True)
class Cutout:
    """Somebody in motion, without what is behind."""

    pictures: Sequence[np.ndarray]
    """(h, w, 3) uint8 RGB each."""
    masks: Sequence[np.ndarray]
    """(h, w) float32 0..1."""


def cutout(video: Path, most: int = 60) -> tuple[Cutout, np.ndarray]:
    """Whoever moves before a camera that stands still, and the empty place (h, w, 3) RGB."""
    empty = still(video)
    assert empty is not None
    clip, pictures, masks = cv2.VideoCapture(str(video)), [], []
    while len(pictures) < most:
        ok, frame = clip.read()
        if not ok:
            break
        away = cv2.GaussianBlur(np.abs(frame.astype(np.int16) - empty).max(-1).astype(np.uint8), (0, 0), 3)
        mask = cv2.morphologyEx((away > 22).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((25, 25)))
        count, parts, stats, _ = cv2.connectedComponentsWithStats(mask)
        if count < 2:
            continue
        largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
        x, y, w, h = stats[largest, :4]
        pictures.append(frame[y : y + h, x : x + w, ::-1].copy())
        masks.append(cv2.blur((parts[y : y + h, x : x + w] == largest).astype(np.float32), (3, 3)))
    return Cutout(pictures, masks), np.ascontiguousarray(empty[..., ::-1])


def put(image: np.ndarray, who: Cutout, k: int, foot: np.ndarray, height: float) -> np.ndarray:
    """Draw the person of frame `k` with the feet at `foot` (2,) and `height` tall, pixels. -> (4,) box x, y, w, h."""
    k %= len(who.pictures)
    high = max(int(height), 8)
    wide = max(int(high * who.masks[k].shape[1] / who.masks[k].shape[0]), 4)
    move = np.array([[1, 0, foot[0] - wide / 2], [0, 1, foot[1] - high]], np.float64)
    move = move @ np.diag([wide / who.masks[k].shape[1], high / who.masks[k].shape[0], 1])
    size = image.shape[1::-1]
    flags = cv2.INTER_LINEAR
    picture = cv2.warpAffine(who.pictures[k], move[:2], size, flags=flags)
    mask = cv2.warpAffine(who.masks[k], move[:2], size, flags=flags)[..., None]
    image[:] = (image * (1 - mask) + picture * mask).astype(np.uint8)
    return np.array([foot[0] - wide / 2, foot[1] - high, wide, high])

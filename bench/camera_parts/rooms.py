"""Places with depth for a made-up camera that goes about: a floor, walls and panels near and far, before what is
infinitely far away. Flat pieces are drawn by the nearest one of each pixel. Axes as a level camera's: x right, y down,
z forward, metres; the camera begins at the origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from bench.camera_parts.worlds import Look

EYES_M = 1.5
"""Metres from the floor to where the camera begins."""
_TEXTURE = 768
_TILE_M = 3.0


@dataclass(frozen=True)
class Piece:
    """A parallelogram with a picture on it."""

    corner: np.ndarray
    """(3,) where the picture's top left is."""
    across: np.ndarray
    """(3,) its whole width."""
    down: np.ndarray
    """(3,) its whole height."""
    levels: Sequence[np.ndarray]
    """(h, w, 3) uint8 RGB, each half as fine as the one before."""


@dataclass(frozen=True)
class Room:
    """What a camera sees."""

    pieces: Sequence[Piece]
    far: Look
    """What is infinitely far away."""


def build(
    rng: np.random.Generator, looks: Sequence[Look], far: Look, way: np.ndarray, people: np.ndarray
) -> Room:
    """A place around a camera that goes by `way` (n, 3) and somebody who goes by `people` (n, 3); nothing stands in
    their ways or between them. `looks`: what pictures are cut from."""
    pictures = [_picture(rng, looks) for _ in range(6)]
    every = np.concatenate([way, people])
    low, high = every.min(0) - np.array([7, 0, 5]), every.max(0) + np.array([7, 0, 9])
    pieces = []
    grounds = [_picture(rng, looks) for _ in range(3)]
    for x in np.arange(low[0], high[0], _TILE_M):
        for z in np.arange(low[2], high[2], _TILE_M):
            turn = int(rng.integers(4))
            levels = [np.ascontiguousarray(np.rot90(p, turn)) for p in grounds[int(rng.integers(3))]]
            pieces.append(Piece(np.array([x, EYES_M, z + _TILE_M]), np.array([_TILE_M, 0, 0]),
                                np.array([0, 0, -_TILE_M]), levels))  # fmt: skip
    between = np.concatenate([way + share * (people - way) for share in (0, 0.25, 0.5, 0.75, 1.0)])
    wanted, tries = int(rng.integers(10, 18)), 0
    while wanted and tries < 400:
        tries += 1
        wide, high_m = rng.uniform(0.4, 2.2), rng.uniform(0.4, 2.6)
        middle = rng.uniform(low, high)
        if np.linalg.norm((between - middle)[:, [0, 2]], axis=1).min() < wide / 2 + 0.7:
            continue
        yaw = rng.uniform(-1.0, 1.0)
        across = wide * np.array([np.cos(yaw), 0, np.sin(yaw)])
        top = EYES_M - high_m - (rng.uniform(0, 0.8) if rng.random() < 0.3 else 0)
        corner = np.array([middle[0], top, middle[2]]) - across / 2
        pieces.append(Piece(corner, across, np.array([0, high_m, 0]), pictures[int(rng.integers(6))]))
        wanted -= 1
    if rng.random() < 0.6:
        # A wall behind everything, in pieces so that its picture is fine enough.
        for x in np.arange(low[0] - 4, high[0] + 4, 4.0):
            pieces.append(Piece(np.array([x, EYES_M - 4.0, high[2]]), np.array([4.0, 0, 0]), np.array([0, 4.0, 0]),
                                pictures[int(rng.integers(6))]))  # fmt: skip
    return Room(pieces, far)


def picture(
    room: Room, turn: np.ndarray, place: np.ndarray, focal: float, size: tuple[int, int]
) -> np.ndarray:
    """(h, w, 3) uint8 as a camera at `place` sees it; `turn`: (3, 3) of the room -> camera axes, `focal`: pixels,
    `size`: (w, h)."""
    wide, high = size
    u = (np.arange(wide, dtype=np.float32) - (wide - 1) / 2)[None] / np.float32(focal)
    v = (np.arange(high, dtype=np.float32) - (high - 1) / 2)[:, None] / np.float32(focal)
    one = np.ones((high, wide), np.float32)
    image = room.far(np.stack([u * one, v * one, one], -1) @ turn)
    nearest = np.full((high, wide), 1e-3, np.float32)
    for piece in room.pieces:
        H = turn @ np.stack([piece.across, piece.down, piece.corner - place], 1)
        if abs(np.linalg.det(H)) < 1e-9:
            continue
        corners = H @ np.array([[0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1.0]])
        if (corners[2] < 0.05).all():
            continue
        x0, x1, y0, y1 = 0, wide, 0, high
        if (corners[2] > 0.05).all():
            flat = corners[:2] / corners[2] * focal + np.array([[(wide - 1) / 2], [(high - 1) / 2]])
            (x0, y0), (x1, y1) = np.floor(flat.min(1)).astype(int), np.ceil(flat.max(1)).astype(int) + 1
            x0, x1, y0, y1 = max(x0, 0), min(x1, wide), max(y0, 0), min(y1, high)
        if x0 >= x1 or y0 >= y1:
            continue
        G = np.linalg.inv(H).astype(np.float32)
        a, b, w = (G[i, 0] * u[:, x0:x1] + G[i, 1] * v[y0:y1] + G[i, 2] for i in range(3))
        seen = (w > nearest[y0:y1, x0:x1]) & (a >= 0) & (b >= 0) & (a <= w) & (b <= w)
        if not seen.any():
            continue
        nearest[y0:y1, x0:x1][seen] = w[seen]
        depth = 1 / float(np.median(w[seen]))
        texel = np.linalg.norm(piece.across) / piece.levels[0].shape[1]
        level = int(
            np.clip(np.floor(np.log2(max(depth / focal / texel, 1.0)) + 0.3), 0, len(piece.levels) - 1)
        )
        texture = piece.levels[level]
        h, w_px = texture.shape[:2]
        at = 1 / np.where(seen, w, 1)
        drawn = cv2.remap(
            texture, a * at * w_px - 0.5, b * at * h - 0.5, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        np.copyto(image[y0:y1, x0:x1], drawn, where=seen[..., None])
    return image


def _picture(rng: np.random.Generator, looks: Sequence[Look]) -> list[np.ndarray]:
    """Part of what there is to be seen, and the same coarser and coarser."""
    look = looks[int(rng.integers(len(looks)))]
    yaw, pitch = rng.uniform(-0.6, 0.6), rng.uniform(-0.15, 0.25)
    flat = (np.arange(_TEXTURE) + 0.5) / _TEXTURE * 0.9 - 0.45
    rays = np.stack([*np.meshgrid(flat, flat), np.ones((_TEXTURE, _TEXTURE))], -1)
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    levels = [look(rays @ turn.T)]
    while levels[-1].shape[0] > 24:
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    return levels

"""The drawn vertices of a person over time: many frames are posed at once, the last ones stay in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
import torch
from scipy.sparse import csr_matrix

from backend.body.kinematics import forward
from backend.body.model import CanonicalPoints
from backend.records import TrackMotion

CHUNK = 32
"""Frames that are posed at once."""
_KEPT = 3
"""Chunks of a person that stay in memory: painters that work at the same time are at most a few frames apart."""

T = TypeVar("T")


class Chunked(Generic[T]):
    """What is made for a whole chunk of frames, made when the first of them is asked for. Any thread may ask.

    `make(start, end)` -> what belongs to the frames from row `start` to before `end` of `count`.
    """

    def __init__(self, count: int, make: Callable[[int, int], T]) -> None:
        self._count, self._make = count, make
        self._chunks: OrderedDict[int, T] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, row: int) -> tuple[T, int]:
        """What was made for the chunk that `row` lies in, and where in the chunk it lies."""
        number, place = divmod(row, CHUNK)
        with self._lock:
            if number not in self._chunks:
                start = number * CHUNK
                self._chunks[number] = self._make(start, min(start + CHUNK, self._count))
                while len(self._chunks) > _KEPT:
                    self._chunks.popitem(last=False)
            return self._chunks[number], place


class Poser:
    """Poses points of a body, and the normals of the surface between them.

    `points`: P points of the body; `faces`: (G, 3) triangles of them, normals outward.
    """

    def __init__(self, points: CanonicalPoints, tensors, faces: np.ndarray | None = None) -> None:
        self._body, self._points = tensors, points.to("cpu")
        self._faces = faces
        if faces is not None:
            corners = np.repeat(np.arange(len(faces)), 3)
            ones = np.ones(faces.size, np.float32)
            self._gather = csr_matrix((ones, (faces.ravel(), corners)), shape=(len(points), len(faces)))

    def pose(self, motion: TrackMotion, start: int, end: int) -> np.ndarray:
        """(end - start, P, 3) float32, metres, camera space."""
        part = slice(start, end)
        with torch.inference_mode():
            posed = forward(
                self._body, torch.from_numpy(motion.pose[part]), torch.from_numpy(motion.betas),
                torch.from_numpy(motion.trans[part]), torch.from_numpy(motion.expression[part]),
                points=self._points)  # fmt: skip
        return posed.points.numpy()

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Unit normals (B, P, 3) of posed points (B, P, 3): means of the triangles around, weighted by area."""
        a, b, c = (points[:, self._faces[:, k]] for k in range(3))
        flat = np.cross(b - a, c - a).swapaxes(0, 1).reshape(len(self._faces), -1)
        normal = (self._gather @ flat).reshape(points.shape[1], -1, 3).swapaxes(0, 1)
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        return normal / np.maximum(length, np.float32(1e-12))

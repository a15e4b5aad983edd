"""The drawn vertices of a person over time: many frames are posed at once, the last ones stay in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from scipy.sparse import csr_matrix

from backend.body.kinematics import forward
from backend.body.model import BodyTensors, CanonicalPoints
from backend.records import TrackMotion

CHUNK = 32
"""Frames that are posed at once."""
T = TypeVar("T")


class _Cell(Generic[T]):
    """What one chunk will be, made by the first thread that comes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: list[T] = []

    def get(self, make: Callable[[], T]) -> T:
        with self._lock:
            if not self._made:
                self._made.append(make())
            return self._made[0]


class Chunked(Generic[T]):
    """What is made of the motions for a whole chunk of frames, when the first of them is asked for. Any thread may ask,
    none far ahead of the others: only as many chunks stay in memory as people are seen at once.

    `make(motion, start, end)` -> what belongs to the motion's rows from `start` to before `end`.
    """

    def __init__(self, motions: Sequence[TrackMotion], make: Callable[[TrackMotion, int, int], T]) -> None:
        self._motions, self._make = motions, make
        _, at_once = np.unique(np.concatenate([m.frames for m in motions]), return_counts=True)
        # The frames under way may lie on both sides of a chunk's end.
        self._most = 2 * int(at_once.max(initial=1))
        self._cells: OrderedDict[tuple[int, int], _Cell[T]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, number: int, row: int) -> tuple[T, int]:
        """What was made for the chunk that `row` of the motion `number` lies in, and where in the chunk it lies."""
        chunk, place = divmod(row, CHUNK)
        with self._lock:
            cell = self._cells.pop((number, chunk), None) or _Cell()
            # At the end of the line of those that have to go.
            self._cells[number, chunk] = cell
            while len(self._cells) > self._most:
                self._cells.popitem(last=False)
        motion, start = self._motions[number], chunk * CHUNK
        end = min(start + CHUNK, len(motion.frames))
        return cell.get(lambda: self._make(motion, start, end)), place


class Poser:
    """Poses points of a body, and the normals of the surface between them.

    `points`: P points of `body`; `faces`: (G, 3) triangles of them, normals outward.
    """

    def __init__(self, points: CanonicalPoints, body: BodyTensors, faces: np.ndarray | None = None) -> None:
        self._body, self._points = body, points.to("cpu")
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
        ab, ac = b - a, c - a
        # `np.cross` takes three times as long.
        turned = [ab[..., i] * ac[..., j] - ab[..., j] * ac[..., i] for i, j in ((1, 2), (2, 0), (0, 1))]
        flat = np.stack(turned, -1).swapaxes(0, 1).reshape(len(self._faces), -1)
        normal = (self._gather @ flat).reshape(points.shape[1], -1, 3).swapaxes(0, 1)
        length = np.linalg.norm(normal, axis=-1, keepdims=True)
        return normal / np.maximum(length, np.float32(1e-12))

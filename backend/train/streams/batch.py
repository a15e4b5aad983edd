"""What a stream gives and a training step takes: pictures, canonical points, and the targets that are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Example:
    """One crop and P points.

    Camera space of the crop: metres, x right, y down, z away. The targets are those in the picture as it is now,
    mirrored or not.
    """

    image: np.ndarray
    """(256, 256, 3) uint8 RGB."""
    K: np.ndarray
    """(3, 3) pixels; 0 is the middle of the first one."""
    points3d: np.ndarray
    """(P, 3) metres."""
    points2d: np.ndarray
    """(P, 2) pixels."""
    valid3d: np.ndarray
    """(P,) bool, which of `points3d` are known; the others may hold anything."""
    valid2d: np.ndarray
    """(P,) bool, which of `points2d` are known; the others may hold anything."""
    mirrored: bool = False
    """Whether the picture was mirrored: canonical point p is then seen where the mirror image of p was."""
    absolute: bool = True
    """Whether 3D is known in camera space, or only up to a translation."""


@dataclass(frozen=True, eq=False)
class Batch:
    """B examples that share their P canonical points. Targets as in `Example`."""

    images: Tensor
    """(B, 3, 256, 256) uint8 RGB."""
    K: Tensor
    """(B, 3, 3) float32 pixels."""
    points: Tensor
    """(P, 3) float32 canonical, metres."""
    points3d: Tensor
    """(B, P, 3) float32 metres; 0 where not valid."""
    points2d: Tensor
    """(B, P, 2) float32 pixels; 0 where not valid."""
    valid3d: Tensor
    """(B, P) bool."""
    valid2d: Tensor
    """(B, P) bool."""
    mirrored: Tensor
    """(B,) bool."""
    absolute: Tensor
    """(B,) bool."""
    root: int
    """Row of the point that 3D is relative to; -1 for the mean of the valid ones."""
    stream: str
    """Name of the stream."""
    maps: dict[str, Tensor] | None = None
    """What the trunk says of the images, where it has looked already."""

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> Batch:
        """The same on a torch device."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        if self.maps is not None:
            values["maps"] = {k: v.to(device) for k, v in self.maps.items()}
        return Batch(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in values.items()})


class Stream(Protocol):
    """A source of training data.

    `name`: for reports; `batch(index, size)`: a pure function of its arguments, the stream's data and its seed, so
    that an interrupted training goes on exactly and every process of several can take its own indices.
    """

    name: str

    def batch(self, index: int, size: int) -> Batch:
        """`size` examples, number `index` of an endless row."""
        ...


def collate(examples: Sequence[Example], points: np.ndarray, root: int, stream: str) -> Batch:
    """Examples of the same canonical `points` (P, 3) as a batch. What is not valid becomes zero: it may be NaN."""
    images = np.stack([e.image for e in examples]).transpose(0, 3, 1, 2)
    valid3d = np.stack([e.valid3d for e in examples])
    valid2d = np.stack([e.valid2d for e in examples])
    points3d = np.where(valid3d[..., None], np.stack([e.points3d for e in examples]), 0)
    points2d = np.where(valid2d[..., None], np.stack([e.points2d for e in examples]), 0)
    return Batch(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.from_numpy(np.stack([e.K for e in examples]).astype(np.float32)),
        torch.from_numpy(np.asarray(points, np.float32)),
        torch.from_numpy(points3d.astype(np.float32)),
        torch.from_numpy(points2d.astype(np.float32)),
        torch.from_numpy(valid3d),
        torch.from_numpy(valid2d),
        torch.tensor([e.mirrored for e in examples]),
        torch.tensor([e.absolute for e in examples]),
        root,
        stream,
    )

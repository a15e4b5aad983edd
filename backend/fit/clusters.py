"""Many points become few without loss: neighbours that hang on the same joints are averaged, targets likewise.

The mean of a cluster's points is itself a fixed linear combination of vertices, so nothing is assumed of the body;
only the work per iteration gets less, and the noise of thousands of points is still averaged out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backend.body.model import CanonicalPoints

_LENGTH_M = 0.03
"""Distance that counts as much as half of a point's weight moved to another joint."""
_CANDIDATES = 4000


@dataclass(frozen=True, eq=False)
class Clusters:
    """V points as N averaged ones."""

    points: CanonicalPoints
    """The N averaged points."""
    member: np.ndarray
    """(V,) cluster of each original point."""
    count: np.ndarray
    """(N,) original points in each cluster."""
    offset: np.ndarray
    """(V, 3) rest place of each original point from its cluster's, metres."""


def cluster(points: CanonicalPoints, number: int) -> Clusters:
    """At most `number` clusters: seeds far from each other, every point to the nearest. Deterministic."""
    V = len(points)
    if number >= V:
        return Clusters(points, np.arange(V), np.ones(V), np.zeros((V, 3), np.float32))
    feature = np.concatenate([points.positions / _LENGTH_M, 2 * points.weights], 1).astype(np.float32)
    member = _nearest(feature, feature[_spread(feature, number)])
    kept, member = np.unique(member, return_inverse=True)
    count = np.bincount(member, minlength=len(kept)).astype(np.float64)
    order = np.argsort(member, kind="stable")
    starts = np.concatenate([[0], np.cumsum(count)[:-1]]).astype(int)

    def mean(a: np.ndarray) -> np.ndarray:
        total = np.add.reduceat(a[order].reshape(V, -1), starts, axis=0, dtype=np.float64)
        return np.ascontiguousarray(
            (total / count[:, None]).reshape(len(kept), *a.shape[1:]), dtype=np.float32
        )

    posedirs = None
    if points.posedirs is not None:
        rows = points.posedirs.reshape(len(points.posedirs), V, 3)
        posedirs = np.stack([mean(block) for block in rows]).reshape(len(rows), -1)
    middle = CanonicalPoints(
        *(mean(getattr(points, n)) for n in ("positions", "weights", "shapedirs", "exprdirs")), posedirs
    )
    return Clusters(middle, member, count, points.positions - middle.positions[member])


def _spread(feature: np.ndarray, number: int) -> np.ndarray:
    """Rows of `number` points far from each other (farthest-point sampling over evenly drawn candidates)."""
    rows = np.arange(len(feature))
    if len(rows) > max(_CANDIDATES, 2 * number):
        rows = rows[:: len(rows) // max(_CANDIDATES, 2 * number)]
    some = feature[rows]
    square = (some * some).sum(1)
    far = np.full(len(some), np.inf, np.float32)
    chosen = np.empty(number, int)
    at = 0
    for k in range(number):
        chosen[k] = at
        far = np.minimum(far, square - 2 * (some @ some[at]) + square[at])
        at = int(far.argmax())
    return rows[np.unique(chosen)]


def _nearest(feature: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    half = (seeds * seeds).sum(1) / 2
    return np.concatenate(
        [(half - feature[i : i + 2048] @ seeds.T).argmin(1) for i in range(0, len(feature), 2048)]
    )


class Gatherer:
    """Averages targets of the original points over clusters, on `device`."""

    def __init__(self, clusters: Clusters, dtype: torch.dtype, device: torch.device | str) -> None:
        self.member = torch.as_tensor(clusters.member, device=device, dtype=torch.long)
        self.count = torch.as_tensor(clusters.count, dtype=dtype, device=device)
        self.offset = torch.as_tensor(clusters.offset, dtype=dtype, device=device)
        self.trivial = bool((clusters.count == 1).all())

    def sums(self, values: Tensor) -> Tensor:
        """(V, k) -> (N, k) sums over each cluster."""
        out = values.new_zeros(len(self.count), values.shape[1])
        return out.index_add_(0, self.member, values)

    def plain(self, targets: Tensor) -> tuple[Tensor, Tensor, None]:
        """Every point seen, all alike: (V, 3, B) -> mean targets (N, 3, B), counts (N, B), no shift."""
        V, _, B = targets.shape
        if self.trivial:
            return targets, self.count[:, None].expand(-1, B), None
        mean = self.sums(targets.reshape(V, -1)) / self.count[:, None]
        return mean.reshape(-1, 3, B), self.count[:, None].expand(-1, B), None

    def weighted(self, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Weights (V, B), 0 where unseen: means (N, 3, B), summed weights (N, B), and how far the weighted middle
        of each cluster lies from its middle in the rest pose (N, 3, B)."""
        if self.trivial:
            return targets, weights, None
        V, _, B = targets.shape
        total = self.sums(weights)
        safe = torch.where(total > 0, total, 1.0)[:, None]
        mean = self.sums((targets * weights[:, None]).reshape(V, -1)).reshape(-1, 3, B) / safe
        shift = self.sums((self.offset[..., None] * weights[:, None]).reshape(V, -1)).reshape(-1, 3, B)
        return mean, total, shift / safe

"""Streams of records: what the pictures of a dataset supervise, in batches that share their canonical points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from backend.train.datasets.record import Record, example_of
from backend.train.streams.augment import PLAIN, Looks
from backend.train.streams.batch import Batch, Example, collate
from backend.train.streams.framing import STILL, Shake


class Records(Protocol):
    """A dataset, opened: its people by number. `root`: row of the pelvis in the points that all share, -1 if there is
    none or every record has points of its own."""

    root: int

    def __len__(self) -> int: ...

    def record(self, i: int) -> Record:
        """Number `i` of `len(self)`."""
        ...


class RecordStream:
    """Keypoints and dense surface points. `points`: how many of a batch at most; records with points of their own share
    them out evenly. `fov`: degrees, for pictures without a camera."""

    def __init__(
        self,
        records: Records,
        name: str,
        *,
        points: int = 192,
        shake: Shake = STILL,
        looks: Looks = PLAIN,
        fov: float = 55.0,
        seed: int = 0,
    ) -> None:
        self.records, self.name = records, name
        self.points, self.fov, self.seed = points, fov, seed
        self.shake, self.looks = shake, looks

    def batch(self, index: int, size: int) -> Batch:
        """See `Stream.batch`: people are drawn with replacement."""
        rng = np.random.default_rng((self.seed, index))
        chosen = [self.records.record(int(i)) for i in rng.integers(len(self.records), size=size)]
        return self.examples(chosen, rng)

    def examples(self, chosen: Sequence[Record], rng: np.random.Generator) -> Batch:
        """A batch of exactly these people."""
        shared = all(r.points is chosen[0].points for r in chosen)
        if not shared:
            most = max(4, self.points // len(chosen))
            chosen = [thinned(r, most, rng) for r in chosen]
        examples = [example_of(r, rng, self.shake, self.looks, self.fov) for r in chosen]
        if shared:
            return collate(examples, chosen[0].points, self.records.root, self.name)
        examples, points = joined(examples, [r.points for r in chosen])
        return collate(examples, points, -1, self.name)


def thinned(record: Record, most: int, rng: np.random.Generator) -> Record:
    """`record` with `most` of its points, at random, if it has more."""
    if len(record.points) <= most:
        return record
    rows = np.sort(rng.choice(len(record.points), most, replace=False))
    per_point = ("points", "points2d", "valid2d", "points3d", "valid3d")
    cut = {n: getattr(record, n)[rows] for n in per_point if getattr(record, n) is not None}
    return replace(record, **cut)


def joined(examples: Sequence[Example], points: Sequence[np.ndarray]) -> tuple[list[Example], np.ndarray]:
    """Examples with points of their own as examples of all the points, of which each knows its own."""
    total = sum(len(p) for p in points)
    out, start = [], 0
    for example, own in zip(examples, points, strict=True):
        rows = slice(start, start + len(own))
        spread = {}
        for name in ("points3d", "points2d", "valid3d", "valid2d"):
            values = getattr(example, name)
            wide = np.zeros((total, *values.shape[1:]), values.dtype)
            wide[rows] = values
            spread[name] = wide
        out.append(replace(example, **spread))
        start += len(own)
    return out, np.concatenate(points)

"""The synthetic stream: rendered people whose every point is known, by the body's own kinematics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from backend.body.kinematics import forward
from backend.body.model import Body
from backend.camera.pinhole import Camera
from backend.train.streams.augment import PLAIN, Looks, change_looks
from backend.train.streams.batch import Batch, Example, collate
from backend.train.streams.framing import STILL, Shake, crop_example, mirror_example, shaken_region
from backend.train.streams.points import PointPool


@dataclass(frozen=True, eq=False)
class Rendered:
    """A picture of one person."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB."""
    K: np.ndarray
    """(3, 3) pixels."""
    pose: np.ndarray
    """(55, 3) rotation vectors, the pelvis in camera space."""
    betas: np.ndarray
    """(nb,) shape of the body."""
    expression: np.ndarray
    """(ne,) of the body."""
    trans: np.ndarray
    """(3,) metres, camera space."""


class Pictures(Protocol):
    """Where rendered pictures come from: picture i is always the same."""

    def __len__(self) -> int: ...

    def picture(self, i: int) -> Rendered:
        """Number `i` of `len(self)`."""
        ...


class SyntheticStream:
    """`points`: how many canonical points share a batch; `group`: pictures that share them."""

    name = "synthetic"

    def __init__(
        self,
        pictures: Pictures,
        body: Body,
        pool: PointPool,
        *,
        points: int = 192,
        inside: float = 0.3,
        shake: Shake = STILL,
        looks: Looks = PLAIN,
        seed: int = 0,
    ) -> None:
        self.pictures, self.pool = pictures, pool
        self.points, self.inside = points, inside
        self.shake, self.looks, self.seed = shake, looks, seed
        self._body = body.to()
        self._n_betas, self._n_expressions = body.n_betas, body.n_expressions

    def batch(self, index: int, size: int) -> Batch:
        """See `Stream.batch`: pictures are drawn with replacement."""
        rng = np.random.default_rng((self.seed, index))
        rendered = [self.pictures.picture(int(i)) for i in rng.integers(len(self.pictures), size=size)]
        return self.examples(rendered, self.pool.draw(rng, self.points, self.inside), rng)

    def examples(self, rendered: Sequence[Rendered], rows: np.ndarray, rng: np.random.Generator) -> Batch:
        """A batch of exactly these pictures and rows of the pool."""
        points = self.pool.points.take(rows)
        stack = lambda name: torch.from_numpy(np.stack([getattr(r, name) for r in rendered])).float()  # noqa: E731
        posed = forward(
            self._body, stack("pose"), stack("betas"), stack("trans"), stack("expression"), points
        )
        assert posed.points is not None
        places = posed.points.double().numpy()
        examples = [self._example(r, x, rng) for r, x in zip(rendered, places, strict=True)]
        return collate(examples, points.positions, 0, self.name)

    def _example(self, r: Rendered, points3d: np.ndarray, rng: np.random.Generator) -> Example:
        camera = Camera(r.K, r.image.shape[1], r.image.shape[0])
        points2d = camera.project(points3d)
        known = np.isfinite(points2d).all(-1)
        plain = Example(r.image, r.K, points3d, points2d, np.ones(len(points3d), bool), known)
        roi = shaken_region(points2d[self.pool.landmarks], rng, self.shake)
        example = crop_example(r.image, r.K, roi, plain)
        if rng.random() < self.shake.mirror:
            example = mirror_example(example)
        image = change_looks(example.image, rng, self.looks)
        seen = known & np.isfinite(example.points2d).all(-1)
        return Example(
            image, example.K, example.points3d, example.points2d, example.valid3d, seen, example.mirrored
        )

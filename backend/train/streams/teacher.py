"""The stream of real pictures without labels: BlazePose's landmarks are the teacher of the 33 points it knows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.body.landmarks import body_landmarks
from backend.body.model import Body
from backend.camera.pinhole import Camera
from backend.train.streams.augment import Looks, change_looks
from backend.train.streams.batch import Batch, Example, collate
from backend.train.streams.framing import Shake, crop_example, mirror_example, shaken_region
from backend.train.streams.shards import Shards

ARRAYS = ("K", "points2d", "relative", "visibility")
_VISIBLE = 0.5


class TeacherStream:
    """Pictures of `folders` (see `backend.train.gather`). `depth`: the teacher's 3D counts too."""

    name = "real"

    def __init__(
        self,
        folders: Sequence[str],
        body: Body,
        *,
        shake: Shake,
        looks: Looks,
        depth: bool = True,
        seed: int = 0,
    ) -> None:
        self.shards = Shards(folders, ARRAYS)
        self.shake, self.looks, self.depth, self.seed = shake, looks, depth, seed
        self._points = body_landmarks(body)[0].positions

    def batch(self, index: int, size: int) -> Batch:
        """See `Stream.batch`: pictures are drawn with replacement."""
        rng = np.random.default_rng((self.seed, index))
        examples = [self._example(int(i), rng) for i in rng.integers(len(self.shards), size=size)]
        return collate(examples, self._points, -1, self.name)

    def _example(self, i: int, rng: np.random.Generator) -> Example:
        image, row = self.shards.row(i)
        sure = row["visibility"] > _VISIBLE
        xy, K = row["points2d"].astype(float), row["K"]
        plain = Example(
            image,
            K,
            row["relative"].astype(float),
            xy,
            sure if self.depth else np.zeros_like(sure),
            sure,
            absolute=False,
        )
        example = crop_example(image, K, shaken_region(xy, rng, self.shake), plain)
        if rng.random() < self.shake.mirror:
            example = mirror_example(example)
        seen = example.valid2d & np.isfinite(example.points2d).all(-1)
        return Example(
            change_looks(example.image, rng, self.looks), example.K, example.points3d, example.points2d,
            example.valid3d, seen, example.mirrored, absolute=False,
        )  # fmt: skip


def picture_camera(image: np.ndarray) -> Camera:
    """The camera assumed for a picture of which nothing is known."""
    return Camera.from_fov(image.shape[1], image.shape[0])

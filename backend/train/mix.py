"""The streams of a recipe, and the mixed batches that a step gets from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from backend.body.load import load_body
from backend.body.model import Body
from backend.localizers.field.file import read_field
from backend.localizers.field.trunk import load_trunk
from backend.nets.graph import Graph
from backend.train.config import Recipe
from backend.train.datasets.open import open_source, turns
from backend.train.streams.batch import Batch, Stream
from backend.train.streams.points import point_pool
from backend.train.streams.shards import Shards
from backend.train.streams.synthetic import Rendered, SyntheticStream
from backend.train.streams.teacher import TeacherStream

PERSON = ("K", "pose", "betas", "expression", "trans")


class RenderedShards:
    """Rendered pictures in shards, as `synthetic.Pictures`."""

    def __init__(self, folders) -> None:
        self._shards = Shards(folders, PERSON)

    def __len__(self) -> int:
        return len(self._shards)

    def picture(self, i: int) -> Rendered:
        """See `Pictures.picture`."""
        image, row = self._shards.row(i)
        return Rendered(image, *(np.asarray(row[name], float) for name in PERSON))


@dataclass
class MixedBatches(Dataset):
    """Batch i of the whole training, a list with one `Batch` for each stream.

    A process that loads it in the background opens the streams itself.
    """

    recipe: Recipe
    """Of the training."""
    size: int
    """Pictures in a batch, of all streams together."""
    length: int
    """How many batches there are."""

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> list[Batch]:
        if self.recipe.data.sources:
            batches = mixed_with_sources(self.recipe, self.streams, self.size, index)
        else:
            batches = [stream.batch(index, n) for stream, n in zip(self.streams, self.sizes, strict=True)]
        return [looked_at(b, self.trunk) for b in batches] if self.recipe.run.ahead else batches

    @cached_property
    def trunk(self) -> Graph:
        """The trunk that never learns."""
        config, start = self.recipe.model, self.recipe.start
        return read_field(Path(start))[0].trunk if start else load_trunk(config.trunk, config.taps())

    @cached_property
    def sizes(self) -> list[int]:
        """Pictures of each stream; the rounding goes to the first."""
        d = self.recipe.data
        shares = [s for s in (d.synthetic.share, d.real.share) if s > 0]
        sizes = [max(1, round(s * self.size)) for s in shares]
        sizes[0] += self.size - sum(sizes)
        return sizes

    @cached_property
    def streams(self) -> list[Stream]:
        """Opened when first needed."""
        return open_streams(self.recipe)

    def __getstate__(self) -> dict:
        """Open files and bodies do not travel to other processes."""
        return {k: v for k, v in self.__dict__.items() if k not in ("streams", "sizes", "trunk")}


def open_streams(recipe: Recipe) -> list[Stream]:
    """All streams with a share: synthetic, real, then the datasets in their order."""
    import cv2

    # The processes share the cores already.
    cv2.setNumThreads(1)
    d, body, out = recipe.data, recipe_body(recipe), []
    if d.synthetic.share > 0:
        out.append(synthetic_stream(recipe, body))
    if d.real.share > 0:
        out.append(TeacherStream(d.real.shards, body, shake=d.real.shake, looks=d.real.looks, depth=d.real.depth,
                                 seed=recipe.run.seed + 1))  # fmt: skip
    for number, source in enumerate(d.sources):
        out.append(open_source(source, body, point_pool(body), points=d.points, inside=d.inside,
                               seed=recipe.run.seed + 2 + number))  # fmt: skip
    return out


def mixed_with_sources(recipe: Recipe, streams: list[Stream], size: int, index: int) -> list[Batch]:
    """Batch `index` of a recipe with datasets: streams that are due less than one picture come now and then."""
    d = recipe.data
    shares = [s for s in (d.synthetic.share, d.real.share) if s > 0] + [s.share for s in d.sources]
    counts = turns(shares, size, index)
    return [stream.batch(index, n) for stream, n in zip(streams, counts, strict=True) if n]


@torch.no_grad()
def looked_at(batch: Batch, trunk: Graph) -> Batch:
    """The same with what the trunk says of it."""
    images = batch.images.float().div_(255).contiguous(memory_format=torch.channels_last)
    return replace(batch, maps=trunk(images, trunk.names))


def recipe_body(recipe: Recipe) -> Body:
    """The body whose points are learnt."""
    return _body(recipe.data.body)


@lru_cache(maxsize=2)
def _body(path: str) -> Body:
    return load_body(path or None)


def synthetic_stream(recipe: Recipe, body: Body) -> SyntheticStream:
    """Rendered people: from shards, or drawn while training."""
    s = recipe.data.synthetic
    return SyntheticStream(
        RenderedShards(s.shards), body, point_pool(body), points=recipe.data.points, inside=recipe.data.inside,
        shake=s.shake, looks=s.looks, seed=recipe.run.seed,
    )  # fmt: skip


def held_out(recipe: Recipe, folder: Path, count: int = 96, surface: int = 1024, inside: int = 256) -> tuple:
    """Up to `count` rendered pictures, evenly from all in `folder`, framed as in use: the fields of
    `evaluate.field.KnownSet`, of `surface` points of the skin and `inside` points below it."""
    body = recipe_body(recipe)
    pictures = RenderedShards([folder])
    pool = point_pool(body, surface, inside)
    stream = SyntheticStream(pictures, body, pool)
    rows = np.arange(len(pool.points))
    chosen = np.linspace(0, len(pictures) - 1, min(count, len(pictures))).astype(int)
    rng = np.random.default_rng(0)
    batch = stream.examples([pictures.picture(int(i)) for i in chosen], rows, rng)
    spread = rows >= pool.fixed
    return (
        batch.images.permute(0, 2, 3, 1).numpy(),
        batch.K.numpy(),
        batch.points.numpy()[spread],
        batch.points3d.numpy()[:, spread],
        batch.points2d.numpy()[:, spread],
        rows[spread] >= pool.fixed + surface,
    )

"""From a source of a recipe to its stream, and from shares to how many pictures each stream gives to a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from backend.body.model import Body
from backend.errors import JobError
from backend.train.datasets.agora import Agora
from backend.train.datasets.amass import amass_stream
from backend.train.datasets.bedlam import Bedlam
from backend.train.datasets.carried import Carried
from backend.train.datasets.coco import Coco
from backend.train.datasets.densepose import DensePose
from backend.train.datasets.emdb import Emdb
from backend.train.datasets.fitted import FittedStream, People
from backend.train.datasets.h36m import Human36M
from backend.train.datasets.mpi_inf_3dhp import MpiInf3dhp
from backend.train.datasets.mpii import Mpii
from backend.train.datasets.pw3d import Pw3d
from backend.train.datasets.source import Source
from backend.train.datasets.streams import Records, RecordStream
from backend.train.streams.batch import Batch, Stream
from backend.train.streams.points import PointPool

PEOPLE: dict[str, Callable[..., People]] = {"agora": Agora, "bedlam": Bedlam, "3dpw": Pw3d, "emdb": Emdb}
RECORDS: dict[str, Callable[..., Records]] = {
    "human36m": Human36M,
    "mpi_inf_3dhp": MpiInf3dhp,
    "coco": Coco,
    "mpii": Mpii,
    "densepose": DensePose,
}
_ONE = 1e-9


def open_source(
    source: Source, body: Body, pool: PointPool, *, points: int, inside: float, seed: int
) -> Stream:
    """The stream of a source. `body`: the learnt one and `pool`: its points; `points`: of a batch; `inside`: share of
    inner ones. JobError("bad_data") or ("bad_body") for what is missing or of another layout."""
    folder = Path(source.folder)
    if not folder.is_dir():
        raise JobError("bad_data", f"There is no folder {folder}, which {source.label} should be read from.")
    options = {"split": source.split, **({"every": source.every} if source.every else {})}
    looks = {"shake": source.shake, "looks": source.looks, "seed": seed}
    if source.kind == "amass":
        every = source.every or 1
        return amass_stream(
            folder, body, pool, source.label, points=points, inside=inside, every=every, **looks
        )
    if source.kind in PEOPLE:
        people = PEOPLE[source.kind](folder, **options)
        carried = Carried(body, pool.points, source.body, people.model, source.label)
        return FittedStream(people, carried, pool, source.label, points=points, inside=inside, **looks)
    if source.kind == "densepose":
        records: Records = DensePose(folder, body, source.body, source.split)
    else:
        if source.hidden:
            options["hidden"] = True
        records = RECORDS[source.kind](folder, body, **options)
    return RecordStream(records, source.label, points=points, fov=source.fov, **looks)


def turns(shares: Sequence[float], size: int, index: int) -> list[int]:
    """How many of batch `index`'s `size` pictures each stream gives; their sum is `size`. Over many batches each gives
    its share: of a stream that is due less than one picture, a batch has one now and then."""
    edges = np.cumsum([0.0, *shares])
    edges *= size / edges[-1]
    edges[-1] = size
    # Golden steps: the ticks of one batch lie where those of the others left most room.
    tick = (index * 0.6180339887498949) % 1.0
    counts = np.ceil(edges - tick - _ONE)
    return np.diff(counts).astype(int).tolist()


def group_shares(batches: Sequence[Batch], groups: dict[str, str]) -> list[float]:
    """Each batch's share of the pictures of its group, as the streams of one group have one mean loss. `groups`: of
    each stream by its name."""
    sizes: dict[str, int] = {}
    for b in batches:
        sizes[groups[b.stream]] = sizes.get(groups[b.stream], 0) + len(b)
    return [len(b) / sizes[groups[b.stream]] for b in batches]

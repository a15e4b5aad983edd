"""Points of everyone in a heap of pictures, without time: pictures -> people -> points, in batches.

Unlike the pipeline nobody is followed and no body is fitted over time: each picture stands for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch

from backend.body.pointsets import PointSet
from backend.camera.pinhole import Camera
from backend.errors import JobError
from backend.localizers.contract import Localizer
from backend.people.alike import suppress_alike
from backend.people.detect import PersonDetector
from backend.records import Subject
from backend.stills.boxes import BoxTable
from backend.stills.pictures import Picture
from backend.stills.results import Found

BATCH_CPU, BATCH_GPU = 8, 64
PLAUSIBLE = 0.5
"""Least score of a person, for every localizer."""
MAX_BYTES = 256 << 20
"""Of pictures that are held at a time, but for a single one that is larger."""
CameraOf = Callable[[int, int], Camera]
Finder = Callable[[Sequence[Picture], Sequence[Camera]], list[list[Subject]]]
"""Everyone in each of some pictures that could all be read, with the cameras that took them."""


def detected(detector: PersonDetector, max_people: int, far: bool = False) -> Finder:
    """Whom the detector sees, at most `max_people` of a picture, the surest first. `far`: search every picture for
    small people too, and not only those in which nobody else is found."""
    parts = (1, 2, 4) if far else (1,)

    def find(pictures: Sequence[Picture], cameras: Sequence[Camera]) -> list[list[Subject]]:
        images = [p.image for p in pictures]
        finds = detector.detect(images, far=True, parts=parts, enough=max_people)
        empty = [] if far else [i for i, some in enumerate(finds) if not some]
        for i, some in zip(
            empty, detector.detect([images[i] for i in empty], far=True, parts=(2, 4)), strict=True
        ):
            finds[i] = some
        return [
            [
                Subject(p.image, camera, d.box, d.roi)
                for d in sorted(some, key=lambda d: -d.score)[:max_people]
            ]
            for p, camera, some in zip(pictures, cameras, finds, strict=True)
        ]

    return find


def given(table: BoxTable) -> Finder:
    """Whom the user has put boxes around."""
    return lambda pictures, cameras: [
        [Subject(p.image, camera, box) for box in table.take(p.name)]
        for p, camera in zip(pictures, cameras, strict=True)
    ]


def localize(pictures: Iterable[Picture], localizer: Localizer, points: PointSet, find: Finder,
             camera_of: CameraOf, batch: int = BATCH_CPU, only_real: bool = False) -> Iterator[Found]:  # fmt: skip
    """One `Found` per picture, in their order. `camera_of(width, height)`: the camera of such a picture; `batch`:
    people who go through the localizer at a time, and pictures that are looked through at a time; `only_real`:
    leave out finds that turn out to be nobody, or somebody who was found already (see `real`).

    Raises JobError("no_memory") when a batch is too large for the device.
    """
    prepared = localizer.prepare(points)
    for group in _groups(pictures, batch):
        seen = [p for p in group if p.image is not None]
        cameras = [camera_of(p.image.shape[1], p.image.shape[0]) for p in seen]
        try:
            people = find(seen, cameras)
            rows = _rows([s for some in people for s in some], localizer, prepared, batch, len(points))
        except torch.OutOfMemoryError as error:
            text = (
                f"The device's memory is too small for --batch {batch}: ask for --batch {max(1, batch // 4)}."
            )
            raise JobError("no_memory", text) from error
        place, readable = 0, iter(zip(cameras, people, strict=True))
        for picture in group:
            camera, some = next(readable) if picture.image is not None else (None, [])
            part = [column[place : place + len(some)] for column in rows]
            place += len(some)
            if only_real:
                keep = real(*(part[i] for i in (1, 3, 4)))
                part = [column[keep] for column in part]
            yield Found(picture.name, picture.time_s, camera, *part, picture.problem)


def real(points3d: np.ndarray, uncertainty: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Rows of the people of one picture who are plausible, each found once, in their old order.

    `points3d`: (n, P, 3) metres, camera space; `uncertainty`: (n, P) metres; `scores`: (n,). A person has a score
    of at least one half; of two poses that are alike the surer one stays (NLF's own suppression, docs/nlf.md 9.2).
    """
    valid = np.nan_to_num(scores) >= PLAUSIBLE
    sure = np.nan_to_num(scores / np.maximum(uncertainty.mean(-1), 1e-6))
    tensors = (torch.from_numpy(np.nan_to_num(a)) for a in (points3d, sure))
    return np.sort(suppress_alike(*tensors, torch.from_numpy(valid)).numpy())


def _groups(pictures: Iterable[Picture], most: int) -> Iterator[list[Picture]]:
    """Pictures one after the other, `most` at a time and less when they are large."""
    group: list[Picture] = []
    held = 0
    for picture in pictures:
        size = 0 if picture.image is None else picture.image.nbytes
        if group and (len(group) == most or held + size > MAX_BYTES):
            yield group
            group, held = [], 0
        group.append(picture)
        held += size
    if group:
        yield group


def _rows(
    subjects: Sequence[Subject], localizer: Localizer, prepared, batch: int, P: int
) -> list[np.ndarray]:
    """Boxes, points3d, points2d, uncertainty, scores: a row per subject."""
    n = len(subjects)
    out = [np.full((n, *shape), np.nan, np.float32) for shape in ((4,), (P, 3), (P, 2), (P,), ())]
    for row, subject in enumerate(subjects):
        out[0][row] = subject.box
    inside = [i for i, subject in enumerate(subjects) if _meets_picture(subject)]
    for start in range(0, len(inside), batch):
        rows = inside[start : start + batch]
        seen = localizer.localize([subjects[i] for i in rows], prepared)
        for column, values in zip(
            out[1:], (seen.points3d, seen.points2d, seen.uncertainty, seen.score), strict=True
        ):
            column[rows] = values
    return out


def _meets_picture(subject: Subject) -> bool:
    x, y, w, h = subject.box
    height, width = subject.image.shape[:2]
    return x + w > 0 and y + h > 0 and x < width and y < height

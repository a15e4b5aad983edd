"""Points of everyone in a heap of pictures, without time: pictures -> people -> points, in batches.

Unlike the pipeline nobody is followed and no body is fitted over time: each picture stands for itself.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from backend.body.pointsets import PointSet
from backend.boxes import BoxTable
from backend.nlf.localizer import Localizer
from backend.nlf.suppress import suppress_alike
from backend.people.detect import PersonDetector
from backend.pictures import Picture
from backend.records import Camera, JobError, Subject

BATCH_CPU, BATCH_GPU = 8, 64
PLAUSIBLE = 0.5
"""Least score of a person, for every localizer."""
MAX_BYTES = 256 << 20
"""Of pictures that are held at a time, but for a single one that is larger."""
CameraOf = Callable[[int, int], Camera]
Finder = Callable[[Sequence[Picture], Sequence[Camera]], list[list[Subject]]]
"""Everyone in each of some pictures that could all be read, with the cameras that took them."""


@dataclass(frozen=True)
class Found:
    """The n people of one picture, at P points. NaN where a box holds nothing that could be localized.

    `name`, `time_s`, `problem`: the picture's; `camera`: None if it could not be read; `boxes`: (n, 4) x, y, w, h
    pixels; `points3d`: (n, P, 3) metres, camera space; `points2d`: (n, P, 2) pixels of the upright picture;
    `uncertainty`: (n, P) metres; `scores`: (n,) 0..1, how sure it is that the box holds a person. float32.
    """

    name: str
    time_s: float | None
    camera: Camera | None
    boxes: np.ndarray
    points3d: np.ndarray
    points2d: np.ndarray
    uncertainty: np.ndarray
    scores: np.ndarray
    problem: str | None = None

    def __len__(self) -> int:
        return len(self.boxes)


def detected(detector: PersonDetector, max_people: int, far: bool = False) -> Finder:
    """Whom the detector sees, at most `max_people` of a picture, the surest first. `far`: search every picture for
    small people too, and not only those in which nobody else is found."""
    parts = (2, 4) if far else (2,)

    def find(pictures: Sequence[Picture], cameras: Sequence[Camera]) -> list[list[Subject]]:
        images = [p.image for p in pictures]
        finds = detector.detect(images, far=True, parts=parts, enough=max_people)
        empty = [] if far else [i for i, some in enumerate(finds) if not some]
        for i, some in zip(
            empty, detector.detect([images[i] for i in empty], far=True, parts=(4,)), strict=True
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
    of at least one half; of two poses that are alike the surer one stays (NLF's own suppression, dossier 4).
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


@dataclass
class Results:
    """All that was found at `points` by `localizer` of Bodyfield `version`, picture by picture."""

    points: PointSet
    localizer: str
    version: str
    found: list[Found] = field(default_factory=list)

    @property
    def people(self) -> int:
        """How many were localized."""
        return sum(int(np.isfinite(f.points3d).all(-1).any(-1).sum()) for f in self.found)

    @property
    def mean_uncertainty(self) -> float | None:
        """Metres, over everyone and all points; None if there is nobody."""
        every = np.concatenate([f.uncertainty.ravel() for f in self.found] or [np.zeros(0)])
        known = every[np.isfinite(every)]
        return float(known.mean()) if known.size else None

    @property
    def notices(self) -> list[str]:
        """Sentences on the pictures in which something was missing."""
        out = []
        broken = [f for f in self.found if f.problem]
        if broken:
            out.append(
                f"{len(broken)} picture(s) could not be read and got an empty row (first: {broken[0].problem[:-1]})."
            )
        blind = [f for f in self.found if np.isnan(f.points3d).all((1, 2)).any()]
        if blind:
            out.append(
                f"Boxes in {len(blind)} picture(s) hold nothing, or lie outside (first: {blind[0].name})."
            )
        if self.found and not self.people:
            text = f"Nobody was found in the {len(self.found)} picture(s): every row is empty"
            out.append(f"{text}; --far looks for smaller people, --boxes says where they are.")
        return out

    def arrays(self) -> dict[str, np.ndarray]:
        """The file's arrays, a row for each of N people, and one of NaN for a picture without any:

        `files` (N,), `times` (N,) seconds in the movie, `boxes` (N, 4) x, y, width, height pixels, `points3d`
        (N, P, 3) metres in camera space, `points2d` (N, P, 2) pixels of the upright picture, `uncertainty` (N, P)
        metres, `scores` (N,), `intrinsics` (N, 3, 3); `names` (P,), `edges` (E, 2); `points`, `localizer`, `version`.
        """
        P = len(self.points)
        counts = [max(len(f), 1) for f in self.found]
        cameras = [np.full((3, 3), np.nan) if f.camera is None else f.camera.K for f in self.found]
        times = [np.nan if f.time_s is None else f.time_s for f in self.found]
        columns = {"boxes": (4,), "points3d": (P, 3), "points2d": (P, 2), "uncertainty": (P,), "scores": ()}
        out = {
            "files": np.repeat(np.array([f.name for f in self.found], str), counts),
            "times": np.repeat(np.array(times, np.float64), counts),
            "intrinsics": np.repeat(np.array(cameras, np.float64).reshape(-1, 3, 3), counts, axis=0),
        }
        for name, shape in columns.items():
            nobody = np.full((1, *shape), np.nan, np.float32)
            parts = [getattr(f, name) if len(f) else nobody for f in self.found]
            out[name] = np.concatenate([nobody[:0], *parts])
        return out | {
            "names": np.array(self.points.labels, str),
            "edges": np.asarray(self.points.edges, np.int32),
            "points": np.array(self.points.name),
            "localizer": np.array(self.localizer),
            "version": np.array(self.version),
        }

    def save(self, path: Path) -> None:
        """The arrays as an npz file. Raises JobError("write")."""
        write_aside(path, lambda out: _write_npz(out, self.arrays()))


def _write_npz(out: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """As `np.savez`, which leaves an open archive behind, and its complaints, when the disk is full."""
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                np.lib.format.write_array(part, array, allow_pickle=False)


def check_writable(path: Path) -> None:
    """Make the folder and see that files can be made in it. Raises JobError("write") like `write_aside`."""
    with _sentence(path), _part(path).open("wb"):
        pass
    _part(path).unlink()


def write_aside(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under another name in its folder, which is made if missing, and rename it when it is whole.

    Raises JobError("write").
    """
    with _sentence(path):
        part = _part(path)
        try:
            with part.open("wb") as out:
                write(out)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.tmp")


@contextmanager
def _sentence(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JobError("write", f"{path} could not be written: {error.strerror or error}.") from error

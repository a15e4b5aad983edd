"""What was found in single pictures, and the file that it is kept in."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from backend.body.pointsets import PointSet
from backend.camera.pinhole import Camera
from backend.files.whole import write_aside


@dataclass(frozen=True)
class Found:
    """The n people of one picture, at P points. Arrays are float32, NaN where a box holds nothing that could be
    localized."""

    name: str
    """The picture's, see `Picture`."""
    time_s: float | None
    """Seconds from the beginning of a movie; None for other pictures."""
    camera: Camera | None
    """That took the picture; None if the picture could not be read."""
    boxes: np.ndarray
    """(n, 4) x, y, w, h pixels."""
    points3d: np.ndarray
    """(n, P, 3) metres, camera space."""
    points2d: np.ndarray
    """(n, P, 2) pixels of the upright picture."""
    uncertainty: np.ndarray
    """(n, P) metres."""
    scores: np.ndarray
    """(n,) 0..1, how sure it is that the box holds a person."""
    problem: str | None = None
    """One sentence if the picture could not be read."""

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass
class Results:
    """All that was found, picture by picture, and how."""

    points: PointSet
    """The points that were asked for."""
    localizer: str
    """Its name, as on the command line."""
    version: str
    """Bodyfield's."""
    found: list[Found] = field(default_factory=list)
    """One for each picture, in their order."""

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
        """The arrays as an npz file. Raises JobError("cannot_write")."""
        write_aside(path, lambda out: _write_npz(out, self.arrays()))


def _write_npz(out: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """As `np.savez`, which leaves an open archive behind, and its complaints, when the disk is full."""
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                np.lib.format.write_array(part, array, allow_pickle=False)

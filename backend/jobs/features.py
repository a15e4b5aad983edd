"""What the localizer keeps of a clip, on disk beside the chunks, so that points thought of later need no picture.

Nothing depends on it: a job goes on without when there is no room, and a file that is missing or damaged only means
that points of its frames are carried by the fitted body.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backend.errors import JobError
from backend.jobs.folder import DAMAGED, JobFolder
from backend.records import Features

MOST_BYTES = 2 << 30
"""Of one job. 70 KB a person and frame of `field` make that 17 minutes of one person at 30 frames a second."""


class FeatureKeeper:
    """Keeps the features of one job at work. `most`: bytes on disk at which it stops."""

    def __init__(self, folder: JobFolder, most: int = MOST_BYTES) -> None:
        self._folder, self._most = folder, most
        self._sizes = {n: path.stat().st_size for n, path in folder.features().items()}
        self._over = False

    def save(self, number: int, features: Features) -> str | None:
        """Keep what belongs to the `number`-th chunk. The one time that it cannot: a sentence why; none later."""
        if self._over:
            return None
        arrays = to_arrays(features)
        size = sum(a.nbytes for a in arrays.values())
        others = {n: s for n, s in self._sizes.items() if n != number}
        if others and not self._folder.features():
            return self._stop("The disk is full")
        if sum(others.values()) + size > self._most:
            return self._stop(f"The job has kept {self._most / 1e9:.1f} GB of features")
        try:
            self._folder.save_features(number, arrays)
        except JobError as error:
            if error.code == "disk_full":
                # Room for what cannot be done without.
                self._folder.clear_features()
                return self._stop("The disk is full")
            return self._stop("The localizer's features cannot be written")
        self._sizes[number] = size
        return None

    def _stop(self, why: str) -> str:
        self._over = True
        return f"{why}: the job goes on, but points added later are carried by the fitted body where nothing is kept."


def to_arrays(features: Features) -> dict[str, np.ndarray]:
    """Flat arrays for an npz file: `<track>/frames` and `<track>/features/<name>`."""
    out: dict[str, np.ndarray] = {}
    for track, arrays in features.arrays.items():
        out[f"{track}/frames"] = features.frames[track]
        out |= {f"{track}/features/{name}": a for name, a in arrays.items()}
    return out


def load_features(
    folder: JobFolder, number: int, track: int
) -> tuple[np.ndarray, Mapping[str, np.ndarray]] | None:
    """Frames (n,) and features, n rows each, of one person in the `number`-th chunk; None where they are missing or
    damaged. Reads nothing of the other people."""
    path = folder.features().get(number)
    if path is None:
        return None
    prefix = f"{track}/features/"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            frames = np.asarray(arrays[f"{track}/frames"])
            found = {n.removeprefix(prefix): arrays[n] for n in arrays.files if n.startswith(prefix)}
    except DAMAGED:
        return None
    whole = frames.ndim == 1 and found and all(a.shape[:1] == frames.shape for a in found.values())
    return (frames, found) if whole else None

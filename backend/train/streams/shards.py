"""Folders of pictures packed into .npz files: JPEGs end to end, and arrays with a row for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from backend.errors import JobError
from backend.files.whole import write_aside


class Shards:
    """All pictures of some folders, in order of the files' names. `arrays`: names that every file must have beside
    `jpegs` (bytes end to end) and `ends` (n,). Files are read when first needed and kept."""

    def __init__(self, folders: Sequence[str | Path], arrays: Sequence[str], pattern: str = "*.npz") -> None:
        found = (f for folder in folders for f in Path(folder).glob(pattern))
        # A hidden one is still being written.
        self.files = sorted(f for f in found if not f.name.startswith("."))
        if not self.files:
            named = ", ".join(str(f) for f in folders)
            raise JobError(
                "bad_data", f"There are no pictures in {named}: make them first, or name other folders."
            )
        self._names = ("jpegs", "ends", *arrays)
        counts = []
        for file in self.files:
            with _open(file) as z:
                missing = [n for n in self._names if n not in z.files]
                if missing:
                    raise JobError(
                        "bad_data", f"{file} has no {missing[0]}: it is not a file of this kind of pictures."
                    )
                counts.append(len(z["ends"]))
        self._starts = np.cumsum([0, *counts])
        self._loaded: dict[int, dict[str, np.ndarray]] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def row(self, i: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Picture `i`, (H, W, 3) uint8 RGB, and its rows of the arrays."""
        k = int(np.searchsorted(self._starts, i, "right")) - 1
        if k not in self._loaded:
            with _open(self.files[k]) as z:
                self._loaded[k] = {n: z[n] for n in self._names}
        arrays, r = self._loaded[k], i - int(self._starts[k])
        start = int(arrays["ends"][r - 1]) if r else 0
        coded = arrays["jpegs"][start : int(arrays["ends"][r])]
        image = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        if image is None:
            raise JobError("bad_data", f"Picture {r} of {self.files[k]} is damaged: make the file again.")
        rows = {n: arrays[n][r] for n in self._names[2:]}
        return np.ascontiguousarray(image[..., ::-1]), rows


def write_shard(
    path: Path, images: Sequence[np.ndarray], arrays: dict[str, np.ndarray], quality: int = 92
) -> None:
    """Pack pictures (H, W, 3) uint8 RGB and arrays with a row for each. Raises JobError("cannot_write")."""
    coded = [
        cv2.imencode(".jpg", i[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].ravel() for i in images
    ]
    packed = {"jpegs": np.concatenate(coded), "ends": np.cumsum([len(c) for c in coded]), **arrays}
    write_aside(path, lambda out: np.savez(out, **packed))


def _open(file: Path):
    try:
        return np.load(file)
    except (OSError, ValueError) as e:
        raise JobError("bad_data", f"{file} cannot be read as a file of pictures: make it again.") from e

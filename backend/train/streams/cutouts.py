"""Things that stand in front: cut-outs from a folder, pasted over a picture (after Sárándi et al., 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from backend.errors import JobError

_PERSON = 15
"""Number of the class person in Pascal VOC's colours: people are no things here."""
_LEAST, _MOST = 500, 2000
"""Pixels of a thing at least; things at most."""
_SIDE = 160


def put_things(image: np.ndarray, rng: np.random.Generator, folder: str) -> np.ndarray:
    """One to six things over (S, S, 3) uint8 RGB, each of 0.2 to 1 of their usual size, anywhere."""
    things = cutouts(folder)
    out, side = image.copy(), image.shape[0]
    for _ in range(int(rng.integers(1, 7))):
        thing = things[int(rng.integers(len(things)))]
        scale = rng.uniform(0.2, 1.0) * side / 256
        size = [max(2, round(n * scale)) for n in thing.shape[1::-1]]
        thing = cv2.resize(thing, size, interpolation=cv2.INTER_AREA)
        h, w = thing.shape[:2]
        x, y = (int(rng.integers(-n // 2, side - n // 2)) for n in (w, h))
        a, b = slice(max(y, 0), min(y + h, side)), slice(max(x, 0), min(x + w, side))
        part = thing[a.start - y : a.stop - y, b.start - x : b.stop - x].astype(np.float32)
        cover = part[..., 3:] / 255
        out[a, b] = (cover * part[..., :3] + (1 - cover) * out[a, b]).round().astype(np.uint8)
    return out


@lru_cache(maxsize=2)
def cutouts(folder: str) -> list[np.ndarray]:
    """The things in `folder`, (h, w, 4) uint8 RGBA. JobError("bad_data") if there are none."""
    voc = Path(folder) / "SegmentationObject"
    found = list(_from_voc(Path(folder)) if voc.is_dir() else _from_pictures(Path(folder)))
    if not found:
        raise JobError(
            "bad_data",
            f"There are no things to put in front in {folder}: give a folder of .png with transparency, or VOC2012.",
        )
    return found[:_MOST]


def _from_pictures(folder: Path) -> Iterator[np.ndarray]:
    for file in sorted(folder.glob("*.png"))[:_MOST]:
        image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
        if image is not None and image.ndim == 3 and image.shape[2] == 4 and image[..., 3].any():
            yield _small(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA))


def _from_voc(folder: Path) -> Iterator[np.ndarray]:
    """Layout: VOC2012's own (JPEGImages, SegmentationObject and SegmentationClass, colours of VOC's palette; white is
    the edge of an object)."""
    for file in sorted((folder / "SegmentationObject").glob("*.png"))[:_MOST]:
        places = [folder / "JPEGImages" / f"{file.stem}.jpg", file, folder / "SegmentationClass" / file.name]
        images = [cv2.imread(str(p)) for p in places]
        if any(i is None or i.shape != images[0].shape for i in images):
            continue
        image, objects, classes = images
        codes = objects.astype(np.int32) @ [1, 256, 65536]
        for code in np.unique(codes):
            mask = codes == code
            if code in (0, 0xE0E0C0) or mask.sum() < _LEAST or (classes[mask][0] == _colour(_PERSON)).all():
                continue
            y, x = np.nonzero(mask)
            box = slice(y.min(), y.max() + 1), slice(x.min(), x.max() + 1)
            cover = cv2.GaussianBlur(mask[box].astype(np.uint8) * 255, (3, 3), 0)
            yield _small(np.dstack([image[box][..., ::-1], cover]))


def _colour(number: int) -> list[int]:
    """BGR of a class in VOC's palette: bits of the number spread over the three colours."""
    bits = [[number >> (3 * k + c) & 1 for k in range(3)] for c in (2, 1, 0)]
    return [sum(bit << (7 - k) for k, bit in enumerate(colour)) for colour in bits]


def _small(thing: np.ndarray) -> np.ndarray:
    scale = min(1.0, _SIDE / max(thing.shape[:2]))
    size = [max(2, round(n * scale)) for n in thing.shape[1::-1]]
    return cv2.resize(thing, size, interpolation=cv2.INTER_AREA)

"""Real pictures for training: people found in films and photographs, cropped with room around them, and what BlazePose
says of them.

    python -m backend.train.gather OUT FILM_OR_FOLDER ... [--every N]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import typer

from backend.camera.pinhole import Camera, Roi
from backend.camera.turned import crop_to_image, extract, image_to_crop
from backend.localizers.landmarks.region import landmark_axis, landmark_region
from backend.nets.blazepose import BlazePose
from backend.people.detect import PersonDetector
from backend.stills.pictures import open_pictures
from backend.train.streams.shards import write_shard

SIDE = 320
ROOM = 1.25
"""Sides of the crop that is kept, in sides of the region by which a person is looked at."""
_LEAST_SCORE = 0.8
_LEAST_SIDE = 110
"""Pixels of the picture: smaller people are too blurred for their landmarks to be believed."""
_PER_SHARD = 500


def gather(images: Iterator[np.ndarray], out: Path, name: str) -> int:
    """Pack the people in pictures (H, W, 3) uint8 RGB into shards `<name>_000.npz`, ...; -> how many."""
    detector, net = PersonDetector(), BlazePose("heavy")
    out.mkdir(parents=True, exist_ok=True)
    kept: list[tuple[np.ndarray, dict[str, np.ndarray]]] = []
    total = shard = 0
    for image in images:
        camera = Camera.from_fov(image.shape[1], image.shape[0])
        for found in detector.detect([image])[0]:
            row = look(image, camera, found.roi, net)
            if row is not None:
                kept.append(row)
        if len(kept) >= _PER_SHARD:
            total, shard = total + _write(out / f"{name}_{shard:03d}.npz", kept), shard + 1
            kept = []
    return total + (_write(out / f"{name}_{shard:03d}.npz", kept) if kept else 0)


def look(
    image: np.ndarray, camera: Camera, roi: Roi, net: BlazePose
) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
    """One person: the roomy crop (320, 320, 3) and its rows, or None if the landmarks are not to be believed.

    Rows: `K` (3, 3) of the crop; `points2d` (33, 2) pixels of it; `relative` (33, 3) metres, axes of its camera,
    up to a translation; `visibility` (33,) 0..1.
    """
    # The second look is laid by the landmarks of the first one.
    for _ in range(2):
        crop = extract(image, camera, roi, 256)
        seen = net.run(crop.image[None])
        xy = crop_to_image(crop, camera, seen.points_crop[0, :33, :2].astype(float))
        if seen.score[0] < _LEAST_SCORE or not np.isfinite(xy).all():
            return None
        roi = Roi.from_axis(*landmark_axis(xy))
    roi = landmark_region(xy)
    if roi.size < _LEAST_SIDE:
        return None
    # Upright, not turned as BlazePose wants it: training turns it as it likes.
    wide = extract(image, camera, Roi(roi.center, roi.size * ROOM), SIDE)
    seen2d = image_to_crop(wide, camera, xy)
    # In close-ups some landmarks are guessed far beside the camera's view.
    if not np.isfinite(seen2d).all():
        return None
    relative = seen.world[0, :33].astype(float) @ crop.R @ wide.R.T
    return wide.image, {
        "K": wide.K,
        "points2d": seen2d,
        "relative": relative,
        "visibility": (seen.visibility * seen.presence_points)[0, :33],
    }


def _write(path: Path, kept: list[tuple[np.ndarray, dict[str, np.ndarray]]]) -> int:
    arrays = {k: np.stack([row[k] for _, row in kept]).astype(np.float32) for k in kept[0][1]}
    write_shard(path, [image for image, _ in kept], arrays)
    return len(kept)


def _pictures(source: Path, every: int) -> Iterator[np.ndarray]:
    for i, picture in enumerate(open_pictures(source)):
        if i % every == 0 and picture.image is not None:
            yield picture.image


def main(out: Path, sources: list[Path], every: int = 1) -> None:
    """Gather people from films or folders of pictures."""
    torch.set_num_threads(1)
    for source in sources:
        print(source.stem, gather(_pictures(source, every), out, source.stem))


if __name__ == "__main__":
    typer.run(main)

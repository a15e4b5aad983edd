"""How good a localizer field is: on synthetic people whose every point is known, and on real footage.

Real footage: four calibrated cameras, whose 2D landmarks of twelve limb joints are triangulated to a reference
(good to 2-3 cm, and leaning towards BlazePose, whose landmarks it is made of); see `backend.evaluate.multiview`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import typer

from backend.body.landmarks import body_landmarks
from backend.body.load import load_body
from backend.camera.pinhole import Camera, Roi
from backend.camera.turned import extract
from backend.errors import JobError
from backend.evaluate.certainty import certainty_figures
from backend.evaluate.metrics import pa_mpjpe, procrustes, root_mpjpe
from backend.evaluate.multiview import read_qualisys, smooth_reference, triangulate
from backend.localizers.landmarks.localizer import LandmarksLocalizer
from backend.localizers.landmarks.region import landmark_axis, landmark_region
from backend.people.detect import PersonDetector
from backend.records import Subject
from blender_addon.shared.frames import open_clip

LIMBS = [11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28]
HIPS = [6, 7]
SIDE = 256
Predict = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Crops (B, 256, 256, 3) uint8, K (B, 3, 3), canonical points (P, 3) -> places (B, P, 3) metres in the camera space of
the crop, pixels (B, P, 2), uncertainty (B, P) metres."""


@dataclass(frozen=True, eq=False)
class RealSet:
    """N crops of real people whose limbs are known."""

    images: np.ndarray
    """(N, 256, 256, 3) uint8."""
    K: np.ndarray
    """(N, 3, 3) of the crops, pixels."""
    R: np.ndarray
    """(N, 3, 3) x_crop = R x_camera."""
    camera: np.ndarray
    """(N,) number of the camera, from 0."""
    truth: np.ndarray
    """(N, 12, 3) metres, camera space: the landmarks `LIMBS`."""
    rival: np.ndarray
    """(N, 33, 3) metres, camera space up to a translation: what the landmarks localizer says of the same people."""

    def save(self, path: Path) -> None:
        """Uncompressed .npz."""
        np.savez(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> RealSet:
        """What `save` wrote; JobError("bad_data") otherwise."""
        try:
            with np.load(path) as z:
                return cls(**{k: z[k] for k in cls.__dataclass_fields__})
        except (OSError, ValueError, KeyError) as e:
            raise JobError("bad_data", f"{path} is no evaluation set: make it again from its videos.") from e


@dataclass(frozen=True, eq=False)
class Watched:
    """A clip as the landmarks localizer saw it; NaN where nobody was found."""

    points2d: np.ndarray
    """(n, 33, 2) pixels."""
    points3d: np.ndarray
    """(n, 33, 3) metres, camera space."""


def watch(video: Path, localizer: LandmarksLocalizer, focal: float | None = None) -> Watched:
    """Follow the one person of a clip with the landmarks."""
    detector, region, flat, deep = PersonDetector(), None, [], []
    with open_clip(video) as clip:
        for frame in clip:
            camera = _camera(frame.image, focal)
            if region is None:
                found = detector.detect([frame.image])[0]
                region = found[0].roi if found else None
            if region is None:
                flat.append(np.full((33, 2), np.nan))
                deep.append(np.full((33, 3), np.nan))
                continue
            seen = localizer.localize([Subject(frame.image, camera, region.box, region)])
            flat.append(seen.points2d[0].astype(float))
            deep.append(seen.points3d[0].astype(float))
            region = Roi.from_axis(*landmark_axis(flat[-1])) if seen.score[0] > 0.5 else None
    return Watched(np.stack(flat), np.stack(deep))


def real_set(folder: Path, every: int = 10, variant: str = "heavy") -> RealSet:
    """Every `every`-th frame of cam*.mp4 in `folder`, which has Calib.qca.txt as well, cropped by the landmarks."""
    videos = sorted(folder.glob("cam*.mp4"))
    cameras = read_qualisys(folder / "Calib.qca.txt")
    if len(videos) != len(cameras):
        raise JobError("bad_data", f"{folder} must hold one cam*.mp4 for each camera of Calib.qca.txt.")
    localizer = LandmarksLocalizer(variant, load_body())
    seen = [watch(v, localizer, float(c.K[0, 0])) for v, c in zip(videos, cameras, strict=True)]
    n = min(len(s.points2d) for s in seen)
    reference, _ = triangulate(cameras, np.stack([s.points2d[:n, LIMBS] for s in seen]))
    reference = smooth_reference(reference)
    rows: list[tuple] = []
    for i, (video, camera) in enumerate(zip(videos, cameras, strict=True)):
        truth = camera.to_camera(reference)
        with open_clip(video) as clip:
            for k, frame in enumerate(clip):
                if k < n and k % every == 0 and np.isfinite(seen[i].points2d[k]).all():
                    size = frame.image.shape[1], frame.image.shape[0]
                    crop = extract(
                        frame.image, Camera(camera.K, *size), landmark_region(seen[i].points2d[k]), SIDE
                    )
                    rows.append((crop.image, crop.K, crop.R, i, truth[k], seen[i].points3d[k]))
    return RealSet(*(np.stack(column) for column in zip(*rows, strict=True)))


def real_figures(data: RealSet, points3d: np.ndarray) -> dict[str, float]:
    """Errors in mm, mean of the cameras, of landmarks (N, 33, 3) in the camera space of the crops."""
    return limb_figures(np.einsum("nji,npj->npi", data.R, points3d), data)


def limb_figures(points3d: np.ndarray, data: RealSet) -> dict[str, float]:
    """The same of landmarks in the cameras' own axes."""
    limbs, out = points3d[:, LIMBS], {}
    pa, mpjpe = pa_mpjpe(limbs, data.truth), root_mpjpe(limbs, data.truth, HIPS)
    for c in np.unique(data.camera):
        out[f"pa_mpjpe_cam{c + 1}"] = float(pa[data.camera == c].mean())
        out[f"mpjpe_cam{c + 1}"] = float(mpjpe[data.camera == c].mean())
    for name in ("pa_mpjpe", "mpjpe"):
        out[name] = float(np.mean([v for k, v in out.items() if k.startswith(f"{name}_cam")]))
    return out


def judge_real(data: RealSet, predict: Predict, batch: int = 8) -> dict[str, float]:
    """Figures of a localizer on real footage."""
    landmarks = body_landmarks(load_body())[0].positions
    found = [
        predict(data.images[i : i + batch], data.K[i : i + batch], landmarks)[0]
        for i in range(0, len(data.images), batch)
    ]
    return real_figures(data, np.concatenate(found))


@dataclass(frozen=True, eq=False)
class KnownSet:
    """N crops of synthetic people and P points."""

    images: np.ndarray
    """(N, 256, 256, 3) uint8."""
    K: np.ndarray
    """(N, 3, 3) of the crops, pixels."""
    points: np.ndarray
    """(P, 3) canonical."""
    points3d: np.ndarray
    """(N, P, 3) metres, camera space of the crop."""
    points2d: np.ndarray
    """(N, P, 2) pixels of the crop."""
    inner: np.ndarray
    """(P,) bool, which points lie inside the body."""


def judge_known(data: KnownSet, predict: Predict, batch: int = 8) -> dict[str, float]:
    """PVE (relative to the mean) and PA-PVE in mm of the skin, PVE of the inside, and pixels of the crop, of the
    points that lie in it."""
    found3d, found2d, sigma = predict_known(data, predict, batch)
    error = relative_errors(data, found3d)
    length, skin = np.linalg.norm(error, axis=-1), ~data.inner
    aligned = procrustes(found3d[:, skin], data.points3d[:, skin]) - data.points3d[:, skin]
    inside = ((data.points2d >= 0) & (data.points2d <= SIDE - 1)).all(-1)
    pixels = np.linalg.norm(found2d - data.points2d, axis=-1)[inside]
    place = np.linalg.norm(found3d.mean(1) - data.points3d.mean(1), axis=-1)
    return {
        "pve": float(1000 * length[:, skin].mean()),
        "pa_pve": float(1000 * np.linalg.norm(aligned, axis=-1).mean()),
        "inner": float(1000 * length[:, data.inner].mean()),
        "pixels": float(pixels.mean()),
        "pixels_median": float(np.median(pixels)),
        "distance_share": float(np.median(place / data.points3d.mean(1)[:, 2])),
        **certainty_figures(error, sigma),
    }


def predict_known(
    data: KnownSet, predict: Predict, batch: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a localizer says of all crops: see `Predict`."""
    parts = [
        predict(data.images[i : i + batch], data.K[i : i + batch], data.points)
        for i in range(0, len(data.images), batch)
    ]
    places, pixels, sigma = (np.concatenate(column) for column in zip(*parts, strict=True))
    return places, pixels, sigma


def relative_errors(data: KnownSet, places: np.ndarray) -> np.ndarray:
    """(N, P, 3) metres, about the mean of each person's points: what an uncertainty is about."""
    return _centred(places) - _centred(data.points3d)


def _centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(1, keepdims=True)


def _camera(image: np.ndarray, focal: float | None) -> Camera:
    size: Sequence[int] = image.shape[1::-1]
    return Camera.from_focal(*size, focal) if focal else Camera.from_fov(*size)


def main(folder: Path, out: Path, every: int = 10) -> None:
    """Make the set of real people to judge by, from calibrated cameras."""
    data = real_set(folder, every)
    data.save(out)
    print(len(data.images), "crops; the landmarks localizer:", limb_figures(data.rival, data))


if __name__ == "__main__":
    typer.run(main)

"""The common record of all datasets, and how one becomes an example: read, framed, mirrored, changed in looks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from backend.camera.pinhole import Camera, Roi
from backend.errors import JobError
from backend.train.streams.augment import Looks, change_looks
from backend.train.streams.batch import Example
from backend.train.streams.framing import Shake, crop_example, mirror_example, shake_region, shaken_region

LEAST_SIDE = 64.0
"""Pixels of the longer side of a person's box: smaller people say little of their 256-pixel crop's places."""
_BOX_ROOM = 1.25
"""Side of the square about a person, in sides of the box: `Roi.around`'s."""
_BEYOND = 0.2
"""Heads, hands and feet reach this much further than marked joints, in sides of the joints' box."""


@dataclass(frozen=True)
class Photo:
    """A picture that is read when it is needed."""

    path: Path
    """Of a picture or of a movie."""
    frame: int | None = None
    """Which frame of the movie it is, from 0; None for a picture."""
    portrait: bool = False
    """Whether it is higher than wide: one that lies on its side is turned by a quarter, clockwise."""
    lens: tuple[float, ...] = ()
    """Distortion (k1, k2, p1, p2, k3), which is taken out; empty for none."""

    def read(self, K: np.ndarray | None = None) -> np.ndarray:
        """(H, W, 3) uint8 RGB, seen through a pinhole `K` (3, 3). JobError("bad_data") if it cannot be read."""
        image = self._movie_frame() if self.frame is not None else self._picture()
        if image is None:
            raise JobError(
                "bad_data", f"The picture {self.path} is missing or damaged: check the dataset's folder."
            )
        if self.portrait and image.shape[1] > image.shape[0]:
            image = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
        if self.lens and K is not None:
            image = cv2.undistort(image, K, np.array(self.lens))
        return np.ascontiguousarray(image[..., ::-1])

    def _picture(self) -> np.ndarray | None:
        try:
            coded = np.fromfile(self.path, np.uint8)
        except OSError:
            return None
        # Annotations are in the pixels of the file, whatever its EXIF says of up and down.
        return cv2.imdecode(coded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if len(coded) else None

    def _movie_frame(self) -> np.ndarray | None:
        movie = cv2.VideoCapture(str(self.path))
        try:
            movie.set(cv2.CAP_PROP_POS_FRAMES, self.frame)
            good, image = movie.read()
        finally:
            movie.release()
        return image if good else None


@dataclass(frozen=True, eq=False)
class Record:
    """One person in one picture, and what is known of P canonical points."""

    photo: Photo
    """The picture."""
    box: np.ndarray
    """(4,) x, y, w, h pixels."""
    points: np.ndarray
    """(P, 3) places in the rest volume of the learnt body."""
    points2d: np.ndarray
    """(P, 2) pixels of the picture."""
    valid2d: np.ndarray
    """(P,) bool, which of `points2d` are known."""
    points3d: np.ndarray | None = None
    """(P, 3) metres, camera space; None if unknown."""
    valid3d: np.ndarray | None = None
    """(P,) bool, which of `points3d` are known."""
    K: np.ndarray | None = None
    """(3, 3) without distortion; None where nothing is known of the camera."""
    landmarks: np.ndarray | None = None
    """(33, 2) pixels, where the whole body is known."""
    axis: np.ndarray | None = None
    """(2, 2) pixels, middle of the hips and middle of the shoulders, if known."""


def example_of(
    record: Record, rng: np.random.Generator, shake: Shake, looks: Looks, fov: float = 55.0
) -> Example:
    """The crop of a record. `fov`: degrees of the picture's larger side where its camera is not known."""
    image = record.photo.read(record.K)
    K = Camera.from_fov(image.shape[1], image.shape[0], fov).K if record.K is None else record.K
    P = len(record.points)
    if record.points3d is None or record.valid3d is None:
        points3d, valid3d = np.zeros((P, 3)), np.zeros(P, bool)
    else:
        points3d, valid3d = record.points3d, record.valid3d
    plain = Example(
        image, K, points3d, record.points2d, valid3d, record.valid2d, absolute=bool(valid3d.any())
    )
    if record.landmarks is not None:
        roi = shaken_region(record.landmarks, rng, shake)
    else:
        upright = rng.random() < shake.upright
        roi = shake_region(region_of(record, upright), rng, shake)
    example = crop_example(image, K, roi, plain)
    if rng.random() < shake.mirror:
        example = mirror_example(example)
    seen = example.valid2d & np.isfinite(example.points2d).all(-1)
    return Example(
        change_looks(example.image, rng, looks), example.K, example.points3d, example.points2d,
        example.valid3d & np.isfinite(example.points3d).all(-1), seen, example.mirrored, example.absolute,
    )  # fmt: skip


def region_of(record: Record, upright: bool = False) -> Roi:
    """The square by the box and what is marked: turned upright by the axis hips - shoulders, as in use, if it is known
    and `upright` does not ask for the box alone."""
    if upright or record.axis is None or np.ptp(record.axis, axis=0).max() < 1:
        return Roi.around(record.box)
    x, y, w, h = record.box
    corners = np.array([[x, y], [x + w, y], [x, y + h], [x + w, y + h]])
    dx, dy = record.axis[1] - record.axis[0]
    angle = float(np.arctan2(dx, -dy))
    c, s = np.cos(angle), np.sin(angle)
    R = np.array([[c, s], [-s, c]])
    marked = record.points2d[record.valid2d] @ R.T
    low, high = marked.min(0), marked.max(0)
    more = _BEYOND * (high - low).max()
    # A box that is turned with the person is larger than the person: what is marked says where they end.
    around = corners @ R.T
    low, high = np.maximum(low - more, around.min(0)), np.minimum(high + more, around.max(0))
    return Roi(R.T @ ((low + high) / 2), max(_BOX_ROOM * float((high - low).max()), 2.0), angle)


def axis_of(
    xy: np.ndarray, known: np.ndarray, hips: tuple[int, int], shoulders: tuple[int, int]
) -> np.ndarray | None:
    """(2, 2) for `Record.axis` from joints (J, 2), or None unless all four are `known` (J,)."""
    if not known[[*hips, *shoulders]].all():
        return None
    return np.stack([xy[list(hips)].mean(0), xy[list(shoulders)].mean(0)])


def box_about(xy: np.ndarray, room: float = 0.1) -> np.ndarray:
    """(4,) box around places (J, 2), larger by `room` of its longer side on every side."""
    low, high = xy.min(0), xy.max(0)
    more = room * (high - low).max()
    return np.array([*(low - more), *(high - low + 2 * more)])


def overlapped(boxes: np.ndarray, limit: float = 0.5) -> np.ndarray:
    """(N,) bool: whose box (x, y, w, h) another one of the same picture covers to more than `limit` of their union,
    so that nobody can tell which of the two a crop is about."""
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    inner = np.minimum(high[:, None], high[None]) - np.maximum(low[:, None], low[None])
    common = np.maximum(inner, 0).prod(-1)
    area = boxes[:, 2:].prod(-1)
    share = common / np.maximum(area[:, None] + area[None] - common, 1e-9)
    np.fill_diagonal(share, 0)
    return (share > limit).any(1)

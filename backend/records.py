"""The records that travel down the road: camera, regions, subjects, crops, localizations, chunks, tracks, events.

Camera space everywhere in the backend: metres, x right, y down, z forward (OpenCV). Pixel (0, 0) is the
centre of the top left pixel. Frame indices count from 0 and are those of the clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

DEFAULT_FOV_DEG = 55.0
"""Field of view assumed on the larger side when nothing is known of the lens (NLF's own default)."""
_BOX_TO_REGION = 1.25
"""MediaPipe's regions are this much larger than the circle about the hips that holds the person."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion. `K`: (3, 3) float64, pixels; `width`, `height`: pixels."""

    K: np.ndarray
    width: int
    height: int

    @classmethod
    def from_fov(cls, width: int, height: int, fov_deg: float = DEFAULT_FOV_DEG) -> Camera:
        """Camera whose larger side spans `fov_deg` degrees, principal point ((W-1)/2, (H-1)/2)."""
        f = 0.5 * max(width, height) / np.tan(np.deg2rad(fov_deg) / 2)
        K = np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])
        return cls(K, width, height)

    @classmethod
    def from_focal(cls, width: int, height: int, focal_px: float) -> Camera:
        """Camera with a focal length in pixels and the principal point in the middle."""
        K = np.array([[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1.0]])
        return cls(K, width, height)

    def project(self, points: np.ndarray) -> np.ndarray:
        """`points`: (..., 3) camera space, metres -> (..., 2) pixels. NaN behind the camera."""
        z = np.where(points[..., 2:] > 1e-6, points[..., 2:], np.nan)
        return (points[..., :2] / z) @ self.K[:2, :2].T + self.K[:2, 2]


@dataclass(frozen=True)
class Roi:
    """A square region of a picture around one person.

    `center`: (2,) pixels; `size`: side in pixels; `angle`: radians, clockwise on the screen: the person's own
    upright points along (sin angle, -cos angle) in the picture and becomes upright in the crop.
    """

    center: np.ndarray
    size: float
    angle: float = 0.0

    @classmethod
    def from_axis(cls, hips: np.ndarray, top: np.ndarray, expand: float = 1.25) -> Roi:
        """Region from BlazePose's alignment points: (2,) middle of the hips, (2,) top of the circle.

        The half side is `expand` times their distance, as MediaPipe takes it.
        """
        hips, top = np.asarray(hips, float), np.asarray(top, float)
        dx, dy = top - hips
        return cls(hips, max(2 * expand * float(np.hypot(dx, dy)), 2.0), float(np.arctan2(dx, -dy)))

    @property
    def box(self) -> np.ndarray:
        """(4,) x, y, w, h: the upright rectangle around the turned square."""
        side = self.size * (abs(np.cos(self.angle)) + abs(np.sin(self.angle)))
        return np.array([*(self.center - side / 2), side, side])

    @classmethod
    def around(cls, box: np.ndarray) -> Roi:
        """Upright region about a person whose tight box (x, y, w, h) is all that is known."""
        x, y, w, h = (float(v) for v in box)
        return cls(np.array([x + w / 2, y + h / 2]), max(_BOX_TO_REGION * max(w, h), 2.0))

    @property
    def person(self) -> np.ndarray:
        """(4,) x, y, w, h: the square that a person in this region fills, in height or in width."""
        side = self.size / _BOX_TO_REGION
        return np.array([*(self.center - side / 2), side, side])


@dataclass(frozen=True)
class Subject:
    """Someone to be localized in a picture.

    `image`: (H, W, 3) uint8 RGB, the whole picture, which several subjects may share; `camera`: the picture's;
    `box`: (4,) x, y, w, h pixels, tight around the whole person; `roi`: the turned square that the tracker or the
    detector has laid around the person, where known; `landmarks`: (33, 2) pixels, where the landmarks of someone who
    is followed are expected.
    """

    image: np.ndarray
    camera: Camera
    box: np.ndarray
    roi: Roi | None = None
    landmarks: np.ndarray | None = None


@dataclass(frozen=True)
class Crop:
    """A square network input seen by a virtual camera turned towards a person.

    `image`: (S, S, 3) uint8 RGB. `K`: (3, 3) intrinsics of the crop. `R`: (3, 3) rotation from the original
    camera to the crop camera: x_crop = R @ x_camera (same optical centre, so a homography maps the pixels).
    """

    image: np.ndarray
    K: np.ndarray
    R: np.ndarray


@dataclass
class Localization:
    """What a localizer says of P points on each of B crops.

    `points3d`: (B, P, 3) float32 camera space, metres, absolute; `points2d`: (B, P, 2) float32 pixels of the
    original picture; `uncertainty`: (B, P) float32 metres, one sigma of the 3D distance;
    `score`: (B,) 0..1, how sure it is that the crop holds a person; `anchors2d`: (B, 2, 2) pixels, middle of the
    hips and a point at the body's outer circle, by which the next frame's crop is laid, if the localizer has them;
    `features`: arrays (B, …) by which `recall` of the same localizer answers other points later, if asked to keep them.
    """

    points3d: np.ndarray
    points2d: np.ndarray
    uncertainty: np.ndarray
    score: np.ndarray
    anchors2d: np.ndarray | None = None
    features: Mapping[str, np.ndarray] | None = None


@dataclass
class TrackChunk:
    """One person's localizations over consecutive frames: the finished, resumable part of a job.

    `track`: id from 1; `frames`: (n,) int32; `times`: (n,) float64 seconds; `boxes`: (n, 4) x, y, w, h pixels;
    `points3d`, `points2d`, `uncertainty`: as in Localization with B = n, at the localizer's native points;
    `score`: (n,).
    """

    track: int
    frames: np.ndarray
    times: np.ndarray
    boxes: np.ndarray
    points3d: np.ndarray
    points2d: np.ndarray
    uncertainty: np.ndarray
    score: np.ndarray


@dataclass
class Chunk:
    """All that was seen in frames [first, last] of a clip of `width` x `height`; the unit of saving and resuming.

    `memory`: what the tracker knew after the last frame, see `PeopleTracker.memory`.
    """

    first: int
    last: int
    width: int
    height: int
    tracks: list[TrackChunk] = field(default_factory=list)
    memory: dict[str, np.ndarray] = field(default_factory=dict)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Flat arrays for an npz file: `first`, `last`, `size` (width, height), `track_ids`, `<id>/<field>`,
        `memory/<name>`."""
        out = {
            "first": np.int64(self.first),
            "last": np.int64(self.last),
            "size": np.array([self.width, self.height], np.int32),
            "track_ids": np.array([t.track for t in self.tracks], np.int32),
        }
        for t in self.tracks:
            for name in _TRACK_ARRAYS:
                out[f"{t.track}/{name}"] = getattr(t, name)
        return out | {f"memory/{name}": array for name, array in self.memory.items()}

    @classmethod
    def from_arrays(cls, arrays) -> Chunk:
        """Inverse of `to_arrays`; `arrays` is any mapping (an open npz file too)."""
        tracks = [
            TrackChunk(int(i), *(np.asarray(arrays[f"{int(i)}/{name}"]) for name in _TRACK_ARRAYS))
            for i in arrays["track_ids"]
        ]
        width, height = (int(v) for v in arrays["size"])
        memory = {n.removeprefix("memory/"): np.asarray(arrays[n]) for n in arrays if n.startswith("memory/")}
        return cls(int(arrays["first"]), int(arrays["last"]), width, height, tracks, memory)


_TRACK_ARRAYS = ("frames", "times", "boxes", "points3d", "points2d", "uncertainty", "score")


@dataclass
class Features:
    """What the localizer keeps of the people of one chunk's frames [first, last], to answer other points later.

    `frames`: track id -> (n,) int32; `arrays`: track id -> `Localization.features` of these frames, n rows each.
    """

    first: int
    last: int
    frames: dict[int, np.ndarray] = field(default_factory=dict)
    arrays: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)


@dataclass
class TrackMotion:
    """The body of one person over n frames.

    `pose`: (n, 55, 3) float32 parent-relative rotation vectors in SMPL-X order, index 0 in camera space;
    `trans`: (n, 3) float32 camera space, metres, SMPL-X convention (added after posing about the rest pelvis);
    `betas`: (nb,) one shape; `expression`: (n, ne); `joints`: (n, 55, 3) camera space, metres;
    `joint_uncertainty`: (n, 55) metres; `boxes`: (n, 4) pixels; `frames`, `times` as in TrackChunk.
    `final`: True when the whole track was seen: it then replaces all earlier motion of that track; `up`: (3,) unit
    vector in camera space, against gravity as far as the clip tells, the same for everyone in it.
    """

    track: int
    frames: np.ndarray
    times: np.ndarray
    boxes: np.ndarray
    pose: np.ndarray
    trans: np.ndarray
    betas: np.ndarray
    expression: np.ndarray
    joints: np.ndarray
    joint_uncertainty: np.ndarray
    final: bool = False
    up: np.ndarray = field(default_factory=lambda: np.array([0, -1, 0], np.float32))


@dataclass(frozen=True)
class Progress:
    """`stage`: detect, localize, fit …; `done` of `total` frames (None while the total is unknown)."""

    stage: str
    done: int
    total: int | None


@dataclass(frozen=True)
class Notice:
    """One sentence for the user; the job goes on."""

    text: str


@dataclass(frozen=True)
class Summary:
    """The last event of a finished job: `frames`, `people`, `seconds` per stage, `mean_uncertainty` metres."""

    frames: int
    people: int
    seconds: dict[str, float]
    mean_uncertainty: float


Event = Features | Chunk | TrackMotion | Progress | Notice | Summary


class JobError(Exception):
    """A job cannot go on. `code`: short identifier; the message is one sentence that says what to do."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code

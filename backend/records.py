"""The records that travel down the road: camera, regions, subjects, crops, localizations, chunks, tracks, events.

Camera space everywhere in the backend: metres, x right, y down, z forward (OpenCV). Pixel (0, 0) is the
centre of the top left pixel. Frame indices count from 0 and are those of the clip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from backend.camera.pinhole import Camera, Roi


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

"""The records that travel down the road: people, localizations, chunks, events; for motions see `shared.motion`.

Camera space everywhere in the backend: metres, x right, y down, z forward (OpenCV). Pixel (0, 0) is the
centre of the top left pixel. Frame indices count from 0 and are those of the clip.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np

from backend.camera.pinhole import Camera, Roi
from blender_addon.shared.motion import TrackMotion
from blender_addon.shared.shot import Shot

__all__ = [
    "Chunk",
    "Event",
    "Features",
    "Localization",
    "Notice",
    "Progress",
    "Shot",
    "Subject",
    "Summary",
    "TrackChunk",
    "TrackMotion",
]


LOOKS = 12
"""Parts of the body whose colours are kept, see `people.looks`."""


@dataclass(frozen=True)
class Subject:
    """Someone to be localized in a picture."""

    image: np.ndarray
    """(H, W, 3) uint8 RGB, the whole picture, which several subjects may share."""
    camera: Camera
    """That took the picture."""
    box: np.ndarray
    """(4,) x, y, w, h pixels, tight around the whole person."""
    roi: Roi | None = None
    """The turned square that the tracker or the detector has laid around the person, where known."""
    landmarks: np.ndarray | None = None
    """(33, 2) pixels, where the landmarks of someone who is followed are expected."""


@dataclass
class Localization:
    """What a localizer says of P points on each of B crops."""

    points3d: np.ndarray
    """(B, P, 3) float32 camera space, metres, absolute."""
    points2d: np.ndarray
    """(B, P, 2) float32 pixels of the original picture."""
    uncertainty: np.ndarray
    """(B, P) float32 metres, one sigma of the distance in space."""
    score: np.ndarray
    """(B,) 0..1, how sure it is that the crop holds a person."""
    anchors2d: np.ndarray | None = None
    """(B, 2, 2) pixels, middle of the hips and a point at the body's outer circle, by which the next frame's crop is
    laid, if the localizer has them."""
    features: Mapping[str, np.ndarray] | None = None
    """Arrays (B, …) by which `recall` of the same localizer answers other points later, if asked to keep them."""


@dataclass
class TrackChunk:
    """One person's localizations over n consecutive frames: the finished, resumable part of a job."""

    track: int
    """Number of the person, from 1."""
    frames: np.ndarray
    """(n,) int32."""
    times: np.ndarray
    """(n,) float64 seconds."""
    boxes: np.ndarray
    """(n, 4) x, y, w, h pixels."""
    points3d: np.ndarray
    """As in `Localization` with B = n, at the localizer's native points."""
    points2d: np.ndarray
    """As in `Localization`."""
    uncertainty: np.ndarray
    """As in `Localization`."""
    score: np.ndarray
    """(n,) 0..1."""
    looks: np.ndarray = None  # type: ignore[assignment]
    """(n, 12, 4) float16: colours of parts of the body, see `people.looks`; without weight where nothing is known."""
    doubt: np.ndarray = None  # type: ignore[assignment]
    """(n,) uint8: 1 where it is not sure that this is the same person."""
    source: np.ndarray = None  # type: ignore[assignment]
    """(n,) int32: the track under which each row was followed, before tracks were joined and corrected; 0 for none."""

    def __post_init__(self) -> None:
        if self.source is None:
            self.source = np.full(len(self.frames), self.track, np.int32)
        if self.looks is None:
            self.looks = np.zeros((len(self.frames), LOOKS, 4), np.float16)
        if self.doubt is None:
            self.doubt = np.zeros(len(self.frames), np.uint8)


@dataclass
class Chunk:
    """All that was seen in frames [first, last] of a clip; the unit of saving and resuming."""

    first: int
    """Index of its first frame."""
    last: int
    """Index of its last frame."""
    width: int
    """Of the picture, pixels."""
    height: int
    """Of the picture, pixels."""
    tracks: list[TrackChunk] = field(default_factory=list)
    """Everybody who was followed."""
    memory: dict[str, np.ndarray] = field(default_factory=dict)
    """What those who look at frames one after the other knew after the last one, see `people.memory`."""
    times: np.ndarray = field(default_factory=lambda: np.zeros(0))
    """(n,) float64 seconds of all its frames; empty in chunks of earlier releases."""
    signatures: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    """(n, S) uint8, a small picture of each frame by which cuts are found, see `shots.cuts`; empty likewise."""
    focal_px: float = math.nan
    """Of the camera under which people were localized; NaN in chunks of earlier releases, which had the job's."""
    background: dict[str, np.ndarray] = field(default_factory=dict)
    """What was followed beside the people, see `camera.background.Background`; empty likewise."""

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Flat arrays for an npz file: `first`, `last`, `size` (width, height), `track_ids`, `<id>/<field>`, `times`,
        `signatures`, `background/<name>`, `memory/<name>`."""
        out = {
            "first": np.int64(self.first),
            "last": np.int64(self.last),
            "size": np.array([self.width, self.height], np.int32),
            "track_ids": np.array([t.track for t in self.tracks], np.int32),
            "times": self.times,
            "signatures": self.signatures,
            "focal_px": np.float64(self.focal_px),
        }
        for t in self.tracks:
            for name in _TRACK_ARRAYS:
                out[f"{t.track}/{name}"] = getattr(t, name)
        for group in ("background", "memory"):
            out |= {f"{group}/{name}": array for name, array in getattr(self, group).items()}
        return out

    @classmethod
    def from_arrays(cls, arrays) -> Chunk:
        """Inverse of `to_arrays`; `arrays` is any mapping (an open npz file too)."""
        tracks = [
            # Older chunks know neither looks nor doubt.
            TrackChunk(
                int(i),
                **{
                    n: np.asarray(arrays[f"{int(i)}/{n}"]) for n in _TRACK_ARRAYS if f"{int(i)}/{n}" in arrays
                },
            )
            for i in arrays["track_ids"]
        ]
        width, height = (int(v) for v in arrays["size"])
        more = {name: np.asarray(arrays[name]) for name in ("times", "signatures") if name in arrays}
        more["focal_px"] = float(arrays["focal_px"]) if "focal_px" in arrays else math.nan
        for group in ("background", "memory"):
            names = [n for n in arrays if n.startswith(f"{group}/")]
            more[group] = {n.removeprefix(f"{group}/"): np.asarray(arrays[n]) for n in names}
        return cls(int(arrays["first"]), int(arrays["last"]), width, height, tracks, **more)


# `source` says nothing yet while a clip is seen.
_TRACK_ARRAYS = tuple(f.name for f in fields(TrackChunk) if f.name not in ("track", "source"))


@dataclass
class Features:
    """What the localizer keeps of the people of one chunk's frames [first, last], to answer other points later."""

    first: int
    """Index of the chunk's first frame."""
    last: int
    """Index of its last frame."""
    frames: dict[int, np.ndarray] = field(default_factory=dict)
    """Track -> (n,) int32."""
    arrays: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)
    """Track -> `Localization.features` of these frames, n rows each."""


@dataclass(frozen=True)
class Progress:
    """How far a stage has come."""

    stage: str
    """prepare, localize or body."""
    done: int
    """Frames; while bodies are fitted, those of everybody together."""
    total: int | None
    """Of how many; None while that is unknown."""


@dataclass(frozen=True)
class Notice:
    """Something the user should know; the job goes on."""

    text: str
    """One sentence."""


@dataclass(frozen=True)
class Summary:
    """The last event of a finished job."""

    frames: int
    """Length of the clip."""
    people: int
    """How many got a motion."""
    seconds: dict[str, float]
    """Spent in each stage."""
    mean_uncertainty: float
    """Metres, over people, frames and the 22 joints of the body."""
    engine: str
    """By which the localizer's network ran: onnxruntime or torch."""
    names: dict[str, str] = field(default_factory=dict)
    """Number of a track -> the name that the user gave its person."""

    def as_json(self) -> dict[str, Any]:
        """For a JSON file or message, which know no NaN: what is not a number becomes null. Without `names` if nobody
        has one."""
        said = _finite(asdict(self))
        return said if self.names else {k: v for k, v in said.items() if k != "names"}


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


Event = Features | Chunk | Shot | TrackMotion | Progress | Notice | Summary

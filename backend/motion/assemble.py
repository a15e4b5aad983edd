"""From chunks of localizations to the motion of each person over the whole clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from backend.body.model import Body, CanonicalPoints
from backend.camera.pinhole import Camera
from backend.errors import JobError
from backend.fit.camerafitter import Fit, Fitter
from backend.fit.sketch import sketch
from backend.jobs.pieces import Pieces
from backend.motion.level import up_direction
from backend.motion.take import Take, Way
from backend.options import MocapOptions
from backend.records import Chunk, TrackChunk, TrackMotion
from blender_addon.shared.frames import Frame

PREVIEW_FRAMES = 3
"""Fewer frames than this in a chunk wait for the final fit."""


class Clip:
    """What is known of the clip so far: its camera, frame times and chunks. `breathe`: see Fitter."""

    def __init__(self, body: Body, points: CanonicalPoints, options: MocapOptions,
                 breathe: Callable[[], None] = lambda: None) -> None:  # fmt: skip
        self.body, self.points, self.options = body, points, options
        self.breathe = breathe
        self.pieces = Pieces()
        """What was solved of it before."""
        self.focal_35mm: float | None = None
        """What the file tells of the lens, see `shared.frames.Clip`."""
        self.chunks: list[Chunk] = []
        self.frames = 0
        self._times: dict[int, float] = {}
        self._fitter: Fitter | None = None
        self._size: tuple[int, int] | None = None
        self._betas: dict[int, np.ndarray] = {}

    @property
    def camera(self) -> Camera:
        """The camera; known once a frame or a chunk was seen."""
        return self.fitter.camera

    @property
    def localized_under(self) -> Camera:
        """The camera under which people were localized; another one than `camera` once that was changed."""
        focal = self.chunks[0].focal_px if self.chunks else np.nan
        same = not np.isfinite(focal) or abs(focal / self.camera.K[0, 0] - 1) < 1e-9
        return self.camera if same else Camera.from_focal(self.camera.width, self.camera.height, focal)

    @property
    def fitter(self) -> Fitter:
        if self._fitter is None:
            assert self._size is not None, "no frame was seen yet"
            camera = self.options.pinhole(*self._size)
            self._fitter = Fitter(self.body, self.points, camera, breathe=self.breathe)
        return self._fitter

    def see(self, frame: Frame) -> None:
        """Take note of a frame. Raises JobError("bad_frame") when its size differs from the first one's."""
        height, width = frame.image.shape[:2]
        if self._size is None:
            self._size = (width, height)
        if self._size != (width, height):
            w, h = self._size
            raise JobError("bad_frame", f"Frame {frame.index} is {width}x{height}, but the clip began with {w}x{h}: "
                           "convert the clip to one picture size.")  # fmt: skip
        self.frames = max(self.frames, frame.index + 1)
        self._times[frame.index] = frame.time_s

    def add(self, chunk: Chunk) -> None:
        """Keep a finished chunk."""
        self._size = self._size or (chunk.width, chunk.height)
        self.chunks.append(chunk)
        self.frames = max(self.frames, chunk.last + 1)
        frames = range(chunk.first, chunk.first + len(chunk.times))
        self._times.update(zip(frames, chunk.times.tolist(), strict=True))
        for t in chunk.tracks:
            self._times.update(zip(t.frames.tolist(), t.times.tolist(), strict=True))

    def times(self, frames: np.ndarray) -> np.ndarray:
        """Seconds of `frames`; what was not seen is interpolated between its neighbours."""
        known = np.array(sorted(self._times))
        return np.interp(frames, known, [self._times[int(i)] for i in known])

    def track_ids(self) -> set[int]:
        """Every id that any chunk holds."""
        return {t.track for c in self.chunks for t in c.tracks}

    def preview(self, chunk: Chunk) -> list[TrackMotion]:
        """A first motion of everyone in `chunk`, fitted to this chunk alone with the shape of their first chunk."""
        out = []
        for t in chunk.tracks:
            if len(t.frames) < PREVIEW_FRAMES:
                continue
            # A few of its frames, without the time term: the final fit replaces it anyway.
            fit = sketch(
                self.fitter, t.points3d, t.points2d, t.uncertainty, t.times, self._betas.get(t.track)
            )
            self._betas.setdefault(t.track, fit.betas)
            out.append(finished(t, fit, self.body, final=False))
        return out

    def take(self, camera: Camera | None = None, first: int = 0, way: Way | None = None) -> Take:
        """A shot that begins with the frame `first`, by `camera` (None: the one that was assumed), which moves by `way`
        (None: not at all)."""
        fitter = self.fitter
        if camera is not None and not np.array_equal(camera.K, self.camera.K):
            fitter = Fitter(self.body, self.points, camera, breathe=self.breathe)
        return Take(self.body, self.points, self.options, fitter, first, way, pieces=self.pieces)

    def fit(self, track: TrackChunk, betas: np.ndarray | None = None, smooth: float | None = None) -> Fit:
        """Fit the body to one track; NaN rows are bridged. `smooth`: in place of the job's own strength."""
        strength = self.options.smooth if smooth is None else smooth
        return self.fitter.fit(track.points3d, track.points2d, track.uncertainty, track.times,
                               betas=betas, smooth=strength)  # fmt: skip


def finished(track: TrackChunk, fit: Fit, body: Body, final: bool = True) -> TrackMotion:
    """A fit as the motion of its track."""
    expression = np.zeros((len(track.frames), body.n_expressions), np.float32)
    bridged = ~np.isfinite(track.points3d).any((1, 2))
    return TrackMotion(track.track, track.frames, track.times, track.boxes, fit.pose, fit.trans, fit.betas,
                       expression, fit.joints, fit.joint_uncertainty, final,
                       bridged=bridged.astype(np.uint8))  # fmt: skip


def stand_upright(motions: Sequence[TrackMotion]) -> Sequence[TrackMotion]:
    """Tell all motions of a clip which way is up."""
    times = np.concatenate([np.diff(m.times) for m in motions])
    frame_s = float(np.median(times)) if len(times) else 1 / 30
    up = up_direction([m.joints for m in motions], [m.joint_uncertainty for m in motions], frame_s)
    for m in motions:
        m.up = up.astype(np.float32)
    return motions


def mean_uncertainty(motions: Sequence[TrackMotion]) -> float:
    """Mean over people, frames and the 22 body joints, metres."""
    return float(np.mean([m.joint_uncertainty[:, :22].mean() for m in motions]))

"""The *landmarks* localizer: BlazePose's 33 landmarks as observations at fixed canonical points.

The light preview mode, and the baseline that the neural localizer field must beat. Its native points are the 33
landmarks; every other canonical point is answered from the body fitted to them, frame by frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from backend.body.landmarks import body_landmarks
from backend.body.model import Body, CanonicalPoints
from backend.camera.pinhole import Camera, Roi
from backend.camera.turned import extract
from backend.fit.camerafitter import Fitter
from backend.localizers.contract import LocalizerOptions
from backend.localizers.kept import joined, nobody
from backend.nets.blazepose import BlazePose
from backend.records import Localization, Subject

if TYPE_CHECKING:
    from backend.body.pointsets import PointSet

LANDMARKS = 33
SIDE = 256
_DEFAULTS = LocalizerOptions()

# One sigma in metres of a clearly visible landmark, by MediaPipe's number. Face landmarks sit on a rigid head and
# are steady; hips and shoulders are judged through cloth; hands and feet are far out and small.
_SIGMA = np.array([0.03] * 11 + [0.035] * 2 + [0.045] * 2 + [0.05] * 2 + [0.06] * 6 + [0.035] * 2 + [0.04] * 2
                  + [0.05] * 2 + [0.06] * 4)  # fmt: skip
_HIDDEN = 4.0
"""An occluded landmark is a guess: its sigma grows by up to this factor."""


class LandmarksLocalizer:
    """BlazePose `variant` (heavy, full, lite), seen through the landmarks of `body`."""

    def __init__(self, variant: str, body: Body, options: LocalizerOptions = _DEFAULTS) -> None:
        self.name = f"landmarks-{variant}"
        self.body = body
        self.native, self.names = body_landmarks(body)
        self.landmarks = np.arange(LANDMARKS)
        self.skeletons: Mapping[str, PointSet] = {}
        self.net = BlazePose(variant, options.device, options.engine)
        self.engine, self._hands = self.net.engine.name, options.hands

    def prepare(self, points: CanonicalPoints | PointSet) -> CanonicalPoints:
        """Nothing needs doing ahead of time: points are answered from the fitted body, whose rest pose is the
        canonical space."""
        return points if isinstance(points, CanonicalPoints) else points.points

    def localize(self, subjects: Sequence[Subject], prepared: CanonicalPoints | None = None) -> Localization:
        """See `Localizer.localize`. With `prepared` points, everyone is fitted on their own (no time, mean shape)."""
        seen = self._observe(subjects)
        return seen if prepared is None else self._from_body(seen, subjects, prepared)

    def _observe(self, subjects: Sequence[Subject]) -> Localization:
        """The landmarks. A region made of a box alone is laid again by what a first look finds: BlazePose wants
        people upright and centred on their hips."""
        regions = [s.roi or Roi.around(s.box) for s in subjects]
        first = self._look(subjects, regions)
        again = [i for i, s in enumerate(subjects) if s.roi is None and first.score[i] > 0]
        if not again:
            return first
        second = [Roi.from_axis(*first.anchors2d[i]) for i in again]
        better = self._look([subjects[i] for i in again], second)
        for old, new in zip(_arrays(first), _arrays(better), strict=True):
            old[again] = new
        return first

    def _look(self, subjects: Sequence[Subject], regions: Sequence[Roi]) -> Localization:
        parts = self._hands.batches(self._crops, self.net.engine.batch, subjects, regions)
        return joined(parts) if parts else nobody(LANDMARKS)

    def _crops(self, subjects: Sequence[Subject], regions: Sequence[Roi]) -> Localization:
        crops = [extract(s.image, s.camera, roi, SIDE) for s, roi in zip(subjects, regions, strict=True)]
        out = self.net.run(np.stack([c.image for c in crops]))
        R = np.stack([c.R for c in crops])
        K_inv = np.stack([np.linalg.inv(c.K) for c in crops])
        K = np.stack([s.camera.K for s in subjects])
        pixels = out.points_crop[..., :2]
        homogeneous = np.concatenate([pixels, np.ones_like(pixels[..., :1])], -1)
        rays = np.einsum("bji,bjk,bpk->bpi", R, K_inv, homogeneous)
        rays = rays[..., :2] / np.maximum(rays[..., 2:], 1e-6)
        points2d = np.einsum("bij,bpj->bpi", K[:, :2, :2], rays) + K[:, None, :2, 2]
        relative = np.einsum("bji,bpj->bpi", R, out.world[:, :LANDMARKS])
        visibility = out.visibility[:, :LANDMARKS]
        sigma = _SIGMA * (1 + (_HIDDEN - 1) * (1 - visibility))
        place = absolute_translation(relative, rays[:, :LANDMARKS], sigma**-2)
        return Localization(
            (relative + place[:, None]).astype(np.float32), points2d[:, :LANDMARKS].astype(np.float32),
            sigma.astype(np.float32), out.score, points2d[:, LANDMARKS : LANDMARKS + 2],
        )  # fmt: skip

    def _from_body(
        self, seen: Localization, subjects: Sequence[Subject], points: CanonicalPoints
    ) -> Localization:
        n = len(seen.score)
        where, flat = np.zeros((n, len(points), 3), np.float32), np.zeros((n, len(points), 2), np.float32)
        sigma = np.zeros((n, len(points)), np.float32)
        cameras = [s.camera for s in subjects]
        keys = [(np.asarray(c.K, np.float64).tobytes(), c.width, c.height) for c in cameras]
        for key in dict.fromkeys(keys):
            rows = [i for i, k in enumerate(keys) if k == key]
            fitter = _fitter(self.body, self.native, *key)
            times = np.arange(len(rows), dtype=np.float64)
            data = (seen.points3d[rows], seen.points2d[rows], seen.uncertainty[rows], times)
            fit = fitter.fit(*data, betas=np.zeros(self.body.n_betas, np.float32), smooth=0)
            where[rows], sigma[rows] = fitter.points(points, fit.state, fitter.observations(*data))
            flat[rows] = cameras[rows[0]].project(where[rows])
        return Localization(where, flat, sigma, seen.score)


def _arrays(seen: Localization) -> tuple[np.ndarray, ...]:
    assert seen.anchors2d is not None
    return seen.points3d, seen.points2d, seen.uncertainty, seen.score, seen.anchors2d


@lru_cache(maxsize=4)
def _fitter(body: Body, native: CanonicalPoints, K: bytes, width: int, height: int) -> Fitter:
    return Fitter(body, native, Camera(np.frombuffer(K).reshape(3, 3), width, height))


def absolute_translation(relative: np.ndarray, rays: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Where points known up to a translation must be to be seen along their rays (weighted least squares).

    `relative`: (B, P, 3) metres, camera axes; `rays`: (B, P, 2) as x/z, y/z; `weight`: (B, P) -> (B, 3) metres.
    Source: NLF, full-perspective reconstruction. Never nearer than 0.3 m.
    """
    w = (weight / weight.sum(1, keepdims=True))[..., None]
    b = rays * relative[..., 2:] - relative[..., :2]
    mean_ray, mean_b = (w * rays).sum(1), (w * b).sum(1)
    spread = (w * (rays - mean_ray[:, None]) ** 2).sum((1, 2))
    slope = (w * (rays - mean_ray[:, None]) * (b - mean_b[:, None])).sum((1, 2))
    z = np.maximum(-slope / np.maximum(spread, 1e-9), 0.3)
    return np.concatenate([mean_b + mean_ray * z[:, None], z[:, None]], -1)

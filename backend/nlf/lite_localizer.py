"""The *lite* localizer: our own field at work, for any canonical point of our body (see `backend.nlf.lite`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from backend.body.landmarks import body_landmarks, stack
from backend.body.model import Body, CanonicalPoints
from backend.body.pointsets import PointSet, named_set
from backend.nlf.lite import SIDE, LitePoints
from backend.nlf.lite_region import landmark_axis, landmark_region
from backend.nlf.lite_weights import load_lite
from backend.records import Localization, Roi, Subject
from backend.roi import extract

SURFACE = 168
"""Points of the skin that the fit uses beside landmarks and joints: 256 in all."""
LANDMARKS = 33
_BATCH = 8


class LiteLocalizer:
    """`file`: weights; `body`: must be the body whose canonical space they were trained in."""

    def __init__(self, name: str, file: Path, body: Body, device: str = "cpu") -> None:
        self.name, self.body, self.device = name, body, torch.device(device)
        self.model = load_lite(file, device)
        landmarks, _ = body_landmarks(body)
        sets = [named_set(body, kind) for kind in ("smplx_55", f"surface_{SURFACE}")]
        self.native = stack([landmarks, *(s.points for s in sets if s is not None)])
        self.landmarks = np.arange(LANDMARKS)
        self.skeletons: Mapping[str, PointSet] = {}
        self._native: LitePoints | None = None
        self._marks: LitePoints | None = None

    def prepare(self, points: CanonicalPoints | PointSet) -> LitePoints:
        """See `Localizer.prepare`: the rest pose of the body is the canonical space, for raw points too."""
        where = points.positions if isinstance(points, CanonicalPoints) else points.points.positions
        return self.model.prepare(torch.from_numpy(np.ascontiguousarray(where, np.float32)))

    def localize(self, subjects: Sequence[Subject], prepared: LitePoints | None = None) -> Localization:
        """See `Localizer.localize`. Someone of whom only a box is known is looked at twice: the first look says where
        the square must lie, and how it must be turned."""
        if prepared is None:
            self._native = self._native or self.prepare(self.native)
            prepared = self._native
        if self._marks is None:
            self._marks = self.prepare(self.native.take(self.landmarks))
        regions = [s.roi or Roi.around(s.box) for s in subjects]
        again = [i for i, s in enumerate(subjects) if s.roi is None]
        if again:
            first = self._look([subjects[i] for i in again], [regions[i] for i in again], self._marks)
            for i, flat in zip(again, first.points2d, strict=True):
                regions[i] = landmark_region(flat.astype(float))
        return self._look(subjects, regions, prepared)

    def _look(self, subjects: Sequence[Subject], regions: Sequence[Roi], points: LitePoints) -> Localization:
        parts = [
            self._crops(subjects[i : i + _BATCH], regions[i : i + _BATCH], points)
            for i in range(0, len(subjects), _BATCH)
        ]
        if not parts:
            empty = np.zeros((0, len(points), 3), np.float32)
            return Localization(
                empty, empty[..., :2], empty[..., 0], np.zeros(0, np.float32), np.zeros((0, 2, 2))
            )
        return Localization(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    @torch.inference_mode()
    def _crops(self, subjects: Sequence[Subject], regions: Sequence[Roi], points: LitePoints) -> tuple:
        assert self._marks is not None
        crops = [extract(s.image, s.camera, roi, SIDE) for s, roi in zip(subjects, regions, strict=True)]
        images = torch.from_numpy(np.stack([c.image for c in crops])).to(self.device)
        # (B, H, W, 3) seen as NCHW is the channels-last layout already: no copy.
        features = self.model.features(self.model.look(images.float().div_(255).permute(0, 3, 1, 2)))
        found = self.model.heads(features, points)
        K, R = np.stack([c.K for c in crops]), np.stack([c.R for c in crops])
        placed = self.model.absolute(found, torch.from_numpy(K).to(self.device, torch.float32))
        back = np.einsum("bij,bkj->bik", np.stack([s.camera.K for s in subjects]), R) @ np.linalg.inv(K)
        marks = found if points is self._marks else self.model.heads(features, self._marks)
        axes = [landmark_axis(flat) for flat in _through(back, _numpy(marks.coords2d))]
        return (
            np.einsum("bji,bpj->bpi", R, _numpy(placed.points3d)).astype(np.float32),
            _through(back, _numpy(found.coords2d)).astype(np.float32),
            _numpy(self.model.calibrated(found.uncertainty)).astype(np.float32),
            _numpy(features.score).astype(np.float32),
            np.stack([np.stack(axis) for axis in axes]),
        )


def _numpy(x: torch.Tensor) -> np.ndarray:
    return x.double().cpu().numpy()


def _through(H: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """(B, 3, 3) homographies of (B, P, 2) pixels."""
    out = np.einsum("bij,bpj->bpi", H[..., :2], xy) + H[:, None, :, 2]
    return out[..., :2] / np.maximum(out[..., 2:], 1e-9)

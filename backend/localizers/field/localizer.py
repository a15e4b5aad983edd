"""The localizer *field*: our own network (`model`) at work, for any canonical point of the body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch

from backend.body.load import load_body
from backend.body.model import Body, CanonicalPoints
from backend.body.native import native_points
from backend.body.pointsets import PointSet
from backend.camera.pinhole import Roi
from backend.camera.turned import extract
from backend.localizers.contract import OWN, LocalizerOptions
from backend.localizers.field.file import load_field
from backend.localizers.field.look import FieldHeads, FieldLook
from backend.localizers.field.model import SIDE, FieldFeatures, FieldPoints
from backend.localizers.kept import check, joined, nobody, packed, stamp, unpacked
from backend.localizers.landmarks.region import landmark_axis, landmark_region
from backend.localizers.nlf.space import rest_places
from backend.nets.blazepose import ASSETS
from backend.nets.engine import RUNTIME, Runtime, create_engine
from backend.nets.heatmaps import HeadOutput
from backend.records import Localization, Subject

WEIGHTS = ASSETS / "field.safetensors"
SURFACE = 64
"""Points of the skin that the fit uses beside landmarks and joints: 152 in all. With 168 the fit takes up to twice as
long; their errors are alike, so that they bring little news."""
LANDMARKS = 33
_SIDES = (0.5 * np.pi, np.pi, -0.5 * np.pi)
"""Further ways up, radians, in which a newcomer is looked at who is not recognised at once."""
_RECOGNISED = (0.8, 0.1)
"""Least score, and most metres of mean uncertainty of the landmarks, of somebody who is."""
_BOUNDS = (0.25, 2.5)
"""Least and most side of a region, in sides of the one before."""
_GRAZING = 0.05
"""Cosine to the camera's axis beyond which nothing is drawn further out."""
_KEPT = ("code", "landmarks", "score", "frame")
_NO_LIMB = [*range(13), 23, 24]
_SEEN = 0.5
_REACH_M, _ELSE = 0.1, 0.3
"""How far along the rest pose a landmark pulls at other points, and the weight of leaving them where they are; chosen
on rendered people (median error 5.18 -> 4.99 px of 256)."""


class FieldLocalizer:
    """`body`: whose points are asked for; the shipped one, whose rest pose is the field's canonical space, or another
    one, which is laid onto it once."""

    def __init__(self, body: Body, options: LocalizerOptions | None = None, file: Path = WEIGHTS) -> None:
        self.name, self.body, self.options = OWN, body, options or LocalizerOptions()
        self.device = torch.device(self.options.device)
        self.model = load_field(file, self.device)
        self.native = native_points(body, SURFACE)
        self.landmarks = np.arange(LANDMARKS)
        self.skeletons: Mapping[str, PointSet] = {}
        self._seeing = create_engine("field", FieldLook(self.model), self.device, self.options.engine)
        self.engine = self._seeing.name
        self._pointing: Runtime | None = None
        if self.engine == RUNTIME:
            self._pointing = Runtime("field_heads", FieldHeads(self.model))
            self.model.drop_sight()
        self._own = body if body.name == "open" else load_body()
        self._marks = self.model.prepare(self.model.marks)
        self._native: FieldPoints | None = None

    def prepare(self, points: CanonicalPoints | PointSet) -> FieldPoints:
        """See `Localizer.prepare`; `raw` positions are those of the shipped body's rest pose."""
        return self.model.prepare(torch.from_numpy(np.ascontiguousarray(self.places(points), np.float32)))

    def places(self, points: CanonicalPoints | PointSet) -> np.ndarray:
        """(P, 3) positions in the field's canonical space, metres."""
        if isinstance(points, CanonicalPoints):
            return rest_places(self.body, points, self._own, self.options.note)
        where = np.array(points.points.positions, np.float64)
        known = np.flatnonzero(~points.raw)
        if len(known):
            where[known] = rest_places(self.body, points.points.take(known), self._own, self.options.note)
        return where

    def localize(self, subjects: Sequence[Subject], prepared: FieldPoints | None = None) -> Localization:
        """See `Localizer.localize`. Someone of whom no landmarks are known is looked at first to learn how the square
        must lie, from other sides too if need be."""
        if prepared is None:
            prepared = self._native = self._native or self.prepare(self.native)
        return self._look(subjects, self._regions(subjects), prepared)

    def _regions(self, subjects: Sequence[Subject]) -> list[Roi]:
        first = [s.roi or Roi.around(s.box) for s in subjects]
        known = [
            None if s.landmarks is None else bounded(landmark_region(s.landmarks), roi)
            for s, roi in zip(subjects, first, strict=True)
        ]
        new = [i for i, region in enumerate(known) if region is None]
        some, regions = [subjects[i] for i in new], [first[i] for i in new]
        seen = self._look(some, regions, self._marks)
        best, how_good = list(seen.points2d), _recognition(seen)
        doubtful = np.flatnonzero(how_good < 1)
        if len(doubtful):
            asked = [(i, turn) for i in doubtful for turn in _SIDES]
            turned = [replace(regions[i], angle=regions[i].angle + turn) for i, turn in asked]
            more = self._look([some[i] for i, _ in asked], turned, self._marks)
            for (i, _), points2d, good in zip(asked, more.points2d, _recognition(more), strict=True):
                if good > how_good[i]:
                    best[i], how_good[i] = points2d, good
        for i, points2d in zip(new, best, strict=True):
            known[i] = bounded(landmark_region(points2d.astype(float)), first[i])
        return [region for region in known if region is not None]

    def _look(self, subjects: Sequence[Subject], regions: Sequence[Roi], points: FieldPoints) -> Localization:
        look = partial(self._crops, points=points)
        parts = self.options.hands.batches(look, self._seeing.batch, subjects, regions)
        return joined(parts) if parts else nobody(len(points))

    @torch.inference_mode()
    def _crops(
        self, subjects: Sequence[Subject], regions: Sequence[Roi], points: FieldPoints
    ) -> Localization:
        crops = [extract(s.image, s.camera, roi, SIDE) for s, roi in zip(subjects, regions, strict=True)]
        features = FieldFeatures(*self._seeing.run(np.stack([c.image for c in crops])))
        lenses = {
            "K": np.stack([c.K for c in crops]),
            "R": np.stack([c.R for c in crops]),
            "camera": np.stack([s.camera.K for s in subjects]),
        }
        seen, translation = self._answer(features, lenses, points)
        if self.options.keep and points is not self._marks:
            rest = {n: getattr(features, n).cpu().numpy() for n in _KEPT}
            made_by = np.full(len(crops), self._stamp)
            seen.features = (
                packed(features.cells) | rest | lenses | {"translation": translation, "made_by": made_by}
            )
        return seen

    @torch.inference_mode()
    def recall(self, features: Mapping[str, np.ndarray], prepared: FieldPoints) -> Localization:
        """See `Recalls.recall`."""
        check(features, self._stamp)
        rest = {n: torch.from_numpy(np.ascontiguousarray(features[n])).to(self.device) for n in _KEPT}
        shown = FieldFeatures(cells=unpacked(features, self.device), **rest)
        return self._answer(shown, features, prepared, features["translation"])[0]

    @cached_property
    def _stamp(self) -> np.uint64:
        return stamp(self.model.field)

    def _heads(self, features: FieldFeatures, points: FieldPoints) -> HeadOutput:
        """`FieldModel.heads` by the engine."""
        if self._pointing is None or not len(points):
            return self.model.heads(features, points)
        seen = [features.cells.numpy(), features.code.numpy(), features.frame.numpy()]
        asked = [[t.numpy() for t in (p.weights, p.biases, p.places)] for p in points.parts()]
        rows = []
        for i in range(len(features.score)):
            row = [self._pointing.call(*(a[i : i + 1] for a in seen), *part) for part in asked]
            rows.append([np.concatenate(column, 1) for column in zip(*row, strict=True)])
        return HeadOutput(*(torch.from_numpy(np.concatenate(c)) for c in zip(*rows, strict=True)))

    def _answer(
        self,
        features: FieldFeatures,
        lenses: Mapping[str, np.ndarray],
        points: FieldPoints,
        translation: np.ndarray | None = None,
    ) -> tuple[Localization, np.ndarray]:
        """What features say of points, and the translation (B, 3) that was solved, or was known. `lenses`: `K`, `R`
        of the crops and K of the `camera`, (B, 3, 3) each."""
        marks = self._heads(features, self._marks)
        off = limb_errors(features, marks)
        found = marks if points is self._marks else self._heads(features, points)
        found = replace(found, coords2d=found.coords2d + pull(points.points, self.model.marks, *off))
        K, R = lenses["K"], lenses["R"]
        known = None if translation is None else torch.from_numpy(translation).to(self.device)
        placed = self.model.absolute(found, torch.from_numpy(K).to(self.device, torch.float32), known)
        back = np.einsum("bij,bkj->bik", lenses["camera"], R) @ np.linalg.inv(K)
        flat = marks.coords2d + pull(self.model.marks, self.model.marks, *off)
        axes = [landmark_axis(xy) for xy in _through(back, _numpy(flat))]
        seen = Localization(
            np.einsum("bji,bpj->bpi", R, _numpy(placed.points3d)).astype(np.float32),
            _through(back, _numpy(found.coords2d)).astype(np.float32),
            _numpy(self.model.calibrated(found.uncertainty)).astype(np.float32),
            _numpy(features.score).astype(np.float32),
            np.stack([np.stack(axis) for axis in axes]),
        )
        return seen, placed.translation.cpu().numpy()


def limb_errors(features: FieldFeatures, marks: HeadOutput) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 33, 2) pixels of the crop from the field's landmarks to the trunk's own, and (B, 33) how much they count.

    Where a limb's landmark is seen the trunk, whose maps are four times as fine, is the more exact of the two in the
    picture; shoulders, hips and face are other places for BlazePose than for the body, so that they do not count.
    """
    seen = features.landmarks[:, :LANDMARKS]
    visible = seen[..., 3] * (seen[..., 3] > _SEEN)
    visible[:, _NO_LIMB] = 0
    return (seen[..., :2] + 1) * (SIDE / 2) - marks.coords2d, visible


def pull(points: torch.Tensor, marks: torch.Tensor, off: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """(B, P, 2) by how much canonical points (P, 3) near the landmarks (33, 3) move with them: see `limb_errors`."""
    near = (torch.cdist(points, marks).square() / (-2 * _REACH_M**2)).exp()
    weight = near[None] * visible[:, None]
    return weight @ off / (weight.sum(-1, keepdim=True) + _ELSE)


def bounded(region: Roi, before: Roi) -> Roi:
    """`region`, not much larger, smaller or further off than the one that was looked at `before`: in a close-up
    landmarks are guessed far outside the picture, even behind the camera."""
    step = region.center - before.center
    far = float(np.linalg.norm(step))
    if not np.isfinite([far, region.size, region.angle]).all():
        return before
    least, most = (factor * before.size for factor in _BOUNDS)
    reach = min(1.0, before.size / max(far, 1e-9))
    return Roi(before.center + step * reach, float(np.clip(region.size, least, most)), region.angle)


def _recognition(seen: Localization) -> np.ndarray:
    """(B,) how well somebody was recognised, from 1 on well enough."""
    score, most = _RECOGNISED
    return np.minimum(seen.score / score, most / np.maximum(seen.uncertainty.mean(1), 1e-6))


def _numpy(x: torch.Tensor) -> np.ndarray:
    return x.double().cpu().numpy()


def _through(H: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """(B, 3, 3) homographies of (B, P, 2) pixels."""
    out = np.einsum("bij,bpj->bpi", H[..., :2], xy) + H[:, None, :, 2]
    return out[..., :2] / np.maximum(out[..., 2:], _GRAZING)

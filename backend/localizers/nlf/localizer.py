"""The neural localizer field at work: any canonical point of the body, straight from the picture.

Points of the body are looked up in the canonical space of the weights, pushed through the field once, and then found
in every picture at the price of one small matrix product each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from backend.body.landmarks import body_landmarks
from backend.body.model import Body, CanonicalPoints
from backend.body.native import native_points
from backend.body.pointsets import PointSet
from backend.camera.lens import lens_coefficients, project
from backend.errors import JobError
from backend.localizers.contract import LocalizerOptions
from backend.localizers.kept import check, packed, stamp, unpacked
from backend.localizers.nlf.crop_model import CropLink
from backend.localizers.nlf.head import PreparedPoints
from backend.localizers.nlf.merge import turned_back
from backend.localizers.nlf.multiperson import Kept, Poses, Recipe, estimate_poses
from backend.localizers.nlf.precision import prepare_model
from backend.localizers.nlf.space import space_of
from backend.localizers.nlf.suppress import CERTAIN, fits_box
from backend.localizers.nlf.weights import OfficialWeights
from backend.nets.engine import RUNTIME, TORCH, Runtime, choose_engine, fits
from backend.records import Localization, Subject
from backend.volumes.map import VolumeMap
from blender_addon.shared.threads import usable_cores

ENOUGH = 17
"""Points that can stand alone. Where a person is, and whether it is one, is solved from all points together
(docs/nlf.md 6.3, 9.1): with few of them, or with one, the landmarks help."""
SURFACE = 168
"""Points of the skin that the fit uses beside landmarks and joints: 256 in all."""
BITS = 16
"""Of each value that is kept: with made-up weights, the only ones at hand, 8 would be off by 2.5 mm."""
_BATCH = {"cpu": 8}
_GPU_BATCH = 64


@dataclass(frozen=True)
class Asked:
    """Points prepared for the model, with helpers behind those that were asked for."""

    points: PreparedPoints
    """All of them."""
    count: int
    """The first `count` points are those that were asked for."""


class NeuralLocalizer:
    """NLF with the given weights, on the points of `body`."""

    def __init__(self, weights: OfficialWeights, body: Body, options: LocalizerOptions) -> None:
        self.name = weights.info.name
        self.body = body
        self.options = options
        self._lens = _lens(options.lens)
        self._weights = weights
        model = weights.model()
        self.skeletons: Mapping[str, PointSet] = _official_sets(weights, model.canonical_locs(), body)
        self._model = prepare_model(
            model, options.device, options.precision, compile_it=options.compiled, note=options.note
        )
        self.engine = self._hand_over()
        batch = _BATCH.get(torch.device(options.device).type, _GPU_BATCH)
        self._recipe = Recipe(options.num_aug, white=weights.info.white, batch=batch)
        self._helpers, _ = body_landmarks(body)
        self.landmarks = np.arange(len(self._helpers))
        self.native = native_points(body, SURFACE)
        self._native: Asked | None = None

    def _hand_over(self) -> str:
        """Let the engine run what looks at crops, if it can; -> the engine's name."""
        model, wanted = self._model, self.options.engine
        plain = next(model.backbone.parameters()).dtype == torch.float32 and not self.options.compiled
        if wanted == RUNTIME and not plain:
            text = f"The engine {RUNTIME} runs NLF in fp32 and uncompiled: leave out the engine or the other option."
            raise JobError("bad_options", text)
        graph, link = f"nlf_{model.size}", CropLink(model)
        if not plain or choose_engine(self.options.device, wanted) != RUNTIME or not fits(graph, link):
            return TORCH
        # One crop is much work, so that it is worth the threads.
        model.runtime = Runtime(graph, link, usable_cores())
        return RUNTIME

    @cached_property
    def space(self) -> VolumeMap:
        """The map between the body and the canonical space of the weights; official skeletons do not need it."""
        return space_of(self._weights, self.body, self.options.note)

    def prepare(self, points: CanonicalPoints | PointSet) -> Asked:
        """See `Localizer.prepare`."""
        where = self.places(points)
        if len(points) < ENOUGH:
            where = np.concatenate([where, self.places(self._helpers)])
        prepared = self._model.prepare(torch.from_numpy(where), mirrored=self._recipe.num_aug > 1)
        return Asked(prepared, len(points))

    def places(self, points: CanonicalPoints | PointSet) -> np.ndarray:
        """(P, 3) float32 positions in the canonical space of the weights, metres."""
        if isinstance(points, CanonicalPoints):
            return self.space.to_volume(points).astype(np.float32)
        where = np.array(points.points.positions, np.float32)
        known = np.flatnonzero(~points.raw)
        if len(known):
            where[known] = self.space.to_volume(points.points.take(known))
        return where

    def localize(self, subjects: Sequence[Subject], prepared: Asked | None = None) -> Localization:
        """See `Localizer.localize`. The score says how many of the points are certain, 0.5 for a third of them as
        the official rule of plausibility asks; 0 if they lie elsewhere than the box."""
        if prepared is None:
            prepared = self._native = self._native or self.prepare(self.native)
        B, P = len(subjects), prepared.count
        out = Localization(
            np.zeros((B, P, 3), np.float32), np.zeros((B, P, 2), np.float32),
            np.zeros((B, P), np.float32), np.zeros(B, np.float32),
        )  # fmt: skip
        kept: list[Kept] = []
        order: list[int] = []
        for rows, poses in self._poses(subjects, prepared.points, kept):
            order += rows
            boxes = torch.tensor(np.stack([subjects[i].box for i in rows]), dtype=torch.float32)
            certain = (poses.uncertainty < CERTAIN).float().mean(-1).cpu()
            inside = fits_box(poses.points2d.cpu(), boxes)
            out.points3d[rows] = poses.points3d[:, :P].cpu().numpy()
            out.points2d[rows] = poses.points2d[:, :P].cpu().numpy()
            out.uncertainty[rows] = poses.uncertainty[:, :P].cpu().numpy()
            out.score[rows] = (inside * (1.5 * certain).clamp(max=1)).numpy()
        if kept:
            out.features = self._features(subjects, kept, np.argsort(order))
        return out

    def _features(
        self, subjects: Sequence[Subject], kept: Sequence[Kept], rows: np.ndarray
    ) -> dict[str, np.ndarray]:
        """What `recall` needs, the people in order (`rows` of what was kept)."""
        linked = torch.cat([k.linked for k in kept])
        arrays = packed(linked.flatten(2).mT, BITS) | {
            n: torch.cat([getattr(k, n) for k in kept]).float().cpu().numpy()
            for n in ("K", "R", "translation")
        }
        camera = np.stack([s.camera.K for s in subjects]).astype(np.float32)
        made_by = np.full(len(subjects), self._stamp)
        return {n: a[rows] for n, a in arrays.items()} | {"camera": camera, "made_by": made_by}

    @cached_property
    def _stamp(self) -> np.uint64:
        return stamp(self._model.heatmap_head)

    @torch.no_grad()
    def recall(self, features: Mapping[str, np.ndarray], prepared: Asked) -> Localization:
        """See `Recalls.recall`; nothing was kept where several views are merged. The score is not asked again."""
        check(features, self._stamp)
        device = self._model.canonical_lefts.device
        K, R, t, camera = (
            torch.from_numpy(np.ascontiguousarray(features[n], np.float32)).to(device)
            for n in ("K", "R", "translation", "camera")
        )
        cells = unpacked(features, device)
        side = round(cells.shape[1] ** 0.5)
        out = self._model.read(cells.mT.unflatten(2, (side, side)), K, prepared.points, translation=t)
        where = turned_back(out.points3d.float(), R)[:, : prepared.count]
        lens = None if self._lens is None else self._lens.to(where).expand(len(where), -1)
        flat = project(where, camera, lens)
        sigma = out.uncertainty[:, : prepared.count]
        arrays = (a.float().cpu().numpy() for a in (where, flat, sigma))
        return Localization(*arrays, np.ones(len(where), np.float32))

    def _poses(
        self, subjects: Sequence[Subject], prepared: PreparedPoints, kept: list[Kept]
    ) -> list[tuple[list[int], Poses]]:
        """Rows of the subjects of each picture, and their poses; `kept` gets what was seen, if that is asked for."""
        pictures: dict[int, list[int]] = {}
        for i, subject in enumerate(subjects):
            pictures.setdefault(id(subject.image), []).append(i)
        rows = list(pictures.values())
        if not rows:
            return []
        firsts = [subjects[r[0]] for r in rows]
        found = estimate_poses(
            self._model,
            [np.ascontiguousarray(s.image) for s in firsts],
            [np.stack([np.asarray(subjects[i].box, float) for i in r]) for r in rows],
            prepared,
            self._recipe,
            K=torch.from_numpy(np.stack([s.camera.K for s in firsts])),
            coeffs=self._lens,
            keep=kept.append if self.options.keep else None,
        )
        return list(zip(rows, found, strict=True))


def _lens(coefficients: Sequence[float]) -> torch.Tensor | None:
    if not coefficients:
        return None
    try:
        return lens_coefficients(torch.tensor(coefficients, dtype=torch.float64))
    except ValueError as error:
        raise JobError("bad_options", str(error)) from error


def _official_sets(weights: OfficialWeights, locs: torch.Tensor, body: Body) -> dict[str, PointSet]:
    """The named skeletons of the weights. Their places are known in the canonical space of the weights only."""
    every = locs.detach().cpu().float().numpy()
    out = {}
    for name, skeleton in weights.skeletons.items():
        positions = every[np.asarray(skeleton.indices)]
        edges = np.asarray(skeleton.edges, np.int32).reshape(-1, 2)
        out[name] = PointSet(
            name, tuple(skeleton.labels), _nowhere(positions, body), edges, np.ones(len(positions), bool)
        )
    return out


def _nowhere(positions: np.ndarray, body: Body) -> CanonicalPoints:
    """Positions that are no places of `body`: nothing carries them."""
    P = len(positions)
    return CanonicalPoints(
        positions, np.zeros((P, len(body.parents)), np.float32), np.zeros((P, 3, body.n_betas), np.float32),
        np.zeros((P, 3, body.n_expressions), np.float32),
    )  # fmt: skip

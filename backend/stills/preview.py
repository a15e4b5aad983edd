"""Who is in one picture of a clip, each with an outline: for choosing people before a job begins.

A body is fitted to the points of everybody, and its silhouette is the outline; where no body fits, a wide hull of the
points is. Models are loaded at the first picture and kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch

from backend.body.kinematics import forward
from backend.body.load import load_body
from backend.body.model import Body, BodyTensors
from backend.camera.pinhole import Camera
from backend.fit.camerafitter import Fitter
from backend.localizers.choose import create_localizer
from backend.localizers.contract import OWN, Localizer, LocalizerOptions
from backend.options import MocapOptions
from backend.people.detect import PersonDetector
from backend.records import Localization
from backend.stills.localize import detected, real
from backend.stills.pictures import Picture

MOST = 32
"""People in a picture."""
MISFIT = 0.06
"""Median distance of the fitted body's points from those found, as a part of the box's diagonal, beyond which the body
is no outline."""
CANVAS = 384
"""Pixels that the longer side of somebody's box gets when the silhouette is drawn."""
SMOOTH, COARSE = 5.0, 0.6
"""Pixels of that canvas by which outlines are rounded, and by which they may be off after corners are left out."""


@dataclass(frozen=True, eq=False)
class Seen:
    """The n people of a picture, from left to right. Arrays are float32."""

    boxes: np.ndarray
    """(n, 4) x, y, w, h pixels, around the points that were found of each."""
    scores: np.ndarray
    """(n,) 0..1, how sure it is that this is a person."""
    outlines: list[np.ndarray]
    """n closed polygons (k, 2), pixels."""


@dataclass(frozen=True)
class _Models:
    """What is loaded at the first picture."""

    body: Body
    """The shipped body, whichever the job will use."""
    tensors: BodyTensors
    """Its arrays as tensors on the CPU."""
    detector: PersonDetector
    """Says where people are."""
    localizer: Localizer
    """Says where their points are."""
    fitters: dict[tuple, Fitter] = field(default_factory=dict)
    """By (width, height, focal length) of the camera; only the latest is kept."""


class Previewer:
    """Sees people in single pictures on `device`; from several threads, one at a time."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._models: _Models | None = None
        self._turn = threading.Lock()

    def __call__(
        self, image: np.ndarray, options: MocapOptions, cancelled: Callable[[], bool] = lambda: False
    ) -> Seen | None:
        """Everybody in `image` (H, W, 3) uint8 RGB, seen by the camera of `options`; None when `cancelled()`."""
        with self._turn:
            if cancelled():
                return None
            models = self._models = self._models or self._load()
            camera = options.pinhole(image.shape[1], image.shape[0])
            find = detected(models.detector, MOST)
            (subjects,) = find([Picture("frame", image)], [camera])
            if cancelled():
                return None
            found = models.localizer.localize(subjects)
            if cancelled():
                return None
            return self._outlined(models, found, camera)

    def _load(self) -> _Models:
        body = load_body(None)
        # The shipped field whatever the job will use: it is small, and who is in a picture does not depend on it.
        localizer = create_localizer(OWN, body, LocalizerOptions(self.device))
        return _Models(body, body.to("cpu"), PersonDetector(self.device), localizer)

    def _outlined(self, models: _Models, found: Localization, camera: Camera) -> Seen:
        finite = np.isfinite(found.points3d).all((1, 2)) & np.isfinite(found.points2d).all((1, 2))
        score = np.where(finite, found.score, 0)
        rows = real(found.points3d, found.uncertainty, score)
        points2d = found.points2d[rows]
        low = points2d.min(1) if len(rows) else np.zeros((0, 2))
        boxes = np.concatenate([low, points2d.max(1) - low], 1) if len(rows) else np.zeros((0, 4))
        order = np.argsort(boxes[:, 0] + boxes[:, 2] / 2, kind="stable")
        outlines = []
        for i in order:
            mesh = self._mesh(models, found, int(rows[i]), camera)
            outlines.append(outline(mesh, models.body.faces, points2d[i], (camera.width, camera.height)))
        return Seen(boxes[order].astype(np.float32), score[rows][order].astype(np.float32), outlines)

    def _mesh(self, models: _Models, found: Localization, i: int, camera: Camera) -> np.ndarray | None:
        """(V, 2) pixels of the body fitted to one person; None where it does not fit."""
        key = (camera.width, camera.height, float(camera.K[0, 0]))
        if key not in models.fitters:
            models.fitters.clear()
            models.fitters[key] = Fitter(models.body, models.localizer.native, camera)
        fit = models.fitters[key].fit(
            found.points3d[i : i + 1],
            found.points2d[i : i + 1],
            found.uncertainty[i : i + 1],
            np.zeros(1),
            smooth=0,
        )
        pose, betas, trans = (torch.from_numpy(a) for a in (fit.pose, fit.betas, fit.trans))
        native = models.localizer.native
        with torch.inference_mode():
            posed = forward(
                models.tensors, pose, betas, trans, points=native, vertices=True, correctives=False
            )
        flat = camera.project(posed.points[0].numpy())
        off = np.linalg.norm(flat - found.points2d[i], axis=-1)
        size = np.linalg.norm(np.ptp(found.points2d[i], axis=0))
        vertices = camera.project(posed.vertices[0].numpy())
        good = np.isfinite(vertices).all() and np.nanmedian(off) < MISFIT * size
        return vertices if good else None


def outline(
    mesh: np.ndarray | None, faces: np.ndarray, points: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """The closed polygon (k, 2) float32, pixels, around a silhouette: of the triangles `faces` (F, 3) between `mesh`
    (V, 2) pixels, or where that is None of a wide hull of `points` (P, 2). Cut at the picture of `size` (w, h)."""
    places = points if mesh is None else mesh
    low = np.maximum(places.min(0), 0) - 1
    high = np.minimum(places.max(0), size) + 1
    span = float(np.ptp(places, axis=0).max())
    if (high - low).min() <= 2:
        return _square(places, size)
    zoom = CANVAS / float((high - low).max())
    margin = CANVAS // 12
    width, height = (int(np.ceil(v * zoom)) + 2 * margin for v in high - low)
    canvas = np.zeros((height, width), np.uint8)
    drawn = np.clip((places - low) * zoom + margin, -4 * CANVAS, 4 * CANVAS)
    if mesh is None:
        hull = cv2.convexHull(drawn.astype(np.float32))
        cv2.fillConvexPoly(canvas, np.round(hull).astype(np.int32), 255)
        wide = max(3, int(0.05 * span * zoom) | 1)
        canvas = cv2.dilate(canvas, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (wide, wide)))
    else:
        for triangle in np.round(drawn * 16).astype(np.int32)[faces]:
            cv2.fillConvexPoly(canvas, triangle, 255, cv2.LINE_8, 4)
    canvas = cv2.GaussianBlur(canvas, (0, 0), SMOOTH)
    contours, _ = cv2.findContours((canvas > 90).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return _square(places, size)
    largest = max(contours, key=cv2.contourArea)
    polygon = cv2.approxPolyDP(largest, COARSE, True)[:, 0].astype(np.float32)
    if len(polygon) < 3:
        return _square(places, size)
    out = (polygon - margin) / zoom + low
    return np.clip(out, 0, np.array(size) - 1).astype(np.float32)


def _square(places: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """For somebody of whom the picture holds next to nothing: small, at its edge, and still to be clicked."""
    limit = np.array(size) - 1.0
    half = np.minimum(12, limit / 2)
    x, y = np.clip(places.mean(0), half, limit - half)
    w, h = half
    return np.array([(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)], np.float32)

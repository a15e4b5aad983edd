"""Whether what was followed is a person, under whatever lens; and if not, what it probably was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from backend.body.model import CanonicalPoints
from backend.camera.pinhole import Camera
from backend.camera.refocus import refocused
from backend.fit.camerafitter import Done, Fitter
from backend.fit.sketch import EFFORT
from backend.fit.solver.skin import State
from backend.fit.track import exhaust
from backend.motion.chunks import SHORTEST_S, stretches
from backend.motion.rejoin import taken
from backend.records import TrackChunk

# Median misfits of real people on our clips: 0.03-0.06 m and 0.004-0.010; of a bag taken for one: 0.12 m and 0.03.
MISFIT_M = 0.10
"""Metres between fitted and localized points, both centred."""
MISFIT_BOX = 0.025
"""Distance in the picture, as a share of the box's diagonal."""
OTHER_LENSES_DEG = (23.0, 38.0, 80.0)
"""Fields of view under which somebody is looked at again before being left out; nearer to these than to each other
lie all usual lenses, and a misfit changes slowly with the lens."""
FRAMES = 12
"""Of a track that are looked at again."""
UNSURE_M = 0.2
"""Metres: where the localizer is less sure of the middle one of somebody's points, it saw next to nothing."""
INSIDE = 0.35
"""Part of the points that must be in the picture for a body to be judged by them."""


@dataclass(frozen=True)
class Misfit:
    """How far a fitted body is from what was localized, medians."""

    metres: float
    """Both centred."""
    box: float
    """In the picture, as a share of the box's diagonal."""

    @property
    def plausible(self) -> bool:
        """Whether a person may look so."""
        return self.metres < MISFIT_M and self.box < MISFIT_BOX


def misfit(fitter: Fitter, track: TrackChunk, points: np.ndarray) -> Misfit:
    """Of the fitted `points` (n, P, 3) of a track, metres, camera space. Frames in which nobody was seen do not count;
    where there are none but these, nothing fits."""
    seen = np.isfinite(track.points3d).all((1, 2))
    if not seen.any():
        return Misfit(float("inf"), float("inf"))
    points, boxes = points[seen], track.boxes[seen]
    off = points - track.points3d[seen]
    off = np.linalg.norm(off - off.mean(1, keepdims=True), axis=-1)
    pixels = np.linalg.norm(fitter.camera.project(points) - track.points2d[seen], axis=-1)
    pixels = pixels / np.hypot(boxes[:, 2], boxes[:, 3])[:, None]
    return Misfit(float(np.median(off)), float(np.nanmedian(pixels)))


def refuted(fitter: Fitter, points: CanonicalPoints, track: TrackChunk) -> bool:
    """Whether `track`, localized under the fitter's camera, is nobody under it and somebody under another lens."""
    some = _sample(track)
    if some is None or misfit(fitter, some, fitter.places(points, _fitted(fitter, some))).plausible:
        return False
    return best_misfit(fitter, points, track).plausible


def _sample(track: TrackChunk) -> TrackChunk | None:
    """Some of the frames in which somebody was seen; None where there are none."""
    seen = np.flatnonzero(np.isfinite(track.points3d).all((1, 2)))
    if not len(seen):
        return None
    return taken(track, seen[np.unique(np.linspace(0, len(seen) - 1, FRAMES).round().astype(int))])


def best_misfit(
    fitter: Fitter, points: CanonicalPoints, track: TrackChunk, lenses_deg: Sequence[float] = OTHER_LENSES_DEG
) -> Misfit:
    """The least misfit of `track`, localized under the fitter's camera, under other lenses; `points`: the canonical
    ones that were localized. A lens that was only assumed is no reason to leave somebody out."""
    some, old = _sample(track), fitter.camera
    if some is None:
        return Misfit(float("inf"), float("inf"))
    found = []
    for fov in lenses_deg:
        other = Fitter(
            fitter.body, points, Camera.from_fov(old.width, old.height, fov), breathe=fitter.newton.breathe
        )
        there = refocused(some, old, other.camera)
        found.append(misfit(other, there, other.places(points, _fitted(other, there))))
    good = [m for m in found if m.plausible]
    return min(good or found, key=lambda m: m.box / MISFIT_BOX + m.metres / MISFIT_M)


def _fitted(fitter: Fitter, track: TrackChunk) -> State:
    with torch.inference_mode():
        obs = fitter.observations(track.points3d, track.points2d, track.uncertainty, track.times)
        return exhaust(fitter.alone(obs, Done(len(track.frames), True, 1, 0), effort=EFFORT))


def reason(track: TrackChunk, width: int, height: int, found: Misfit | None = None) -> str:
    """Why `track` is left out, in one short phrase that goes on "… was left out: ". `width`, `height`: of the picture,
    pixels; `found`: its misfit where a body was fitted."""
    seconds = sum(float(track.times[s][-1] - track.times[s][0]) for s in stretches(track.times))
    if seconds < SHORTEST_S:
        return f"seen for less than {SHORTEST_S:g} s"
    seen = np.isfinite(track.points2d).all((1, 2))
    if not seen.any():
        return "never seen clearly"
    xy = track.points2d[seen]
    inside = ((xy >= 0) & (xy <= [width - 1, height - 1])).all(-1).mean()
    if inside < INSIDE:
        return "too little of the body is in the picture"
    if np.median(track.uncertainty[seen]) > UNSURE_M:
        return "too small, blurred or hidden to be sure of anything"
    if found is not None and found.metres >= MISFIT_M:
        return "the points fit no body (a bag or a coat?)"
    return "the points fit no body in the picture (two people taken for one, or a picture of a person?)"


__all__ = ["Misfit", "best_misfit", "misfit", "reason"]

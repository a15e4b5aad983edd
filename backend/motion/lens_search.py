"""Which lens took a shot: by what the file tells, by how the camera turned, by the people in it, and by what is usual.

All evidence is a likelihood over the logarithm of the focal length, on one grid; the answer is the mean of what they
come to together, with its sigma. People say little: a body that is refitted under another lens takes its perspective up
in its pose. What they do say is that a lens is far too wide (nobody's body fits then), that the floor under their feet
is not level with them, or that the way up turns with the place in the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from backend.body.model import Body, CanonicalPoints
from backend.camera.pinhole import DEFAULT_FOV_DEG, Camera
from backend.camera.refocus import refocused
from backend.fit.camerafitter import Done, Fitter
from backend.fit.sketch import EFFORT
from backend.fit.track import exhaust
from backend.motion.ground import common_up
from backend.motion.rejoin import taken
from backend.motion.temporal.model import landmark_rows, shipped
from backend.records import TrackChunk
from blender_addon.shared.told import fov_from_35mm

LENSES_DEG = (20.0, 30.0, 43.0, 56.0, 70.0, 86.0, 105.0)
"""Fields of view under which people are looked at again; between them it is interpolated."""
PEOPLE, FRAMES, LONGEST_S = 2, 6, 10.0
"""So many people, the largest, in so many frames each and so many seconds are looked at."""
FILE_SIGMA, LEAST_SIGMA = 0.07, 0.02
"""One sigma, relative, of a focal length that a file tells (movies are cut down to be steadied), and the least that is
believed of any."""
TOLD = 0.05
"""A lens known better than this is not looked for in people."""
NEWS = 0.05
"""Nats by which what people say must change what is believed to count as news (chosen on the films below); less, and
the usual lens is assumed."""
PHONES, CAMERAS = (64.0, 0.13), (47.0, 0.42)
"""Usual lenses, half of each kind: field of view on the larger side, degrees, and one sigma of the focal length's
logarithm. Phones' main cameras have 23 to 28 mm in 35 mm terms and are cut down by a tenth in movies; cameras zoom.
Their mean is the lens that is assumed when nothing is known."""
MISFIT, FLOOR, UP, HEIGHTS, EYE = 0.08, 0.9, 2.8, 0.35, 0.3
"""Weights of the fit's cost, of the floor, of the way up, of how heights above the floor agree and of how high cameras
are held. Chosen with the constants below on 70 rendered films, seed 100, by the mean logarithm of what the true lens
was given, and taken down a little, as five-fold trials ask for. Together they are worth 0.2 to 0.3 nats a film: the
logarithm's error goes from 0.5 to 0.4 on lenses from 20 to 100 degrees."""
_FLOOR_M, _UP_RAD, _AGREE, _EYE_M, _EYE_SPREAD = 0.05, 0.06, 0.08, 1.4, 0.6
_ON = 0.6
_SOLES = (29, 31, 30, 32)
"""Landmarks of left heel, left toes, right heel, right toes."""
_GRID = np.linspace(np.log(0.5 / np.tan(np.deg2rad(60))), np.log(0.5 / np.tan(np.deg2rad(5))), 161)
"""Logarithms of focal lengths in larger sides: 120 to 10 degrees."""


@dataclass(frozen=True)
class LensEstimate:
    """The lens of a shot."""

    fov_deg: float
    """Degrees that the larger side spans."""
    sigma_deg: float
    """One sigma of it."""
    focal_px: float
    """The same as a focal length, pixels."""
    sigma: float
    """One sigma of its logarithm."""
    source: str
    """given, camera, file, turning, people or assumed, as `Shot.lens_source`."""


class Turning(NamedTuple):
    """What a camera that turned says of its lens."""

    focal_px: float
    """Pixels."""
    sigma: float
    """Relative."""


def estimate_lens(
    tracks: Sequence[TrackChunk],
    localized: Camera,
    body: Body,
    points: CanonicalPoints,
    *,
    focal_35mm: float | None = None,
    turning: Turning | tuple[float, float] | None = None,
    still: bool = True,
    breathe: Callable[[], None] = lambda: None,
) -> LensEstimate:
    """The most likely lens of a shot in which `tracks` were localized under the camera `localized`.

    `focal_35mm`: what the file tells, see `shared.frames.Clip`; `turning`: what the background tells; `still`: whether
    the camera stands still, so that there is one floor in camera space. Takes about a second where people are asked.
    """
    side = max(localized.width, localized.height)
    likely, source = log_prior(), "assumed"
    if turning is not None and np.isfinite(turning[1]) and turning[1] > 0:
        likely = likely + _told(np.log(turning[0] / side), max(turning[1], LEAST_SIGMA))
        source = "turning"
    if focal_35mm is not None:
        fov = fov_from_35mm(focal_35mm, localized.width, localized.height)
        likely, source = likely + _told(_log_focal(fov), FILE_SIGMA), "file"
    middle, sigma = _moments(likely)
    if sigma > TOLD and source != "file" and tracks:
        asked = likely + from_people(tracks, localized, body, points, still, breathe)
        news = _news(asked, likely)
        middle, sigma = _moments(asked)
        if source == "assumed" and news > NEWS:
            source = "people"
    if source == "assumed":
        middle = _log_focal(DEFAULT_FOV_DEG)
    fov = float(np.rad2deg(2 * np.arctan(0.5 / np.exp(middle))))
    spread = float(np.rad2deg(np.sin(np.deg2rad(fov)) * sigma))
    return LensEstimate(fov, spread, side * float(np.exp(middle)), sigma, source)


def known_lens(focal_px: float, camera: Camera, source: str) -> LensEstimate:
    """A lens that needs no search. `source`: as `Shot.lens_source`."""
    side = max(camera.width, camera.height)
    fov = float(np.rad2deg(2 * np.arctan(0.5 * side / focal_px)))
    return LensEstimate(fov, 0.0, focal_px, 0.0, source)


def log_prior() -> np.ndarray:
    """(g,) of `_GRID`: what lenses are usual."""
    parts = [np.exp(_told(_log_focal(fov), s)) / s for fov, s in (PHONES, CAMERAS)]
    return np.log(sum(parts) + 1e-12)


def from_people(
    tracks: Sequence[TrackChunk],
    localized: Camera,
    body: Body,
    points: CanonicalPoints,
    still: bool = True,
    breathe: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """(g,) log likelihood of `_GRID` by the people of a shot."""
    people = [p for p in map(_shortened, _largest(tracks)) if p is not None]
    if not people:
        return np.zeros(len(_GRID))
    side, rows = max(localized.width, localized.height), landmark_rows(points, body)
    contacts = [_contacts(t, rows, localized) for t in people] if still and rows is not None else None
    said = np.zeros(len(LENSES_DEG))
    for k, fov in enumerate(LENSES_DEG):
        camera = Camera.from_focal(localized.width, localized.height, side * np.exp(_log_focal(fov)))
        there = [refocused(t, localized, camera) for t in people]
        fitter = Fitter(body, points, camera, breathe=breathe)
        said[k] = -MISFIT * sum(_cost(fitter, t) for t in there)
        if contacts is not None:
            said[k] += _standing(there, rows, camera, contacts)
    at = np.array([_log_focal(fov) for fov in LENSES_DEG])
    return np.interp(_GRID, at[::-1], (said - said.max())[::-1])


def _largest(tracks: Sequence[TrackChunk]) -> list[TrackChunk]:
    """Those who are seen largest and longest."""
    size = lambda t: -float(np.sqrt(t.boxes[:, 2:].prod(1).clip(0)).mean() * len(t.frames))  # noqa: E731
    return sorted(tracks, key=size)[:PEOPLE]


def _shortened(track: TrackChunk) -> TrackChunk | None:
    """The frames in which somebody was seen, of the middle `LONGEST_S`; None where there are none."""
    rows = np.flatnonzero(np.isfinite(track.points3d).all((1, 2)) & np.isfinite(track.points2d).all((1, 2)))
    if not len(rows):
        return None
    middle = (track.times[rows[0]] + track.times[rows[-1]]) / 2
    rows = rows[
        np.abs(track.times[rows] - middle) <= max(LONGEST_S / 2, np.abs(track.times[rows] - middle).min())
    ]
    return taken(track, rows)


def _cost(fitter: Fitter, track: TrackChunk) -> float:
    """Median cost of the fit of a body of mean shape to some frames."""
    n = len(track.frames)
    rows = np.unique(np.linspace(0, n - 1, min(n, FRAMES)).round().astype(int))
    with torch.inference_mode():
        obs = fitter.observations(
            track.points3d[rows], track.points2d[rows], track.uncertainty[rows], track.times[rows]
        )
        mean = np.zeros(fitter.num_betas, np.float32)
        state = exhaust(fitter.alone(obs, Done(len(rows), False, 1, 0), betas=mean, effort=EFFORT))
        cost = fitter.newton.cost(fitter.newton.look(obs, state), torch.ones(len(rows), device=fitter.device))
    return float(cost.median())


def _expected(track: TrackChunk, rows: np.ndarray, camera: Camera):
    return shipped().expect(track.points3d[:, rows], track.points2d[:, rows], track.uncertainty[:, rows], track.times,
                            camera.K)  # fmt: skip


def _contacts(track: TrackChunk, rows: np.ndarray, camera: Camera) -> np.ndarray:
    """(n, 4) bool: which of `_SOLES` rest on the floor."""
    if len(track.frames) < 3:
        return np.zeros((len(track.frames), len(_SOLES)), bool)
    return _expected(track, rows, camera).contacts[:, :4] > _ON


def _standing(
    people: Sequence[TrackChunk], rows: np.ndarray, camera: Camera, contacts: Sequence[np.ndarray]
) -> float:
    """Log likelihood of a lens by how people stand."""
    long = [(t, on) for t, on in zip(people, contacts, strict=True) if len(t.frames) >= 3]
    if not long:
        return 0.0
    told = [_expected(t, rows, camera) for t, _ in long]
    up = common_up([e.up for e in told], [e.up_sigma for e in told])
    out, heights = 0.0, []
    for (t, on), e in zip(long, told, strict=True):
        angle = np.arccos(np.clip(e.up @ up, -1, 1))
        out -= UP * float(np.log1p((angle / _UP_RAD) ** 2).mean())
        if on.sum() > 5:
            low = -(t.points3d[:, rows[list(_SOLES)]].astype(float) @ up)[on]
            heights.append(float(np.median(low)))
            out -= FLOOR * float(np.log1p(((low - heights[-1]) / _FLOOR_M) ** 2).mean())
    if heights:
        logs = np.log(np.maximum(heights, _FLOOR_M))
        out -= HEIGHTS * min(float(np.var(logs)) / (2 * _AGREE**2) * len(logs), 5.0)
        out -= EYE * float((np.median(logs) - np.log(_EYE_M)) ** 2) / (2 * _EYE_SPREAD**2)
    return out


def _told(middle: float, sigma: float) -> np.ndarray:
    return -0.5 * ((_GRID - middle) / sigma) ** 2


def _log_focal(fov_deg: float) -> float:
    """Logarithm of the focal length in larger sides."""
    return float(np.log(0.5 / np.tan(np.deg2rad(fov_deg) / 2)))


def _moments(likely: np.ndarray) -> tuple[float, float]:
    p = np.exp(likely - likely.max())
    p /= p.sum()
    middle = float(p @ _GRID)
    return middle, float(np.sqrt(p @ (_GRID - middle) ** 2))


def _news(after: np.ndarray, before: np.ndarray) -> float:
    """Nats from one belief to the other."""
    a, b = (np.exp(x - x.max()) for x in (after, before))
    a, b = a / a.sum(), b / b.sum()
    return float((a * np.log((a + 1e-30) / (b + 1e-30))).sum())


__all__ = ["LensEstimate", "Turning", "estimate_lens", "from_people", "known_lens", "log_prior"]

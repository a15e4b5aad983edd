"""What the temporal network expects of a track, in the space in which the track's motion will be.

The network knows cameras that stand still best, so one that turns is made to: everything is seen as by a camera that
looks where it looked on the average, from where it was on the average. Where that camera would not see somebody in
front of it, the network is told how the real one turns.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from scipy.spatial.transform import Rotation

from backend.body.model import Body, CanonicalPoints
from backend.motion.temporal.model import Expected, landmark_rows, shipped
from backend.records import TrackChunk

WIDEST = np.tan(np.deg2rad(60.0))
"""How far from the middle, as a distance on the plane before the camera, somebody may be for the camera that is made
to stand still."""
NEAREST_M = 0.4
"""Metres: nor may he be nearer."""
STEADY_M = 0.02
"""A camera that goes no farther from its middle turns only."""
FAR_M = 1.0
"""One that goes farther is made to stand still in several places."""
STRETCH_S, BESIDE_S = 3.0, 1.2
"""Seconds in each of them, and seconds before and after that are seen from there as well."""
BACK_M = (0.0, 1.5, 3.0)
"""Metres by which that camera may stand behind where the real one was on the average."""


def expectation(
    body: Body, points: CanonicalPoints, track: TrackChunk, K: np.ndarray, turns: np.ndarray | None = None,
    places: np.ndarray | None = None,
) -> Expected | None:  # fmt: skip
    """What the network makes of a track seen by a camera `K` (3, 3), in the space of a still camera or in the world
    that `turns` (n, 3, 3) lead from and `places` (n, 3) are in. None where the points hold no landmarks."""
    rows = landmark_rows(points, body)
    if rows is None or len(track.times) < 3:
        return None
    p3, p2, sigma = track.points3d[:, rows], track.points2d[:, rows], track.uncertainty[:, rows]
    if turns is None or places is None:
        return shipped().expect(p3, p2, sigma, track.times, K)
    seen = _Seen(p3, p2, sigma, track.times, turns, places)
    if np.linalg.norm(places - places.mean(0), axis=1).max() <= FAR_M:
        return _told(seen, K)
    # A camera that goes far is no still one anywhere: it is one for some seconds at a time.
    parts = []
    for core, rows in _stretches(track.times):
        told = _told(_Seen(*(getattr(seen, f.name)[rows] for f in fields(seen))), K)
        keep = np.isin(rows, core)
        parts.append([getattr(told, f.name)[keep] for f in fields(told)])
    return Expected(*(np.concatenate(column) for column in zip(*parts, strict=True)))


@dataclass(frozen=True)
class _Seen:
    """What is seen of somebody in n frames, and by which camera."""

    points3d: np.ndarray
    points2d: np.ndarray
    uncertainty: np.ndarray
    times: np.ndarray
    turns: np.ndarray
    places: np.ndarray


def _stretches(times: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames of each stretch of `STRETCH_S`, and these with what is `BESIDE_S` beside them."""
    out = []
    count = max(round((times[-1] - times[0]) / STRETCH_S), 1)
    number = np.minimum(((times - times[0]) / (times[-1] - times[0]) * count).astype(int), count - 1)
    for k in range(count):
        core = np.flatnonzero(number == k)
        if len(core):
            near = (times >= times[core[0]] - BESIDE_S) & (times <= times[core[-1]] + BESIDE_S)
            out.append((core, np.flatnonzero(near)))
    return out


def _told(seen: _Seen, K: np.ndarray) -> Expected:
    """What the network makes of it, in the world."""
    middle = Rotation.from_matrix(seen.turns).mean().as_matrix()
    goes = np.linalg.norm(seen.places - seen.places.mean(0), axis=1).max() > STEADY_M
    centre = seen.places.mean(0) if goes else np.zeros(3)
    for back in BACK_M if goes else BACK_M[:1]:
        still = _from(middle, centre - back * middle[2], seen, K)
        if still is not None:
            return _turned(shipped().expect(*still, seen.uncertainty, seen.times, K), middle.T[None])
    told = shipped().expect(seen.points3d, seen.points2d, seen.uncertainty, seen.times, K, seen.turns)
    told = _turned(told, seen.turns.swapaxes(-1, -2))
    # The network takes the camera for one that goes nowhere.
    return (
        replace(told, velocity=told.velocity + np.gradient(seen.places, seen.times, axis=0)) if goes else told
    )


def _from(
    middle: np.ndarray, centre: np.ndarray, seen: _Seen, K: np.ndarray
) -> tuple[np.ndarray, np.ndarray] | None:
    """Points (n, q, 3) and pixels (n, q, 2) as seen by a camera at `centre` (3,) that is turned by `middle` (3, 3);
    None where it would not see them."""
    onto = middle @ seen.turns.swapaxes(-1, -2)
    shift = ((seen.places - centre) @ middle.T)[:, None]
    there = np.einsum("nij,nqj->nqi", onto, seen.points3d) + shift
    rays = np.concatenate([seen.points2d, np.ones_like(seen.points2d[..., :1])], -1) @ np.linalg.inv(K).T
    rays = np.einsum("nij,nqj->nqi", onto, rays * seen.points3d[..., 2:]) + shift
    known = np.isfinite(there).all((1, 2))
    if (
        not known.any()
        or np.nanmin(there[known, :, 2]) < NEAREST_M
        or np.nanmin(rays[known, :, 2]) < NEAREST_M
    ):
        return None
    flat = rays[..., :2] / rays[..., 2:]
    if np.abs(flat[known]).max() > WIDEST:
        return None
    return there.astype(np.float32), (flat @ K[:2, :2].T + K[:2, 2]).astype(np.float32)


def _turned(told: Expected, turn: np.ndarray) -> Expected:
    """In other axes: `turn` (n or 1, 3, 3) leads from those that it is in to those."""
    rotations = told.rotations.copy()
    rotations[:, 0] = turn @ rotations[:, 0]
    apply = lambda a: np.einsum("nij,n...j->n...i", np.broadcast_to(turn, (len(a), 3, 3)), a)  # noqa: E731
    return replace(told, rotations=rotations, landmarks=apply(told.landmarks), velocity=apply(told.velocity),
                   up=apply(told.up))  # fmt: skip


__all__ = ["expectation"]

"""What the temporal network expects of a track, in the space in which the track's motion will be.

The network knows cameras that stand still best, so one that turns is made to: everything is seen as by a camera that
looks where it looked on the average. Where that camera would not see somebody in front of it, the network is told how
the real one turns.
"""

from __future__ import annotations

from dataclasses import replace

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
    middle = Rotation.from_matrix(turns).mean().as_matrix()
    if (seen := _from(middle, p3, p2, K, turns, places)) is not None:
        return _turned(shipped().expect(*seen, sigma, track.times, K), middle.T[None])
    told = shipped().expect(p3, p2, sigma, track.times, K, turns)
    return _turned(told, turns.swapaxes(-1, -2))


def _from(
    middle: np.ndarray, points3d: np.ndarray, points2d: np.ndarray, K: np.ndarray, turns: np.ndarray,
    places: np.ndarray,
) -> tuple[np.ndarray, np.ndarray] | None:  # fmt: skip
    """Points (n, q, 3) and pixels (n, q, 2) as seen by a camera at the world's origin that is turned by `middle`
    (3, 3); None where it would not see them."""
    onto = middle @ turns.swapaxes(-1, -2)
    shift = (places @ middle.T)[:, None]
    there = np.einsum("nij,nqj->nqi", onto, points3d) + shift
    rays = np.concatenate([points2d, np.ones_like(points2d[..., :1])], -1) @ np.linalg.inv(K).T
    rays = np.einsum("nij,nqj->nqi", onto, rays * points3d[..., 2:]) + shift
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

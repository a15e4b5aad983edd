"""Every frame of a walking camera by features whose places key frames told, and features by every frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from backend.camera.moving import bundle
from backend.camera.moving.bundle import Scene, Seen
from backend.camera.moving.keys import NOISE_PX
from backend.camera.moving.sight import Sight, crossed, nearest_turn, trust, turned, vectors

LEAST = 10
"""Fewest features by which a camera is placed."""
_FIRM_DEG = 0.4
"""Fewer degrees between a feature's lines of sight do not tell that it is near."""
_SOLID_DEG = 1.5
"""So many degrees tell how far it is."""
HAND = 0.1
"""Units^2/s^3 by which a camera that is carried changes its way: a step's bob at some metres' distance."""


@dataclass(frozen=True)
class Walk:
    """A camera that turns and goes, over n frames."""

    turns: np.ndarray
    """(n, 3, 3) world -> camera; the world is the first frame's camera."""
    places: np.ndarray
    """(n, 3) of the camera in the world; of a unit in which the features are about one away."""
    known: np.ndarray
    """(n,) bool; elsewhere it is interpolated."""
    sigma: np.ndarray
    """(n,) radians, one sigma about each axis by the frame's own features."""
    focal: float
    """Small pixels."""
    focal_sigma: float
    """Of its logarithm; infinite where it was given."""
    miss: np.ndarray
    """(m,) small pixels between each sighting and where it should be; NaN where unknown."""
    near: float
    """0..1, part of the sightings that tell of depth."""
    points: np.ndarray
    """(p, 3) features in the world whose distance is well known, in the unit of the places."""


def located(scene: Scene, seen: Seen, scale: float) -> tuple[Scene, np.ndarray]:
    """One step of all cameras before features that stay -> scene, (k, 6, 6) normal matrices of turn and place."""
    k = len(scene.turns)
    points = scene.points[seen.feature]
    y = bundle.before(scene, seen.camera, points)
    ahead = y[:, 2] > bundle.AHEAD
    z = np.maximum(y[:, 2], bundle.AHEAD)
    flat = y[:, :2] / z[:, None]
    miss = seen.place - scene.focal * flat
    weight = trust((miss**2).sum(1) / (scale * NOISE_PX) ** 2, 3.0) * ahead / (scale * NOISE_PX) ** 2
    project = np.zeros((len(z), 2, 3))
    project[:, 0, 0] = project[:, 1, 1] = scene.focal / z
    project[:, :, 2] = -(scene.focal / z)[:, None] * flat
    onto = project @ scene.turns[seen.camera]
    table = np.concatenate([-project @ crossed(y), -points[:, 3, None, None] * onto], -1)
    normal, right = np.empty((k, 6, 6)), np.empty((k, 6))
    for i in range(6):
        right[:, i] = np.bincount(seen.camera, (table[:, :, i] * miss).sum(1) * weight, k)
        for j in range(i, 6):
            normal[:, i, j] = normal[:, j, i] = np.bincount(
                seen.camera, (table[:, :, i] * table[:, :, j]).sum(1) * weight, k
            )
    size = np.trace(normal, axis1=1, axis2=2) / 6
    held = normal + (1e-6 * size + 1e-3)[:, None, None] * np.eye(6)
    step = np.linalg.solve(held, right[..., None])[..., 0]
    turns = nearest_turn(turned(np.clip(step[:, :3], -0.3, 0.3)) @ scene.turns)
    return replace(scene, turns=turns, places=scene.places + step[:, 3:]), normal


def every_frame(
    sight: Sight, at: np.ndarray, scene: Scene, times: np.ndarray, focal_sigma: float
) -> Walk | None:
    """`scene`: the cameras of the frames `at` and all features of `sight`, NaN where unknown. None where too little is
    left."""
    turns, places = _between(at, scene.turns, scene.places, times)
    whole = replace(scene, turns=turns, places=places)
    everything, points = Seen(sight.frame, sight.feature, sight.place), scene.points
    for again in range(3):
        rows = np.isfinite(points[sight.feature, 0])
        some = Seen(sight.frame[rows], sight.feature[rows], sight.place[rows])
        whole = replace(whole, points=points)
        for scale in (4.0, 4.0, 2.0, 1.0, 1.0, 1.0) if again == 0 else (1.0, 1.0, 1.0):
            whole, normal = located(whole, some, scale)
        if again < 2:
            points = bundle.triangulated(whole, everything, sight.q)
            points = refined(replace(whole, points=points), everything)
    miss = np.full(len(sight.frame), np.nan)
    miss[rows] = np.linalg.norm(bundle.missed(whole, some), axis=1)
    near = miss < 3 * NOISE_PX
    known = np.bincount(sight.frame[near], minlength=sight.n) >= LEAST
    if not known.any():
        return None
    # The unit: features are about one away.
    way = np.linalg.norm(whole.points[:, :3] - whole.points[:, 3:] * whole.places[known][0], axis=1)
    unit = max(float(np.nanmedian(way / np.maximum(np.abs(whole.points[:, 3]), 1e-6))), 1e-9)
    cover = np.linalg.inv(normal + 1e-3 * np.eye(6))
    sigma = np.sqrt(np.maximum(np.trace(cover[:, :3, :3], axis1=1, axis2=2) / 3, 0))
    turns, places = _filled(whole.turns, whole.places / unit, known, times)
    precision = np.linalg.inv(cover[:, 3:, 3:]) * unit**2 * known[:, None, None]
    places = smoothed(places, precision, times)
    angles = _angles(whole, sight)
    tells = angles[sight.feature] > np.radians(_FIRM_DEG)
    share = float((tells & near).sum() / max(near.sum(), 1))
    agreed = np.bincount(sight.feature, near, sight.q) / np.maximum(
        np.bincount(sight.feature, minlength=sight.q), 1
    )
    firm = (angles > np.radians(_SOLID_DEG)) & (agreed > 0.8) & (np.nan_to_num(whole.points[:, 3]) > 1e-6)
    points = whole.points[firm, :3] / whole.points[firm, 3:] / unit
    return Walk(turns @ turns[0].T, (places - places[0]) @ turns[0].T, known, sigma, whole.focal, focal_sigma, miss,
                share, (points - places[0]) @ turns[0].T)  # fmt: skip


def smoothed(places: np.ndarray, precision: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(n, 3) places of which (n, 3, 3) is known, as a hand would go: what is known badly follows its neighbours."""
    n = len(times)
    if n < 3:
        return places
    dt = np.maximum(np.diff(times), 1e-6)
    bend = sparse.diags([1 / dt[:-1], -1 / dt[:-1] - 1 / dt[1:], 1 / dt[1:]], [0, 1, 2], (n - 2, n))
    hand = bend.T @ sparse.diags(2 / (HAND * (dt[:-1] + dt[1:]))) @ bend
    own = sparse.block_diag(list(precision))
    matrix = (sparse.kron(hand, sparse.eye(3)) + own + 1e-9 * sparse.eye(3 * n)).tocsc()
    return linalg.spsolve(matrix, own @ places.ravel() + 1e-9 * places.ravel()).reshape(n, 3)


def refined(scene: Scene, seen: Seen) -> np.ndarray:
    """(f, 4) features after some steps before cameras that stay."""
    points, f = scene.points.copy(), len(scene.points)
    rows = np.isfinite(points[seen.feature, 0])
    camera, feature, place = seen.camera[rows], seen.feature[rows], seen.place[rows]
    for scale in (3.0, 1.0, 1.0):
        y = bundle.before(scene, camera, points[feature])
        ahead = y[:, 2] > bundle.AHEAD
        z = np.maximum(y[:, 2], bundle.AHEAD)
        flat = y[:, :2] / z[:, None]
        miss = place - scene.focal * flat
        weight = trust((miss**2).sum(1) / (scale * NOISE_PX) ** 2, 3.0) * ahead
        project = np.zeros((len(z), 2, 3))
        project[:, 0, 0] = project[:, 1, 1] = scene.focal / z
        project[:, :, 2] = -(scene.focal / z)[:, None] * flat
        onto = project @ scene.turns[camera]
        basis = bundle.ways(np.nan_to_num(points))
        table = np.concatenate([onto, -(onto @ scene.places[camera][..., None])], -1) @ basis[feature]
        normal, right = np.empty((f, 3, 3)), np.empty((f, 3))
        for i in range(3):
            right[:, i] = np.bincount(feature, (table[:, :, i] * miss).sum(1) * weight, f)
            for j in range(i, 3):
                normal[:, i, j] = normal[:, j, i] = np.bincount(
                    feature, (table[:, :, i] * table[:, :, j]).sum(1) * weight, f
                )
        size = np.trace(normal, axis1=1, axis2=2) / 3
        step = np.linalg.solve(normal + (1e-4 * size + 1e-3)[:, None, None] * np.eye(3), right[..., None])[
            ..., 0
        ]
        step /= np.maximum(np.linalg.norm(step, axis=1, keepdims=True) / 0.2, 1)
        points = points + np.einsum("fij,fj->fi", basis, step)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points


def _angles(scene: Scene, sight: Sight) -> np.ndarray:
    """(q,) radians by which the line of sight to each feature changes while it is seen."""
    points = scene.points[sight.feature]
    way = points[:, :3] - points[:, 3:] * scene.places[sight.frame]
    way /= np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1e-12)
    order = np.lexsort((sight.frame, sight.feature))
    start = np.flatnonzero(np.diff(sight.feature[order], prepend=-1))
    end = np.concatenate([start[1:], [len(order)]]) - 1
    out = np.zeros(sight.q)
    cos = (way[order[start]] * way[order[end]]).sum(1)
    out[sight.feature[order[start]]] = np.arccos(np.clip(cos, -1, 1))
    return np.nan_to_num(out)


def _between(at: np.ndarray, turns: np.ndarray, places: np.ndarray, times: np.ndarray):
    """All frames on the straight way between some, `at` (k,)."""
    known = np.zeros(len(times), bool)
    known[at] = True
    all_turns, all_places = np.tile(np.eye(3), (len(times), 1, 1)), np.zeros((len(times), 3))
    all_turns[at], all_places[at] = turns, places
    return _filled(all_turns, all_places, known, times)


def _filled(turns: np.ndarray, places: np.ndarray, known: np.ndarray, times: np.ndarray):
    at = np.flatnonzero(known)
    turns, places = turns.copy(), places.copy()
    for axis in range(3):
        places[:, axis] = np.interp(times, times[at], places[at, axis])
    for k in np.flatnonzero(~known):
        after = np.searchsorted(at, k)
        a, b = at[max(after - 1, 0)], at[min(after, len(at) - 1)]
        part = 0.0 if a == b else (times[k] - times[a]) / (times[b] - times[a])
        turns[k] = turned(part * vectors(turns[b] @ turns[a].T)) @ turns[a]
    return turns, places

"""Cameras and features of the background solved together, where the camera goes from place to place.

A feature is four numbers (d, w) of length one: it lies at d / w in the world, and one that is infinitely far has w = 0,
so that near and far ones are solved alike. Unknowns are the turn and the place of each camera, one focal length, and
three for each feature; the features are taken out first (Schur), which leaves a small system.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from backend.camera.moving.keys import NOISE_PX
from backend.camera.moving.sight import crossed, nearest_turn, trust, turned

CLIP = 9.0
"""Squared sigmas that a sighting costs at the most, about."""
AHEAD = 0.02
"""Least part of a feature's four numbers that must lie before a camera which sees it."""
_FAST = 1e10


@dataclass(frozen=True)
class Seen:
    """m sightings of f features by k cameras."""

    camera: np.ndarray
    """(m,) which camera."""
    feature: np.ndarray
    """(m,) which feature."""
    place: np.ndarray
    """(m, 2) small pixels from the principal point."""


@dataclass(frozen=True)
class Scene:
    """k cameras and f features."""

    turns: np.ndarray
    """(k, 3, 3) world -> camera."""
    places: np.ndarray
    """(k, 3) of the cameras in the world, in a unit that is not known."""
    points: np.ndarray
    """(f, 4) of length one."""
    focal: float
    """Small pixels."""


def before(scene: Scene, camera: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(m, 3) where `points` (m, 4) lie before the cameras `camera` (m,), up to their length."""
    way = points[:, :3] - points[:, 3:] * scene.places[camera]
    return np.einsum("mij,mj->mi", scene.turns[camera], way)


def missed(scene: Scene, seen: Seen) -> np.ndarray:
    """(m, 2) small pixels from where each feature should be to where it was seen; far off for one that is behind."""
    y = before(scene, seen.camera, scene.points[seen.feature])
    z = np.maximum(y[:, 2:], AHEAD)
    return np.where(y[:, 2:] > AHEAD, seen.place - scene.focal * y[:, :2] / z, 1e3)


def cost_of(miss: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """(m,) robust squares of `miss` (m, 2), in sigmas; nothing costs more than a few."""
    squared = (miss**2).sum(1) / (scale * NOISE_PX) ** 2
    return CLIP * squared / (squared + CLIP)


def triangulated(scene: Scene, seen: Seen, count: int) -> np.ndarray:
    """(count, 4) features where the sightings say they are; NaN for those that fewer than two cameras see."""
    ray = np.concatenate([seen.place / scene.focal, np.ones((len(seen.place), 1))], 1)
    ray /= np.linalg.norm(ray, axis=1, keepdims=True)
    R, c = scene.turns[seen.camera], scene.places[seen.camera]
    # What lies along the ray has nothing across it.
    view = np.concatenate([R, -np.einsum("mij,mj->mi", R, c)[..., None]], 2)
    across = view - ray[:, :, None] * np.einsum("mi,mij->mj", ray, view)[:, None]
    normal = np.einsum("mij,mik->mjk", across, across)
    total = np.stack(
        [np.bincount(seen.feature, normal[:, i, j], count) for i in range(4) for j in range(4)], 1
    )
    _, axes = np.linalg.eigh(total.reshape(-1, 4, 4))
    points = axes[:, :, 0]
    ahead = np.bincount(seen.feature, before(scene, seen.camera, points[seen.feature])[:, 2], count)
    points = points * np.where(ahead < 0, -1.0, 1.0)[:, None]
    points[np.bincount(seen.feature, minlength=count) < 2] = np.nan
    return points


def adjusted(scene: Scene, seen: Seen, rounds: int, free_focal: float = 0.0, guess: float = 0.0,
             scale: float = 1.0, least: float = 1e-4) -> tuple[Scene, float]:  # fmt: skip
    """`scene` after some rounds of Gauss and Newton's method, damped where a step does not help, and its cost. The
    first camera stays. `free_focal`: one sigma of the focal length's logarithm about `guess`, 0 keeps it; `scale`:
    times the usual noise that is allowed; `least`: stop when a round gains less than this part of the cost."""
    damping = 1e-3
    cost, system = _system(scene, seen, free_focal, guess, scale)
    for _ in range(rounds):
        tried = _stepped(scene, system, damping)
        new, fresh = _system(tried, seen, free_focal, guess, scale)
        if new < cost:
            done = cost - new < least * cost
            scene, cost, system, damping = tried, new, fresh, max(damping / 10, 1e-6)
            if done:
                break
        else:
            damping *= 10
            if damping > 1e3:
                break
    return scene, cost


def focal_spread(scene: Scene, seen: Seen, free_focal: float, guess: float) -> float:
    """One sigma of the focal length's logarithm, by the sightings and what is left of them."""
    _, system = _system(scene, seen, free_focal, guess, 1.0)
    matrix, _, _ = _reduced(system, 1e-6)
    unit = np.zeros(len(matrix))
    unit[-1] = 1.0
    return float(np.sqrt(max(np.linalg.solve(matrix, unit)[-1], 0.0)))


@dataclass(frozen=True)
class _System:
    camera: np.ndarray
    """(c, c) of the cameras, 6 unknowns each, and the focal length last."""
    right: np.ndarray
    """(c,)."""
    cross: sparse.csr_matrix
    """(c, 3 f)."""
    block: np.ndarray
    """(f, 3, 3) of the features."""
    right_block: np.ndarray
    """(f, 3)."""
    basis: np.ndarray
    """(f, 4, 3) ways in which each feature may go."""


def _system(scene: Scene, seen: Seen, free_focal: float, guess: float, scale: float) -> tuple[float, _System]:
    """Cost, and the normal equations of a step."""
    k, f, m = len(scene.turns), len(scene.points), len(seen.camera)
    y = before(scene, seen.camera, scene.points[seen.feature])
    ahead = y[:, 2] > AHEAD
    z = np.maximum(y[:, 2], AHEAD)
    flat = y[:, :2] / z[:, None]
    miss = seen.place - scene.focal * flat
    squared = (miss**2).sum(1) / (scale * NOISE_PX) ** 2
    cost = float(np.where(ahead, CLIP * squared / (squared + CLIP), CLIP).sum())
    weight = trust(squared, 3.0) * ahead / (scale * NOISE_PX) ** 2
    root = np.sqrt(weight)[:, None]

    project = np.zeros((m, 2, 3))
    project[:, 0, 0] = project[:, 1, 1] = scene.focal / z
    project[:, :, 2] = -(scene.focal / z)[:, None] * flat
    onto = project @ scene.turns[seen.camera]
    w = scene.points[seen.feature, 3]
    camera = np.concatenate(
        [-project @ crossed(y), -w[:, None, None] * onto, (scene.focal * flat)[..., None]], -1
    )
    view = np.concatenate([onto, -(onto @ scene.places[seen.camera][..., None])], -1)
    basis = ways(scene.points)
    feature = view @ basis[seen.feature]

    rows = np.arange(2 * m)
    camera = camera.reshape(2 * m, 7) * np.repeat(root, 2, 0)
    feature = feature.reshape(2 * m, 3) * np.repeat(root, 2, 0)
    columns = np.concatenate(
        [np.repeat(6 * seen.camera, 2)[:, None] + np.arange(6), np.full((2 * m, 1), 6 * k)], 1
    )
    Jc = sparse.csr_matrix((camera.ravel(), (np.repeat(rows, 7), columns.ravel())), (2 * m, 6 * k + 1))
    columns = np.repeat(3 * seen.feature, 2)[:, None] + np.arange(3)
    Jx = sparse.csr_matrix((feature.ravel(), (np.repeat(rows, 3), columns.ravel())), (2 * m, 3 * f))
    r = (miss * root).ravel()
    each = feature.reshape(m, 2, 3)
    block = np.empty((f, 3, 3))
    for i in range(3):
        for j in range(i, 3):
            block[:, i, j] = block[:, j, i] = np.bincount(
                seen.feature, (each[:, :, i] * each[:, :, j]).sum(1), f
            )
    matrix, right = (Jc.T @ Jc).toarray(), Jc.T @ r
    matrix[range(6), range(6)] += _FAST
    if free_focal:
        off = np.log(guess / scene.focal)
        matrix[-1, -1] += free_focal**-2
        right[-1] += off / free_focal**2
        cost += (off / free_focal) ** 2
    else:
        matrix[-1, -1] += _FAST
    return cost, _System(matrix, right, (Jc.T @ Jx).tocsr(), block, (Jx.T @ r).reshape(f, 3), basis)


def _reduced(system: _System, damping: float):
    """The cameras' matrix without the features, its right side, and the features' inverse blocks."""
    f = len(system.block)
    size = np.trace(system.block, axis1=1, axis2=2) / 3
    inverse = np.linalg.inv(system.block + (damping * size + 1e-4)[:, None, None] * np.eye(3))
    at = np.arange(3 * f).reshape(f, 3)
    row, column = np.repeat(at, 3, axis=1).ravel(), np.tile(at, (1, 3)).ravel()
    free = sparse.csr_matrix((inverse.ravel(), (row, column)), (3 * f, 3 * f))
    through = system.cross @ free
    matrix = system.camera - (through @ system.cross.T).toarray()
    matrix[np.diag_indices(len(matrix))] += damping * system.camera.diagonal() + 1e-6
    return matrix, system.right - through @ system.right_block.ravel(), free


def _stepped(scene: Scene, system: _System, damping: float) -> Scene:
    matrix, right, free = _reduced(system, damping)
    step = np.linalg.solve(matrix, right)
    move = (free @ (system.right_block.ravel() - system.cross.T @ step)).reshape(-1, 3)
    each = step[:-1].reshape(-1, 6)
    long = np.maximum(np.linalg.norm(move, axis=1, keepdims=True) / 0.3, 1)
    points = scene.points + np.einsum("fij,fj->fi", system.basis, move / long)
    return replace(
        scene,
        turns=nearest_turn(turned(np.clip(each[:, :3], -0.3, 0.3)) @ scene.turns),
        places=scene.places + each[:, 3:],
        points=points / np.linalg.norm(points, axis=1, keepdims=True),
        focal=float(scene.focal * np.exp(np.clip(step[-1], -0.2, 0.2))),
    )


def ways(points: np.ndarray) -> np.ndarray:
    """(f, 4) of length one -> (f, 4, 3) three unit directions square to each and to one another."""
    x, y, z, w = points.T
    return np.stack([np.stack([w, -z, y], 1), np.stack([z, w, -x], 1), np.stack([-y, x, w], 1),
                     np.stack([-x, -y, -z], 1)], 1)  # fmt: skip

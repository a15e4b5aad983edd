"""Key frames, solved together: where the camera looks in each, how long its lens is, where the features lie.

Errors of steps add up; key frames that share features hold one another. Unknowns are the turn and the zoom of each key
frame, one focal length, and a direction per feature; the directions are taken out first (Schur), which leaves a small
system. Features that are far have a direction only; that of near ones is told by `places`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from backend.camera.moving.pairs import LEAST, Steps
from backend.camera.moving.sight import Sight, crossed, nearest_turn, rays, trust, turned, vectors

# Chosen on rendered panoramas (bench.camera, seed 100).
NOISE_PX = 0.5
"""Small pixels, about one sigma of a feature's place; what is farther off counts less and less."""
_FEW = 0.6
"""A new key frame is needed when less than this part of the last one's features is left …"""
_FAR_PX = 90.0
"""… or when they have moved by so many small pixels …"""
_LONG_S = 1.0
"""… or after so many seconds."""
_HELD = 0.35
"""One sigma of a turn between key frames that share no features, radians: it looks on about as it did."""
_ZOOM_S = 0.5
"""One sigma of the zoom's logarithm within a second, where zooming is allowed."""
_FOCAL = 0.5
"""One sigma of the focal length's logarithm where only a guess of it is known."""
_SHARE = 0.5
"""A feature that disagreed more often than this with the most of them is left out."""


@dataclass(frozen=True)
class Keys:
    """k key frames and their features' directions in the world, which is the first frame's camera."""

    frames: np.ndarray
    """(k,) which of the frames, the first one first."""
    turns: np.ndarray
    """(k, 3, 3) world -> camera."""
    zooms: np.ndarray
    """(k,) logarithm of the focal length over that of the first frame."""
    focal: float
    """Small pixels, of the first frame."""
    focal_sigma: float
    """Of its logarithm; infinite where it was given."""
    rays: np.ndarray
    """(q, 3) of all features; NaN for those that are not known."""
    cost: float
    """Robust sum of squares, in sigmas."""
    sigma_px: float
    """Small pixels, what is left, of one coordinate."""


def choose(sight: Sight, steps: Steps, times: np.ndarray) -> np.ndarray:
    """(k,) key frames: the first one, and more wherever the view has changed."""
    keys = [0]
    for k in range(1, sight.n):
        last = keys[-1]
        both, there, here = sight.shared(last, k)
        had = sight.start[last + 1] - sight.start[last]
        moved = np.median(np.linalg.norm(here - there, axis=1)) if len(both) else np.inf
        due = len(both) < _FEW * had or moved > _FAR_PX or times[k] - times[last] >= _LONG_S
        # Before the view is lost, not after.
        if due and k - 1 > last and len(both) < LEAST:
            keys.append(k - 1)
        if due:
            keys.append(k)
    if keys[-1] != sight.n - 1 and sight.n > 1:
        keys.append(sight.n - 1)
    return np.array(keys)


def chained(steps: Steps, scale: float = 1.0) -> np.ndarray:
    """(n, 3, 3) turns of all frames by their steps alone. `scale`: how much longer the lens is than it was taken to be;
    the same motion in the picture is a smaller turn then, except about the line of sight."""
    small = vectors(steps.turns) * np.array([1 / scale, 1 / scale, 1.0])
    out = np.tile(np.eye(3), (len(small) + 1, 1, 1))
    for k, turn in enumerate(turned(small)):
        out[k + 1] = turn @ out[k]
    return nearest_turn(out)


@dataclass(frozen=True)
class _Task:
    """Sightings in key frames of features that two of them show."""

    key: np.ndarray
    """(m,) which key."""
    feature: np.ndarray
    """(m,) which of the task's features."""
    place: np.ndarray
    """(m, 2) small pixels."""
    names: np.ndarray
    """(f,) the features' numbers in the sight."""
    held: np.ndarray
    """(k - 1, 3, 3) turns between key frames as the steps say."""
    hold: np.ndarray
    """(k - 1,) precision of these."""
    seconds: np.ndarray
    """(k - 1,) between key frames."""
    zoom: bool
    """Whether the camera may zoom."""
    guess: float
    """The focal length as it is guessed, small pixels."""
    fixed: bool
    """Whether it is known."""


def solve(sight: Sight, steps: Steps, times: np.ndarray, focal: float, fixed: bool, zoom: bool,
          starts: Sequence[float] = (1.0,)) -> Keys:  # fmt: skip
    """The key frames by all that is seen in them. `focal`: small pixels, `fixed`: it is known and stays; `zoom`:
    whether it may change over time; `starts`: times `focal`, where the search for it begins."""
    frames = choose(sight, steps, times)
    rank = np.full(sight.n, -1)
    rank[frames] = np.arange(len(frames))
    rows = (rank[sight.frame] >= 0) & (steps.share[sight.feature] >= _SHARE)
    often = np.bincount(sight.feature[rows], minlength=sight.q) >= 2
    rows &= often[sight.feature]
    names, feature = np.unique(sight.feature[rows], return_inverse=True)
    best: Keys | None = None
    # The lens decides how far the camera turned: a wrong one is no place to start from when it is free.
    for scale in starts:
        turns = chained(steps, focal * scale / steps.focal)
        held = turns[frames[1:]] @ turns[frames[:-1]].transpose(0, 2, 1)
        tied = np.bincount(rank[sight.frame[rows]], minlength=len(frames)) >= LEAST
        loose = ~(tied[1:] & tied[:-1]) if len(frames) > 1 else np.zeros(0, bool)
        hold = np.where(loose, 1e4, 1 / _HELD**2)
        zooms = np.concatenate([[0.0], np.cumsum(steps.zooms)])[frames] if zoom else np.zeros(len(frames))
        task = _Task(rank[sight.frame[rows]], feature, sight.place[rows], names, held, hold,
                     np.diff(times[frames]), zoom, focal, fixed)  # fmt: skip
        start = Keys(frames, turns[frames], zooms, focal * scale, np.inf, np.zeros((0, 3)), np.inf, NOISE_PX)
        found = _adjusted(task, start, 15 if len(starts) == 1 else 5)
        if best is None or found.cost < best.cost - 1e-6:
            best, chosen = found, task
    assert best is not None
    if len(starts) > 1:
        best = _adjusted(chosen, best, 12)
    everywhere = np.full((sight.q, 3), np.nan)
    everywhere[names] = best.rays
    return replace(best, rays=everywhere)


def _adjusted(task: _Task, keys: Keys, rounds: int) -> Keys:
    """`keys` after some rounds of Gauss and Newton's method, damped where a step does not help."""
    if not len(keys.rays):
        keys = replace(keys, rays=_directions(task, keys))
    damping = 1e-4
    cost, system = _system(task, keys)
    for _ in range(rounds):
        if not len(task.names):
            break
        tried = _stepped(keys, system, damping, task)
        new_cost, new_system = _system(task, tried)
        if new_cost < cost:
            done = cost - new_cost < 1e-5 * cost
            keys, cost, system, damping = tried, new_cost, new_system, max(damping / 10, 1e-7)
            if done:
                break
        else:
            damping *= 20
            if damping > 1e4:
                break
    sigma_px, focal_sigma = _spread(task, keys, system)
    return replace(keys, cost=cost, sigma_px=sigma_px, focal_sigma=focal_sigma)


def _directions(task: _Task, keys: Keys) -> np.ndarray:
    """(f, 3) the mean direction of each feature, as far as the key frames' turns are right."""
    seen = rays(task.place, keys.focal * np.exp(keys.zooms[task.key]))
    world = np.einsum("mji,mj->mi", keys.turns[task.key], seen)
    out = np.stack([np.bincount(task.feature, world[:, i], len(task.names)) for i in range(3)], -1)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


@dataclass(frozen=True)
class _System:
    camera: sparse.csr_matrix
    """(c, c) normal matrix of the cameras: 4 unknowns each, and the focal length last."""
    right: np.ndarray
    """(c,)."""
    cross: sparse.csr_matrix
    """(c, 2 f)."""
    block: np.ndarray
    """(f, 2, 2) of the features."""
    right_block: np.ndarray
    """(f, 2)."""
    basis: np.ndarray
    """(f, 3, 2) two directions across each feature's."""
    miss: np.ndarray
    """(m, 2) small pixels."""
    weight: np.ndarray
    """(m,)."""


def _system(task: _Task, keys: Keys) -> tuple[float, _System]:
    """Cost, and the normal equations of a step."""
    k, f, m = len(keys.frames), len(task.names), len(task.key)
    turn = keys.turns[task.key]
    there = np.einsum("mij,mj->mi", turn, keys.rays[task.feature])
    focal = keys.focal * np.exp(keys.zooms[task.key])
    depth = np.maximum(there[:, 2], 0.05)
    flat = there[:, :2] / depth[:, None]
    seen = focal[:, None] * flat
    miss = task.place - seen
    behind = there[:, 2] < 0.05
    squared = (miss**2).sum(1) / NOISE_PX**2
    # Geman and McClure's: nothing costs more than a few sigmas.
    cost = float((9 * squared / (squared + 9) * ~behind).sum()) + 9.0 * int(behind.sum())
    weight = trust(squared, 3.0) * ~behind / NOISE_PX**2

    project = np.zeros((m, 2, 3))
    project[:, 0, 0] = project[:, 1, 1] = focal / depth
    project[:, :, 2] = -(focal / depth)[:, None] * flat
    camera = np.concatenate([-project @ crossed(there), seen[..., None]], -1)
    basis = _across(keys.rays)
    feature = project @ turn @ basis[task.feature]

    rows = np.arange(2 * m)
    wide = np.repeat(np.sqrt(weight), 2)[:, None]
    c_flat = camera.reshape(2 * m, 4) * wide
    columns = np.repeat(4 * task.key, 2)[:, None] + np.arange(4)
    columns = np.concatenate([columns, np.full((2 * m, 1), 4 * k)], 1)
    values = np.concatenate([c_flat, c_flat[:, 3:]], 1)
    Jc = sparse.csr_matrix((values.ravel(), (np.repeat(rows, 5), columns.ravel())), (2 * m, 4 * k + 1))
    x_flat = feature.reshape(2 * m, 2) * wide
    columns = np.repeat(2 * task.feature, 2)[:, None] + np.arange(2)
    Jx = sparse.csr_matrix((x_flat.ravel(), (np.repeat(rows, 2), columns.ravel())), (2 * m, 2 * f))
    r = (miss * np.sqrt(weight)[:, None]).ravel()
    right = Jc.T @ r
    block = np.zeros((f, 2, 2))
    for i in range(2):
        for j in range(2):
            block[:, i, j] = np.bincount(
                task.feature, (feature[:, :, i] * feature[:, :, j]).sum(1) * weight, f
            )
    right_block = (Jx.T @ r).reshape(f, 2)
    more, prior = _priors(task, keys, right)
    return cost + more, _System(
        (Jc.T @ Jc + prior).tocsr(), right, (Jc.T @ Jx).tocsr(), block, right_block, basis, miss, weight
    )


def _priors(task: _Task, keys: Keys, right: np.ndarray) -> tuple[float, sparse.csr_matrix]:
    """What is known without features: its cost and its matrix; its right side is added to `right`."""
    k, fast = len(keys.frames), 1e10
    diagonal = np.zeros(4 * k + 1)
    # The world is the first frame's camera, and zoom is counted from it.
    diagonal[:4] = fast
    if not task.zoom:
        diagonal[3 : 4 * k : 4] = fast
    cost = 0.0
    if task.fixed:
        diagonal[4 * k] = fast
    else:
        off = np.log(task.guess / keys.focal)
        diagonal[4 * k] = 1 / _FOCAL**2
        right[4 * k] += off / _FOCAL**2
        cost += (off / _FOCAL) ** 2
    D, h = task.held, task.hold[:, None]
    # Each key frame as the step from the one before says; a turn of the earlier one reaches it through the step.
    off = vectors(D @ keys.turns[:-1] @ keys.turns[1:].transpose(0, 2, 1))
    cost += float((h * off**2).sum())
    each = right[:-1].reshape(k, 4)
    each[1:, :3] += h * off
    each[:-1, :3] -= h * np.einsum("kji,kj->ki", D, off)
    at = 4 * np.arange(k - 1)[:, None, None]
    i, j = np.arange(3)[:, None], np.arange(3)[None]
    own = np.broadcast_to(np.eye(3), D.shape) * h[..., None]
    parts = [(at + i, at + j, own), (at + 4 + i, at + 4 + j, own),
             (at + i, at + 4 + j, -h[..., None] * D.transpose(0, 2, 1)),
             (at + 4 + i, at + j, -h[..., None] * D)]  # fmt: skip
    if task.zoom:
        h = 1 / (_ZOOM_S**2 * np.maximum(task.seconds, 1e-3))
        off = keys.zooms[:-1] - keys.zooms[1:]
        cost += float((h * off**2).sum())
        each[1:, 3] += h * off
        each[:-1, 3] -= h * off
        a = 4 * np.arange(k - 1) + 3
        parts += [(a, a, h), (a + 4, a + 4, h), (a, a + 4, -h), (a + 4, a, -h)]
    rows, columns, values = (
        np.concatenate([np.broadcast_to(part[x], part[2].shape).ravel() for part in parts]) for x in range(3)
    )
    size = (4 * k + 1, 4 * k + 1)
    return cost, (sparse.diags(diagonal) + sparse.coo_matrix((values, (rows, columns)), size)).tocsr()


def _reduced(system: _System, damping: float):
    """The cameras' matrix without the features, its right side, and the features' inverse blocks."""
    f = len(system.block)
    block = system.block + (damping * np.trace(system.block, axis1=1, axis2=2) / 2 + 1e-6)[
        :, None, None
    ] * np.eye(2)
    inverse = np.linalg.inv(block)
    at = np.arange(2 * f).reshape(f, 2)
    row, column = np.repeat(at, 2, axis=1).ravel(), np.tile(at, (1, 2)).ravel()
    free = sparse.csr_matrix((inverse.reshape(f, 4).ravel(), (row, column)), (2 * f, 2 * f))
    through = system.cross @ free
    diagonal = sparse.diags(damping * system.camera.diagonal() + 1e-6)
    matrix = (system.camera + diagonal - through @ system.cross.T).tocsc()
    return matrix, system.right - through @ system.right_block.ravel(), free


def _stepped(keys: Keys, system: _System, damping: float, task: _Task) -> Keys:
    matrix, right, free = _reduced(system, damping)
    step = linalg.spsolve(matrix, right)
    side = (free @ (system.right_block.ravel() - system.cross.T @ step)).reshape(-1, 2)
    each = step[:-1].reshape(-1, 4)
    moved = keys.rays + np.einsum("fij,fj->fi", system.basis, np.clip(side, -0.3, 0.3))
    return replace(
        keys,
        turns=nearest_turn(turned(np.clip(each[:, :3], -0.5, 0.5)) @ keys.turns),
        zooms=keys.zooms + (np.clip(each[:, 3], -0.3, 0.3) if task.zoom else 0.0),
        focal=keys.focal if task.fixed else float(keys.focal * np.exp(np.clip(step[-1], -0.3, 0.3))),
        rays=moved / np.linalg.norm(moved, axis=1, keepdims=True),
    )


def _spread(task: _Task, keys: Keys, system: _System) -> tuple[float, float]:
    """Small pixels that are left in one coordinate, and one sigma of the focal length's logarithm by that."""
    if not len(task.names):
        return NOISE_PX, np.inf
    good = system.weight * NOISE_PX**2 > 0.3
    free = max(2 * int(good.sum()) - 2 * len(task.names) - 4 * len(keys.frames), 1)
    sigma = float(np.sqrt((system.miss[good] ** 2).sum() / free)) if good.any() else NOISE_PX
    if task.fixed:
        return sigma, np.inf
    matrix, _, _ = _reduced(system, 0.0)
    unit = np.zeros(matrix.shape[0])
    unit[-1] = 1.0
    variance = float(linalg.spsolve(matrix, unit)[-1])
    return sigma, float(np.sqrt(max(variance, 0.0))) * max(sigma / NOISE_PX, 0.2)


def _across(ray: np.ndarray) -> np.ndarray:
    """(f, 3) unit -> (f, 3, 2) two unit directions square to each and to one another."""
    other = np.where(np.abs(ray[:, :1]) < 0.6, np.array([[1.0, 0, 0]]), np.array([[0, 1.0, 0]]))
    first = np.cross(ray, other)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(ray, first)], -1)

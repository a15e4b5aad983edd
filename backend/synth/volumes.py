"""What stands free of the body and moves with it: skirts and coat tails, long hair, hats, backpacks.

Built at rest on the person's own shape, then skinned like the body.
"""

from __future__ import annotations

import numpy as np

from backend.body import JOINT
from backend.synth import outfit as o
from backend.synth import shade
from backend.synth.kernels import kernel
from backend.synth.mesh import Mesh, grid_faces, solid, unit_ball, unit_box, unit_rod
from backend.synth.raster import bounds
from backend.synth.skin import skin_points
from backend.synth.tailor import Figure
from backend.synth.wardrobe import Dress

_HEAD = np.array([0.0, 0.315, 0.07])
_ROUND = 40
_DOWN = 14


def volumes(rng, d: Dress, figure: Figure, rest: np.ndarray, T: np.ndarray, seed: float) -> list[Mesh]:
    """Meshes in the world. `rest`: (V, 3) the clothed body at rest; `T`: (55, 3, 4) of its joints."""
    out: list[Mesh] = []
    if d.skirt is not None:
        out.append(_skirt(d, figure, rest, T, seed))
    head = figure.skull
    mean_low, mean_high = bounds(figure.p[head])
    low, high = bounds(rest[head])
    size = (high - low) / (mean_high - mean_low)
    fit = lambda p: (p - mean_low) * size + low  # noqa: E731
    if d.hair in ("long", "bob") and d.hat != "helmet":
        out.append(_long_hair(d, fit, T))
    elif d.hair in ("tail", "bun"):
        out += _tail(d, fit, T)
    if d.hat in ("cap", "helmet", "brim"):
        out += _hat(rng, d, fit, T)
    if d.pack:
        out.append(_pack(rng, d, rest, T))
    return out


def _skinned(x: np.ndarray, joints: list[str], weights: np.ndarray, T: np.ndarray) -> np.ndarray:
    """(n, 3) rest places hung on `joints` with `weights` (n, len(joints)) -> world."""
    order = np.argsort(-weights, 1)
    carriers = np.array([JOINT[j] for j in joints], np.int32)[order]
    w = np.take_along_axis(weights, order, 1)
    out = np.empty((len(x), 3), np.float32)
    skin_points(
        T,
        np.ascontiguousarray(carriers),
        np.ascontiguousarray(w / w.sum(1, keepdims=True), np.float32),
        np.ascontiguousarray(x, np.float32),
        out,
    )
    return out


def _smooth(a: float, b: float, x: np.ndarray) -> np.ndarray:
    t = np.clip((x - a) / (b - a), 0, 1)
    return t * t * (3 - 2 * t)


def _skirt(d: Dress, figure: Figure, rest: np.ndarray, T: np.ndarray, seed: float) -> Mesh:
    waist, hem, flare, layer = d.skirt
    heights = np.linspace(waist, hem, _DOWN)
    angles = np.arange(_ROUND) * 2 * np.pi / _ROUND
    axis, radius = np.zeros(_DOWN, np.float32), np.zeros((_DOWN, _ROUND), np.float32)
    _hull(rest, figure.p, figure.arm, heights.astype(np.float32), axis, radius)
    # Cloth falls from the widest place above, and wider with the flare; folds grow towards the hem.
    fallen = np.maximum.accumulate(radius, 0) if layer == o.OUTER or flare > 0.3 else radius.copy()
    down = (waist - heights)[:, None]
    fold = 1 + 0.5 * np.sin(angles * 2 + seed)
    wave = np.sin(angles * (5 + int(seed) % 6) + seed) * fold * flare * 0.1 * down
    r = np.maximum(fallen, radius) + 0.012 + 0.35 * flare * down + wave
    x = np.stack([r * np.cos(angles), heights[:, None] + 0 * r, axis[:, None] + r * np.sin(angles)], -1)
    x = x.reshape(-1, 3)
    depth = np.repeat(waist - heights, _ROUND)
    legs = 0.92 * _smooth(0.08, 0.38, depth)
    side = _smooth(-0.16, 0.16, x[:, 0])
    knee = _smooth(-0.72, -0.86, x[:, 1]) * 0.85
    hips = legs * (1 - knee)
    names = ["pelvis", "left_hip", "right_hip", "left_knee", "right_knee"]
    w = np.stack([1 - legs, hips * side, hips * (1 - side), legs * knee * side, legs * knee * (1 - side)], 1)
    world = _skinned(x, names, w, T)
    return Mesh(world, grid_faces(_DOWN, _ROUND, True), x.astype(np.float32), d.row, shade.CLOTH, layer)


@kernel
def _hull(rest, p, arm, heights, axis, radius):
    """Outline of trunk and legs of the body `rest` at the heights of the mean body `p`; see `tailor.Rings`."""
    levels, n = radius.shape
    low, high = np.full(levels, 9.0), np.full(levels, -9.0)
    step = heights[0] - heights[1]
    for v in range(rest.shape[0]):
        if arm[v] > 0.3:
            continue
        i = int((heights[0] - p[v, 1]) / step + 0.5)
        if i >= 0 and i < levels:
            low[i], high[i] = min(low[i], rest[v, 2]), max(high[i], rest[v, 2])
    support = np.zeros((levels, n))
    for i in range(levels):
        axis[i] = 0.5 * (low[i] + high[i]) if high[i] > low[i] else (axis[i - 1] if i > 0 else 0.03)
    for v in range(rest.shape[0]):
        if arm[v] > 0.3:
            continue
        i = int((heights[0] - p[v, 1]) / step + 0.5)
        if i >= 0 and i < levels:
            for k in range(n):
                a = 6.283185307 * k / n
                s = rest[v, 0] * np.cos(a) + (rest[v, 2] - axis[i]) * np.sin(a)
                support[i, k] = max(support[i, k], s)
    for i in range(levels):
        for k in range(n):
            best = 9.0
            for m in range(n):
                turn = np.cos(6.283185307 * (k - m) / n)
                if turn > 0.05 and support[i, m] > 0:
                    best = min(best, support[i, m] / turn)
            radius[i, k] = best if best < 9 else (radius[i - 1, k] if i > 0 else 0.1)


def _long_hair(d: Dress, fit, T: np.ndarray) -> Mesh:
    rows, columns = 12, 19
    y = np.linspace(0.37, 0.33 - d.hair_length, rows)[:, None]
    a = np.deg2rad(np.linspace(-118, 118, columns))[None]
    shoulders = _smooth(0.2, 0.04, y)
    # It springs from the scalp, whose top is narrower.
    top = _smooth(0.31, 0.37, y)
    rx = 0.076 + d.hair_volume + 0.045 * shoulders - 0.022 * top
    rz = 0.086 + d.hair_volume + 0.055 * shoulders - 0.02 * top
    wave = 1 + 0.03 * np.sin(7 * a + 9 * y + d.row[o.SEED])
    x = np.stack([rx * wave * np.sin(a), y + 0 * a, 0.062 - rz * wave * np.cos(a)], -1).reshape(-1, 3)
    rest = fit(x)
    low = _smooth(0.24, 0.02, x[:, 1])
    w = np.stack([1 - low, 0.35 * low, 0.65 * low], 1)
    world = _skinned(rest, ["head", "neck", "spine3"], w, T)
    return Mesh(world, grid_faces(rows, columns, False), x.astype(np.float32), d.row, shade.STRANDS, o.HAIR)


def _tail(d: Dress, fit, T: np.ndarray) -> list[Mesh]:
    v, f = unit_ball()
    if d.hair == "bun":
        x = v * [0.036, 0.034, 0.034] + _HEAD + [0, 0.055, -0.115]
        w = np.ones((len(x), 1))
        world = _skinned(fit(x), ["head"], w, T)
    else:
        half = d.hair_length / 2
        x = v * [0.026, half, 0.026]
        x[:, 2] -= 0.03 * (1 - (x[:, 1] / half) ** 2)
        x = x + _HEAD + [0, 0.06 - half, -0.125]
        low = 0.7 * _smooth(0.24, 0.0, x[:, 1])
        world = _skinned(fit(x), ["head", "spine3"], np.stack([1 - low, low], 1), T)
    return [Mesh(world, f, x.astype(np.float32), d.row, shade.STRANDS, o.HAIR, closed=True)]


def _hat(rng, d: Dress, fit, T: np.ndarray) -> list[Mesh]:
    row = o.blank()
    colours = [rng.uniform(0.01, 0.5, 3) * rng.uniform(0.1, 1) for _ in range(3)]
    gloss = rng.uniform(0.3, 0.7) if d.hat == "helmet" else 0.05
    o.put(
        row,
        0,
        colours=colours,
        pattern=int(rng.choice([o.PLAIN, o.PLAIN, o.ALONG])),
        scale=0.06,
        trim=0.4,
        gloss=gloss,
    )
    v, f = unit_ball()
    grow = 0.022 if d.hat == "helmet" else 0.006
    dome = np.maximum(v, [-2, -0.15 if d.hat == "helmet" else 0.0, -2])
    x = dome * (np.array([0.078, 0.085, 0.102]) + grow) + _HEAD + [0, 0.028, 0.005]
    parts = [(x, f)]
    if d.hat != "helmet":
        n, around = 15, d.hat == "brim"
        a = np.linspace(-np.pi, np.pi, n) if around else np.deg2rad(np.linspace(-75, 75, n))
        reach = rng.uniform(0.05, 0.1)
        inner = np.stack([0.083 * np.sin(a), 0 * a, 0.105 * np.cos(a)], 1)
        longer = 1 if around else np.cos(a)[:, None] ** 0.5
        outer = inner + reach * longer * np.stack([np.sin(a), 0 * a - 0.25, np.cos(a)], 1)
        brim = np.concatenate([inner, outer]) + _HEAD + [0, 0.03, 0.005]
        parts.append((brim, grid_faces(2, n, False)))
    backwards = d.hat == "cap" and rng.random() < 0.15
    out = []
    for x, faces in parts:
        if backwards:
            x = (x - _HEAD) * [-1, 1, -1] + _HEAD
        world = _skinned(fit(x), ["head"], np.ones((len(x), 1)), T)
        out.append(Mesh(world, faces, (x - _HEAD).astype(np.float32), row))
    return out


def _pack(rng, d: Dress, rest: np.ndarray, T: np.ndarray) -> Mesh:
    row = o.blank()
    colour = d.row[o.STRAP_COLOUR : o.STRAP_COLOUR + 3]
    o.put(
        row,
        0,
        colours=[colour, colour * 0.5, colour],
        pattern=int(rng.choice([o.PLAIN, o.ACROSS])),
        scale=0.2,
        trim=0.3,
        wear=0.1,
    )
    size = np.array([rng.uniform(0.11, 0.17), rng.uniform(0.15, 0.26), rng.uniform(0.05, 0.1)])
    v, f = unit_ball(11, 16)
    v = np.sign(v) * np.abs(v) ** 0.55
    spine = (np.abs(rest[:, 0]) < 0.08) & (rest[:, 1] > -0.2) & (rest[:, 1] < 0.08)
    back = rest[spine, 2].min() if spine.any() else -0.08
    x = v * size + [0, 0.08 - 0.85 * size[1], back - 0.8 * size[2]]
    w = np.stack([0.75 + 0 * x[:, 0], 0.25 + 0 * x[:, 0]], 1)
    return Mesh(_skinned(x, ["spine3", "spine2"], w, T), f, x.astype(np.float32), row, closed=True)


def held(rng, wrist: np.ndarray, R: np.ndarray, row: np.ndarray, side: int) -> Mesh:
    """A ball, stick, racket-like disc or box in a hand. `wrist`: (3,) world, `R`: (3, 3) of the wrist joint."""

    kind = rng.integers(4)
    if kind == 0:
        r = rng.uniform(0.03, 0.13)
        return solid(unit_ball(), [r] * 3, R, wrist + R @ np.array([side * 0.09, -0.03 - r, 0.02]), row)
    if kind == 1:
        length = rng.uniform(0.1, 0.7)
        R2 = R @ np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
        return solid(
            unit_rod(),
            [0.012, length, 0.012],
            R2,
            wrist + R @ np.array([side * 0.08, -0.03, length * 0.5]),
            row,
        )
    if kind == 2:
        return solid(
            unit_ball(), [0.12, 0.015, 0.15], R, wrist + R @ np.array([side * 0.08, -0.03, 0.3]), row
        )
    size = rng.uniform(0.02, 0.2, 3)
    return solid(unit_box(), size, R, wrist + R @ np.array([side * 0.09, -0.03 - size[1], 0.02]), row)

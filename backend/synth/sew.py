"""From a cut to displacements of the rest body's vertices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backend.synth import outfit as o
from backend.synth.kernels import kernel, piece
from backend.synth.tailor import Figure, crumple
from backend.synth.wardrobe import Cut, Dress


class Rest(NamedTuple):
    """The rest body as the loop over its V vertices reads it, float32; see `tailor.Figure`."""

    p: np.ndarray
    """(V, 3) places."""
    normal: np.ndarray
    """(V, 3) of the smoothed body."""
    arm: np.ndarray
    """(V,) how much a vertex belongs to an arm."""
    leg: np.ndarray
    """(V,) how much it belongs to a leg."""
    limb_out: np.ndarray
    """(V, 3) unit direction away from the limb's axis."""
    limb_r: np.ndarray
    """(V,) distance from it."""
    drop: np.ndarray
    """(V, 3) way to where cloth hangs that falls from what is above."""
    last: np.ndarray
    """(V, 3) way to the shoe's hull."""


class Layer(NamedTuple):
    """One layer of clothes, metres."""

    upper: float
    """Height up to which it covers."""
    lower: float
    """Height of its hem."""
    sleeve: float
    """How far out from the middle it covers."""
    on_legs: bool
    """Trousers, socks and shoes; anything else hangs from the shoulders."""
    gloves: bool
    """It covers the hands from `sleeve` on."""
    thick: float
    """How far it stands off everywhere."""
    hang: float
    """0..1, how far it falls free of the trunk."""
    tube: float
    """Radius at the end of a sleeve or leg that is cut straight; 0 for none."""
    folds: float
    """Height of its folds."""
    shoe: float
    """1 for a shoe, which has the shape of its last."""


def displacement(figure: Figure, d: Dress, seed: float) -> np.ndarray:
    """(V, 3) float32 metres: how far the visible surface stands off the rest body in clothes `d`."""
    out = np.zeros_like(figure.p)
    folds = np.zeros(len(out), np.float32)
    rest = Rest(figure.p, figure.normal, figure.arm, figure.leg, figure.limb_out, figure.limb_r, figure.drop,
                figure.last)  # fmt: skip
    for cut in d.cuts:
        _wrap(rest, _layer(d.row[cut.layer : cut.layer + o.LAYER], cut), out, folds)
    crumple(figure.p, figure.normal, folds, figure.arm, np.float32(seed), out)
    volume = d.hair_volume if d.hat in ("", "brim") else min(d.hair_volume, 0.012)
    if volume > 0:
        _hair(figure.p, figure.normal, figure.head, d.row[o.HAIRLINE], d.row[o.HAIR_LOW], volume, seed, out)
    if d.hat == "beanie":
        _hair(figure.p, figure.normal, figure.head, 0.35, 0.27, 0.02, seed, out)
    return out


def _layer(row: np.ndarray, cut: Cut) -> Layer:
    """The layer that `row` (outfit.LAYER,) describes, cut like `cut`."""
    on_legs, shoe = cut.layer in (o.BOTTOM, o.SOCKS, o.SHOES), 1.0 if cut.layer == o.SHOES else 0.0
    return Layer(row[o.UPPER], row[o.LOWER], row[o.SLEEVE], on_legs, cut.layer == o.GLOVES, float(cut.thick),
                 float(cut.hang), float(cut.tube), float(cut.folds), shoe)  # fmt: skip


@kernel
def _wrap(rest, layer, out, fold):
    """Put one layer, `layer`, over what `out` (V, 3) already holds: the outermost counts, and covers what is beneath
    by a little. `fold`: (V,) height of folds, of which the highest counts."""
    for v in range(rest.p.shape[0]):
        x, y = abs(rest.p[v, 0]), rest.p[v, 1]
        if covered(layer, x, y):
            stretch(rest, layer, v, x, y, out)
            fold[v] = max(fold[v], layer.folds * creased(layer, x, y))


@piece
def covered(layer, x, y):
    """Whether the layer covers a place `x` metres to the side of the middle at the height `y`."""
    if layer.gloves:
        return x >= layer.sleeve and y >= -0.2
    return y <= layer.upper and y >= layer.lower and x <= layer.sleeve and not (layer.on_legs and x > 0.25)


@piece
def stretch(rest, layer, v, x, y, out):
    """Move vertex `v` of `out`, at (x, y), out to the layer."""
    thick, hang, shoe, wide = layer.thick, layer.hang, layer.shoe, widening(rest, layer, v, x, y)
    size = 0.0
    for k in range(3):
        size += out[v, k] * out[v, k]
    under = np.sqrt(size)
    dx = (
        rest.normal[v, 0] * thick
        + rest.limb_out[v, 0] * wide
        + rest.drop[v, 0] * hang
        + rest.last[v, 0] * shoe
    )
    dy = (
        rest.normal[v, 1] * thick
        + rest.limb_out[v, 1] * wide
        + rest.drop[v, 1] * hang
        + rest.last[v, 1] * shoe
    )
    dz = (
        rest.normal[v, 2] * thick
        + rest.limb_out[v, 2] * wide
        + rest.drop[v, 2] * hang
        + rest.last[v, 2] * shoe
    )
    if shoe > 0 and y < -1.262:
        dy -= 0.006 + 0.5 * thick
    if dx * dx + dy * dy + dz * dz > size:
        out[v, 0], out[v, 1], out[v, 2] = dx, dy, dz
    for k in range(3):
        out[v, k] += rest.normal[v, k] * min(under, 0.003)


@piece
def widening(rest, layer, v, x, y):
    """Metres by which a straight tube, from where the limb leaves the trunk to the hem, stands off vertex `v`."""
    limb = rest.leg[v] if layer.on_legs else rest.arm[v]
    if layer.tube <= 0 or limb <= 0:
        return 0.0
    if layer.on_legs:
        t = (-0.5 - y) / max(-0.5 - layer.lower, 0.05)
        start = 0.1
    else:
        t = (x - 0.2) / max(layer.sleeve - 0.2, 0.03)
        start = 0.07
    t = min(max(t, 0.0), 1.0)
    radius = start + t * (layer.tube - start)
    # Inner thighs would push through each other.
    inner = layer.on_legs and rest.limb_out[v, 0] * rest.p[v, 0] < 0 and y > -0.7
    return max(0.0, radius - rest.limb_r[v]) * limb * (0.35 if inner else 1.0)


@piece
def creased(layer, x, y):
    """How much cloth folds at a place, about 0.5 to 2: most at knees, hems, elbows, waist and armpits."""
    near = 0.5
    if layer.on_legs:
        near += 0.8 * max(0.0, 1 - abs(y + 0.777) / 0.12) + 0.9 * max(0.0, 1 - abs(y - layer.lower) / 0.12)
        near += 0.6 * max(0.0, 1 - abs(y + 0.48) / 0.1)
    else:
        near += 0.9 * max(0.0, 1 - abs(x - 0.435) / 0.1) + 0.6 * max(0.0, 1 - abs(y + 0.22) / 0.12)
        near += 0.6 * max(0.0, 1 - abs(x - 0.18) / 0.06)
    return near


@kernel
def _hair(p, normal, head, line, low, volume, seed, out):
    """Raise the scalp by the hair on it; edges as in `fabric.scalp`."""
    for v in range(p.shape[0]):
        if head[v] < 0.3:
            continue
        x, y, z = abs(p[v, 0]), p[v, 1], p[v, 2]
        t = min(max((0.15 - z) / 0.105, 0.0), 1.0)
        edge = line + t * t * (3 - 2 * t) * (low - line)
        if x > 0.069 and y < 0.318 and z > 0.02:
            continue
        rise = min(max((y - edge) / 0.025, 0.0), 1.0) * volume
        # More on top and behind than at the sides.
        rise *= 0.7 + 0.5 * max(0.0, normal[v, 1]) + 0.15 * np.sin(31 * p[v, 0] + 17 * z + seed)
        for k in range(3):
            out[v, k] += normal[v, k] * rise

"""From a cut to displacements of the rest body's vertices."""

from __future__ import annotations

import numpy as np

from backend.synth import outfit as o
from backend.synth.kernels import kernel
from backend.synth.tailor import Figure, crumple
from backend.synth.wardrobe import Dress


def displacement(figure: Figure, d: Dress, seed: float) -> np.ndarray:
    """(V, 3) float32 metres: how far the visible surface stands off the rest body in clothes `d`."""
    out = np.zeros_like(figure.p)
    folds = np.zeros(len(out), np.float32)
    for cut in d.cuts:
        row = d.row[cut.layer : cut.layer + o.LAYER]
        last = 1.0 if cut.layer == o.SHOES else 0.0
        on_legs = 1 if cut.layer in (o.BOTTOM, o.SOCKS, o.SHOES) else 0
        _wrap(figure.p, figure.normal, figure.arm, figure.leg, figure.limb_out, figure.limb_r, figure.drop,
              figure.last, row, on_legs, 1 if cut.layer == o.GLOVES else 0, cut.thick, cut.hang, cut.tube, cut.folds,
              last, out, folds)  # fmt: skip
    crumple(figure.p, figure.normal, folds, figure.arm, np.float32(seed), out)
    volume = d.hair_volume if d.hat in ("", "brim") else min(d.hair_volume, 0.012)
    if volume > 0:
        _hair(figure.p, figure.normal, figure.head, d.row[o.HAIRLINE], d.row[o.HAIR_LOW], volume, seed, out)
    if d.hat == "beanie":
        _hair(figure.p, figure.normal, figure.head, 0.35, 0.27, 0.02, seed, out)
    return out


@kernel
def _wrap(
    p,
    normal,
    arm,
    leg,
    limb_out,
    limb_r,
    drop,
    last,
    row,
    on_legs,
    gloves,
    thick,
    hang,
    tube,
    folds,
    shoe,
    out,
    fold,
):
    """One layer over what `out` already holds: the outermost counts, and covers what is beneath by a little."""
    upper, lower, sleeve = row[1], row[2], row[3]
    for v in range(p.shape[0]):
        x, y = abs(p[v, 0]), p[v, 1]
        if gloves == 1:
            if x < sleeve or y < -0.2:
                continue
        elif y > upper or y < lower or x > sleeve or (on_legs == 1 and x > 0.25):
            continue
        limb = leg[v] if on_legs == 1 else arm[v]
        wide = 0.0
        if tube > 0 and limb > 0:
            # A straight tube from where the limb leaves the trunk to the hem.
            if on_legs == 1:
                t = (-0.5 - y) / max(-0.5 - lower, 0.05)
                start = 0.1
            else:
                t = (x - 0.2) / max(sleeve - 0.2, 0.03)
                start = 0.07
            t = min(max(t, 0.0), 1.0)
            radius = start + t * (tube - start)
            # Inner thighs would push through each other.
            inside = 0.35 if on_legs == 1 and limb_out[v, 0] * p[v, 0] < 0 and y > -0.7 else 1.0
            wide = max(0.0, radius - limb_r[v]) * limb * inside
        size = 0.0
        for k in range(3):
            size += out[v, k] * out[v, k]
        under = np.sqrt(size)
        dx = normal[v, 0] * thick + limb_out[v, 0] * wide + drop[v, 0] * hang + last[v, 0] * shoe
        dy = normal[v, 1] * thick + limb_out[v, 1] * wide + drop[v, 1] * hang + last[v, 1] * shoe
        dz = normal[v, 2] * thick + limb_out[v, 2] * wide + drop[v, 2] * hang + last[v, 2] * shoe
        if shoe > 0 and y < -1.262:
            dy -= 0.006 + 0.5 * thick
        if dx * dx + dy * dy + dz * dz > size:
            out[v, 0], out[v, 1], out[v, 2] = dx, dy, dz
        for k in range(3):
            out[v, k] += normal[v, k] * min(under, 0.003)
        near = 0.5
        if on_legs == 1:
            near += 0.8 * max(0.0, 1 - abs(y + 0.777) / 0.12) + 0.9 * max(0.0, 1 - abs(y - lower) / 0.12)
            near += 0.6 * max(0.0, 1 - abs(y + 0.48) / 0.1)
        else:
            near += 0.9 * max(0.0, 1 - abs(x - 0.435) / 0.1) + 0.6 * max(0.0, 1 - abs(y + 0.22) / 0.12)
            near += 0.6 * max(0.0, 1 - abs(x - 0.18) / 0.06)
        fold[v] = max(fold[v], folds * near)


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

"""Colours of what the z-buffer shows: cloth and skin under sky and sun, in linear light.

The sky is its irradiance in spherical harmonics of order 2 (nine numbers a colour, world axes, y up), the sun a
direction with a shadow map. One colour is worked out for each object in a pixel and weighted by its samples.
"""

from __future__ import annotations

import numpy as np

from backend.synth.fabric import cloth, person
from backend.synth.kernels import helper, kernel
from backend.synth.noise import noise
from backend.synth.rays import lit, open_sky, sky

PERSON, CLOTH, STRANDS, THING = range(4)
"""Kinds of objects: a clothed body; a garment of its own (a skirt); hair; anything else."""


@helper
def shares(x, a, b, c, px, py):
    """Shares of the corners b and c of a triangle where the ray (px, py, 1) meets its plane, within 0..1."""
    e1x, e1y, e1z = x[b, 0] - x[a, 0], x[b, 1] - x[a, 1], x[b, 2] - x[a, 2]
    e2x, e2y, e2z = x[c, 0] - x[a, 0], x[c, 1] - x[a, 1], x[c, 2] - x[a, 2]
    hx, hy, hz = py * e2z - e2y, e2x - px * e2z, px * e2y - py * e2x
    det = e1x * hx + e1y * hy + e1z * hz
    if det == 0:
        return 0.0, 0.0
    ox, oy, oz = -x[a, 0], -x[a, 1], -x[a, 2]
    u = min(max((ox * hx + oy * hy + oz * hz) / det, 0.0), 1.0)
    qx, qy, qz = oy * e1z - oz * e1y, oz * e1x - ox * e1z, ox * e1y - oy * e1x
    v = min(max((px * qx + py * qy + qz) / det, 0.0), 1.0 - u)
    return u, v


@helper
def surface(kind, row, layer, x, y, z, is_eye):
    """Linear rgb, gloss and unevenness of an object's surface at the rest place (x, y, z)."""
    if kind == 0:
        return person(row, x, y, z, is_eye)
    if kind == 2:
        k = 0.55 + 0.35 * noise(160 * x, 10 * y, 160 * z) + 0.25 * noise(50 * x, 5 * y, 50 * z)
        k = max(k, 0.15)
        return k * row[layer], k * row[layer + 1], k * row[layer + 2], 0.3, 0.0
    return cloth(row, layer, x, y, z)


@kernel
def shade(
    ids,
    wbuf,
    x,
    normals,
    canon,
    eyes,
    faces,
    owner,
    kinds,
    layers,
    rows,
    f,
    c,
    R,
    C,
    sh,
    sun,
    sun_rgb,
    rim,
    rim_rgb,
    shadow,
    view,
    soft,
    seed,
    image,
):
    """Colour every pixel that shows a triangle into `image` (S, S, 3), over what stands there already.

    `x`, `normals`: (n, 3) camera space; `canon`: (n, 3) rest places; `R`, `C`: camera -> world; `sun`, `rim`:
    (3,) towards the light, world; the rim light casts no shadow; `seed`: of the grain in soft shadows.
    """
    side = image.shape[0]
    took, last = np.empty(4, np.int64), np.empty(4, np.int64)
    rgb = np.empty(3)
    for j in range(side):
        for i in range(side):
            empty, n_took = 0, 0
            for s in range(4):
                t = ids[2 * j + s // 2, 2 * i + s % 2]
                if t < 0:
                    empty += 1
                    continue
                q = 0
                while q < n_took and owner[ids[2 * j + took[q] // 2, 2 * i + took[q] % 2]] != owner[t]:
                    q += 1
                if q == n_took:
                    took[q] = s
                    n_took += 1
                last[q] = s
            if empty == 4:
                continue
            for k in range(3):
                image[j, i, k] *= empty * 0.25
            for n in range(n_took):
                sj, si = 2 * j + took[n] // 2, 2 * i + took[n] % 2
                t = ids[sj, si]
                mine = owner[t]
                kind = kinds[mine]
                count = 0
                for q in range(4):
                    k = ids[2 * j + q // 2, 2 * i + q % 2]
                    if k >= 0 and owner[k] == mine:
                        count += 1
                a, b, d = faces[t, 0], faces[t, 1], faces[t, 2]
                px, py = (si - c) / f, (sj - c) / f
                u, v = shares(x, a, b, d, px, py)
                o = 1 - u - v
                nx = o * normals[a, 0] + u * normals[b, 0] + v * normals[d, 0]
                ny = o * normals[a, 1] + u * normals[b, 1] + v * normals[d, 1]
                nz = o * normals[a, 2] + u * normals[b, 2] + v * normals[d, 2]
                if nx * px + ny * py + nz > 0 and kind != PERSON:
                    nx, ny, nz = -nx, -ny, -nz
                cx = o * canon[a, 0] + u * canon[b, 0] + v * canon[d, 0]
                cy = o * canon[a, 1] + u * canon[b, 1] + v * canon[d, 1]
                cz = o * canon[a, 2] + u * canon[b, 2] + v * canon[d, 2]
                red, green, blue, gloss, rough = surface(
                    kind, rows[mine], layers[mine], cx, cy, cz, eyes[a] == 1
                )
                if last[n] != took[n]:
                    # Edges of patterns run through pixels: a second place halves their steps.
                    t = ids[2 * j + last[n] // 2, 2 * i + last[n] % 2]
                    a, b, d = faces[t, 0], faces[t, 1], faces[t, 2]
                    u, v = shares(x, a, b, d, (2 * i + last[n] % 2 - c) / f, (2 * j + last[n] // 2 - c) / f)
                    o = 1 - u - v
                    r2, g2, b2, gloss2, rough2 = surface(
                        kind, rows[mine], layers[mine], o * canon[a, 0] + u * canon[b, 0] + v * canon[d, 0],
                        o * canon[a, 1] + u * canon[b, 1] + v * canon[d, 1],
                        o * canon[a, 2] + u * canon[b, 2] + v * canon[d, 2], eyes[a] == 1)  # fmt: skip
                    red, green, blue = 0.5 * (red + r2), 0.5 * (green + g2), 0.5 * (blue + b2)
                    gloss, rough = 0.5 * (gloss + gloss2), 0.5 * (rough + rough2)
                if rough > 0:
                    # Creases run across the limb.
                    along, across = (cx, cy) if abs(cx) > 0.2 and cy > -0.2 else (cy, cx)
                    p, q3 = 30 * along + 9 * across + rows[mine, 0], 11 * across
                    nx += rough * noise(p, q3, 11 * cz)
                    ny += rough * noise(p + 31, q3, 11 * cz)
                    nz += rough * noise(p, q3 + 31, 11 * cz)
                # Into the world.
                wx = R[0, 0] * nx + R[0, 1] * ny + R[0, 2] * nz
                wy = R[1, 0] * nx + R[1, 1] * ny + R[1, 2] * nz
                wz = R[2, 0] * nx + R[2, 1] * ny + R[2, 2] * nz
                ln = 1.0 / max(np.sqrt(wx * wx + wy * wy + wz * wz), 1e-6)
                wx, wy, wz = wx * ln, wy * ln, wz * ln
                z = 1.0 / wbuf[sj, si]
                vx, vy = px * z, py * z
                gx = R[0, 0] * vx + R[0, 1] * vy + R[0, 2] * z
                gy = R[1, 0] * vx + R[1, 1] * vy + R[1, 2] * z
                gz = R[2, 0] * vx + R[2, 1] * vy + R[2, 2] * z
                wrap = 0.12 if kind == PERSON else 0.0
                light = max(0.0, (wx * sun[0] + wy * sun[1] + wz * sun[2] + wrap) / (1 + wrap))
                if light > 0:
                    light *= lit(shadow, view, gx + C[0] + 0.012 * wx, gy + C[1] + 0.012 * wy,
                                 gz + C[2] + 0.012 * wz, soft, si, sj, seed)  # fmt: skip
                back = max(0.0, wx * rim[0] + wy * rim[1] + wz * rim[2])
                ao = open_sky(wbuf, si, sj, wbuf[sj, si], 0.16 * f * wbuf[sj, si], seed)
                # Gloss: Blinn's half-way lobe of the sun, and a little sky at grazing angles.
                il = -1.0 / np.sqrt(gx * gx + gy * gy + gz * gz)
                ex, ey, ez = gx * il, gy * il, gz * il
                shine = 0.0
                if gloss > 0.02 and light > 0:
                    mx, my, mz = sun[0] + ex, sun[1] + ey, sun[2] + ez
                    m2 = max(mx * mx + my * my + mz * mz, 1e-6)
                    h = max(0.0, (wx * mx + wy * my + wz * mz) / np.sqrt(m2))
                    shine = gloss * 0.5 * h ** (10 + 60 * gloss) * min(light * 3, 1.0)
                edge = 1 - max(0.0, wx * ex + wy * ey + wz * ez)
                graze = (0.02 + 0.25 * gloss) * edge * edge * edge * ao
                rgb[0], rgb[1], rgb[2] = red, green, blue
                for k in range(3):
                    e = sky(sh, wx, wy, wz, k)
                    full = e * ao + light * sun_rgb[k] + back * rim_rgb[k]
                    image[j, i, k] += 0.25 * count * (rgb[k] * full + shine * sun_rgb[k] + graze * e)

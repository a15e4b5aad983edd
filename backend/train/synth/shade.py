"""Colours of what the z-buffer shows: cloth and skin under sky and sun, in linear light.

The sky is its irradiance in spherical harmonics of order 2 (nine numbers a colour, world axes, y up), the sun a
direction with a shadow map. One colour is worked out for each object in a pixel and weighted by its samples.
"""

from __future__ import annotations

import numpy as np

from backend.train.synth.fabric import cloth, person
from backend.train.synth.kernels import helper, kernel
from backend.train.synth.noise import hash01, noise

PERSON, CLOTH, STRANDS, THING = range(4)
"""Kinds of objects: a clothed body; a garment of its own (a skirt); hair; anything else."""
SHADOW_SIDE = 224


@helper
def sky(sh, x, y, z, k):
    """Irradiance over pi of colour `k` on a surface with the unit normal (x, y, z)."""
    v = sh[0, k] * 0.282095 + 0.488603 * (sh[1, k] * y + sh[2, k] * z + sh[3, k] * x)
    v += 1.092548 * (sh[4, k] * x * y + sh[5, k] * y * z + sh[7, k] * x * z)
    v += 0.315392 * sh[6, k] * (3 * z * z - 1) + 0.546274 * sh[8, k] * (x * x - y * y)
    return max(v, 0.0)


@helper
def lit(shadow, view, x, y, z, soft, i, j):
    """Share 0..1 of the sun that reaches the world place (x, y, z). `view`: (3, 4) world -> texels and depth."""
    u = view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3]
    v = view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3]
    d = view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3]
    side = shadow.shape[0]
    a = 6.2832 * hash01(i, j, 5)
    ca, sa = np.cos(a) * soft, np.sin(a) * soft
    free = 0.0
    for k in range(4):
        # Four places around, turned at random from pixel to pixel.
        r = 0.5 + 0.25 * k
        ca, sa = -sa, ca
        p, q = int(u + r * ca + 0.5), int(v + r * sa + 0.5)
        if p < 0 or q < 0 or p >= side or q >= side or shadow[q, p] <= d + 0.008:
            free += 0.25
    return free


@helper
def open_sky(wbuf, i, j, w, radius):
    """Share of the surroundings that is not closed in by what stands close in front, 0..1."""
    height, width = wbuf.shape
    z = 1.0 / w
    closed = 0.0
    a = 6.2832 * hash01(i, j, 1)
    c, s = np.cos(a), np.sin(a)
    for k in range(8):
        c, s = 0.7071 * (c - s), 0.7071 * (s + c)
        r = radius * (0.25 + 0.75 * hash01(i, j, k + 2))
        p, q = int(i + c * r), int(j + s * r)
        if p < 0 or q < 0 or p >= width or q >= height:
            continue
        n = wbuf[q, p]
        if n > w:
            d = z - 1.0 / n
            closed += min(d * 25, 1.0) * max(0.0, 1 - d * 3)
    return 1 - 0.75 * closed / 8


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
    image,
):
    """Colour every pixel that shows a triangle into `image` (S, S, 3), over what stands there already.

    `x`, `normals`: (n, 3) camera space; `canon`: (n, 3) rest places; `R`, `C`: camera -> world; `sun`, `rim`:
    (3,) towards the light, world; the rim light casts no shadow.
    """
    side = image.shape[0]
    took = np.empty(4, np.int64)
    for j in range(side):
        for i in range(side):
            n_took = 0
            empty = 0
            for s in range(4):
                if ids[2 * j + s // 2, 2 * i + s % 2] < 0:
                    empty += 1
            if empty == 4:
                continue
            for k in range(3):
                image[j, i, k] *= empty * 0.25
            for s in range(4):
                sj, si = 2 * j + s // 2, 2 * i + s % 2
                t = ids[sj, si]
                if t < 0:
                    continue
                mine = owner[t]
                done = False
                for q in range(n_took):
                    done = done or took[q] == mine
                if done:
                    continue
                took[n_took] = mine
                n_took += 1
                count = 0
                for q in range(4):
                    k = ids[2 * j + q // 2, 2 * i + q % 2]
                    if k >= 0 and owner[k] == mine:
                        count += 1
                weight = 0.25 * count
                # Shares of the corners from areas on the screen, put right for perspective.
                a, b, d = faces[t, 0], faces[t, 1], faces[t, 2]
                px, py = (si - c) / f, (sj - c) / f
                # Ray (px, py, 1) with the plane of the triangle, as a system of cross products.
                e1x, e1y, e1z = x[b, 0] - x[a, 0], x[b, 1] - x[a, 1], x[b, 2] - x[a, 2]
                e2x, e2y, e2z = x[d, 0] - x[a, 0], x[d, 1] - x[a, 1], x[d, 2] - x[a, 2]
                hx, hy, hz = py * e2z - e2y, e2x - px * e2z, px * e2y - py * e2x
                det = e1x * hx + e1y * hy + e1z * hz
                if det == 0:
                    continue
                inv = 1.0 / det
                ox, oy, oz = -x[a, 0], -x[a, 1], -x[a, 2]
                u = (ox * hx + oy * hy + oz * hz) * inv
                qx, qy, qz = oy * e1z - oz * e1y, oz * e1x - ox * e1z, ox * e1y - oy * e1x
                v = (px * qx + py * qy + qz) * inv
                u, v = min(max(u, 0.0), 1.0), min(max(v, 0.0), 1.0)
                o = max(1 - u - v, 0.0)
                nx = o * normals[a, 0] + u * normals[b, 0] + v * normals[d, 0]
                ny = o * normals[a, 1] + u * normals[b, 1] + v * normals[d, 1]
                nz = o * normals[a, 2] + u * normals[b, 2] + v * normals[d, 2]
                z = 1.0 / wbuf[sj, si]
                if nx * px + ny * py + nz > 0 and kinds[mine] != PERSON:
                    nx, ny, nz = -nx, -ny, -nz
                cx = o * canon[a, 0] + u * canon[b, 0] + v * canon[d, 0]
                cy = o * canon[a, 1] + u * canon[b, 1] + v * canon[d, 1]
                cz = o * canon[a, 2] + u * canon[b, 2] + v * canon[d, 2]
                kind = kinds[mine]
                if kind == PERSON:
                    red, green, blue, gloss = person(rows[mine], cx, cy, cz, eyes[a] == 1)
                    # Fine creases and pores.
                    bump = 0.06
                    nx += bump * noise(70 * cx, 70 * cy, 70 * cz)
                    ny += bump * noise(70 * cx + 31, 70 * cy, 70 * cz)
                    nz += bump * noise(70 * cx, 70 * cy + 31, 70 * cz)
                elif kind == STRANDS:
                    k = (
                        0.55
                        + 0.35 * noise(160 * cx, 10 * cy, 160 * cz)
                        + 0.25 * noise(50 * cx, 5 * cy, 50 * cz)
                    )
                    k = max(k, 0.15)
                    m = layers[mine]
                    red, green, blue, gloss = (
                        k * rows[mine, m],
                        k * rows[mine, m + 1],
                        k * rows[mine, m + 2],
                        0.3,
                    )
                else:
                    red, green, blue, gloss = cloth(rows[mine], layers[mine], cx, cy, cz)
                # Into the world.
                wx = R[0, 0] * nx + R[0, 1] * ny + R[0, 2] * nz
                wy = R[1, 0] * nx + R[1, 1] * ny + R[1, 2] * nz
                wz = R[2, 0] * nx + R[2, 1] * ny + R[2, 2] * nz
                ln = 1.0 / max(np.sqrt(wx * wx + wy * wy + wz * wz), 1e-6)
                wx, wy, wz = wx * ln, wy * ln, wz * ln
                vx, vy, vz = px * z, py * z, z
                gx = R[0, 0] * vx + R[0, 1] * vy + R[0, 2] * vz
                gy = R[1, 0] * vx + R[1, 1] * vy + R[1, 2] * vz
                gz = R[2, 0] * vx + R[2, 1] * vy + R[2, 2] * vz
                facing = wx * sun[0] + wy * sun[1] + wz * sun[2]
                wrap = 0.12 if kind == PERSON else 0.0
                light = max(0.0, (facing + wrap) / (1 + wrap))
                if light > 0:
                    light *= lit(
                        shadow,
                        view,
                        gx + C[0] + 0.012 * wx,
                        gy + C[1] + 0.012 * wy,
                        gz + C[2] + 0.012 * wz,
                        soft,
                        si,
                        sj,
                    )
                back = max(0.0, wx * rim[0] + wy * rim[1] + wz * rim[2])
                ao = open_sky(wbuf, si, sj, wbuf[sj, si], 0.16 * f * wbuf[sj, si])
                # Gloss: Blinn's half-way lobe for both lights, and a little sky at grazing angles.
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
                e = sky(sh, wx, wy, wz, 0)
                image[j, i, 0] += weight * (
                    red * (e * ao + light * sun_rgb[0] + back * rim_rgb[0]) + shine * sun_rgb[0] + graze * e
                )
                e = sky(sh, wx, wy, wz, 1)
                image[j, i, 1] += weight * (
                    green * (e * ao + light * sun_rgb[1] + back * rim_rgb[1]) + shine * sun_rgb[1] + graze * e
                )
                e = sky(sh, wx, wy, wz, 2)
                image[j, i, 2] += weight * (
                    blue * (e * ao + light * sun_rgb[2] + back * rim_rgb[2]) + shine * sun_rgb[2] + graze * e
                )

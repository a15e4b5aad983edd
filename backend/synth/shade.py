"""Colours of what the z-buffer shows: cloth and skin under sky and sun, in linear light.

The sky is its irradiance in spherical harmonics of order 2 (nine numbers a colour, world axes, y up), the sun a
direction with a shadow map. One colour is worked out for each object in a pixel and weighted by its samples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backend.synth.fabric import cloth, person
from backend.synth.kernels import helper, kernel, piece
from backend.synth.noise import noise
from backend.synth.rays import open_sky, sky, sunlight

PERSON, CLOTH, STRANDS, THING = range(4)
"""Kinds of objects: a clothed body; a garment of its own (a skirt); hair; anything else."""
_OFF = 0.012
"""Metres off its surface at which a place is looked up in the shadow map, so that nothing shades itself."""


class Samples(NamedTuple):
    """The z-buffer of a picture of side S, two samples a pixel and side; see `raster`."""

    ids: np.ndarray
    """(2 S, 2 S) the triangle that is seen, -1 for none."""
    depth: np.ndarray
    """(2 S, 2 S) its reciprocal depth."""


class Surfaces(NamedTuple):
    """The triangles of all objects."""

    x: np.ndarray
    """(n, 3) vertices, camera space, metres."""
    normals: np.ndarray
    """(n, 3) theirs, unit, camera space."""
    canon: np.ndarray
    """(n, 3) their rest places, on which patterns hang."""
    eyes: np.ndarray
    """(n,) 1 on eyeballs."""
    faces: np.ndarray
    """(T, 3) vertices of each triangle."""
    owner: np.ndarray
    """(T,) the object that each belongs to."""


class Objects(NamedTuple):
    """What m objects are made of."""

    kinds: np.ndarray
    """(m,) PERSON, CLOTH, STRANDS or THING."""
    layers: np.ndarray
    """(m,) start of their layer in the outfit."""
    rows: np.ndarray
    """(m, outfit.SIZE) their outfits."""


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
def meet(surfaces, t, px, py):
    """Where the ray (px, py, 1) meets triangle `t`: its corners and the shares of the second and the third."""
    a, b, c = surfaces.faces[t, 0], surfaces.faces[t, 1], surfaces.faces[t, 2]
    u, v = shares(surfaces.x, a, b, c, px, py)
    return a, b, c, u, v


@helper
def blended(values, at):
    """The row of `values` (n, 3) at a place of a triangle, as `meet` gives it."""
    a, b, c, u, v = at
    o = 1 - u - v
    return (
        o * values[a, 0] + u * values[b, 0] + v * values[c, 0],
        o * values[a, 1] + u * values[b, 1] + v * values[c, 1],
        o * values[a, 2] + u * values[b, 2] + v * values[c, 2],
    )


@helper
def surface(kind, row, layer, x, y, z, is_eye):
    """Linear rgb, gloss and unevenness of an object's surface at the rest place (x, y, z)."""
    if kind == PERSON:
        return person(row, x, y, z, is_eye)
    if kind == STRANDS:
        k = 0.55 + 0.35 * noise(160 * x, 10 * y, 160 * z) + 0.25 * noise(50 * x, 5 * y, 50 * z)
        k = max(k, 0.15)
        return k * row[layer], k * row[layer + 1], k * row[layer + 2], 0.3, 0.0
    return cloth(row, layer, x, y, z)


@helper
def material(surfaces, objects, mine, at):
    """Linear rgb, gloss and unevenness of the object `mine` at a place that `meet` found."""
    x, y, z = blended(surfaces.canon, at)
    return surface(
        objects.kinds[mine], objects.rows[mine], objects.layers[mine], x, y, z, surfaces.eyes[at[0]] == 1
    )


@piece
def normal(surfaces, objects, mine, at, px, py, rough):
    """Normal, camera space and of any length, of the object `mine` at a place that `meet` found on the ray
    (px, py, 1), with creases as deep as `rough` says."""
    nx, ny, nz = blended(surfaces.normals, at)
    if nx * px + ny * py + nz > 0 and objects.kinds[mine] != PERSON:
        nx, ny, nz = -nx, -ny, -nz
    if rough > 0:
        x, y, z = blended(surfaces.canon, at)
        # Creases run across the limb.
        along, across = (x, y) if abs(x) > 0.2 and y > -0.2 else (y, x)
        p, q = 30 * along + 9 * across + objects.rows[mine, 0], 11 * across
        nx += rough * noise(p, q, 11 * z)
        ny += rough * noise(p + 31, q, 11 * z)
        nz += rough * noise(p, q + 31, 11 * z)
    return nx, ny, nz


@helper
def turned(R, x, y, z):
    """The product of `R` (3, 3) with (x, y, z)."""
    return (
        R[0, 0] * x + R[0, 1] * y + R[0, 2] * z,
        R[1, 0] * x + R[1, 1] * y + R[1, 2] * z,
        R[2, 0] * x + R[2, 1] * y + R[2, 2] * z,
    )


@piece
def shine(sun, nx, ny, nz, ex, ey, ez, gloss, light):
    """Share of the sun that a surface mirrors: Blinn's half-way lobe. (nx, ny, nz): normal, (ex, ey, ez): towards the
    eye, both unit; `light`: share of the sun that falls on it."""
    if gloss <= 0.02 or light <= 0:
        return 0.0
    mx, my, mz = sun[0] + ex, sun[1] + ey, sun[2] + ez
    m2 = max(mx * mx + my * my + mz * mz, 1e-6)
    h = max(0.0, (nx * mx + ny * my + nz * mz) / np.sqrt(m2))
    return gloss * 0.5 * h ** (10 + 60 * gloss) * min(light * 3, 1.0)


@piece
def gather(ids, owner, i, j, first, last, count):
    """The objects that pixel (i, j) shows: their number. Of each of them `first` and `last` (4,) get its samples,
    0 to 3, and `count` (4,) how many it has."""
    found = 0
    for s in range(4):
        t = ids[2 * j + s // 2, 2 * i + s % 2]
        if t < 0:
            continue
        q = 0
        while q < found and owner[ids[2 * j + first[q] // 2, 2 * i + first[q] % 2]] != owner[t]:
            q += 1
        if q == found:
            first[q], count[q] = s, 0
            found += 1
        last[q] = s
        count[q] += 1
    return found


@piece
def light(samples, camera, lights, si, sj, kind, nx, ny, nz, rgb, gloss):
    """Linear rgb that comes from sample (si, sj) to the camera. (nx, ny, nz): normal, camera space; `rgb`: colour of
    the surface."""
    wx, wy, wz = turned(camera.R, nx, ny, nz)
    ln = 1.0 / max(np.sqrt(wx * wx + wy * wy + wz * wz), 1e-6)
    wx, wy, wz = wx * ln, wy * ln, wz * ln
    w = samples.depth[sj, si]
    z = 1.0 / w
    # From the camera to the place, world axes.
    gx, gy, gz = turned(camera.R, (si - camera.c) / camera.f * z, (sj - camera.c) / camera.f * z, z)
    C = camera.centre
    direct = sunlight(lights, wx, wy, wz, gx + C[0] + _OFF * wx, gy + C[1] + _OFF * wy, gz + C[2] + _OFF * wz,
                      si, sj, 0.12 if kind == PERSON else 0.0)  # fmt: skip
    back = max(0.0, wx * lights.rim[0] + wy * lights.rim[1] + wz * lights.rim[2])
    ao = open_sky(samples.depth, si, sj, w, 0.16 * camera.f * w, lights.seed)
    il = -1.0 / np.sqrt(gx * gx + gy * gy + gz * gz)
    ex, ey, ez = gx * il, gy * il, gz * il
    bright = shine(lights.sun, wx, wy, wz, ex, ey, ez, gloss, direct)
    # A little of the sky is mirrored at grazing angles.
    edge = 1 - max(0.0, wx * ex + wy * ey + wz * ez)
    graze = (0.02 + 0.25 * gloss) * edge * edge * edge * ao
    return (
        reflected(lights, wx, wy, wz, 0, rgb[0], ao, direct, back, bright, graze),
        reflected(lights, wx, wy, wz, 1, rgb[1], ao, direct, back, bright, graze),
        reflected(lights, wx, wy, wz, 2, rgb[2], ao, direct, back, bright, graze),
    )


@helper
def reflected(lights, wx, wy, wz, k, colour, ao, direct, back, bright, graze):
    """Light of colour channel `k` from a surface of the unit normal (wx, wy, wz), world axes. Shares of what it gets:
    `ao` of the sky, `direct` of the sun, `back` of the rim light; of what it mirrors: `bright` of the sun, `graze` of
    the sky."""
    e = sky(lights.sh, wx, wy, wz, k)
    full = e * ao + direct * lights.sun_rgb[k] + back * lights.rim_rgb[k]
    return colour * full + bright * lights.sun_rgb[k] + graze * e


@kernel
def shade(samples, surfaces, objects, camera, lights, image):
    """Colour every pixel that shows a triangle into `image` (S, S, 3), over what stands there already.

    `samples`: `Samples`; `surfaces`: `Surfaces`; `objects`: `Objects`; `camera`: `rays.Pinhole` in samples;
    `lights`: `rays.Lights`.
    """
    # Taken out of their tuples once: in the loops that would count references for every pixel.
    ids, owner, kinds, f, c = samples.ids, surfaces.owner, objects.kinds, camera.f, camera.c
    first, last, count = np.empty(4, np.int64), np.empty(4, np.int64), np.empty(4, np.int64)
    for j in range(image.shape[0]):
        for i in range(image.shape[1]):
            found = gather(ids, owner, i, j, first, last, count)
            if found == 0:
                continue
            empty = 4
            for n in range(found):
                empty -= count[n]
            for k in range(3):
                image[j, i, k] *= empty * 0.25
            for n in range(found):
                si, sj = 2 * i + first[n] % 2, 2 * j + first[n] // 2
                t = ids[sj, si]
                mine = owner[t]
                px, py = (si - c) / f, (sj - c) / f
                at = meet(surfaces, t, px, py)
                r, g, b, gloss, rough = material(surfaces, objects, mine, at)
                if last[n] != first[n]:
                    # Edges of patterns run through pixels: a second place halves their steps.
                    i2, j2 = 2 * i + last[n] % 2, 2 * j + last[n] // 2
                    other = meet(surfaces, ids[j2, i2], (i2 - c) / f, (j2 - c) / f)
                    r2, g2, b2, gloss2, rough2 = material(surfaces, objects, mine, other)
                    r, g, b = 0.5 * (r + r2), 0.5 * (g + g2), 0.5 * (b + b2)
                    gloss, rough = 0.5 * (gloss + gloss2), 0.5 * (rough + rough2)
                nx, ny, nz = normal(surfaces, objects, mine, at, px, py, rough)
                r, g, b = light(samples, camera, lights, si, sj, kinds[mine], nx, ny, nz, (r, g, b), gloss)
                share = 0.25 * count[n]
                image[j, i, 0] += share * r
                image[j, i, 1] += share * g
                image[j, i, 2] += share * b

"""Colour of a person's surface at a place of the rest body: skin, face, hair, layers of cloth and their patterns."""

from __future__ import annotations

import numpy as np

from backend.synth import outfit as o
from backend.synth.kernels import helper
from backend.synth.noise import clouds, fract, hash01, noise, step

ON, UPPER, LOWER, SLEEVE, NECK, OPEN = o.ON, o.UPPER, o.LOWER, o.SLEEVE, o.NECK, o.OPEN
PATTERN, SCALE, PHASE, GLOSS, WEAR, TRIM = o.PATTERN, o.SCALE, o.PHASE, o.GLOSS, o.WEAR, o.TRIM
COLOUR, SECOND, THIRD, ROUGH = o.COLOUR, o.SECOND, o.THIRD, o.ROUGH
SOCKS, BOTTOM, TOP, OUTER, SHOES, GLOVES, HAT = o.SOCKS, o.BOTTOM, o.TOP, o.OUTER, o.SHOES, o.GLOVES, o.HAT
SKIN, HAIR, SHINE, HAIRLINE, HAIR_LOW, BEARD = o.SKIN, o.HAIR, o.SHINE, o.HAIRLINE, o.HAIR_LOW, o.BEARD
STUBBLE, BROWS, GLASSES, LIPS, BLUSH, SEED = o.STUBBLE, o.BROWS, o.GLASSES, o.LIPS, o.BLUSH, o.SEED
BARE, STRAPS, LENS, STRAP_COLOUR, IRIS = o.BARE, o.STRAPS, o.LENS, o.STRAP_COLOUR, o.IRIS
ARM = 0.2
"""|x| from which a place of the upper body is on the arm."""


@helper
def covers(row, k, x, y, z):
    """Whether the layer that starts at `k` covers the place. Hems waver by some millimetres."""
    if row[k + ON] == 0:
        return False
    ax = abs(x)
    if ax > row[k + SLEEVE] or y > row[k + UPPER] or y < row[k + LOWER]:
        return False
    if row[k + NECK] != 0 and y > 0.0 and ax < 0.15:
        # The neckline: a plane that falls to the front, for a V-neck along both sides of the middle.
        front = z - 0.03
        edge = 0.155 - max(front, 0.0) * 0.35
        if row[k + NECK] > 0:
            edge -= row[k + NECK] * max(0.0, front) * 10.0
        else:
            drop = -row[k + NECK] - 1.5 * ax
            if front > 0 and drop > 0:
                edge -= drop
        if y > edge:
            return False
    # A jacket's front, wider open at the top.
    gap = row[k + OPEN] * (0.6 + 0.8 * max(-0.3, y + 0.1))
    return not (z > 0.05 and ax < gap and y < 0.16)


@helper
def repeated(kind, u, v, s, ph, trim):
    """Patterns that repeat along and around a limb, at (u, v): shares of the second and the third colour. `s`: size,
    `ph`: phase, `trim`: width of stripes."""
    if kind == o.ACROSS:
        return 1.0 if fract(u / s + ph) < trim else 0.0, 0.0
    if kind == o.ALONG:
        return 1.0 if fract(v / s + ph) < trim else 0.0, 0.0
    if kind == o.CHECKS:
        a, b = fract(u / s + ph), fract(v / s + ph)
        line = abs(a - 0.7) < 0.05 or abs(b - 0.7) < 0.05
        return 0.5 * ((1.0 if a < 0.45 else 0.0) + (1.0 if b < 0.45 else 0.0)), 0.7 if line else 0.0
    if kind == o.DOTS:
        a, b = fract(u / s) - 0.5, fract(v / s) - 0.5
        return step(0.085, 0.06, a * a + b * b), 0.0
    # Flowers.
    i, j = np.floor(u / s), np.floor(v / s)
    h, g = hash01(np.int32(i), np.int32(j), 3), hash01(np.int32(i), np.int32(j), 8)
    a, b = fract(u / s) - 0.3 - 0.4 * h, fract(v / s) - 0.3 - 0.4 * g
    mix = step(0.09, 0.05, a * a + b * b)
    return mix, step(0.025, 0.01, a * a + b * b) * mix


@helper
def print_on_chest(px, py, ph):
    """A patch of letters and blots at (px, py): shares of the second and the third colour. `ph`: which print."""
    cell = hash01(np.int32(np.floor(px * 60)), np.int32(np.floor(py * 26)), np.int32(ph * 100))
    blot = step(0.0, 0.1, noise(px * 30 + ph, py * 30, ph))
    if ph < 0.4:
        return 1.0 if cell > 0.45 and fract(py * 13) < 0.7 else 0.0, 0.0
    if ph < 0.7:
        return blot, step(0.2, 0.25, noise(px * 50, py * 50, ph + 3))
    return 1.0, blot


@helper
def denim(row, k, x, y, z, ph):
    """Jeans: share of the second colour, where they are worn, and brightness."""
    mix = 0.55 * row[k + TRIM] * min(max(0.0, z) * 6, 1.0) * step(0.25, 0.0, abs(y + 0.62))
    shade = 1.0 + 0.2 * noise(60 * x + 50 * ph, 25 * y, 60 * z)
    pocket = abs(abs(x) - 0.12) < 0.075 and z < 0.0 and abs(y + 0.42) < 0.055
    if pocket and (abs(abs(abs(x) - 0.12) - 0.07) < 0.006 or abs(abs(y + 0.42) - 0.05) < 0.006):
        shade *= 0.75
    return mix, shade


@helper
def placed(kind, row, k, x, y, z, on_arm):
    """Patterns that have their place on the body: shares of the second and the third colour."""
    s, ph = row[k + SCALE], row[k + PHASE]
    if kind == o.BLOTCHES:
        n = clouds(x / s + ph, y / s, z / s)
        return step(-0.05, 0.05, n), step(0.3, 0.38, clouds(x / s, y / s + ph, z / s + 9))
    if kind == o.PRINT:
        px, py = x / s, (y + 0.04) / s
        if z > 0.06 and abs(px) < 0.11 and abs(py) < 0.09:
            return print_on_chest(px, py, ph)
        return 0.0, 0.0
    if kind == o.RAGLAN:
        if on_arm:
            return 1.0, 0.0
        return 1.0 if y > -0.3 and abs(x) > 0.1 + 0.3 * (0.15 - y) * ph else 0.0, 0.0
    if kind == o.FADE:
        return step(row[k + LOWER], min(row[k + UPPER], 0.15), y + 0.03 * noise(4 * x, 4 * y, 4 * z)), 0.0
    # Stripes down the sides.
    a = abs(z - 0.04)
    outside = abs(x) > 0.12 if y < -0.2 else y > 0.08
    stripe = a < 0.011 or (row[k + TRIM] > 0.5 and a < 0.035 and a > 0.024)
    return 1.0 if outside and stripe else 0.0, 0.0


@helper
def pattern(row, k, x, y, z):
    """The pattern of the layer at `k`: shares of its second and third colour, and brightness."""
    kind = int(row[k + PATTERN])
    ph = row[k + PHASE]
    on_arm = abs(x) > ARM and y > -0.2
    # u along the limb, v around it.
    u = abs(x) if on_arm else y
    v = y + z if on_arm else x
    mix, third, shade = 0.0, 0.0, 1.0
    if kind in (o.ACROSS, o.ALONG, o.CHECKS, o.DOTS, o.FLOWERS):
        mix, third = repeated(kind, u, v, row[k + SCALE], ph, row[k + TRIM])
    elif kind in (o.BLOTCHES, o.PRINT, o.RAGLAN, o.FADE, o.SIDE_STRIPE):
        mix, third = placed(kind, row, k, x, y, z, on_arm)
    elif kind == o.DENIM:
        mix, shade = denim(row, k, x, y, z, ph)
    elif kind == o.HEATHER:
        shade += 0.35 * noise(160 * x + 50 * ph, 160 * y, 160 * z)
    elif kind == o.KNIT:
        shade += 0.18 * np.sin(u * 520) * (0.5 + 0.5 * np.sin(v * 380))
    return mix, third, shade


@helper
def cloth(row, k, x, y, z):
    """Linear rgb, gloss and roughness of the layer at `k`."""
    mix, third, shade = pattern(row, k, x, y, z)
    ph = row[k + PHASE]
    shade *= 1.0 + row[k + WEAR] * clouds(7 * x + 90 * ph, 7 * y, 7 * z + 90 * ph)
    # Hems and seams are darker.
    end = min(abs(y - row[k + LOWER]), abs(abs(x) - row[k + SLEEVE]))
    if end < 0.018 and end > 0.012:
        shade *= 0.8
    r = row[k + COLOUR] + mix * (row[k + SECOND] - row[k + COLOUR])
    g = row[k + COLOUR + 1] + mix * (row[k + SECOND + 1] - row[k + COLOUR + 1])
    b = row[k + COLOUR + 2] + mix * (row[k + SECOND + 2] - row[k + COLOUR + 2])
    r += third * (row[k + THIRD] - r)
    g += third * (row[k + THIRD + 1] - g)
    b += third * (row[k + THIRD + 2] - b)
    shade = max(shade, 0.1)
    return r * shade, g * shade, b * shade, row[k + GLOSS], row[k + ROUGH]


@helper
def scalp(row, x, y, z):
    """How far inside the hair's edge the place is, metres; below 0: bare skin."""
    n = 0.006 * noise(70 * x + row[SEED], 70 * y, 70 * z)
    # The edge runs from the forehead past the temples down to the nape.
    t = step(0.15, 0.045, z)
    line = row[HAIRLINE] + t * (row[HAIR_LOW] - row[HAIRLINE])
    if abs(x) > 0.05 and z > 0.045 and z < 0.1:
        line = min(line, 0.3 + 0.9 * (z - 0.075))
    ear = abs(x) > 0.069 and y < 0.318 and y > 0.25 and z > 0.02
    if ear:
        return -0.02
    return y - line + n


@helper
def skin(row, x, y, z):
    """Linear rgb of bare skin, the face's features and a beard, gloss and roughness."""
    r, g, b = row[SKIN], row[SKIN + 1], row[SKIN + 2]
    shade = 1.0 + 0.09 * clouds(9 * x + row[SEED], 9 * y, 9 * z)
    red = 0.0
    gloss = row[SHINE]
    hair = 0.0
    if y > 0.19 and abs(x) < 0.1:
        ax = abs(x)
        if z > 0.11:
            mx, my = x / 0.024, (y - 0.2375) / 0.0095
            mouth = mx * mx + my * my
            if mouth < 1:
                red += row[LIPS]
                if abs(y - 0.238) < 0.0015:
                    shade *= 0.5
            cx, cy = (ax - 0.042) / 0.022, (y - 0.268) / 0.018
            red += row[BLUSH] * max(0.0, 1.0 - cx * cx - cy * cy)
            # Eyes lie in the shade of their sockets.
            ex, ey = (ax - 0.029) / 0.02, (y - 0.309) / 0.012
            socket = ex * ex + ey * ey
            if socket < 1:
                shade *= 0.8 + 0.2 * socket
            bend = y - 0.331 + 4.0 * (ax - 0.032) * (ax - 0.032)
            if abs(bend) < 0.0055 and ax > 0.011 and ax < 0.053:
                hair = row[BROWS]
            if y < 0.259 and y > 0.25 and ax < 0.012:
                shade *= 0.85
        jaw = step(0.268, 0.25, y - 0.25 * max(0.0, ax - 0.04))
        jaw *= step(0.065, 0.085, z) * step(0.19, 0.205, y)
        if red == 0:
            lip = abs(x) < 0.012 and abs(y - 0.222) < 0.004 and row[BEARD] < 0.5
            if not lip:
                hair = max(hair, jaw * max(row[BEARD], row[STUBBLE]))
        shade *= 1.0 - 0.06 * step(0.22, 0.2, y)
    elif abs(x) > 0.69 or y < -1.2:
        red += 0.06
    elif abs(y + 0.777) < 0.05 or abs(abs(x) - 0.435) < 0.03:
        red += 0.05
    elif y < 0.05 and y > -0.3:
        nx, ny = abs(x) - 0.085, y + 0.055
        if z > 0.09 and nx * nx + ny * ny < 0.00017:
            red += 0.15
            shade *= 0.7
        if z > 0.1 and x * x + (y + 0.235) * (y + 0.235) < 0.00006:
            shade *= 0.5
        if z > 0.1 and abs(x) < 0.006:
            shade *= 0.93
    r, g, b = r * (1.0 + 0.35 * red), g * (1.0 - 0.5 * red), b * (1.0 - 0.45 * red)
    if hair > 0:
        h = hair * (0.8 + 0.2 * noise(300 * x + row[SEED], 300 * y, 300 * z))
        r, g, b = r + h * (row[HAIR] - r), g + h * (row[HAIR + 1] - g), b + h * (row[HAIR + 2] - b)
        gloss *= 1.0 - h
    return r * shade, g * shade, b * shade, gloss, 0.03


@helper
def eye(row, x, y, z):
    """The eyeball: white, iris, pupil."""
    dx, dy = abs(x) - 0.0292, y - 0.3078
    r = dx * dx + dy * dy
    if r < 0.0000055:
        return 0.01, 0.01, 0.01, 0.6, 0.0
    if r < 0.000036:
        return row[IRIS], row[IRIS + 1], row[IRIS + 2], 0.6, 0.0
    return 0.42, 0.38, 0.36, 0.4, 0.0


@helper
def person(row, x, y, z, is_eye):
    """Linear rgb, gloss and roughness of a clothed person at a place of the rest body."""
    if is_eye:
        return eye(row, x, y, z)
    if y > 0.19 and abs(x) < 0.1:
        if row[GLASSES] > 0 and z > 0.1:
            gx, gy = (abs(x) - 0.033) / 0.027, (y - 0.305) / 0.02
            q = gx * gx * gx * gx + gy * gy * gy * gy
            if q < 1.5 and (q > 0.85 or row[GLASSES] > 1.5):
                return row[LENS], row[LENS + 1], row[LENS + 2], 0.8, 0.0
            if abs(x) < 0.009 and abs(y - 0.314) < 0.004:
                return row[LENS], row[LENS + 1], row[LENS + 2], 0.5, 0.0
        if row[HAT + ON] > 0 and y > row[HAT + LOWER] + 0.25 * (z - 0.07):
            return cloth(row, HAT, x, y, z)
        inside = scalp(row, x, y, z)
        if inside > 0 and row[HAIRLINE] < 1:
            k = (
                0.75
                + 0.35 * noise(40 * x + row[SEED], 12 * y, 40 * z)
                + 0.2 * noise(160 * x + row[SEED], 25 * y, 160 * z)
            )
            h = step(0.0, 0.008, inside)
            r, g, b, s, _ = skin(row, x, y, z)
            k = max(k, 0.2)
            return (
                r + h * (k * row[HAIR] - r),
                g + h * (k * row[HAIR + 1] - g),
                b + h * (k * row[HAIR + 2] - b),
                0.25,
                0.05,
            )
    on_strap = abs(abs(x) - 0.105) < 0.022 + 0.01 * z and y > -0.25 and y < 0.2 and (z > 0.02 or y > 0.05)
    if row[STRAPS] > 0 and on_strap:
        return row[STRAP_COLOUR], row[STRAP_COLOUR + 1], row[STRAP_COLOUR + 2], 0.1, 0.03
    if row[GLOVES + ON] > 0 and abs(x) > row[GLOVES + SLEEVE] and y > -0.2:
        return cloth(row, GLOVES, x, y, z)
    if covers(row, SHOES, x, y, z):
        r, g, b, s, rough = cloth(row, SHOES, x, y, z)
        if y < -1.268:  # sole
            return row[SHOES + SECOND], row[SHOES + SECOND + 1], row[SHOES + SECOND + 2], 0.1, 0.0
        if z > 0.04 and z < 0.12 and abs(abs(x) - 0.132) < 0.018 and fract(z * 55) < 0.45:  # laces
            return row[SHOES + THIRD], row[SHOES + THIRD + 1], row[SHOES + THIRD + 2], 0.1, 0.0
        return r, g, b, s, rough
    if covers(row, OUTER, x, y, z):
        return cloth(row, OUTER, x, y, z)
    if covers(row, TOP, x, y, z):
        return cloth(row, TOP, x, y, z)
    if covers(row, BOTTOM, x, y, z) and (abs(x) < ARM or y < -0.2):
        if row[BOTTOM + OPEN] < 0 and y > row[BOTTOM + UPPER] - 0.032:  # belt
            if abs(x) < 0.02 and z > 0.1:
                return 0.4, 0.38, 0.33, 0.8, 0.0
            return 0.03, 0.022, 0.018, 0.4, 0.0
        return cloth(row, BOTTOM, x, y, z)
    if covers(row, SOCKS, x, y, z):
        return cloth(row, SOCKS, x, y, z)
    return skin(row, x, y, z)

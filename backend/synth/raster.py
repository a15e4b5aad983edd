"""Triangles to pixels: a z-buffer that remembers, for every sample, which triangle is seen.

Positions are in samples: sample (0, 0) is the middle of the first one. Depth is kept as its reciprocal, which is
linear on the screen for a pinhole camera, so the test needs no division; greater is nearer. Colours are worked
out later, once for what is seen (`shade`).
"""

from __future__ import annotations

import numpy as np

from backend.synth.kernels import kernel

NEAR = 0.05
"""Metres from the camera's plane within which nothing is drawn."""


@kernel
def project(x, f, cx, cy, sx, sy, w):
    """Camera space `x` (n, 3), metres -> samples `sx`, `sy` and reciprocal depth `w` (n,); 0 if too near."""
    for i in range(x.shape[0]):
        z = x[i, 2]
        if z < NEAR:
            w[i] = 0
            continue
        r = np.float32(1.0) / z
        sx[i] = f * x[i, 0] * r + cx
        sy[i] = f * x[i, 1] * r + cy
        w[i] = r


@kernel
def draw_triangles(sx, sy, w, faces, first, closed, wbuf, ids):
    """Draw `faces` (F, 3) into `wbuf` (H, W) and, with the numbers first ... first + F - 1, into `ids` (H, W).

    `closed`: 1 where the triangles bound a solid: those that show their back are left out.
    """
    height, width = wbuf.shape
    zero = np.float32(0.0)
    for k in range(faces.shape[0]):
        a, b, c = faces[k, 0], faces[k, 1], faces[k, 2]
        wa, wb, wc = w[a], w[b], w[c]
        if wa <= zero or wb <= zero or wc <= zero:
            continue
        ax, ay, bx, by, cx, cy = sx[a], sy[a], sx[b], sy[b], sx[c], sy[c]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area == zero or (closed == 1 and area > zero):
            continue
        lo_x, hi_x = min(ax, bx, cx), max(ax, bx, cx)
        lo_y, hi_y = min(ay, by, cy), max(ay, by, cy)
        if hi_x < zero or hi_y < zero or lo_x > width or lo_y > height:
            continue
        i0, i1 = int(np.ceil(max(lo_x, zero))), int(np.floor(min(hi_x, np.float32(width - 1))))
        j0, j1 = int(np.ceil(max(lo_y, zero))), int(np.floor(min(hi_y, np.float32(height - 1))))
        if i1 < i0 or j1 < j0:
            continue
        r = np.float32(1.0) / area
        # Shares of the corners b and c, and the reciprocal depth, are linear on the screen.
        ux, uy = (cy - ay) * r, -(cx - ax) * r
        vx, vy = -(by - ay) * r, (bx - ax) * r
        dx, dy = ux * (wb - wa) + vx * (wc - wa), uy * (wb - wa) + vy * (wc - wa)
        for j in range(j0, j1 + 1):
            px, py = np.float32(i0) - ax, np.float32(j) - ay
            u, v = ux * px + uy * py, vx * px + vy * py
            d = wa + dx * px + dy * py
            for i in range(i0, i1 + 1):
                if u >= zero and v >= zero and u + v <= np.float32(1.0) and d > wbuf[j, i]:
                    wbuf[j, i] = d
                    ids[j, i] = first + k
                u += ux
                v += vx
                d += dx


@kernel
def draw_depth(sx, sy, w, faces, closed, wbuf):
    """The same for a light's view: the depth alone (greater is nearer).

    Of solids (`closed` 1) the backs are drawn: what casts is then never the place that is lit.
    """
    height, width = wbuf.shape
    zero = np.float32(0.0)
    for k in range(faces.shape[0]):
        a, b, c = faces[k, 0], faces[k, 1], faces[k, 2]
        ax, ay, bx, by, cx, cy = sx[a], sy[a], sx[b], sy[b], sx[c], sy[c]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area == zero or (closed == 1 and area < zero):
            continue
        i0, i1 = int(np.ceil(max(min(ax, bx, cx), zero))), int(min(max(ax, bx, cx), np.float32(width - 1)))
        j0, j1 = int(np.ceil(max(min(ay, by, cy), zero))), int(min(max(ay, by, cy), np.float32(height - 1)))
        if i1 < i0 or j1 < j0:
            continue
        r = np.float32(1.0) / area
        ux, uy = (cy - ay) * r, -(cx - ax) * r
        vx, vy = -(by - ay) * r, (bx - ax) * r
        dx, dy = ux * (w[b] - w[a]) + vx * (w[c] - w[a]), uy * (w[b] - w[a]) + vy * (w[c] - w[a])
        for j in range(j0, j1 + 1):
            px, py = np.float32(i0) - ax, np.float32(j) - ay
            u, v = ux * px + uy * py, vx * px + vy * py
            d = w[a] + dx * px + dy * py
            for i in range(i0, i1 + 1):
                if u >= zero and v >= zero and u + v <= np.float32(1.0) and d > wbuf[j, i]:
                    wbuf[j, i] = d
                u += ux
                v += vx
                d += dx


@kernel
def vertex_normals(x, faces, out):
    """Unit normals `out` (n, 3) of the vertices `x` (n, 3), weighted by area."""
    out[:] = 0
    for k in range(faces.shape[0]):
        a, b, c = faces[k, 0], faces[k, 1], faces[k, 2]
        e0, e1, e2 = x[b, 0] - x[a, 0], x[b, 1] - x[a, 1], x[b, 2] - x[a, 2]
        g0, g1, g2 = x[c, 0] - x[a, 0], x[c, 1] - x[a, 1], x[c, 2] - x[a, 2]
        n0, n1, n2 = e1 * g2 - e2 * g1, e2 * g0 - e0 * g2, e0 * g1 - e1 * g0
        for v in (a, b, c):
            out[v, 0] += n0
            out[v, 1] += n1
            out[v, 2] += n2
    for v in range(x.shape[0]):
        s = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2)
        s = np.float32(1.0) / s if s > 1e-20 else np.float32(0.0)
        for k in range(3):
            out[v, k] *= s


@kernel
def seen(sx, sy, w, x, normals, reach, owner, mine, wbuf, ids, black, out):
    """Which vertices are seen: `out` (n,) bool.

    A vertex counts as seen if it does not look away from the camera (`x`, `normals`: (n, 3) camera space) and one
    of the samples around it shows the person `mine` no further in front of it than `reach` (n,) metres.
    `owner` (T,): person of each triangle; `black` (h, w): pixels outside the picture,
    two samples a side each.
    """
    height, width = wbuf.shape
    for v in range(len(sx)):
        out[v] = False
        if w[v] <= 0:
            continue
        away = x[v, 0] * normals[v, 0] + x[v, 1] * normals[v, 1] + x[v, 2] * normals[v, 2]
        if away * w[v] > 0.15:
            continue
        i0, j0 = int(np.floor(sx[v])), int(np.floor(sy[v]))
        # The pixel's own edge lies half a sample outside the outermost samples' middles.
        if sx[v] < -0.5 or sy[v] < -0.5 or sx[v] > width - 0.5 or sy[v] > height - 0.5:
            continue
        z = np.float32(1.0) / w[v]
        for j in range(max(j0, 0), min(j0 + 2, height)):
            for i in range(max(i0, 0), min(i0 + 2, width)):
                k = ids[j, i]
                if k < 0 or owner[k] != mine or black[j // 2, i // 2]:
                    continue
                if z - np.float32(1.0) / wbuf[j, i] < reach[v]:
                    out[v] = True


def bounds(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest coordinates (3,), float64, of (n, 3) places; numpy takes a hundred times as long."""
    out = np.empty((2, 3))
    _bounds(x, out)
    return out[0], out[1]


@kernel
def _bounds(x, out):
    for k in range(3):
        out[0, k], out[1, k] = x[0, k], x[0, k]
    for v in range(x.shape[0]):
        for k in range(3):
            out[0, k], out[1, k] = min(out[0, k], x[v, k]), max(out[1, k], x[v, k])


@kernel
def gaps(ids, need):
    """`need` (S, S): pixels of which some of the four samples in `ids` (2 S, 2 S) shows no triangle."""
    for j in range(need.shape[0]):
        for i in range(need.shape[1]):
            a, b = (
                min(ids[2 * j, 2 * i], ids[2 * j, 2 * i + 1]),
                min(ids[2 * j + 1, 2 * i], ids[2 * j + 1, 2 * i + 1]),
            )
            need[j, i] = min(a, b) < 0

"""How cloth stands off the body: displacements of the rest body's vertices, so that clothed people have the
outline of clothed people.

Places are those of the rest body (metres, y up, T-pose), where a single number says how far down a leg or along
an arm something is: sleeves end at an |x|, hems at a y.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import ConvexHull

from backend.body import JOINT, Body
from backend.body.skeleton import JOINT_NAMES
from backend.synth.kernels import kernel
from backend.synth.noise import noise

_BINS = 36
_LEVELS = 60


@dataclass(frozen=True, eq=False)
class Figure:
    """What a tailor knows of the rest body; float32 where nothing else is said."""

    p: np.ndarray
    """(V, 3) rest positions."""
    normal: np.ndarray
    """(V, 3) of the smoothed body."""
    arm: np.ndarray
    """(V,) 0..1, how much a vertex belongs to an arm."""
    leg: np.ndarray
    """(V,) to a leg."""
    foot: np.ndarray
    """(V,) to a foot."""
    head: np.ndarray
    """(V,) to the head."""
    limb_out: np.ndarray
    """(V, 3) unit direction away from the limb's axis."""
    limb_r: np.ndarray
    """(V,) distance from it, metres."""
    drop: np.ndarray
    """(V, 3) way to where cloth hangs that falls from what is above."""
    last: np.ndarray
    """(V, 3) way to the shoe's hull."""
    eyes: np.ndarray
    """(V,) bool."""
    skull: np.ndarray
    """(k,) some vertices of ears, nose and chin, whose bounds say how large a head is."""
    rings: Rings
    """Outline of trunk and legs."""


@dataclass(frozen=True, eq=False)
class Rings:
    """Convex outline of trunk and both legs by height."""

    heights: np.ndarray
    """(L,) metres, falling."""
    axis: np.ndarray
    """(L,) z of the axis (0, y, axis), metres."""
    radius: np.ndarray
    """(L, n) metres from the axis in n directions, the first one +x (the subject's left), turning to +z (front)."""


def measure(body: Body) -> Figure:
    """Take the measure of `body`, once (about a second)."""
    p = body.v_template.astype(np.float64)
    share = {n: body.weights[:, JOINT[n]] for n in JOINT_NAMES}
    hands = body.weights[:, 25:].sum(1)
    arm = sum(share[f"{s}_{n}"] for s in ("left", "right") for n in ("shoulder", "elbow", "wrist")) + hands
    leg = sum(share[f"{s}_{n}"] for s in ("left", "right") for n in ("hip", "knee", "ankle", "foot"))
    foot = sum(share[f"{s}_{n}"] for s in ("left", "right") for n in ("ankle", "foot"))
    head = share["head"] + share["jaw"] + share["left_eye_smplhf"] + share["right_eye_smplhf"]
    smooth = _smoother(body.faces, len(p))
    q = p.copy()
    for _ in range(6):
        q = smooth @ q
    normal = _normals(q, body.faces)
    J = body.joints_template.astype(np.float64)
    side = np.where(p[:, 0] > 0, 1.0, -1.0)
    hip, ankle, shoulder = (J[JOINT[f"left_{n}"]] for n in ("hip", "ankle", "shoulder"))
    t = np.clip((p[:, 1] - hip[1]) / (ankle[1] - hip[1]), 0, 1)[:, None]
    leg_axis = (hip + t * (ankle - hip))[:, [0, 2]]
    out = np.zeros_like(p)
    out[:, 0] = p[:, 0] - side * leg_axis[:, 0]
    out[:, 2] = p[:, 2] - leg_axis[:, 1]
    on_arm = arm > leg
    out[on_arm] = np.stack([0 * p[:, 0], p[:, 1] - shoulder[1], p[:, 2] - shoulder[2]], 1)[on_arm]
    r = np.linalg.norm(out, axis=1)
    rings = _rings(p, (arm < 0.3) & (head < 0.3))
    eyes = share["left_eye_smplhf"] + share["right_eye_smplhf"] > 0.5
    f32 = lambda a: np.ascontiguousarray(a, np.float32)  # noqa: E731
    return Figure(
        *(f32(a) for a in (p, normal, arm, leg, foot, head, out / np.maximum(r, 1e-6)[:, None], r)),
        f32(_drop(p, normal, rings, arm, leg, head)),
        f32(_shoe_last(p, foot > 0.5)),
        eyes,
        np.flatnonzero(head > 0.9)[::5],
        rings,
    )


def _smoother(faces: np.ndarray, n: int) -> sparse.csr_matrix:
    i = faces[:, [0, 1, 2, 1, 2, 0]].ravel()
    j = faces[:, [1, 2, 0, 0, 1, 2]].ravel()
    A = sparse.csr_matrix((np.ones(len(i)), (i, j)), (n, n))
    A.data[:] = 1
    A = A + sparse.identity(n)
    return sparse.diags(1 / np.asarray(A.sum(1)).ravel()) @ A


def _normals(v: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = v[faces].transpose(1, 0, 2)
    n, out = np.cross(b - a, c - a), np.zeros_like(v)
    for k in range(3):
        np.add.at(out, faces[:, k], n)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


def _rings(p: np.ndarray, part: np.ndarray) -> Rings:
    """Support of the body in every direction at every height, turned back into the radius of the convex hull."""
    heights = np.linspace(0.12, p[:, 1].min() + 0.1, _LEVELS)
    angles = np.arange(_BINS) * 2 * np.pi / _BINS
    directions = np.stack([np.cos(angles), np.sin(angles)], 1)
    axis, radius = np.zeros(_LEVELS), np.zeros((_LEVELS, _BINS))
    turn = np.cos(angles[:, None] - angles[None])
    for i, y in enumerate(heights):
        near = p[part & (np.abs(p[:, 1] - y) < 0.025)][:, [0, 2]]
        axis[i] = (near[:, 1].min() + near[:, 1].max()) / 2
        support = ((near - [0, axis[i]]) @ directions.T).max(0)
        # The hull's edge in direction a: the nearest of the tangent lines that bound it.
        bound = np.where(turn > 0.05, support[None] / np.where(turn > 0.05, turn, 1), np.inf)
        radius[i] = bound.min(1)
    return Rings(heights.astype(np.float32), axis.astype(np.float32), radius.astype(np.float32))


def ring_radius(rings: Rings, radius: np.ndarray, p: np.ndarray) -> np.ndarray:
    """`radius` (L, n) at the places `p` (m, 3), metres."""
    step = rings.heights[0] - rings.heights[1]
    row = np.clip((rings.heights[0] - p[:, 1]) / step, 0, len(rings.heights) - 1.001)
    i = row.astype(int)
    s = row - i
    axis = np.interp(-p[:, 1], -rings.heights, rings.axis)
    a = np.arctan2(p[:, 2] - axis, p[:, 0]) / (2 * np.pi) * _BINS % _BINS
    j = a.astype(int) % _BINS
    t, k = a - np.floor(a), (j + 1) % _BINS
    low = radius[i, j] * (1 - t) + radius[i, k] * t
    high = radius[i + 1, j] * (1 - t) + radius[i + 1, k] * t
    return low * (1 - s) + high * s


def _drop(p, normal, rings: Rings, arm, leg, head) -> np.ndarray:
    """From the trunk's skin straight out to where a cloth hangs that falls from chest and shoulder blades."""
    fallen = np.maximum.accumulate(np.where(rings.heights[:, None] < 0.06, rings.radius, 0), 0)
    fallen = np.maximum(fallen, rings.radius)
    axis = np.interp(-p[:, 1], -rings.heights, rings.axis)
    out = np.stack([p[:, 0], 0 * axis, p[:, 2] - axis], 1)
    r = np.linalg.norm(out, axis=1)
    way = np.clip(ring_radius(rings, fallen, p) - r, 0, 0.12)
    part = np.clip(1.6 * (1 - arm - head) - 0.6, 0, 1) * np.clip((0.1 - p[:, 1]) / 0.1, 0, 1)
    # The inner sides of the thighs lie inside the outline: nothing hangs there.
    part = part * np.clip(1 - leg * (p[:, 1] < -0.47), 0, 1)
    return out / np.maximum(r, 1e-6)[:, None] * (way * part)[:, None]


def _shoe_last(p: np.ndarray, foot: np.ndarray) -> np.ndarray:
    """From the foot's skin to its convex hull, away from the foot's long axis: closes the gaps of the toes."""
    out = np.zeros_like(p)
    for sign in (1, -1):
        rows = np.flatnonzero(foot & (p[:, 0] * sign > 0) & (p[:, 1] < -1.2))
        x = p[rows]
        hull = ConvexHull(x).equations
        centre = np.array([x[:, 0].mean(), x[:, 1].min() + 0.03, 0])
        low, high = x[:, 2].min() + 0.04, x[:, 2].max() - 0.04
        axis = centre + np.stack([0 * x[:, 2], 0 * x[:, 2], np.clip(x[:, 2], low, high)], 1)
        d = x - axis
        along = d @ hull[:, :3].T
        limit = -(axis @ hull[:, :3].T + hull[:, 3])
        reach = np.where(along > 1e-9, limit / np.where(along > 1e-9, along, 1), np.inf).min(1)
        fade = np.clip((-1.2 - x[:, 1]) / 0.02, 0, 1)
        out[rows] = d * (np.clip(reach - 1, 0, 3) * fade)[:, None]
    return out


@kernel
def crumple(p, normal, amount, across, seed, out):
    """Push cloth in and out by folds: `out` (n, 3) += normal * amount * folds.

    `amount`: (n,) metres; `across`: (n,) 1 where the limb runs along x (arms), 0 where it runs along y.
    """
    a, b = np.float32(7.0), np.float32(22.0)
    for v in range(p.shape[0]):
        if amount[v] <= 0:
            continue
        x, y, z = p[v, 0], p[v, 1], p[v, 2]
        if across[v] > 0.5:
            x, y = y, x
        # Folds lie across the limb, aslant.
        h = noise(a * x + seed, b * y + a * (x + z) + seed, a * z)
        h += np.float32(0.6) * noise(2 * a * x - seed, np.float32(1.6) * b * y - a * x, 2 * a * z)
        for k in range(3):
            out[v, k] += normal[v, k] * amount[v] * h

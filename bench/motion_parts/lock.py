"""The rivals' foot lock: contacts by height and speed, and the leg bent (two-bone IK) so that the sole stays."""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from backend.body.kinematics import forward
from backend.body.model import Body
from bench.motion_parts.feet import Sole, speeds

NEAR_M, STILL_MS = 0.08, 0.6
"""A foot lower and slower than this is planted: of 4 to 8 cm and 0.25 to 0.6 m/s the best contacts (F1 0.26 to 0.58)
and the least slide, Savitzky-Golay over 0.4 s on six clips of seed 100. Filtered feet still tremble."""
SHORTEST_S = 0.08
"""Contacts of less are noise."""
FADE_S = 0.15
"""In which the lock comes and goes."""
LEGS = ((1, 4, 7, (0, 1)), (2, 5, 8, (2, 3)))
"""Hip, knee, ankle; parts of the sole."""
REACH = 0.999
"""Of the leg's length, at most."""


def planted(sole: Sole, soles: np.ndarray, times: np.ndarray, up: np.ndarray, floor: float) -> np.ndarray:
    """(n, 4) bool of soles (n, S, 3), camera space: heel and toes that rest."""
    heights = np.stack([(soles[:, rows] @ up + floor).min(1) for rows in sole.parts], 1)
    rest = (speeds(sole.ends(soles), times) < STILL_MS) & (heights < NEAR_M)
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    for k in range(4):
        at = np.flatnonzero(rest[:, k])
        for run in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1):
            if len(run) * step < SHORTEST_S:
                rest[run, k] = False
    return rest


def lock_feet(pose: np.ndarray, trans: np.ndarray, betas: np.ndarray, body: Body, sole: Sole, soles: np.ndarray,
              rest: np.ndarray, times: np.ndarray, up: np.ndarray, floor: float,
              ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Pose (n, 55, 3) and trans (n, 3) with the planted parts held where they are on the average of each contact, at
    the height of the floor. The ankle goes there, the knee bends, the foot keeps its turn."""
    f32 = lambda a: torch.from_numpy(np.asarray(a, np.float32))  # noqa: E731
    with torch.inference_mode():
        posed = forward(body.to(), f32(pose), f32(betas), f32(trans))
    J, G = posed.joints.numpy().astype(np.float64), posed.rotations.numpy().astype(np.float64)
    pose = np.array(pose, np.float64)
    ends = sole.ends(soles)
    low = np.stack([(soles[:, rows] @ up + floor).min(1) for rows in sole.parts], 1)
    for hip, knee, ankle, parts in LEGS:
        way = _ways(ends[:, parts], low[:, parts], rest[:, parts], times, up)
        h, k, a = J[:, hip], J[:, knee], J[:, ankle]
        k2, a2 = _bent(h, k, a, a + way, G[:, hip])
        hip_G, knee_G = _between(k - h, k2 - h) @ G[:, hip], _between(a - k, a2 - k2) @ G[:, knee]
        for joint, parent, child in (
            (hip, G[:, 0], hip_G),
            (knee, hip_G, knee_G),
            (ankle, knee_G, G[:, ankle]),
        ):
            pose[:, joint] = Rotation.from_matrix(parent.transpose(0, 2, 1) @ child).as_rotvec()
    return pose, np.array(trans, np.float64)


def _ways(ends, low, rest, times, up) -> np.ndarray:
    """(n, 3) by how much the foot is to be moved, faded in and out around each contact."""
    n = len(times)
    total, weight = np.zeros((n, 3)), np.zeros(n)
    for k in range(ends.shape[1]):
        at = np.flatnonzero(rest[:, k])
        for run in np.split(at, np.flatnonzero(np.diff(at) > 1) + 1):
            if not len(run):
                continue
            stay = ends[run, k].mean(0)
            way = stay - ends[run, k]
            way -= (way @ up)[:, None] * up + low[run, k][:, None] * up
            near = np.clip(1 - np.maximum(times[run[0]] - times, times - times[run[-1]]) / FADE_S, 0, 1)
            near = near * near * (3 - 2 * near)
            held = way[np.clip(np.arange(n) - run[0], 0, len(run) - 1)]
            # While another part stands, this one only fades.
            total += near[:, None] * held
            weight += near
    return total / np.maximum(weight, 1)[:, None]


def _bent(h, k, a, to, G) -> tuple[np.ndarray, np.ndarray]:
    """Knee and ankle (n, 3) of a leg that reaches for `to`."""
    l1, l2 = (np.linalg.norm(x, axis=1) for x in (k - h, a - k))
    way = to - h
    d = np.linalg.norm(way, axis=1)
    reach = np.clip(d, np.abs(l1 - l2) + 1e-4, REACH * (l1 + l2))
    u = way / d[:, None]
    pole = (_between(a - h, way) @ (k - h)[..., None])[..., 0]
    pole -= (pole * u).sum(1, keepdims=True) * u
    size = np.linalg.norm(pole, axis=1, keepdims=True)
    # A straight leg bends where the thigh's front is.
    front = G[:, :, 2] - (G[:, :, 2] * u).sum(1, keepdims=True) * u
    pole = np.where(size > 1e-3, pole, front)
    pole /= np.linalg.norm(pole, axis=1, keepdims=True)
    cos = np.clip((l1**2 + reach**2 - l2**2) / (2 * l1 * reach), -1, 1)
    sin = np.sqrt(1 - cos**2)
    return h + l1[:, None] * (cos[:, None] * u + sin[:, None] * pole), h + reach[:, None] * u


def _between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, 3, 3) the least turn that brings direction `a` (n, 3) to `b`."""
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    b = b / np.linalg.norm(b, axis=1, keepdims=True)
    axis, cos = np.cross(a, b), (a * b).sum(1, keepdims=True)
    sin = np.linalg.norm(axis, axis=1, keepdims=True)
    angle = np.arctan2(sin, cos)
    return Rotation.from_rotvec(axis / np.maximum(sin, 1e-12) * angle).as_matrix()

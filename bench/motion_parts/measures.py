"""What is measured of a motion against the truth. Everything is in seconds and metres inside, so that rates compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.body.model import Body
from backend.evaluate.metrics import procrustes
from backend.records import TrackMotion
from bench.motion_parts.capture import bodies
from bench.motion_parts.clips import Actor, Take
from bench.motion_parts.feet import Sole

JOINTS = 22
HIPS, KNEES, ANKLES, PELVIS, NECK = [1, 2], [4, 5], [7, 8], 0, 12
FEET = [0, 1, 2, 3]
"""Columns of `contacts` that are heels and toes."""
DEEP_M, HIGH_M = 0.02, 0.03
"""Deeper than this is in the floor; a sole that should stand on it and is higher floats."""
RUN_S = 0.13
"""Contacts that last so long drift; shorter ones have no time to (8 frames of the real clip)."""
STRAIGHT_DEG = 20.0
"""A knee that is bent less is a straight one."""
PATH_M = 2.0
"""Who has gone less far says nothing of drift."""
HEIGHTS = ("in_floor_share", "in_floor_cm", "float_share", "float_cm", "height_spread_cm")
"""What is measured only where everything happens on the floor."""
FRAME_S = 1 / 30
"""Slides are given for frames of this length."""


@dataclass(eq=False)
class World:
    """A motion in a world of its own: y up, the floor at 0."""

    rows: np.ndarray
    """(m,) frames of the clip."""
    joints: np.ndarray
    """(m, 22, 3)."""
    soles: np.ndarray
    """(m, S, 3)."""


def floor_of(motions: Sequence[TrackMotion], body: Body, sole: Sole) -> float:
    """Metres that the camera is above the floor: as the motions say, else by the lowest soles of all."""
    known = float(motions[0].floor[0])
    if np.isfinite(known):
        return known
    low = [(_soles(m, body, sole) @ m.up).min(1) for m in motions]
    return -float(np.percentile(np.concatenate(low), 5))


def _soles(m: TrackMotion, body: Body, sole: Sole) -> np.ndarray:
    rest = body.joints_template[0] + body.joints_shapedirs[0] @ m.betas[: body.n_betas]
    return bodies(body, m.pose, m.betas, m.trans + rest, sole.points)[1]


def levelled(up: np.ndarray) -> np.ndarray:
    """(3, 3) camera space -> axes with y along `up`."""
    y = up / np.linalg.norm(up)
    z = np.array([0, 0, -1.0]) - y * -y[2]
    z /= np.linalg.norm(z)
    return np.stack([np.cross(y, z), y, z])


def in_world(m: TrackMotion, body: Body, sole: Sole, floor: float) -> World:
    L, shift = levelled(m.up.astype(np.float64)), np.array([0, floor, 0])
    return World(m.frames, m.joints[:, :JOINTS] @ L.T + shift, _soles(m, body, sole) @ L.T + shift)


def true_world(actor: Actor, rows: np.ndarray) -> World:
    return World(rows, actor.joints[rows, :JOINTS], actor.soles[rows])


def judged(
    take: Take, actor: Actor, motion: TrackMotion, body: Body, sole: Sole, floor: float
) -> dict[str, float]:
    """All measures of one person, by name; NaN where the clip says nothing of it."""
    up = take.R[motion.frames].transpose(0, 2, 1)
    tilt = np.einsum("nab,b->na", up, motion.up)[:, 1]
    out = compared(in_world(motion, body, sole, floor), true_world(actor, motion.frames), actor.contacts,
                   motion.contacts[:, FEET] > 0.5, take.times, take.floor_ok, sole)  # fmt: skip
    return out | {"tilt_deg": float(np.rad2deg(np.arccos(np.clip(tilt, -1, 1))).mean()),
                  "frames_share": len(motion.frames) / len(take.times)}  # fmt: skip


def compared(a: World, b: World, contacts: np.ndarray, said: np.ndarray, times: np.ndarray, floor_ok: bool,
             sole: Sole) -> dict[str, float]:  # fmt: skip
    """`a` against the truth `b`. `contacts`: (n, 4) true ones of all frames; `said`: (m, 4) those of `a`."""
    rest, t = contacts[a.rows], times[a.rows]
    hit, wrong, missed = (said & rest).sum(), (said & ~rest).sum(), (~said & rest).sum()
    out = {"contact_f1": _ratio(2 * hit, 2 * hit + wrong + missed)}
    out |= _feet(a, rest, t, floor_ok, sole) | _poses(a, b) | _paths(a, b, t)
    return out


def _feet(a: World, rest: np.ndarray, t: np.ndarray, floor_ok: bool, sole: Sole) -> dict[str, float]:
    ends = sole.ends(a.soles)
    next_to = np.diff(a.rows) == 1
    both = rest[1:] & rest[:-1] & next_to[:, None]
    speed = np.linalg.norm(np.diff(ends, axis=0), axis=-1) / np.diff(t)[:, None]
    drifts = [
        np.linalg.norm(ends[s, k] - ends[s[0], k], axis=-1).max() for k in FEET for s in runs(rest[:, k], t)
    ]
    out = {"slide_mm": 1000 * FRAME_S * _mean(speed[both]),
           "worst_drift_cm": 100 * max(drifts) if drifts else np.nan}  # fmt: skip
    low = np.stack([a.soles[:, rows, 1].min(1) for rows in sole.parts], 1)
    if not floor_ok:
        nothing = dict.fromkeys(
            ("in_floor_share", "in_floor_cm", "float_share", "float_cm", "height_spread_cm"), np.nan
        )
        return out | nothing
    deep = np.maximum(-low.min(1), 0)
    high = np.maximum(low[rest], 0)
    return out | {"in_floor_share": _mean(deep > DEEP_M), "in_floor_cm": 100 * _mean(deep),
                  "float_share": _mean(high > HIGH_M), "float_cm": 100 * _mean(high),
                  "height_spread_cm": 100 * float(np.std(low[rest])) if rest.any() else np.nan}  # fmt: skip


def runs(marked: np.ndarray, t: np.ndarray) -> list[np.ndarray]:
    """Rows of each stretch of `marked` (n,) that lasts `RUN_S` or longer."""
    at = np.flatnonzero(marked)
    parts = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
    return [s for s in parts if len(s) > 1 and t[s[-1]] - t[s[0]] >= RUN_S]


def _poses(a: World, b: World) -> dict[str, float]:
    off = lambda x: x - x[:, HIPS].mean(1, keepdims=True)  # noqa: E731
    R, shift = rigid(a.joints[:2].reshape(-1, 3), b.joints[:2].reshape(-1, 3))
    world = a.joints @ R.T + shift
    bends = knee_bend(a.joints) - knee_bend(b.joints)
    straight = knee_bend(b.joints) < STRAIGHT_DEG
    return {"mpjpe_mm": _far(off(a.joints), off(b.joints)),
            "pa_mpjpe_mm": _far(procrustes(a.joints, b.joints), b.joints),
            "world_mpjpe_mm": _far(world, b.joints), "knee_bend_deg": _mean(bends),
            "straight_knee_bend_deg": _mean(bends[straight]),
            "trunk_lean_deg": _mean(trunk_lean(a.joints) - trunk_lean(b.joints))}  # fmt: skip


def _paths(a: World, b: World, t: np.ndarray) -> dict[str, float]:
    R, shift = rigid(a.joints[:, PELVIS], b.joints[:, PELVIS])
    off = _mean(np.linalg.norm(a.joints[:, PELVIS] @ R.T + shift - b.joints[:, PELVIS], axis=-1))
    path = float(np.linalg.norm(np.diff(b.joints[:, PELVIS][:, [0, 2]], axis=0), axis=-1).sum())
    whole = np.diff(a.rows) == 1
    three, two = whole[2:] & whole[1:-1] & whole[:-2], whole[1:] & whole[:-1]
    step = float(np.median(np.diff(t)))
    jerk = [_mean(np.linalg.norm(np.diff(w.joints, 3, axis=0)[three], axis=-1)) / step**3 for w in (a, b)]
    bent = np.linalg.norm(np.diff(_turned_onto(a, b), 2, axis=0) - np.diff(b.joints, 2, axis=0), axis=-1)
    return {"root_path_cm": 100 * off, "root_drift_m_10m": 10 * off / path if path > PATH_M else np.nan,
            "jerk_ms3": jerk[0], "jerk_ratio": _ratio(jerk[0], jerk[1]),
            "acceleration_ms2": _mean(bent[two]) / step**2}  # fmt: skip


def _turned_onto(a: World, b: World) -> np.ndarray:
    """The joints of `a` in the axes of `b`: two worlds have no way round in common."""
    R, shift = rigid(a.joints.reshape(-1, 3), b.joints.reshape(-1, 3))
    return a.joints @ R.T + shift


def rigid(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (3, 3) and shift (3,) that lay `a` (k, 3) best onto `b`."""
    a0, b0 = a.mean(0), b.mean(0)
    U, _, Vt = np.linalg.svd((b - b0).T @ (a - a0))
    R = U @ np.diag([1, 1, np.sign(np.linalg.det(U @ Vt))]) @ Vt
    return R, b0 - R @ a0


def knee_bend(joints: np.ndarray) -> np.ndarray:
    """(n, 2) degrees of the left and right knee, 0 for a straight leg."""
    thigh, shin = joints[:, KNEES] - joints[:, HIPS], joints[:, ANKLES] - joints[:, KNEES]
    cos = (thigh * shin).sum(-1) / (np.linalg.norm(thigh, axis=-1) * np.linalg.norm(shin, axis=-1))
    return np.rad2deg(np.arccos(np.clip(cos, -1, 1)))


def trunk_lean(joints: np.ndarray) -> np.ndarray:
    """(n,) degrees that the trunk leans forwards, in a world with y up."""
    left = joints[:, HIPS[0]] - joints[:, HIPS[1]]
    ahead = np.cross(left, [0, 1.0, 0])
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-9)
    trunk = joints[:, NECK] - joints[:, PELVIS]
    return np.rad2deg(np.arctan2((trunk * ahead).sum(1), trunk[:, 1]))


def _far(a: np.ndarray, b: np.ndarray) -> float:
    return 1000 * _mean(np.linalg.norm(a - b, axis=-1))


def _mean(x: np.ndarray) -> float:
    return float(np.mean(x)) if np.size(x) else float("nan")


def _ratio(a: float, b: float) -> float:
    return float(a / b) if b else float("nan")

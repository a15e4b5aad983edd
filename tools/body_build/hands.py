"""Hands at rest and a small space of plausible grips, in the layout of SMPL-X's hand arrays.

No hand scans are behind these numbers: they come from joint ranges of adult hands (flexion of knuckle, middle and
end joint at rest about 30, 35 and 20 degrees; middle and end joint bend together at 3 : 2; neighbours
bend together) and from the bone directions of the open body. SMPL-X's own are learnt from scans.
"""

from __future__ import annotations

import numpy as np

from backend.body.skeleton import FINGERS, JOINT

_REST = {"index": (22, 28, 16), "middle": (30, 34, 20), "pinky": (34, 36, 20), "ring": (34, 36, 20)}
"""Flexion at rest in degrees: knuckle, middle joint, end joint. Curl grows towards the little finger."""
_THUMB_REST = (10, 8, 12)
_SAMPLES = 20_000


def flexion_axes(J: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left hand, joints `J` (55, 3) in the T-pose: unit axes (15, 3) about which each finger joint bends towards
    the palm, and (15, 3) about which it spreads (towards the thumb's side)."""
    down = np.array([0, -1.0, 0])
    bend, spread = np.zeros((15, 3)), np.zeros((15, 3))
    for f, finger in enumerate(FINGERS):
        j = [JOINT[f"left_{finger}{k}"] for k in (1, 2, 3)]
        for k in range(3):
            d = J[j[min(k + 1, 2)]] - J[j[min(k, 1)]]
            # The thumb closes across the palm, towards the root of the little finger.
            across = J[JOINT["left_pinky1"]] + 0.03 * down - J[j[2]]
            to_palm = across / np.linalg.norm(across) if finger == "thumb" else down
            bend[3 * f + k] = _unit(np.cross(d, to_palm))
            spread[3 * f + k] = _unit(np.cross(d, np.cross(to_palm, d)) if finger == "thumb" else -down)
    # Spreading: a turn about the axis that points up moves a finger of the left hand towards -z; forward is minus.
    return bend, -spread


def hand_arrays(J: np.ndarray, seed: int = 7) -> dict[str, np.ndarray]:
    """hands_mean*, hands_components* (45, 45, orthonormal rows, most varied first) and hands_coeffs* (20 samples);
    the right hand mirrors the left."""
    bend, spread = flexion_axes(J)
    angles, sideways = _grips(np.random.default_rng(seed))
    poses = (angles[..., None] * bend + sideways[..., None] * spread).reshape(len(angles), 45)
    mean = np.deg2rad([*[_REST[f] for f in FINGERS[:4]], _THUMB_REST]).reshape(15, 1) * bend
    mean = mean.reshape(45)
    _, _, components = np.linalg.svd(poses - poses.mean(0), full_matrices=True)
    coefficients = (poses[:20] - mean) @ components.T
    mirror = np.tile([1.0, -1, -1], 15)
    out = {}
    for side, sign in (("l", np.ones(45)), ("r", mirror)):
        out[f"hands_mean{side}"] = (mean * sign).astype(np.float32)
        out[f"hands_components{side}"] = (components * sign).astype(np.float32)
        out[f"hands_coeffs{side}"] = coefficients.astype(np.float32)
    return out


def _grips(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Angles (N, 15) of flexion and (N, 15) of spread, radians, of random grips."""
    n = _SAMPLES
    whole = rng.beta(1.5, 2.0, (n, 1))
    curl = np.clip(whole + rng.normal(0, 0.18, (n, 4)), -0.05, 1)
    # Ring and little finger share a muscle: what one does the other half does.
    curl[:, 2:] = 0.7 * curl[:, 2:] + 0.3 * curl[:, 2:].mean(1, keepdims=True)
    knuckle = np.clip(curl + rng.normal(0, 0.1, (n, 4)), -0.15, 1) * 85
    middle = np.clip(curl + rng.normal(0, 0.08, (n, 4)), 0, 1) * 105
    thumb = np.clip(0.6 * whole + rng.normal(0.1, 0.2, (n, 3)), -0.2, 1) * [30, 45, 70]
    bend = np.stack([knuckle, middle, middle * 0.65], 2).reshape(n, 12)
    sideways = np.zeros((n, 15))
    fan = rng.normal(0, 7, (n, 1)) * (1 - whole)
    sideways[:, [0, 3, 6, 9]] = fan * [1, 0.2, -1.2, -0.4] + rng.normal(0, 2, (n, 4))
    sideways[:, 12] = rng.normal(0, 12, n)
    return np.deg2rad(np.concatenate([bend, thumb], 1)), np.deg2rad(sideways)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)

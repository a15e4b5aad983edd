"""Turn a body from MakeHuman's A-pose into the T-pose of the layout: arms to ±x, palms down, legs down."""

from __future__ import annotations

import numpy as np

from backend.body.skeleton import JOINT, N_JOINTS, PARENTS

_THIGH = np.array([0.08, -1, -0.02])
_SHIN = np.array([0.035, -1, -0.05])
"""Directions of the left leg: feet a little wider than the hips, as people stand in a T-pose."""
_FINGER_CURL_LEFT = 0.25
"""Share of the fingers' downward curl that stays: a flat hand that is not hyperextended."""


def rotations(J: np.ndarray) -> np.ndarray:
    """(55, 3, 3) world rotations that straighten a body with joints `J` (55, 3), metres, y up, z front."""
    G = np.tile(np.eye(3), (N_JOINTS, 1, 1))
    for side, x in (("left", 1.0), ("right", -1.0)):
        at = lambda name, side=side: JOINT[f"{side}_{name}"]  # noqa: E731
        out = np.array([x, 0, 0])
        G[at("hip")] = _turn(J[at("knee")] - J[at("hip")], _THIGH * [x, 1, 1])
        G[at("knee")] = _turn(J[at("ankle")] - J[at("knee")], _SHIN * [x, 1, 1])
        G[at("shoulder")] = _turn(J[at("elbow")] - J[at("shoulder")], out)
        lower = _turn(J[at("wrist")] - J[at("elbow")], out)
        reach = J[at("middle1")] - J[at("wrist")]
        hand = _turn(reach, out)
        back = hand @ np.cross(reach, J[at("index1")] - J[at("pinky1")]) * -x
        roll = -np.arctan2(back[2], back[1])
        # The hand's roll to palms down: all of it at the wrist, half of it already in the forearm.
        G[at("elbow")] = _about_x(roll / 2) @ lower
        G[at("wrist")] = _about_x(roll) @ hand
        for finger in ("index", "middle", "ring", "pinky"):
            for k in (1, 2, 3):
                j = at(f"{finger}{k}")
                a = j if k < 3 else j - 1
                d = G[at("wrist")] @ (J[a + 1] - J[a])
                G[j] = _turn(d, d * [1, _FINGER_CURL_LEFT, 1]) @ G[at("wrist")]
        for k in (1, 2, 3):
            G[at(f"thumb{k}")] = G[at("wrist")]
    return G


def apply(v: np.ndarray, J: np.ndarray, weights: np.ndarray, G: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Skin `v` (V, 3) and `J` (55, 3) by world rotations `G`; `weights` (V, 55). -> same shapes."""
    Jn = J.copy()
    for j in range(1, N_JOINTS):
        p = PARENTS[j]
        Jn[j] = Jn[p] + G[p] @ (J[j] - J[p])
    shift = Jn - np.einsum("jab,jb->ja", G, J)
    M = (weights @ np.concatenate([G.reshape(N_JOINTS, 9), shift], 1)).reshape(-1, 12)
    return np.einsum("vab,vb->va", M[:, :9].reshape(-1, 3, 3), v) + M[:, 9:], Jn


def _turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Smallest rotation that takes direction a to direction b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    v, c = np.cross(a, b), a @ b
    K = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + K + K @ K / (1 + c)


def _about_x(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])

"""Pose correctives: what plain skinning lacks at bent joints, learnt from a better skinning as teacher.

Teacher: MakeHuman's sculpted A-pose, skinned straight into the wanted pose with twist spread along the limbs
(as twist bones do), then delta mush. Each joint is bent alone, many times; what the teacher does beyond plain
skinning of the T-pose is brought back to the rest pose and fitted linearly in the elements of (R - I), as the
layout's `posedirs` want it. Joints of the left side are fitted, the right side mirrors them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from backend.body.skeleton import JOINT, N_JOINTS, PARENTS, mirror_joints
from tools.body_build import tpose
from tools.body_build.mush import Mush

_RANGES = {
    # Degrees about x, y, z of the T-pose that each joint is bent through (its own range, a little generous).
    "spine1": ((-25, 45), (-30, 30), (-25, 25)),
    "spine2": ((-25, 45), (-30, 30), (-25, 25)),
    "spine3": ((-25, 40), (-35, 35), (-25, 25)),
    "neck": ((-35, 40), (-45, 45), (-30, 30)),
    "head": ((-35, 35), (-40, 40), (-30, 30)),
    "left_collar": ((-12, 12), (-25, 25), (-15, 40)),
    "left_shoulder": ((-60, 60), (-105, 40), (-90, 100)),
    "left_elbow": ((-60, 60), (-145, 5), (-12, 12)),
    "left_wrist": ((-75, 75), (-35, 35), (-75, 75)),
    "left_hip": ((-120, 35), (-40, 40), (-30, 55)),
    "left_knee": ((0, 145), (-12, 12), (-8, 8)),
    "left_ankle": ((-30, 45), (-20, 20), (-20, 20)),
    "left_foot": ((-45, 30), (-8, 8), (-8, 8)),
}
_LIMBS = {"left_shoulder": "left_elbow", "left_elbow": "left_wrist", "left_hip": "left_knee"}
"""Joints whose own twist grows along the limb that they carry."""
_TWISTED_PARENT = {"left_wrist": "left_elbow"}
"""Joints whose twist starts in the limb before them."""
_STEPS = 14
_SAMPLES, _TESTS = 60, 15
_RIDGE = 0.002
_LEAST = 0.3e-3
"""Metres: vertices that a joint's correctives move less than this (root mean square) are left out."""
GRAIN = 2.0**-14
"""Metres (0.06 mm): the correctives are rounded to multiples of this; they are shipped as float16."""


@dataclass
class Sculpt:
    """The body that correctives are learnt on, symmetric, in the A-pose."""

    v: np.ndarray
    """(V, 3) vertices, metres."""
    J: np.ndarray
    """(55, 3) joints, metres."""
    faces: np.ndarray
    """(F, 3) triangles."""
    weights: np.ndarray
    """(V, 55) skinning weights."""
    mirror: np.ndarray
    """(V,) vertex on the other side."""


class Teacher:
    """Poses the sculpt with one joint bent, by plain skinning and by the better one."""

    def __init__(self, sculpt: Sculpt) -> None:
        self.weights = sculpt.weights
        self.G = tpose.rotations(sculpt.J)
        self.rest, self.J = tpose.apply(sculpt.v, sculpt.J, sculpt.weights, self.G)
        shift = self.J - np.einsum("jab,jb->ja", self.G, sculpt.J)
        # Where each joint alone would carry each vertex of the A-pose.
        self.carried = np.einsum("jab,vb->jva", self.G, sculpt.v) + shift[:, None]
        self.mush = Mush(sculpt.faces, sculpt.v, _STEPS)

    def offsets(self, name: str, R: np.ndarray) -> np.ndarray:
        """What the teacher adds to plain skinning when joint `name` turns by `R`: (V, 3) in the rest pose."""
        j = JOINT[name]
        moved = _descendants(j)
        w, J = self.weights, self.J
        turned = np.zeros_like(self.rest)
        blend = np.zeros((len(w), 3, 3))
        for k in np.flatnonzero(w.any(0)):
            rows = np.flatnonzero(w[:, k])
            turn, pivot = self._turn(name, k, rows, R, moved)
            x = np.einsum("vab,vb->va", turn, self.carried[k, rows] - pivot) + pivot
            turned[rows] += w[rows, k, None] * x
            blend[rows] += w[rows, k, None, None] * (turn @ self.G[k])
        target = self.mush.apply(turned, blend)
        share = w[:, moved].sum(1)
        M = (1 - share)[:, None, None] * np.eye(3) + share[:, None, None] * R
        plain_shift = share[:, None] * (J[j] - R @ J[j])
        return np.linalg.solve(M, (target - plain_shift)[..., None])[..., 0] - self.rest

    def _turn(self, name, k, rows, R, moved) -> tuple[np.ndarray, np.ndarray]:
        """Rotation (rows, 3, 3) of the vertices `rows` as far as joint k carries them, and its pivot."""
        j, n = JOINT[name], len(rows)
        if name in _LIMBS and k == j:
            swing, twist = _split(R, self.J[JOINT[_LIMBS[name]]] - self.J[j])
            return swing @ self._part(twist, j, JOINT[_LIMBS[name]], rows), self.J[j]
        if k in moved:
            return np.tile(R, (n, 1, 1)), self.J[j]
        if name in _TWISTED_PARENT and k == JOINT[_TWISTED_PARENT[name]]:
            _, twist = _split(R, self.J[j] - self.J[k])
            return self._part(twist, k, j, rows), self.J[j]
        return np.tile(np.eye(3), (n, 1, 1)), self.J[j]

    def _part(self, twist: np.ndarray, a: int, b: int, rows: np.ndarray) -> np.ndarray:
        """The share of a twist (rotation vector) that each vertex takes between joint a (none) and b (all)."""
        bone = self.J[b] - self.J[a]
        t = np.clip((self.rest[rows] - self.J[a]) @ bone / (bone @ bone), 0, 1)
        return Rotation.from_rotvec(t[:, None] * twist).as_matrix()


def learn(sculpt: Sculpt, seed: int = 5) -> tuple[np.ndarray, dict]:
    """posedirs (V, 3, 486) float32 in multiples of `GRAIN`, and for each joint the mean distance in mm between
    teacher and skinning on poses not learnt from, without and with correctives (over the vertices concerned)."""
    teacher, rng = Teacher(sculpt), np.random.default_rng(seed)
    out = np.zeros((len(sculpt.v), 3, 54, 9))
    report = {}
    swap, flip = mirror_joints(), np.array([-1.0, 1, 1])
    # (R - I) of a mirrored rotation is S (R - I) S.
    signs = np.outer(flip, flip).reshape(9)
    still = teacher.offsets("left_shoulder", np.eye(3))
    near_shoulder = np.linalg.norm(teacher.rest - teacher.J[JOINT["left_shoulder"]], axis=1)
    own = np.clip(1.5 - near_shoulder / 0.2, 0, 1)[:, None]
    for name, ranges in _RANGES.items():
        low, high = np.deg2rad(np.array(ranges, float)).T
        R = Rotation.from_rotvec(rng.uniform(low, high, (_SAMPLES + _TESTS, 3))).as_matrix()
        features = (R - np.eye(3)).reshape(-1, 9)
        # The T-pose itself was made by plain skinning. The arms turned 45 degrees for it, so the shoulder's
        # correctives also make good what is missing there; nobody else may.
        base = still * (1 - own) if name == "left_shoulder" else still
        targets = np.array([teacher.offsets(name, r) - base for r in R]).reshape(len(R), -1)
        X, Y = features[:_SAMPLES], targets[:_SAMPLES]
        P = np.linalg.solve(X.T @ X + _RIDGE * _SAMPLES * np.eye(9), X.T @ Y)
        fitted = (features @ P).reshape(len(R), -1, 3)
        used = np.sqrt((fitted**2).sum(2).mean(0)) > _LEAST
        P = np.round(P.reshape(9, -1, 3) * used[:, None] / GRAIN) * GRAIN
        j = JOINT[name]
        other = P[:, sculpt.mirror] * flip * signs[:, None, None]
        if swap[j] == j:
            P = np.round((P + other) / 2 / GRAIN) * GRAIN
        else:
            out[:, :, swap[j] - 1] = other.transpose(1, 2, 0)
        out[:, :, j - 1] = P.transpose(1, 2, 0)
        left = targets[_SAMPLES:].reshape(_TESTS, -1, 3)[:, used]
        after = left - np.einsum("nf,fvc->nvc", features[_SAMPLES:], P[:, used])
        size = lambda a: round(float(np.linalg.norm(a, axis=2).mean() * 1e3), 2)  # noqa: E731
        report[name] = {"vertices": int(used.sum()), "without": size(left), "with": size(after)}
    return out.reshape(len(sculpt.v), 3, 486).astype(np.float32), report


def _split(R: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R = swing @ twist about `axis`: swing (3, 3) and twist as a rotation vector (3,)."""
    axis = axis / np.linalg.norm(axis)
    q = Rotation.from_matrix(R).as_quat()
    twist = 2 * np.arctan2(q[:3] @ axis, q[3])
    twist = (twist + np.pi) % (2 * np.pi) - np.pi
    return R @ Rotation.from_rotvec(-twist * axis).as_matrix(), twist * axis


def _descendants(j: int) -> list[int]:
    out = [j]
    for k in range(j + 1, N_JOINTS):
        if PARENTS[k] in out:
            out.append(k)
    return out

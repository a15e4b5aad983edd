"""Made-up people of known pose with the errors of localizers, for `bench.fit`.

Poses are drawn joint by joint (degrees, about anatomical axes), the heading freely; clips run smoothly through such
poses, one every half second at 30 frames/s. Every scenario is a function of its seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from backend.body.kinematics import forward
from backend.body.model import Body
from backend.body.skeleton import JOINT
from backend.errors import JobError

NAMES = ("clean", "iid10", "iid30", "hands", "outlier20", "outlier20_unweighted", "corr", "limb_off", "clip_corr",
         "clip_iid30")  # fmt: skip
CLIP_FRAMES = 60
# joint: mean, spread, lower, upper of each axis, degrees; left side, the right is its mirror image (x kept).
_LEFT = {
    "hip": ((-20, 0, 3), (32, 14, 12), (-115, -45, -35), (30, 45, 40)),
    "knee": ((28, 0, 0), (30, 4, 4), (0, -10, -8), (140, 10, 8)),
    "ankle": ((0, 0, 0), (14, 8, 8), (-40, -25, -25), (40, 25, 25)),
    "collar": ((0, 0, -4), (5, 8, 8), (-20, -25, -25), (20, 25, 25)),
    "shoulder": ((0, -10, -50), (22, 28, 28), (-90, -100, -105), (90, 90, 90)),
    "elbow": ((0, -45, 0), (8, 32, 8), (-40, -140, -20), (40, 0, 20)),
    "wrist": ((0, 0, 0), (14, 14, 14), (-60, -40, -60), (60, 40, 60)),
}
_MIDDLE = {
    "spine1": ((2, 0, 0), (10, 6, 6)), "spine2": ((0, 0, 0), (7, 6, 5)), "spine3": ((0, 0, 0), (6, 6, 5)),
    "neck": ((0, 0, 0), (12, 13, 8)), "head": ((0, 0, 0), (10, 13, 8)), "jaw": ((4, 0, 0), (4, 1, 1)),
}  # fmt: skip
_LIMBS = (
    ("left_shoulder", "left_elbow", "left_wrist", "left_"), ("right_shoulder", "right_elbow", "right_wrist", "right_"),
    ("left_knee", "left_ankle", "left_foot"), ("right_knee", "right_ankle", "right_foot"),
)  # fmt: skip


@dataclass
class Scenario:
    """Truth and targets of n frames, metres and radians."""

    name: str
    """One of `NAMES`, or the file's."""
    clip: bool
    """Whether the frames are one person through time."""
    pose: np.ndarray
    """(n, 165) rotation vectors."""
    betas: np.ndarray
    """(n, 10) shape."""
    trans: np.ndarray
    """(n, 3) place of the body."""
    vertices: np.ndarray
    """(n, V, 3) true places."""
    joints: np.ndarray
    """(n, 55, 3) true places."""
    target_vertices: np.ndarray
    """(n, V, 3) that the fitter is given."""
    target_joints: np.ndarray
    """(n, 55, 3) that the fitter is given."""
    vertex_sigma: np.ndarray | None = None
    """(n, V), or None where the fitter is given none."""
    joint_sigma: np.ndarray | None = None
    """(n, 55), or None where the fitter is given none."""


def read_scenario(path: Path) -> Scenario:
    """A scenario from a file (see `bench.fit`). JobError("bad_points") when it is none."""
    try:
        with np.load(path) as f:
            a = {k: f[k] for k in f.files}
        vw, jw = a.get("vw"), a.get("jw")
        sigma = (None, None)
        if vw is not None and jw is not None:
            # Weights have no unit: the middle one stands for a centimetre.
            unit = 0.01 * np.sqrt(np.median(vw, 1, keepdims=True))
            sigma = unit * vw**-0.5, unit * jw**-0.5
        clip = path.stem.startswith("clip")
        return Scenario(path.stem, clip, a["pose"].reshape(len(a["pose"]), 165), a["betas"], a["trans"], a["verts"],
                        a["joints"], a["tv"], a["tj"], *sigma)  # fmt: skip
    except (OSError, KeyError, ValueError) as e:
        raise JobError("bad_points", f"{path} is not a scenario: {e}.") from e


def make_scenario(body: Body, name: str, n: int, seed: int) -> Scenario:
    """The scenario `name` on `body`: n frames, or a clip of CLIP_FRAMES."""
    rng = np.random.default_rng([seed, NAMES.index(name)])
    clip = name.startswith("clip")
    n = CLIP_FRAMES if clip else n
    pose = clip_poses(n, rng) if clip else random_poses(n, rng)
    betas = rng.normal(size=(1 if clip else n, body.n_betas)).astype(np.float32)
    betas = np.repeat(betas, n // len(betas), 0)
    trans = rng.normal(size=(n, 3)) * [0.5, 0.2, 0.5] + [0, 0, 3.5]
    if clip:
        # A walk whose pace changes by some centimetres a second.
        trans = trans[:1] + np.cumsum(np.cumsum(rng.normal(size=(n, 3)), 0) * 0.002, 0)
    vertices, joints = _pose(body, pose, betas, trans)
    noise_v, noise_j, sigma_v, sigma_j = _noise(body, name, vertices, joints, rng)
    told = name in ("outlier20", "limb_off")
    if told:
        sigma_v, sigma_j = (s * np.exp(0.3 * rng.normal(size=s.shape)) for s in (sigma_v, sigma_j))
    f32 = [np.ascontiguousarray(a, np.float32) for a in (pose.reshape(n, 165), betas, trans, vertices, joints,
                                                        vertices + noise_v, joints + noise_j)]  # fmt: skip
    sigma = (sigma_v.astype(np.float32), sigma_j.astype(np.float32)) if told else (None, None)
    return Scenario(name, clip, *f32, *sigma)


def random_poses(n: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 55, 3) rotation vectors."""
    mean, spread, low, high = _table()
    pose = np.deg2rad(np.clip(mean + spread * rng.normal(size=(n, 55, 3)), low, high))
    heading = Rotation.from_rotvec(rng.uniform(-np.pi, np.pi, (n, 1)) * [0, 1, 0])
    lean = Rotation.from_rotvec(np.deg2rad(12) * rng.normal(size=(n, 3)) * [1, 0, 1])
    pose[:, 0] = (lean * heading).as_rotvec()
    return pose


def clip_poses(n: int, rng: np.random.Generator, step: int = 15) -> np.ndarray:
    """(n, 55, 3) of a motion through poses every `step` frames that lie about one of them."""
    mean, _, low, high = _table()
    keys = n // step + 3
    base = random_poses(1, rng)
    around = base + 0.55 * (random_poses(keys, rng) - np.deg2rad(mean))
    around[:, 0] = base[:, 0] + np.cumsum(np.deg2rad(9) * rng.normal(size=(keys, 3)), 0)
    pose = CubicSpline(np.arange(keys), around)(np.arange(n) / step)
    inside = np.clip(pose, np.deg2rad(low), np.deg2rad(high))
    inside[:, 0] = pose[:, 0]
    return inside


def _table() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    mean, spread = np.zeros((55, 3)), np.zeros((55, 3))
    low, high = np.full((55, 3), -50.0), np.full((55, 3), 50.0)
    flip = np.array([1, -1, -1])
    for name, (m, s) in _MIDDLE.items():
        mean[JOINT[name]], spread[JOINT[name]] = m, s
    for name, (m, s, lo, hi) in _LEFT.items():
        a, b = JOINT[f"left_{name}"], JOINT[f"right_{name}"]
        mean[a], spread[a], low[a], high[a] = m, s, lo, hi
        ends = np.stack([low[a] * flip, high[a] * flip])
        mean[b], spread[b], low[b], high[b] = mean[a] * flip, s, ends.min(0), ends.max(0)
    for side, sign in (("left", 1), ("right", -1)):
        for finger in ("index", "middle", "ring", "pinky", "thumb"):
            for k in (1, 2, 3):
                j = JOINT[f"{side}_{finger}{k}"]
                thumb = finger == "thumb"
                mean[j] = np.array([0, 9, 0] if thumb else [0, 0, -22]) * sign
                spread[j] = (8, 12, 8) if thumb else (3, 5 if k == 1 else 2, 20)
                if not thumb:
                    ends = np.array([-90 * sign, 12 * sign])
                    low[j, 2], high[j, 2] = ends.min(), ends.max()
    return mean, spread, low, high


def _pose(
    body: Body, pose: np.ndarray, betas: np.ndarray, trans: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    tensors, v, j = body.to("cpu"), [], []
    for i in range(0, len(pose), 32):
        args = (torch.as_tensor(np.asarray(a[i : i + 32], np.float32)) for a in (pose, betas, trans))
        out = forward(tensors, *args, vertices=True)
        v.append(out.vertices.double().numpy())
        j.append(out.joints.double().numpy())
    return np.concatenate(v), np.concatenate(j)


def _noise(body: Body, name: str, V: np.ndarray, J: np.ndarray, rng: np.random.Generator):
    """Errors of vertices and joints, and their honest sigmas per axis (n, V), (n, 55)."""
    n, W = len(V), body.weights.astype(np.float64)
    level = {"clean": 0.0, "iid30": 0.03, "clip_iid30": 0.03, "corr": 0.005, "clip_corr": 0.005}.get(
        name, 0.01
    )
    e_v, e_j = level * rng.normal(size=V.shape), level * rng.normal(size=J.shape)
    s_v, s_j = np.full(V.shape[:2], max(level, 1e-3)), np.full(J.shape[:2], max(level, 1e-3))
    if name.endswith("corr"):
        # Every joint's points are off together by 2 cm, and all of the body by a field that waves over half a metre.
        shift = 0.02 * rng.normal(size=(n, 55, 3))
        waves, phase = rng.normal(size=(n, 6, 3)) / 0.5, rng.uniform(0, 2 * np.pi, (n, 6))
        size = 0.01 * rng.normal(size=(n, 6, 3)) / np.sqrt(3)
        for e, x, carried in ((e_v, V, W @ shift), (e_j, J, shift)):
            about = x - x.mean(1, keepdims=True)
            e += carried + np.cos(about @ waves.swapaxes(1, 2) + phase[:, None]) @ size
        s_v[:], s_j[:] = 0.023, 0.023
    if name.startswith("outlier20"):
        for e, s in ((e_v, s_v), (e_j, s_j)):
            gross = rng.random(s.shape) < 0.2
            e[gross] += 0.15 * rng.normal(size=(int(gross.sum()), 3))
            s[gross] = 0.15
    if name == "limb_off":
        for b in range(n):
            joints = _limb(_LIMBS[rng.integers(len(_LIMBS))])
            shift, share = np.zeros((55, 3)), np.zeros(55)
            shift[joints] = 0.12 * rng.normal(size=3) + 0.06 * rng.normal(size=(len(joints), 3))
            share[joints] = 1
            e_v[b] += W @ shift
            e_j[b] += shift
            s_v[b] += 0.15 * (W @ share)
            s_j[b] += 0.15 * share
    return e_v, e_j, s_v, s_j


def _limb(names: tuple[str, ...]) -> list[int]:
    """Rows of a limb; a name that ends in an underline stands for that side's fingers."""
    out = []
    for name in names:
        fingers = [j for n, j in JOINT.items() if n.startswith(name) and j >= 25]
        out += fingers if name.endswith("_") else [JOINT[name]]
    return out

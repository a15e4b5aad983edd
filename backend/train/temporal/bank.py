"""Motion capture on our body: where landmarks and joints are in every frame, how they are turned, what rests.

Clips of `cmu_30fps.npz` (its README says what is in it), each put on a body of its own shape, and once more mirrored.
World axes: y up, metres.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from backend.body.kinematics import forward, rodrigues
from backend.body.landmarks import body_landmarks
from backend.body.load import load_body
from backend.body.skeleton import JOINT, N_JOINTS, mirror_joints
from backend.errors import JobError
from backend.motion.temporal.model import PARENTS
from backend.synth.motion import least_bend, performer, straightened
from backend.synth.split import split_of

JOINTS = 22
FPS = 30.0
_LOW_M, _SLOW = 0.13, 0.3
"""A hand or a knee that is nearer to the floor and slower (m/s) rests on it."""
_ROWS = 512


@dataclass(frozen=True, eq=False)
class Bank:
    """N frames of c clips, one after the other."""

    landmarks: np.ndarray
    """(N, 33, 3) float16 metres about the pelvis."""
    turned: np.ndarray
    """(N, 22, 3, 3) float16 rotations from the rest axes to the world."""
    pelvis: np.ndarray
    """(N, 3) float32 metres."""
    contacts: np.ndarray
    """(N, 8) bool, columns as `CONTACTS` of motions."""
    lifted: np.ndarray
    """(N,) bool, whether the columns of hands and knees are known."""
    bad: np.ndarray
    """(N,) bool, frames that jump."""
    bones: np.ndarray
    """(c, 22, 3) float32 from the parent joint to the joint in the rest pose."""
    starts: np.ndarray
    """(c + 1,) first frame of each clip."""
    chance: np.ndarray
    """(c,) how often each clip is drawn."""


def load_bank(file: Path, split: str, seed: int = 0, mirror: bool = True) -> Bank:
    """The clips of `split`, "train" or "held-out". Raises JobError("bad_motion") for a file that is not that."""
    rng = np.random.default_rng((seed, 5))
    try:
        with np.load(file) as arrays:
            kept = {k: arrays[k] for k in ("poses", "trans", "offsets", "names", "source", "leg", "floor", "floor_ok",
                                           "contacts", "bad")}  # fmt: skip
    except (OSError, ValueError, KeyError) as e:
        raise JobError("bad_motion", f"{file} cannot be used as motion: give cmu_30fps.npz.") from e
    body = load_body()
    tensors, points = body.to(), body_landmarks(body)[0].to()
    parts, bones, chance = [], [], []
    straight = _straight(kept)
    for c, (name, source) in enumerate(zip(kept["names"], kept["source"], strict=True)):
        rows = slice(*kept["offsets"][c : c + 2])
        if split_of(str(name), str(source)) != split or rows.stop - rows.start < 24:
            continue
        for flip in (False, True) if mirror else (False,):
            betas = torch.from_numpy(np.clip(rng.normal(0, 1.0, body.n_betas), -2, 2).astype(np.float32))
            pose, shorter = straight[c]
            trans = kept["trans"][rows] - np.float32([0, kept["floor"][c] - 0.02, 0])
            touch = kept["contacts"][rows]
            if flip:
                pose = pose[:, mirror_joints()[:JOINTS]] * np.float32([1, -1, -1])
                trans, touch = trans * np.float32([-1, 1, 1]), touch[:, [2, 3, 0, 1]]
            parts.append(_on_body(tensors, points, betas, pose, trans, touch, shorter * float(kept["leg"][c]),
                                  bool(kept["floor_ok"][c])) | {"bad": kept["bad"][rows]})  # fmt: skip
            bones.append(parts[-1].pop("bones"))
            # Salsa alone is a quarter of all frames: what is long is drawn more often, but not in proportion.
            chance.append(np.sqrt(len(pose)))
    if not parts:
        raise JobError("bad_motion", f"{file} has no clip for '{split}'.")
    joined = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    starts = np.cumsum([0, *(len(p["pelvis"]) for p in parts)])
    weight = np.array(chance)
    return Bank(bones=np.stack(bones), starts=starts, chance=weight / weight.sum(), **joined)


def _straight(kept: dict[str, np.ndarray]) -> list[tuple[np.ndarray, float]]:
    """Of each clip its poses (n, 22, 3) with legs that get straight, and the share of the recorded leg that there is:
    see `straightened`."""
    who = [(str(s), performer(str(n))) for n, s in zip(kept["names"], kept["source"], strict=True)]
    poses = [kept["poses"][slice(*kept["offsets"][c : c + 2])].astype(np.float32).reshape(-1, JOINTS, 3)
             for c in range(len(who))]  # fmt: skip
    out: list[tuple[np.ndarray, float]] = [(p, 1.0) for p in poses]
    for one in set(who):
        clips = [c for c, w in enumerate(who) if w == one]
        together = np.concatenate([poses[c] for c in clips]).astype(np.float64)
        ends = np.cumsum([len(poses[c]) for c in clips])[:-1]
        shorter = float(np.cos(least_bend(together) / 2))
        for c, part in zip(clips, np.split(straightened(together), ends), strict=True):
            out[c] = part.astype(np.float32), shorter
    return out


@torch.no_grad()
def _on_body(tensors, points, betas, pose, trans, touch, leg, floor_ok) -> dict[str, np.ndarray]:
    n = len(pose)
    rest = (tensors.joints_template + tensors.joints_shapedirs[..., : len(betas)] @ betas)[:JOINTS]
    bone = (rest - rest[PARENTS]).numpy()
    own = np.linalg.norm(bone[JOINT["left_knee"]]) + np.linalg.norm(bone[JOINT["left_ankle"]])
    pelvis = torch.from_numpy(trans * np.float32(own / leg))
    R = torch.eye(3).expand(n, N_JOINTS, 3, 3).clone()
    R[:, :JOINTS] = rodrigues(torch.from_numpy(pose))
    places, turned, joints = [], [], []
    for i in range(0, n, _ROWS):
        out = forward(tensors, R[i : i + _ROWS], betas, torch.zeros(len(R[i : i + _ROWS]), 3), points=points)
        middle = out.joints[:, :1]
        places.append(out.points - middle)
        joints.append(out.joints[:, :JOINTS] - middle)
        turned.append(out.rotations[:, :JOINTS])
    joints = torch.cat(joints) + pelvis[:, None]
    return {
        "landmarks": torch.cat(places).half().numpy(),
        "turned": torch.cat(turned).half().numpy(),
        "pelvis": pelvis.numpy(),
        "contacts": np.concatenate([touch, _resting(joints.numpy())], 1),
        "lifted": np.full(n, floor_ok),
        "bones": bone.astype(np.float32),
    }


def _resting(joints: np.ndarray) -> np.ndarray:
    """(n, 22, 3) world -> (n, 4) bool: hands and knees that rest on a floor at height 0."""
    rows = [JOINT[j] for j in ("left_wrist", "right_wrist", "left_knee", "right_knee")]
    x = joints[:, rows]
    speed = np.linalg.norm(np.gradient(x, axis=0), axis=-1) * FPS
    return (x[..., 1] < _LOW_M) & (speed < _SLOW)

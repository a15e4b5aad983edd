"""Poses from motion capture: clips shared out between training and held-out, frames mirrored, mixed and shaken.

Body poses are (22, 3) rotation vectors, SMPL-X order pelvis ... wrists, y up, the subject facing +z at rest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.body import JOINT_NAMES
from backend.body.skeleton import mirror_joints
from backend.errors import JobError

BODY_JOINTS = 22
SPLITS = ("train", "held-out")
_HELD_OUT_SHARE = 0.15
_LOWER = [JOINT_NAMES.index(n) for n in (["pelvis", "left_hip", "right_hip", "left_knee", "right_knee"])]
_LOWER += [JOINT_NAMES.index(n) for n in ("left_ankle", "right_ankle", "left_foot", "right_foot")]
_SHAKE = np.deg2rad(
    [0, 8, 8, 4, 7, 7, 4, 8, 8, 4, 5, 5, 6, 4, 4, 8, 12, 12, 14, 14, 12, 12],
)
"""One standard deviation of the usual perturbation of each joint, radians; the pelvis is turned elsewhere."""
_MIRROR = mirror_joints()[:BODY_JOINTS]


@dataclass(frozen=True, eq=False)
class Motion:
    """Frames of c clips."""

    poses: np.ndarray
    """(n, 22, 3) float32 rotation vectors."""
    starts: np.ndarray
    """(c + 1,) first frame of each clip."""
    names: tuple[str, ...]
    """(c,)."""
    chance: np.ndarray
    """(c,) how often each is drawn."""

    def frame(self, rng: np.random.Generator) -> np.ndarray:
        """(22, 3): a random frame of a random clip."""
        c = int(rng.choice(len(self.names), p=self.chance))
        return self.poses[rng.integers(self.starts[c], self.starts[c + 1])].copy()


def in_split(clip: str, split: str) -> bool:
    """Whether the clip of this name belongs to `split`; depends on nothing but the name."""
    share = int.from_bytes(hashlib.sha256(clip.encode()).digest()[:4], "big") / 2**32
    return (share < _HELD_OUT_SHARE) == (split == "held-out")


def load_motion(file: Path, split: str) -> Motion:
    """The clips of `split` in an npz of (frames, 66) arrays of rotation vectors, one array a clip.

    Names read `<set>__<kind>__<clip>`: every kind of movement is drawn as often as any other but plain walking,
    of which there is far more. Raises JobError("bad_motion") for a file that is not that.
    """
    try:
        with np.load(file) as arrays:
            names = sorted(n for n in arrays.files if in_split(n, split))
            clips = [np.asarray(arrays[n], np.float32).reshape(-1, BODY_JOINTS, 3) for n in names]
    except (OSError, ValueError, KeyError) as e:
        raise JobError(
            "bad_motion", f"{file} cannot be used as motion: give an npz of (frames, 66) clips."
        ) from e
    if not clips or not all(np.isfinite(c).all() and len(c) for c in clips):
        raise JobError("bad_motion", f"{file} has no usable clip for '{split}': give one with more clips.")
    kinds = [n.split("__")[1] if n.count("__") == 2 else n for n in names]
    weight = np.array([1 / kinds.count(k) for k in kinds])
    return Motion(
        np.concatenate(clips),
        np.cumsum([0] + [len(c) for c in clips]),
        tuple(names),
        weight / weight.sum(),
    )


def mirrored(pose: np.ndarray) -> np.ndarray:
    """The pose (J, 3) of the mirror image (left and right exchanged, x -> -x); J is 22 or 55."""
    rows = _MIRROR if len(pose) == BODY_JOINTS else mirror_joints()
    return pose[rows] * np.array([1.0, -1.0, -1.0])


def mixed(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Legs and pelvis of one pose, spine and arms of another; both (22, 3)."""
    out = upper.copy()
    out[_LOWER] = lower[_LOWER]
    return out


def shaken(pose: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    """`pose` with every joint but the pelvis turned a little more at random."""
    return pose + rng.normal(size=(BODY_JOINTS, 3)) * _SHAKE[:, None] * amount

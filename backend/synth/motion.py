"""Poses from motion capture: clips shared out between training and held-out, frames mirrored, mixed and shaken.

Body poses are (22, 3) rotation vectors, SMPL-X order pelvis ... wrists, y up, the subject facing +z at rest.

Two layouts of npz files are read. The one that our weights and `pose_prior.npz` are made from: `poses` (N, 66) of all
clips, `offsets` (c + 1,) of the first frame of each, `names` (c,), `source` (c,), and `bad` (N,) bool, frames in which
the recording jumps, which are left out. And one array (frames, 66) for each clip, named `<set>__<kind>__<clip>`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from backend.body import JOINT_NAMES
from backend.body.skeleton import mirror_joints
from backend.errors import JobError
from backend.synth.split import split_of

BODY_JOINTS = 22
SPLITS = ("train", "held-out")
_HELD_OUT_SHARE = 0.15
_LOWER = [JOINT_NAMES.index(n) for n in (["pelvis", "left_hip", "right_hip", "left_knee", "right_knee"])]
_LOWER += [JOINT_NAMES.index(n) for n in ("left_ankle", "right_ankle", "left_foot", "right_foot")]
_SHAKE = np.deg2rad(
    [0, 8, 8, 4, 7, 7, 4, 8, 8, 4, 5, 5, 6, 4, 4, 8, 12, 12, 14, 14, 12, 12],
)
"""One standard deviation of the usual perturbation of each joint, radians; the pelvis is turned elsewhere."""
_STRAIGHTEST, _MOST = 2.0, np.deg2rad(20.0)
"""Percentile of a performer's knee angles that is taken for a straight leg, and the most that it is straightened by."""
_LEGS = tuple(
    tuple(JOINT_NAMES.index(f"{side}_{n}") for n in ("hip", "knee", "ankle")) for side in ("left", "right")
)
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


def performer(clip: str) -> str:
    """Whose movements a clip of this name shows, or, where nobody knows, what kind they are of."""
    parts = clip.split("_")
    return "_".join(p for p in parts[2:] if not p.isdigit()) if parts[0] == "csm" else parts[0]


def load_motion(file: Path, split: str | None = None) -> Motion:
    """The clips of `split` (None: all) in an npz of body poses, see the module's description.

    With one array a clip every kind of movement is drawn as often as any other. In the other layout a performer is
    drawn by the square root of his frames, since some have a hundred and some have ten thousand.
    Raises JobError("bad_motion") for a file that is not that.
    """
    try:
        with np.load(file) as arrays:
            whole = {"poses", "offsets", "names", "source", "bad"} <= set(arrays.files)
            read = _read_whole if whole else _read_clips
            names, clips, weight = read(arrays, split)
    except (OSError, ValueError, KeyError) as e:
        raise JobError(
            "bad_motion", f"{file} cannot be used as motion: give an npz of (frames, 66) clips."
        ) from e
    if not clips or not all(np.isfinite(c).all() and len(c) for c in clips):
        raise JobError(
            "bad_motion", f"{file} has no usable clip for '{split or 'all'}': give one with more clips."
        )
    return Motion(
        np.concatenate(clips),
        np.cumsum([0] + [len(c) for c in clips]),
        tuple(names),
        weight / weight.sum(),
    )


_Read = tuple[list[str], list[np.ndarray], np.ndarray]
"""Names, clips (n, 22, 3) and how much each counts."""


def _read_clips(arrays: Mapping[str, np.ndarray], split: str | None) -> _Read:
    names = sorted(n for n in arrays if split is None or in_split(n, split))
    clips = [np.asarray(arrays[n], np.float32).reshape(-1, BODY_JOINTS, 3) for n in names]
    kinds = [n.split("__")[1] if n.count("__") == 2 else n for n in names]
    return names, clips, np.array([1 / kinds.count(k) for k in kinds])


def _read_whole(arrays: Mapping[str, np.ndarray], split: str | None) -> _Read:
    poses = np.asarray(arrays["poses"], np.float32).reshape(-1, BODY_JOINTS, 3)
    good, offsets = ~arrays["bad"], arrays["offsets"]
    names, clips, owners = [], [], []
    for k, (name, source) in enumerate(zip(arrays["names"].tolist(), arrays["source"].tolist(), strict=True)):
        rows = slice(offsets[k], offsets[k + 1])
        if (split is None or split_of(name, source) == split) and good[rows].any():
            names.append(name)
            clips.append(poses[rows][good[rows]])
            owners.append((source, performer(name)))
    weight = np.zeros(len(names))
    for owner in set(owners):
        own = [k for k, o in enumerate(owners) if o == owner]
        lengths = [len(clips[k]) for k in own]
        legs = straightened(np.concatenate([clips[k] for k in own]))
        for k, clip in zip(own, np.split(legs, np.cumsum(lengths)[:-1]), strict=True):
            clips[k], weight[k] = clip, len(clip) / np.sqrt(sum(lengths))
    return names, clips, weight


def least_bend(poses: np.ndarray) -> float:
    """Radians by which the straightest legs of one performer, (n, 22, 3), are bent."""
    flexion = poses[:, [knee for _, knee, _ in _LEGS], 0]
    return float(np.clip(np.percentile(flexion, _STRAIGHTEST), 0, _MOST))


def straightened(poses: np.ndarray) -> np.ndarray:
    """(n, 22, 3) of one performer with legs that get straight, as everybody's do.

    The skeletons of the recordings have legs that are a little too long, which can only be laid between hip and foot
    with bent knees: one percent is 16 degrees for somebody who stands. So the leg is taken to be as long as it ever
    reaches. Hips, feet and their directions stay; only the knees go back.
    """
    out, least = poses.copy(), least_bend(poses)
    flexion = poses[:, [knee for _, knee, _ in _LEGS], 0]
    for (hip, knee, ankle), bent in zip(_LEGS, flexion.T, strict=True):
        reach = np.cos(np.clip(bent, 0, None) / 2) / np.cos(least / 2)
        half = (np.clip(bent, 0, None) / 2 - np.arccos(np.clip(reach, -1, 1)))[:, None] * [1.0, 0, 0]
        fore, back = Rotation.from_rotvec(half), Rotation.from_rotvec(-half)
        thigh, shin, foot = (Rotation.from_rotvec(poses[:, j]) for j in (hip, knee, ankle))
        out[:, hip] = (thigh * fore).as_rotvec()
        out[:, knee] = (back * shin * back).as_rotvec()
        out[:, ankle] = (fore * foot).as_rotvec()
    return out


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

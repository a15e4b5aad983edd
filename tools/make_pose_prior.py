"""Learns `pose_prior.npz` (mean and covariance of body poses) from recorded motion. Run once; the result is shipped.

    python -m tools.make_pose_prior cmu_30fps.npz

The input is read by `backend.synth.motion`, which says how it is laid out (motion of the CMU Graphics Lab,
mocap.cs.cmu.edu); frames in which the recording jumps are left out. Every clip counts alike up to `FRAMES` frames,
every performer or dance up to `SHARE` of all, and every pose is mirrored, so that the left side is as likely as the
right. Nothing of a single pose can be read back from the 63 means and 63 x 63 covariances.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backend.body.skeleton import mirror_joints
from backend.synth.motion import load_motion, performer

OUT = Path(__file__).resolve().parents[1] / "backend" / "assets" / "pose_prior.npz"
FRAMES = 400
SHARE = 0.08
"""Most that one performer weighs: 28 clips of one couple's salsa are a quarter of all frames."""
SHOWN = {"knee": 4, "ankle": 7, "neck": 12, "head": 15}


def learn(clips: Sequence[np.ndarray], owners: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Clips of (n, 22, 3) radians, and whose they are -> mean (63,) and covariance (63, 63) of joints 1 to 21."""
    rows = [clip[np.linspace(0, len(clip) - 1, min(len(clip), FRAMES)).round().astype(int)] for clip in clips]
    weights = _weights([len(r) for r in rows], owners)
    pose = np.concatenate(rows).astype(np.float64)
    weight = np.repeat(weights, [len(r) for r in rows])
    both = np.concatenate([pose, _mirrored(pose)])[:, 1:].reshape(-1, 63)
    weight = np.concatenate([weight, weight])
    return weight @ both / weight.sum(), np.cov(both.T, aweights=weight)


def _mirrored(poses: np.ndarray) -> np.ndarray:
    return poses[:, mirror_joints()[:22]] * np.array([1.0, -1.0, -1.0])


def _weights(counts: Sequence[int], owners: Sequence[str]) -> np.ndarray:
    """(c,) of a frame of each clip, such that nobody weighs more than `SHARE`, if there are enough people."""
    weight, count = np.ones(len(counts)), np.array(counts, float)
    most = max(SHARE, 1 / len(set(owners)))
    for _ in range(20):
        total = (weight * count).sum()
        for owner in set(owners):
            own = np.array([o == owner for o in owners])
            weight[own] *= min(1.0, most * total / (weight * count)[own].sum())
    return weight


def main(source: str) -> None:
    """Read the clips, learn, write the file."""
    motion = load_motion(Path(source))
    clips = [motion.poses[a:b] for a, b in zip(motion.starts[:-1], motion.starts[1:], strict=True)]
    mean, covariance = learn(clips, [performer(n) for n in motion.names])
    np.savez(OUT, mean=mean.astype(np.float32), covariance=covariance.astype(np.float32))
    spread = np.rad2deg(np.sqrt(np.diag(covariance))).reshape(21, 3)
    print(f"{OUT.name} of {len(clips)} clips, {len(motion.poses)} frames: mean (standard deviation), degrees")
    for name, j in SHOWN.items():
        middle = np.rad2deg(mean.reshape(21, 3)[j - 1])
        print(name, *(f"{m:.1f} ({s:.1f})" for m, s in zip(middle, spread[j - 1], strict=True)))


if __name__ == "__main__":
    main(sys.argv[1])

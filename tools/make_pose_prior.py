"""Learns `pose_prior.npz` (mean and covariance of body poses) from recorded motion. Run once; the result is shipped.

    python -m tools.make_pose_prior cmu_body_poses.npz

The input holds one array (frames, 66) for each clip: rotation vectors, radians, of the 22 body joints in SMPL-X
order, y up (motion of the CMU Graphics Lab, mocap.cs.cmu.edu). Every clip counts alike up to `FRAMES` frames, and
every pose is mirrored, so that the left side is as likely as the right. Nothing of a single pose can be read back
from the 63 means and 63 x 63 covariances.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parents[1] / "backend" / "assets" / "pose_prior.npz"
FRAMES = 400
LEFT = np.array([1, 4, 7, 10, 13, 16, 18, 20])
RIGHT = np.array([2, 5, 8, 11, 14, 17, 19, 21])


def mirrored(pose: np.ndarray) -> np.ndarray:
    """(n, 22, 3) rotation vectors of the mirror image (x is the subject's left)."""
    out = pose.copy()
    out[:, LEFT], out[:, RIGHT] = pose[:, RIGHT], pose[:, LEFT]
    return out * np.array([1, -1, -1])


def learn(clips: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Clips of (n, 66) radians -> mean (63,) and covariance (63, 63) of joints 1 to 21."""
    rows = []
    for clip in clips:
        pose = clip.astype(np.float64).reshape(-1, 22, 3)
        keep = np.linspace(0, len(pose) - 1, min(len(pose), FRAMES)).round().astype(int)
        rows.append(pose[keep])
    pose = np.concatenate(rows)
    both = np.concatenate([pose, mirrored(pose)])[:, 1:].reshape(-1, 63)
    return both.mean(0), np.cov(both.T)


def main(source: str) -> None:
    """Read the clips, learn, write the file."""
    with np.load(source) as clips:
        mean, covariance = learn([clips[name] for name in clips.files])
    np.savez(OUT, mean=mean.astype(np.float32), covariance=covariance.astype(np.float32))
    print(f"{OUT.name}: standard deviations, degrees")
    print(np.rad2deg(np.sqrt(np.diag(covariance))).reshape(21, 3).round(1))


if __name__ == "__main__":
    main(sys.argv[1])

"""3DPW: `sequenceFiles/<split>/*.pkl` and `imageFiles/<sequence>/image_00000.jpg`.

Layout: 3DPW's README and SPIN's datasets/preprocess/pw3d.py: lists with an entry for each person (poses (n, 72), trans
(n, 3), betas, genders "m"/"f", campose_valid (n,), poses2d (n, 3, 18) where at least six joints were found), and for
the picture cam_poses (n, 4, 4) from the world to the camera and cam_intrinsics (3, 3). Bodies are SMPL's of the
person's gender. The pickles are Python 2's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from backend.body.skeleton import SMPL_ROWS
from backend.files.pickles.data import read_pickled
from backend.train.datasets.fitted import Fitted, apparent
from backend.train.datasets.folders import every as all_of
from backend.train.datasets.folders import inside, wrong
from backend.train.datasets.record import LEAST_SIDE, Photo

_WHAT = "3DPW"
_GENDERS = {"m": "male", "f": "female", "male": "male", "female": "female"}
_LEAST_JOINTS = 6


class Pw3d:
    """Left out: frames without a valid camera, people of whom fewer than six joints were found in the picture, and
    people smaller than 64 pixels. `every`: frames to go on by."""

    model = "smpl"

    def __init__(self, folder: Path, split: str = "", every: int = 1) -> None:
        split = split or "train"
        files = list((folder / "sequenceFiles" / split).glob("*.pkl"))
        self._pictures = folder / "imageFiles"
        self._people: list[dict[str, Any]] = []
        rows = []
        for file in all_of(files, folder, _WHAT, f"sequenceFiles/{split}/*.pkl"):
            for person in people_of(file):
                frames = person["frames"][person["frames"] % every == 0]
                rows.append(np.stack([np.full_like(frames, len(self._people)), frames], 1))
                self._people.append(person)
        self._rows = np.concatenate(rows) if rows else np.zeros((0, 2), int)
        if not len(self._rows):
            raise wrong(_WHAT, folder, "it holds nobody who is seen large enough by a valid camera")

    def __len__(self) -> int:
        return len(self._rows)

    def person(self, i: int) -> Fitted:
        """See `People.person`."""
        number, frame = (int(v) for v in self._rows[i])
        p = self._people[number]
        name = f"{p['sequence']}/image_{frame:05d}.jpg"
        return Fitted(
            Photo(inside(self._pictures, name, _WHAT)), p["K"], p["gender"], smpl_pose(p["poses"][frame]), p["betas"],
            p["trans"][frame], p["cameras"][frame, :3, :3], p["cameras"][frame, :3, 3],
        )  # fmt: skip


def people_of(file: Path) -> list[dict[str, Any]]:
    """The people of one sequence. JobError("bad_data")."""
    said = read_pickled(file, _WHAT)
    try:
        cameras = np.asarray(said["cam_poses"], np.float64).reshape(-1, 4, 4)
        K = np.asarray(said["cam_intrinsics"], np.float64).reshape(3, 3)
        out = []
        for i, gender in enumerate(said["genders"]):
            poses = np.asarray(said["poses"][i], np.float32).reshape(-1, 72)
            trans = np.asarray(said["trans"][i], np.float64).reshape(-1, 3)
            n = min(len(poses), len(cameras))
            seen = np.asarray(said["campose_valid"][i]).astype(bool)[:n].copy()
            if "poses2d" in said:
                found = np.asarray(said["poses2d"][i], np.float32)[:n]
                seen &= (found[:, 2] > 0).sum(1) >= _LEAST_JOINTS
            z = np.einsum("nc,nc->n", cameras[:n, 2, :3], trans[:n]) + cameras[:n, 2, 3]
            seen &= np.array([apparent(K[1, 1], float(d)) for d in z]) >= LEAST_SIDE
            out.append(
                {
                    "sequence": str(said["sequence"]),
                    "K": K,
                    "gender": _GENDERS[str(gender)],
                    "poses": poses,
                    "trans": trans,
                    "betas": np.asarray(said["betas"][i], np.float32).ravel()[:10],
                    "cameras": cameras,
                    "frames": np.flatnonzero(seen),
                }
            )
        return out
    except (KeyError, IndexError, TypeError, ValueError) as e:
        raise wrong(_WHAT, file, "it is not in 3DPW's layout") from e


def smpl_pose(pose: np.ndarray) -> np.ndarray:
    """SMPL's 24 rotation vectors (72,) in SMPL-X's order (55, 3)."""
    out = np.zeros((55, 3))
    out[list(SMPL_ROWS)] = pose.reshape(24, 3)
    return out

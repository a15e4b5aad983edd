"""EMDB: `P*/<sequence>/*_data.pkl` and `images/00000.jpg` beside it.

Layout: EMDB's dataset.md (gender, good_frames_mask (n,), camera: intrinsics (3, 3), extrinsics (n, 4, 4) from the world
to the camera; smpl: poses_root (n, 3), poses_body (n, 69), trans (n, 3), betas (10,)). Bodies are SMPL's of the
person's gender. Most papers evaluate on EMDB: whoever trains on it cannot compare there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from backend.files.pickles.data import read_pickled
from backend.train.datasets.bodies import GENDERS
from backend.train.datasets.fitted import Fitted, apparent
from backend.train.datasets.folders import every as all_of
from backend.train.datasets.folders import wrong
from backend.train.datasets.pw3d import smpl_pose
from backend.train.datasets.record import LEAST_SIDE, Photo

_WHAT = "EMDB"


class Emdb:
    """Left out: frames that EMDB marks as bad, and people smaller than 64 pixels. `split`: "emdb1", "emdb2", or all;
    `every`: frames to go on by."""

    model = "smpl"

    def __init__(self, folder: Path, split: str = "", every: int = 1) -> None:
        if split not in ("", "emdb1", "emdb2"):
            raise wrong(_WHAT, folder, f"there is no split {split!r}, only emdb1 and emdb2")
        self._sequences: list[dict[str, Any]] = []
        rows = []
        for file in all_of(list(folder.glob("P*/*/*_data.pkl")), folder, _WHAT, "P*/*/*_data.pkl"):
            sequence = sequence_of(file)
            if split and not sequence[split]:
                continue
            frames = sequence["frames"][sequence["frames"] % every == 0]
            rows.append(np.stack([np.full_like(frames, len(self._sequences)), frames], 1))
            self._sequences.append(sequence)
        self._rows = np.concatenate(rows) if rows else np.zeros((0, 2), int)
        if not len(self._rows):
            raise wrong(_WHAT, folder, "it holds nobody who is seen large enough in a good frame")

    def __len__(self) -> int:
        return len(self._rows)

    def person(self, i: int) -> Fitted:
        """See `People.person`."""
        number, frame = (int(v) for v in self._rows[i])
        s = self._sequences[number]
        return Fitted(
            Photo(s["images"] / f"{frame:05d}.jpg"), s["K"], s["gender"], smpl_pose(s["poses"][frame]), s["betas"],
            s["trans"][frame], s["cameras"][frame, :3, :3], s["cameras"][frame, :3, 3],
        )  # fmt: skip


def sequence_of(file: Path) -> dict[str, Any]:
    """One sequence. JobError("bad_data")."""
    said = read_pickled(file, _WHAT)
    try:
        body, camera = said["smpl"], said["camera"]
        poses = np.concatenate([np.asarray(body[n], np.float32) for n in ("poses_root", "poses_body")], 1)
        trans = np.asarray(body["trans"], np.float64).reshape(-1, 3)
        cameras = np.asarray(camera["extrinsics"], np.float64).reshape(-1, 4, 4)
        K = np.asarray(camera["intrinsics"], np.float64).reshape(3, 3)
        good = np.asarray(said["good_frames_mask"]).astype(bool)
        if not len(poses) == len(trans) == len(cameras) == len(good) or poses.shape[1] != 72:
            raise ValueError
        if said["gender"] not in GENDERS:
            raise ValueError
        z = np.einsum("nc,nc->n", cameras[:, 2, :3], trans) + cameras[:, 2, 3]
        good &= np.array([apparent(K[1, 1], float(d)) for d in z]) >= LEAST_SIDE
        return {
            "images": file.parent / "images",
            "K": K,
            "gender": said["gender"],
            "poses": poses,
            "trans": trans,
            "betas": np.asarray(body["betas"], np.float32).ravel()[:10],
            "cameras": cameras,
            "frames": np.flatnonzero(good),
            "emdb1": bool(said.get("emdb1")),
            "emdb2": bool(said.get("emdb2")),
        }
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise wrong(_WHAT, file, "it is not in EMDB's layout") from e

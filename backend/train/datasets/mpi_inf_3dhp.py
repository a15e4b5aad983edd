"""MPI-INF-3DHP: `S*/Seq*/annot.mat`, `camera.calibration`, and `imageSequence/video_<k>.avi` or extracted frames.

Layout: the data set's README and SPIN's datasets/preprocess/mpi_inf_3dhp.py: annot2 and annot3 hold a cell for each of
14 cameras, rows of 28 x 2 pixels and 28 x 3 millimetres in camera space; camera.calibration is a "Skeletool Camera
Calibration File" with a 4 x 4 intrinsic matrix for each camera; frames extracted by SPIN are
`imageFrames/video_<k>/frame_000001.jpg`, counted from 1. The lenses' distortion is not published and small.

Joints' names: the data set's util (mpii_get_joint_set.m). They are those of a skeleton tracked without markers. Where
a joint is not the same place as ours: "pelvis" is the middle of the hips; "spine" is the lowest of four joints of the
spine, we take spine1; "neck" is at the base of the neck; "head" is the base of the skull; "foot" is the ball, "toe" the
tip of the foot; "hand" is about the knuckles. Its other joints of spine and collar have no counterpart and are left
out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.body.model import Body
from backend.train.datasets.anatomy import places
from backend.train.datasets.arrays import read_mat
from backend.train.datasets.folders import every as all_of
from backend.train.datasets.folders import wrong
from backend.train.datasets.record import LEAST_SIDE, Photo, Record, axis_of, box_about

_USED: dict[int, str] = {
    4: "middle_of_hips",
    3: "joint:spine1",
    5: "joint:neck",
    6: "joint:head",
    7: "top_of_head",
    9: "joint:left_shoulder",
    10: "joint:left_elbow",
    11: "joint:left_wrist",
    12: "joint:left_middle1",
    14: "joint:right_shoulder",
    15: "joint:right_elbow",
    16: "joint:right_wrist",
    17: "joint:right_middle1",
    18: "joint:left_hip",
    19: "joint:left_knee",
    20: "joint:left_ankle",
    21: "joint:left_foot",
    22: "left_foot_index",
    23: "joint:right_hip",
    24: "joint:right_knee",
    25: "joint:right_ankle",
    26: "joint:right_foot",
    27: "right_foot_index",
}
ROWS, JOINTS = tuple(_USED), tuple(_USED.values())
"""Rows of the 28 that are used, and what they are; the pelvis first."""
HIPS, SHOULDERS = (ROWS.index(18), ROWS.index(23)), (ROWS.index(9), ROWS.index(14))
_WHAT = "MPI-INF-3DHP"


@dataclass(frozen=True, eq=False)
class _View:
    """One camera of one sequence: its pictures, and what is known of J joints (`JOINTS`) in each of F frames."""

    K: np.ndarray
    """(3, 3) pixels."""
    folder: Path
    """Of the sequence."""
    video: int
    """Number of the camera, from 0."""
    xy: np.ndarray
    """(F, J, 2) float32 pixels."""
    x: np.ndarray
    """(F, J, 3) float32 metres, camera space."""

    def photo(self, frame: int) -> Photo:
        for name in ("imageFrames", "imageSequence"):
            frames = self.folder / name / f"video_{self.video}"
            if frames.is_dir():
                return Photo(frames / f"frame_{frame + 1:06d}.jpg")
        return Photo(self.folder / "imageSequence" / f"video_{self.video}.avi", frame)


class MpiInf3dhp:
    """All cameras whose pictures are there. `every`: frames to go on by. Left out: people smaller than 64 pixels."""

    root = 0

    def __init__(self, folder: Path, body: Body, split: str = "", every: int = 10) -> None:
        found = [p for p in folder.glob("S*/Seq*/annot.mat") if not split or p.parts[-3] in split.split("+")]
        self._points = places(body, JOINTS)
        self._views = [v for f in all_of(found, folder, _WHAT, "S*/Seq*/annot.mat") for v in views(f)]
        rows = []
        for number, view in enumerate(self._views):
            tall = np.ptp(view.xy, axis=1).max(1)
            frames = np.flatnonzero((tall >= LEAST_SIDE) & np.isfinite(view.x).all((1, 2)))
            frames = frames[frames % every == 0]
            rows.append(np.stack([np.full_like(frames, number), frames], 1))
        self._rows = np.concatenate(rows) if rows else np.zeros((0, 2), int)
        if not len(self._rows):
            raise wrong(_WHAT, folder, "no camera's pictures are there (imageSequence or imageFrames)")

    def __len__(self) -> int:
        return len(self._rows)

    def record(self, i: int) -> Record:
        """See `Records.record`."""
        number, frame = (int(v) for v in self._rows[i])
        view = self._views[number]
        xy, x = view.xy[frame].astype(np.float64), view.x[frame].astype(np.float64)
        known = np.ones(len(xy), bool)
        return Record(
            view.photo(frame), box_about(xy), self._points, xy, known, x, known, view.K,
            axis=axis_of(xy, known, HIPS, SHOULDERS),
        )  # fmt: skip


def views(file: Path) -> list[_View]:
    """The cameras of a sequence whose pictures are there. JobError("bad_data")."""
    folder = file.parent
    annot2, annot3 = read_mat(file, _WHAT, "annot2", "annot3")
    intrinsics = calibration(folder / "camera.calibration")
    out = []
    try:
        for k, (flat2, flat3) in enumerate(zip(annot2, annot3, strict=True)):
            there = [folder / f"imageSequence/video_{k}.avi"]
            there += [folder / n / f"video_{k}" for n in ("imageFrames", "imageSequence")]
            if k < len(intrinsics) and any(p.exists() for p in there):
                xy = np.asarray(flat2, np.float32).reshape(-1, 28, 2)[:, ROWS]
                x = np.asarray(flat3, np.float32).reshape(-1, 28, 3)[:, ROWS] / 1000
                if len(xy) != len(x):
                    raise ValueError
                out.append(_View(intrinsics[k], folder, k, xy, x))
    except (ValueError, TypeError) as e:
        raise wrong(_WHAT, file, "its annot2 and annot3 are not 28 joints of the same frames") from e
    return out


def calibration(file: Path) -> list[np.ndarray]:
    """K (3, 3) of every camera, in order. JobError("bad_data")."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        found = [line.split()[1:17] for line in lines if line.split()[:1] == ["intrinsic"]]
        out = [np.array([float(v) for v in words]).reshape(4, 4)[:3, :3] for words in found]
    except (OSError, ValueError) as e:
        raise wrong(_WHAT, file, "it is missing or no calibration of cameras") from e
    if not out or not all(np.isfinite(K).all() and K[0, 0] > 0 and K[1, 1] > 0 for K in out):
        raise wrong(_WHAT, file, "it names no camera")
    return out

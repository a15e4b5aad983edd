"""Human3.6M, processed: `annotation_body3d/cameras.pkl`, `annotation_body3d/fps10/h36m_<split>.npz`, `images/S1/...`.

Layout: MMPose's (tools/dataset_converters/preprocess_h36m.py, docs "3D Body Keypoint Datasets"), the most common one
with pictures: imgname "S1/S1_Directions_1.54138969/S1_Directions_1.54138969_000001.jpg", part (17, 3) pixels, S (17, 4)
metres in camera space, center, scale; cameras.pkl by (subject, camera): f, c, k (radial 3), p (tangential 2), w, h.

The lenses distort, so pictures are undistorted and 2D places are projected from 3D by the pinhole. (Human3.6M's own
tangential term is half of OpenCV's: at most 0.3 pixels.)

Where a joint is not the same place as ours: hips are Vicon's centres of the hip joints, wider apart than SMPL-X's;
"hip" (the root) is their middle; "spine" is the middle of the trunk; "thorax" is at the base of the neck; "neck/nose"
lies inside the head behind the nose, we take the middle between ears and nose; "head" is the crown; "foot" is the
ankle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from backend.body.model import Body
from backend.files.pickles.data import read_pickled
from backend.train.datasets.anatomy import places
from backend.train.datasets.arrays import Npz
from backend.train.datasets.folders import first, inside, wrong
from backend.train.datasets.record import LEAST_SIDE, Photo, Record, axis_of, box_about

JOINTS = (
    *("middle_of_hips", "joint:right_hip", "joint:right_knee", "joint:right_ankle"),
    *("joint:left_hip", "joint:left_knee", "joint:left_ankle"),
    *("middle_of_trunk", "joint:neck", "middle_of_head", "top_of_head"),
    *("joint:left_shoulder", "joint:left_elbow", "joint:left_wrist"),
    *("joint:right_shoulder", "joint:right_elbow", "joint:right_wrist"),
)
HIPS, SHOULDERS = (1, 4), (11, 14)
_WHAT = "the processed Human3.6M"


class Human36M:
    """`every`: rows of the annotations to go on by. Left out: people smaller than 64 pixels."""

    root = 0

    def __init__(self, folder: Path, body: Body, split: str = "", every: int = 1) -> None:
        split = split or "train"
        notes = first(folder, ("annotation_body3d",), _WHAT)
        names = [f"{fps}/h36m_{split}.npz" for fps in ("fps10", "fps50")]
        npz = Npz(first(notes, names, _WHAT), _WHAT)
        self._pictures = first(folder, ("images",), _WHAT)
        self._points = places(body, JOINTS)
        self._names = npz.read("imgname", None)[::every]
        self._places = npz.read("S", None, 17, 4)[::every]
        self._cameras = cameras(notes / "cameras.pkl")
        if not len(self._names) or len(self._names) != len(self._places):
            raise wrong(_WHAT, npz.path, "its pictures and poses are not as many")
        scale = npz.read("scale", None)[::every] * 200
        x = self._places[..., :3]
        self._rows = np.flatnonzero(
            (scale >= LEAST_SIDE) & np.isfinite(x).all((1, 2)) & (x[..., 2].min(1) > 0.1)
        )
        if not len(self._rows):
            raise wrong(_WHAT, npz.path, "it holds nobody who is large enough")

    def __len__(self) -> int:
        return len(self._rows)

    def record(self, i: int) -> Record:
        """See `Records.record`."""
        row = int(self._rows[i])
        name = str(self._names[row])
        subject, _, camera = name.split("/")[0], *name.split("/")[-1].partition(".")[::2]
        key = (subject, camera.partition("_")[0])
        if key not in self._cameras:
            raise wrong(_WHAT, self._pictures, f"cameras.pkl knows no camera {key[1]!r} of {key[0]!r}")
        K, lens = self._cameras[key]
        x, known = self._places[row, :, :3].astype(np.float64), self._places[row, :, 3] > 0
        xy = x @ K.T
        xy = xy[:, :2] / np.maximum(xy[:, 2:], 1e-6)
        return Record(
            Photo(inside(self._pictures, name, _WHAT), lens=lens), box_about(xy[known]), self._points, xy, known, x,
            known, K, axis=axis_of(xy, known, HIPS, SHOULDERS),
        )  # fmt: skip


def cameras(file: Path) -> dict[tuple[str, str], tuple[np.ndarray, tuple[float, ...]]]:
    """K (3, 3) and OpenCV's distortion (5,) of every subject's cameras. JobError("bad_data")."""
    said = read_pickled(file, _WHAT)
    try:
        return {(str(k[0]), str(k[1])): _camera(v) for k, v in said.items()}
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as e:
        raise wrong(_WHAT, file, "it is not in the layout of MMPose's cameras.pkl") from e


def _camera(said: dict[str, Any]) -> tuple[np.ndarray, tuple[float, ...]]:
    f, c, k, p = (np.asarray(said[n], np.float64).ravel() for n in "fckp")
    K = np.array([[f[0], 0, c[0]], [0, f[1], c[1]], [0, 0, 1]])
    return K, (float(k[0]), float(k[1]), float(p[0]), float(p[1]), float(k[2]))

"""AGORA: cameras in `Cam/*.pkl`, SMPL-X fits in `GT_fits/`, pictures anywhere in `images/`.

Layout and conventions: agora_evaluation (docs/gt_dataframe.md, docs/project_joints_vertices.md, projection.py): a
pandas table with a row for each picture (imgPath, camX, camY, camZ in centimetres, camYaw in degrees) and lists with
an entry for each person (X, Y, Z in centimetres, Yaw in degrees, gender, kid, isValid, occlusion in percent,
gt_path_smplx). The world is Unreal's: x forward, y right, z up. A fit's vertices are turned by Yaw - 90 degrees about
the vertical, and the camera by camYaw and its pitch, which the picture's name tells like place and focal length (sensor
36 x 20.25 mm). Fits hold rotation vectors of SMPL-X's own gender; the hands are relative to the mean hands.

Use the camera files without joints and vertices: the others have gigabytes. Fits of children need a template of their
own and are left out.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from backend.files.pickles.data import read_pickled, table
from backend.files.pickles.inert import Refusal
from backend.train.datasets.bodies import GENDERS
from backend.train.datasets.fitted import Fitted, apparent
from backend.train.datasets.folders import every as all_of
from backend.train.datasets.folders import first, inside, wrong
from backend.train.datasets.record import LEAST_SIDE, Photo

_WHAT = "AGORA"
MOST_HIDDEN = 70
"""Percent of a person that may be hidden, as in BEDLAM's use of AGORA."""
_SENSOR = (36.0, 20.25)
_SMALL = "_1280x720"
_SIZES = {True: (1280, 720), False: (3840, 2160)}
_VIEWS: tuple[tuple[str, float, tuple[float, float, float], float, float], ...] = (
    ("hdri", 50.0, (0, 0, 170), 0.0, 0.0),
    ("cam00", 18.0, (400, -275, 265), 135.0, 30.0),
    ("cam01", 18.0, (400, 225, 265), -135.0, 30.0),
    ("cam02", 18.0, (-490, 170, 265), -45.0, 30.0),
    ("cam03", 18.0, (-490, -275, 265), 45.0, 30.0),
    ("ag2", 28.0, (0, 0, 170), 0.0, 15.0),
)
"""What a picture's name tells of its camera: part of the name, focal length in mm, place in cm, yaw and pitch in
degrees."""
_LENS, _GROUND = 28.0, np.array([0, -1.7, 0])
"""Of all other pictures: focal length in mm, and what is added to the camera's place, metres."""
_POSES = (("global_orient", 3), ("body_pose", 63), ("jaw_pose", 3), ("leye_pose", 3), ("reye_pose", 3),
          ("left_hand_pose", 45), ("right_hand_pose", 45))  # fmt: skip


class Agora:
    """Left out: children, people marked as not valid or hidden to more than 70 percent, and people smaller than 64
    pixels. `split`: what the names of the camera files begin with ("train", "validation")."""

    model = "smplx"

    def __init__(self, folder: Path, split: str = "", every: int = 1) -> None:
        split = split or "train"
        cameras = first(folder, ("Cam", "CAM", "cam"), _WHAT)
        files = all_of(list(cameras.glob(f"{split}*.pkl")), cameras, _WHAT, f"{split}*.pkl")
        pictures = {p.name: p for p in first(folder, ("images",), _WHAT).rglob("*.png")}
        self._fits = first(folder, ("GT_fits", "gt_fits"), _WHAT)
        self._people: list[tuple[Any, ...]] = []
        for file in files:
            self._people += people_of(file, pictures)
        self._people = self._people[::every]
        if not self._people:
            raise wrong(_WHAT, folder, "it holds nobody who can be used, or no picture of them")

    def __len__(self) -> int:
        return len(self._people)

    def person(self, i: int) -> Fitted:
        """See `People.person`."""
        path, K, gender, R, t, fit = self._people[i]
        pose, betas, trans, expression = read_fit(inside(self._fits, fit, _WHAT))
        return Fitted(Photo(path), K, gender, pose, betas, trans, R, t, expression, mean_hands=True)


def people_of(file: Path, pictures: dict[str, Path]) -> list[tuple[Any, ...]]:
    """(picture, K, gender, R, t, path of the fit) of the people in one camera file. JobError("bad_data")."""
    try:
        rows = table(read_pickled(file, _WHAT))
    except Refusal as e:
        raise wrong(_WHAT, file, str(e)) from e
    out = []
    try:
        for i, name in enumerate(rows["imgPath"]):
            stem = Path(name).name.removesuffix(".png").removesuffix(_SMALL)
            small = f"{stem}{_SMALL}.png" in pictures
            picture = pictures.get(f"{stem}{_SMALL}.png" if small else f"{stem}.png")
            if picture is None:
                continue
            at = [float(rows[n][i]) for n in ("camX", "camY", "camZ", "camYaw")]
            K, turn, place = camera_of(name, at, _SIZES[small])
            for k, gender in enumerate(rows["gender"][i]):
                one = {
                    n: rows[n][i][k]
                    for n in ("kid", "isValid", "occlusion", "X", "Y", "Z", "Yaw", "gt_path_smplx")
                }
                if (
                    one["kid"]
                    or not one["isValid"]
                    or float(one["occlusion"]) > MOST_HIDDEN
                    or gender not in GENDERS
                ):
                    continue
                where = from_unreal([one["X"], one["Y"], one["Z"]]) - place
                R = turn @ _about_y(float(one["Yaw"]) - 90) @ np.diag([1.0, -1.0, -1.0])
                t = turn @ where
                if apparent(K[1, 1], float(t[2])) >= LEAST_SIDE:
                    fit = str(one["gt_path_smplx"]).replace(".obj", ".pkl")
                    out.append((picture, K, gender, R, t, fit))
    except (KeyError, IndexError, TypeError, ValueError) as e:
        raise wrong(_WHAT, file, "it is not in the layout of AGORA's camera files") from e
    return out


def camera_of(name: str, at: list[float], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """K (3, 3), the turn (3, 3) from the world (OpenCV's axes) to the camera, and its place (3,) in metres. `at`: camX,
    camY, camZ in centimetres and camYaw in degrees of the table."""
    known = next((v for v in _VIEWS if v[0] in name), None)
    if known is not None:
        _, focal, place, yaw, pitch = known
        where = from_unreal(place)
    else:
        focal, yaw, pitch = _LENS, at[3], 0.0
        where = from_unreal(at[:3]) + _GROUND
    width, height = size
    f = [focal / s * n for s, n in zip(_SENSOR, size, strict=True)]
    K = np.array([[f[0], 0, width / 2], [0, f[1], height / 2], [0, 0, 1]])
    tilt = cv2.Rodrigues(np.array([np.deg2rad(pitch), 0, 0]))[0]
    return K, tilt @ _about_y(-yaw), where


def from_unreal(place) -> np.ndarray:
    """Centimetres in Unreal's axes (forward, right, up) -> metres in OpenCV's (right, down, forward)."""
    x, y, z = (float(v) / 100 for v in place)
    return np.array([y, -z, x])


def _about_y(degrees: float) -> np.ndarray:
    return cv2.Rodrigues(np.array([0, np.deg2rad(degrees), 0]))[0]


@lru_cache(maxsize=8192)
def read_fit(file: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pose (55, 3), betas, trans (3,), expression of a fit. JobError("bad_data")."""
    said = read_pickled(file, "a fit of AGORA")
    try:
        parts = [np.asarray(said[n], np.float64).reshape(size) for n, size in _POSES]
        pose = np.concatenate(parts).reshape(55, 3)
        betas, trans, expression = (
            np.asarray(said[n], np.float64).ravel() for n in ("betas", "transl", "expression")
        )
        return pose, betas, trans.reshape(3), expression
    except (KeyError, TypeError, ValueError) as e:
        raise wrong("a fit of AGORA", file, "it is not SMPL-X's parameters as rotation vectors") from e

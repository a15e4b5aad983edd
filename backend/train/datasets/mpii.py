"""MPII Human Pose: `mpii_human_pose_v1_u12_1.mat` (or the common `annot/train.json`) and pictures in `images/`.

Layout of the .mat: the README of the release (RELEASE.annolist(i).image.name, .annorect with objpos, scale (person's
height / 200 pixels) and annopoints.point with x, y, id 0 ... 15 and is_visible; RELEASE.img_train). Layout of the JSON
(a list of objects with image, joints, joints_vis, center, scale): the one that HRNet's and Simple Baselines' code
reads. Both count pixels from 1. The JSON does not tell hidden joints from visible ones, so there all marked ones count.

Where a joint is not the same place as ours: hips are marked as far out as COCO's (landmarks); "pelvis" is the middle of
the marked hips; "thorax" is marked between the shoulders on the chest, we take the middle of the shoulder joints;
"upper neck" is where neck and head meet, we take the head's joint at the base of the skull; "head top" is the crown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from backend.body.model import Body
from backend.train.datasets.anatomy import places
from backend.train.datasets.arrays import listed, read_mat
from backend.train.datasets.folders import first, inside, read_json, wrong
from backend.train.datasets.record import LEAST_SIDE, Photo, Record, axis_of, box_about, overlapped

JOINTS = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("middle_of_hip_landmarks", "middle_of_shoulders", "joint:head", "top_of_head"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
)
HIPS, SHOULDERS = (2, 3), (12, 13)
LEAST_JOINTS = 6
_MAT, _WHAT = "mpii_human_pose_v1_u12_1.mat", "MPII"
_ROOM = 0.15


class Mpii:
    """Of the .mat the training pictures. Left out: people with fewer than 6 joints that count, smaller than 64 pixels,
    or whose box shares more than half with another's. `hidden`: joints that are not visible count too."""

    root = -1

    def __init__(self, folder: Path, body: Body, split: str = "", hidden: bool = False) -> None:
        file = first(folder, (_MAT, f"annot/{split or 'train'}.json", f"{split or 'train'}.json"), _WHAT)
        self._pictures = first(folder, ("images",), _WHAT)
        self._points, self._hidden = places(body, JOINTS), hidden
        read = _from_mat if file.suffix == ".mat" else _from_json
        names, joints = [], []
        for name, people in read(file).items():
            marks = np.stack(people)
            boxes = np.stack([box_about(m[m[:, 2] > 0, :2], _ROOM) for m in people])
            good = ~overlapped(boxes) & (boxes[:, 2:].max(1) >= LEAST_SIDE)
            good &= (marks[..., 2] >= self._least).sum(1) >= LEAST_JOINTS
            names += [name] * int(good.sum())
            joints.append(marks[good])
        if not names:
            raise wrong(_WHAT, file, "it holds nobody who is large enough and alone")
        self._names, self._joints = names, np.concatenate(joints)

    @property
    def _least(self) -> int:
        return 1 if self._hidden else 2

    def __len__(self) -> int:
        return len(self._names)

    def record(self, i: int) -> Record:
        """See `Records.record`."""
        marks = self._joints[i]
        marked = marks[:, 2] > 0
        return Record(
            Photo(inside(self._pictures, self._names[i], _WHAT)), box_about(marks[marked, :2], _ROOM), self._points,
            marks[:, :2], marks[:, 2] >= self._least, axis=axis_of(marks[:, :2], marked, HIPS, SHOULDERS),
        )  # fmt: skip


def _from_mat(file: Path) -> dict[str, list[np.ndarray]]:
    """(16, 3) x, y, mark of every person, by picture. Mark: 0 not there, 1 hidden, 2 visible, as COCO's."""
    (release,) = read_mat(file, _WHAT, "RELEASE")
    out: dict[str, list[np.ndarray]] = {}
    try:
        train = np.atleast_1d(release.img_train)
        for entry, is_train in zip(listed(release.annolist), train, strict=True):
            if not is_train:
                continue
            people = [
                _joints(listed(rect.annopoints.point))
                for rect in listed(entry.annorect)
                if hasattr(getattr(rect, "annopoints", None), "point")
            ]
            people = [p for p in people if (p[:, 2] > 0).any()]
            if people:
                out[str(entry.image.name)] = people
    except (AttributeError, TypeError, ValueError) as e:
        raise wrong(_WHAT, file, "its RELEASE is not in MPII's layout") from e
    return out


def _joints(points: list[Any]) -> np.ndarray:
    marks = np.zeros((16, 3))
    for p in points:
        number = int(p.id)
        if 0 <= number < 16:
            # Written as 0, as "0" or, for neck and head, which are marked where they are seen, not at all.
            visible = str(getattr(p, "is_visible", "")).strip() not in ("0", "0.0", "False")
            marks[number] = [float(p.x) - 1, float(p.y) - 1, 2 if visible else 1]
    marks[~np.isfinite(marks).all(1)] = 0
    return marks


def _from_json(file: Path) -> dict[str, list[np.ndarray]]:
    out: dict[str, list[np.ndarray]] = {}
    try:
        for entry in read_json(file, _WHAT):
            xy = np.asarray(entry["joints"], np.float64).reshape(16, 2) - 1
            marked = np.asarray(entry["joints_vis"], np.float64).reshape(16) > 0
            marked &= np.isfinite(xy).all(1)
            if marked.any():
                marks = np.concatenate([xy, 2.0 * marked[:, None]], 1)
                out.setdefault(str(entry["image"]), []).append(marks)
    except (KeyError, TypeError, ValueError) as e:
        raise wrong(_WHAT, file, "it is not in the layout of MPII's JSON") from e
    return out

"""COCO keypoints: `annotations/person_keypoints_<split>.json` and pictures in `<split>/`.

Layout: COCO's data format, https://cocodataset.org/#format-data ("keypoints": 17 times x, y, v; v = 0 not labelled, 1
labelled but hidden, 2 labelled and visible; 0-indexed pixels; "bbox": x, y, width, height).

The joints are marked by eye on pictures, as BlazePose's landmarks are, and COCO's hip lies further out than the centre
of the joint: all 17 map to the landmarks of the same names. Ears and eyes are marked on the skin.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backend.body.model import Body
from backend.train.datasets.anatomy import places
from backend.train.datasets.folders import first, inside, read_json, wrong
from backend.train.datasets.record import LEAST_SIDE, Photo, Record, axis_of, overlapped

JOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
HIPS, SHOULDERS = (11, 12), (5, 6)
LEAST_JOINTS = 6
"""Fewer supervised joints do not say what a person does."""
_WHAT = "COCO's keypoints"


class Coco:
    """`hidden`: joints that are labelled but not visible count too. Left out: crowds, people with fewer than 6
    joints that count, smaller than 64 pixels, or whose box shares more than half with another's."""

    root = -1

    def __init__(self, folder: Path, body: Body, split: str = "", hidden: bool = False) -> None:
        split = split or "train2017"
        file = first(folder, (f"annotations/person_keypoints_{split}.json",), _WHAT)
        self._pictures = picture_folder(folder, split, _WHAT)
        self._points, self._least = places(body, JOINTS), 1 if hidden else 2
        names, boxes, joints = [], [], []
        for name, people in people_of(read_json(file, _WHAT), file).items():
            for person, alone in people:
                marks = np.array(person.get("keypoints", ()), np.float32)
                if marks.shape != (51,):
                    raise wrong(_WHAT, file, "it holds people without 17 keypoints")
                marks = marks.reshape(17, 3)
                marks[~np.isfinite(marks).all(1)] = 0
                if alone and (marks[:, 2] >= self._least).sum() >= LEAST_JOINTS:
                    names.append(name)
                    boxes.append(person["bbox"])
                    joints.append(marks)
        if not names:
            raise wrong(_WHAT, file, "it holds nobody who is large enough and alone")
        self._names, self._boxes, self._joints = names, np.array(boxes, np.float64), np.stack(joints)

    def __len__(self) -> int:
        return len(self._names)

    def record(self, i: int) -> Record:
        """See `Records.record`."""
        marks = self._joints[i].astype(np.float64)
        known = marks[:, 2] >= self._least
        photo = Photo(inside(self._pictures, self._names[i], _WHAT))
        labelled = marks[:, 2] > 0
        return Record(
            photo, centred(self._boxes[i]), self._points, marks[:, :2], known,
            axis=axis_of(marks[:, :2], labelled, HIPS, SHOULDERS),
        )  # fmt: skip


def centred(box: np.ndarray) -> np.ndarray:
    """COCO measures boxes from the corner of the first pixel, we from its middle."""
    return box - [0.5, 0.5, 0, 0]


def picture_folder(folder: Path, split: str, what: str) -> Path:
    """Where the pictures of a split lie."""
    return first(folder, (split, f"images/{split}"), what)


def people_of(said: Any, file: Path) -> dict[str, list[tuple[Mapping, bool]]]:
    """The people of every picture, by its name: an annotation and whether the person is large and alone enough.

    JobError("bad_data") for a file of another layout.
    """
    try:
        names = {i["id"]: str(i["file_name"]) for i in said["images"]}
        by_picture: dict[int, list[Mapping]] = defaultdict(list)
        for a in said["annotations"]:
            box = [float(v) for v in a["bbox"]]
            sound = len(box) == 4 and all(map(math.isfinite, box)) and min(box[2:]) > 0
            if sound and not a.get("iscrowd"):
                by_picture[a["image_id"]].append(a)
        out = {}
        for number, people in by_picture.items():
            boxes = np.array([p["bbox"] for p in people], np.float64)
            alone = ~overlapped(boxes) & (boxes[:, 2:].max(1) >= LEAST_SIDE)
            out[names[number]] = list(zip(people, alone.tolist(), strict=True))
        return out
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise wrong("COCO's annotations", file, "it is not in COCO's layout") from e

"""The 55 joints of the SMPL-X layout: names, parents, the hands' rows, and the rows that SMPL and SMPL-H have.

Source: the layouts of the file formats (joint order and kinematic tree); no data of SMPL-X is in here.
"""

from __future__ import annotations

import numpy as np

_BODY = (
    "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle spine3 left_foot "
    "right_foot neck left_collar right_collar head left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist jaw left_eye_smplhf right_eye_smplhf"
)
FINGERS = ("index", "middle", "pinky", "ring", "thumb")
"""Order of the fingers in the layout: three joints each, left hand first."""

JOINT_NAMES: tuple[str, ...] = (
    *_BODY.split(),
    *(f"{side}_{finger}{k}" for side in ("left", "right") for finger in FINGERS for k in (1, 2, 3)),
)
N_JOINTS = len(JOINT_NAMES)
JOINT: dict[str, int] = {name: i for i, name in enumerate(JOINT_NAMES)}
"""Row of each joint by name."""


def _parents() -> np.ndarray:
    body = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15]
    hands = []
    for wrist, first in ((JOINT["left_wrist"], 25), (JOINT["right_wrist"], 40)):
        for finger in range(len(FINGERS)):
            root = first + 3 * finger
            hands += [wrist, root, root + 1]
    return np.array(body + hands, np.int32)


PARENTS: np.ndarray = _parents()
"""(55,) int32, -1 at the pelvis; every parent comes before its children."""


SMPL_ROWS: tuple[int, ...] = (*range(22), JOINT["left_middle1"], JOINT["right_middle1"])
"""Rows of SMPL's 24 joints. Its two hand joints hang on the wrists, as the first joints of the middle fingers do: a
hand turned there is turned whole."""
SMPLH_ROWS: tuple[int, ...] = (*range(22), *range(25, N_JOINTS))
"""Rows of SMPL-H's 52 joints: no jaw, no eyes."""


def mirror_joints() -> np.ndarray:
    """(55,) row of the joint on the other side of the body (itself for joints in the middle)."""
    swap = {"left": "right", "right": "left"}
    out = []
    for name in JOINT_NAMES:
        side, _, rest = name.partition("_")
        out.append(JOINT[f"{swap[side]}_{rest}"] if side in swap and rest else JOINT[name])
    return np.array(out, np.int32)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets of points: which they are, and the rules by which markers are found on any body. No bpy.

COCO's keypoints and SMPL-X's joints are places that the backend knows by name. Markers are found by rules on the rest
pose (a T-pose, palms down; SMPL-X axes: x the subject's left, y up, z forward): a ray from a place among the joints
leaves the body at the marker. The rules hold for every body with SMPL-X's joints.

Vicon's Plug-in Gait full-body marker set: where a marker sits comes from Vicon's "Plug-in Gait Reference Guide". The
front of the pelvis comes from the hip joints by Bell's regression (Bell, Pedersen & Brand, 1990): the joint lies
14 % of the pelvis' width inside the spine of the same side and 30 % below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_COCO = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
)
COCO = _COCO.split()
"""Names of landmarks, in COCO's order."""


@dataclass(frozen=True)
class Rule:
    """Where a marker lies: a ray from within the rest body leaves it there. SMPL-X axes, metres."""

    name: str
    """Of the marker."""
    start: np.ndarray
    """(3,) where the ray begins."""
    direction: np.ndarray
    """(3,) where it goes; of any length."""


@dataclass(frozen=True)
class _Joints:
    """Joints of a rest body by name, mirrored for the right side: rules are written for the left alone."""

    places: dict[str, np.ndarray]
    """Name -> (3,) metres, SMPL-X axes."""
    side: str
    """"left" or "right": which side is seen as the left one."""

    def __call__(self, name: str) -> np.ndarray:
        place = self.places[name.replace("left_", f"{self.side}_")]
        return place * [1.0 if self.side == "left" else -1.0, 1, 1]

    def between(self, one: str, other: str, share: float) -> np.ndarray:
        return (1 - share) * self(one) + share * self(other)


def plug_in_gait(names: Sequence[str], joints: np.ndarray) -> list[Rule]:
    """The 39 markers of the full-body set, from the rest joints (J, 3) called `names`."""
    table = dict(zip(names, joints, strict=True))
    rules = [(name, start, way, 1.0) for name, start, way in _middle(_Joints(table, "left"))]
    for side, x in (("left", 1.0), ("right", -1.0)):
        rules += [(side[0].upper() + n, start, way, x) for n, start, way in _one_side(_Joints(table, side))]
    found = [Rule(n, np.asarray(s) * [x, 1, 1], np.asarray(w) * [x, 1.0, 1]) for n, s, w, x in rules]
    return sorted(found, key=lambda rule: PLUG_IN_GAIT.index(rule.name))


_GAIT = (
    "LFHD RFHD LBHD RBHD C7 T10 CLAV STRN RBAK LSHO LUPA LELB LFRM LWRA LWRB LFIN RSHO RUPA RELB RFRM RWRA RWRB RFIN "
    "LASI RASI LPSI RPSI LTHI LKNE LTIB LANK LHEE LTOE RTHI RKNE RTIB RANK RHEE RTOE"
)
PLUG_IN_GAIT = _GAIT.split()
"""In Vicon's order."""

UP, FRONT, BACK, SIDE = (0, 1, 0), (0, 0, 1), (0, 0, -1), (1, 0, 0)


def _middle(j: _Joints) -> list[tuple]:
    chest = j.between("spine3", "neck", 0.6)
    # The lower end of the breastbone is level with the tenth thoracic vertebra, half-way from C7 to the pelvis.
    low = j.between("spine3", "spine2", 0.35)
    return [
        ("C7", j("neck"), (0, 0.25, -1)),
        ("T10", low, BACK),
        ("CLAV", [0, j("left_collar")[1], j("neck")[2]], FRONT),
        ("STRN", low, FRONT),
        ("RBAK", [-0.5 * (j("left_collar") + j("left_shoulder"))[0], chest[1], chest[2]], BACK),
    ]


def _one_side(j: _Joints) -> list[tuple]:
    eye, head, hip, knee = j("left_eye_smplhf"), j("head"), j("left_hip"), j("left_knee")
    brow = [0.0, eye[1] + 0.7 * 2 * eye[0], head[2]]
    width = hip[0] / 0.36
    spine = hip[1] + 0.30 * width
    ankle, ball, wrist = j("left_ankle"), j("left_foot"), j("left_wrist")
    return [
        ("FHD", brow, (0.55, 0, 1)),
        ("BHD", brow, (0.55, 0, -1)),
        ("SHO", j("left_shoulder"), UP),
        ("UPA", j.between("left_shoulder", "left_elbow", 0.55), (0, 1, -0.3)),
        ("ELB", j("left_elbow"), UP),
        ("FRM", j.between("left_elbow", "left_wrist", 0.5), (0, 1, -0.2)),
        ("WRA", wrist, FRONT),
        ("WRB", wrist, BACK),
        ("FIN", j.between("left_index1", "left_wrist", 0.1), UP),
        ("ASI", [0.5 * width, spine, hip[2]], FRONT),
        ("PSI", [0.2 * width, spine, hip[2]], BACK),
        ("THI", j.between("left_hip", "left_knee", 0.65), SIDE),
        ("KNE", knee, SIDE),
        ("TIB", j.between("left_knee", "left_ankle", 0.65), SIDE),
        ("ANK", ankle, SIDE),
        ("HEE", [ankle[0], ball[1] + 0.2 * (ankle[1] - ball[1]), ankle[2]], BACK),
        ("TOE", ball, UP),
    ]


_LIMBS = (
    ("upper_arm", "left_shoulder", "left_elbow", 1),
    ("forearm", "left_elbow", "left_wrist", 1),
    ("thigh", "left_hip", "left_knee", 0),
    ("shank", "left_knee", "left_ankle", 0),
)
_AROUND = ((0.35, 0.0), (0.5, 70.0), (0.55, -60.0), (0.75, 15.0))
"""Share of the way to the next joint and degrees around the limb: four places that lie in no plane."""


def clusters(names: Sequence[str], joints: np.ndarray) -> list[Rule]:
    """Four markers on each rigid part: head, chest, pelvis, upper arms, forearms, thighs, shanks; three on a foot."""
    out: list[Rule] = []
    table = dict(zip(names, joints, strict=True))
    for side, x in (("left", 1.0), ("right", -1.0)):
        j, mirror = _Joints(table, side), np.array([x, 1, 1])
        rules = [rule for limb in _LIMBS for rule in _limb(j, *limb)]
        ankle, ball = j("left_ankle"), j("left_foot")
        rules += [
            ("foot_1", j.between("left_ankle", "left_foot", 0.5), UP),
            ("foot_2", [ankle[0], 0.5 * (ankle + ball)[1], ankle[2]], BACK),
            ("foot_3", ball, SIDE),
        ]
        out += [Rule(f"{side}_{n}", np.asarray(s) * mirror, np.asarray(d) * mirror) for n, s, d in rules]
    j = _Joints(table, "left")
    eye, chest = j("left_eye_smplhf"), j("spine3")
    brow = np.array([0, eye[1] + 1.4 * eye[0], j("head")[2]])
    shoulder, hip = j("left_shoulder")[0], j("left_hip")
    middle = [("head", brow, d) for d in ((0.6, 0, 1), (-0.6, 0.3, 1), (0.7, 0, -1), (-0.5, 0.6, -1))]
    middle += [("chest", chest + np.array([0.4 * s * shoulder, h, 0]), d) for s, h, d in
               ((1, 0.05, FRONT), (-1, 0.0, FRONT), (1, 0.02, BACK), (-1, 0.08, BACK))]  # fmt: skip
    middle += [("pelvis", [s * hip[0], hip[1] + h, hip[2]], d) for s, h, d in
               ((1.2, 0.06, FRONT), (-1.2, 0.04, FRONT), (0.7, 0.07, BACK), (-0.9, 0.05, BACK))]  # fmt: skip
    for i, (part, start, way) in enumerate(middle):
        out.append(Rule(f"{part}_{i % 4 + 1}", np.asarray(start, float), np.asarray(way, float)))
    return out


def _limb(j: _Joints, part: str, upper: str, lower: str, along: int) -> list[tuple]:
    """Markers around the limb's axis, which is x for an arm (`along` 1) and y for a leg."""
    rules = []
    for i, (share, degrees) in enumerate(_AROUND):
        turn = np.deg2rad(degrees)
        out, across = np.cos(turn), np.sin(turn)
        way = (0, out, across) if along else (out, 0, across)
        rules.append((f"{part}_{i + 1}", j.between(upper, lower, share), way))
    return rules

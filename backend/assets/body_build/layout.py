"""Which MakeHuman bone becomes which joint of the SMPL-X layout."""

from __future__ import annotations

import numpy as np

from backend.body.skeleton import JOINT, JOINT_NAMES

_FINGER_NUMBER = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
_MIDDLE = {
    "pelvis": "root",
    "spine1": "spine04",
    "spine2": "spine03",
    "spine3": "spine02",
    "neck": "neck01",
    "head": "head",
    "jaw": "jaw",
}
_SIDES = {
    "hip": "upperleg01",
    "knee": "lowerleg01",
    "ankle": "foot",
    "foot": "toe2-1",
    "collar": "clavicle",
    "shoulder": "upperarm01",
    "elbow": "lowerarm01",
    "wrist": "wrist",
    "eye_smplhf": "eye",
}


def primary_bones() -> dict[str, str]:
    """Joint name -> the bone whose head is the joint's centre."""
    out = dict(_MIDDLE)
    for side, suffix in (("left", "L"), ("right", "R")):
        for joint, bone in _SIDES.items():
            out[f"{side}_{joint}"] = f"{bone}.{suffix}"
        for finger, number in _FINGER_NUMBER.items():
            for k in (1, 2, 3):
                out[f"{side}_{finger}{k}"] = f"finger{number}-{k}.{suffix}"
    return {name: out[name] for name in JOINT_NAMES}


def joint_of_bone(labels: list[str], parents: list[int]) -> np.ndarray:
    """(bones,) joint that carries each bone: its own, or the nearest mapped ancestor's."""
    own = {bone: JOINT[joint] for joint, bone in primary_bones().items()}
    # Bones that sit between two joints of the layout but whose ancestor is the wrong one.
    own |= {"spine05": JOINT["pelvis"], "spine01": JOINT["spine3"]}
    for side, suffix in (("left", "L"), ("right", "R")):
        own |= {f"toe{t}-1.{suffix}": JOINT[f"{side}_foot"] for t in range(1, 6)}
    out = []
    for i in range(len(labels)):
        while labels[i] not in own:
            i = parents[i]
        out.append(own[labels[i]])
    return np.array(out)

"""Which MakeHuman bones make which joint of the SMPL-X layout: joint centres and skinning."""

from __future__ import annotations

import numpy as np

from backend.body.skeleton import JOINT, JOINT_NAMES, N_JOINTS

_FINGER_NUMBER = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}
_MIDDLE = {
    # MakeHuman's root lies on the skin of the back; the pelvis joint belongs in the middle of the pelvis.
    "pelvis": {"upperleg01.L": 0.25, "upperleg01.R": 0.25, "spine04": 0.5},
    # MakeHuman's middle spine bones wander by centimetres from body to body while the skin stays; means are steady.
    "spine1": {"spine04": 0.87, "spine01": 0.13},
    "spine2": {"spine04": 0.34, "spine02": 0.33, "spine01": 0.33},
    "spine3": {"spine01": 1},
    "neck": {"neck01": 1},
    "head": {"head": 1},
    "jaw": {"jaw": 1},
}
_SIDES = {
    "knee": "lowerleg01",
    "ankle": "foot",
    "foot": "toe2-1",
    "collar": "clavicle",
    "shoulder": "upperarm01",
    "elbow": "lowerarm01",
    "wrist": "wrist",
    "eye_smplhf": "eye",
}
_SHARED = {
    # Bones that carry skin between two joints, or whose nearest mapped ancestor would be the wrong one.
    "spine05": {"pelvis": 1},
    "spine04": {"pelvis": 0.5, "spine1": 0.5},
    "spine03": {"spine1": 1},
    "spine02": {"spine2": 1},
    "spine01": {"spine3": 1},
    "root": {"pelvis": 1},
}


def joint_centres() -> dict[str, dict[str, float]]:
    """Joint name -> bones and the shares of their heads that make the joint's centre (shares sum to 1)."""
    out: dict[str, dict[str, float]] = dict(_MIDDLE)
    for side, own, other in (("left", "L", "R"), ("right", "R", "L")):
        # MakeHuman's hips sit 22 cm apart, at the outer end of the femur's neck. The head of the femur, about
        # which the leg turns, lies a fifth further in (hip centres are 17 to 18 cm apart in adults).
        out[f"{side}_hip"] = {f"upperleg01.{own}": 0.9, f"upperleg01.{other}": 0.1}
        for joint, bone in _SIDES.items():
            out[f"{side}_{joint}"] = {f"{bone}.{own}": 1}
        for finger, number in _FINGER_NUMBER.items():
            for k in (1, 2, 3):
                out[f"{side}_{finger}{k}"] = {f"finger{number}-{k}.{own}": 1}
    return {name: out[name] for name in JOINT_NAMES}


def centre_matrix(labels: list[str]) -> np.ndarray:
    """(55, bones): joint centres = matrix @ bone heads."""
    M = np.zeros((N_JOINTS, len(labels)))
    for name, shares in joint_centres().items():
        for bone, share in shares.items():
            M[JOINT[name], labels.index(bone)] = share
    return M


def skinning_matrix(labels: list[str], parents: list[int]) -> np.ndarray:
    """(bones, 55): joint weights of a vertex = its bone weights @ matrix. A bone without a joint of its own gives
    its weight to its nearest ancestor that has one."""
    own = {f"toe{t}-1.{s}": {f"{n}_foot": 1} for t in range(1, 6) for s, n in (("L", "left"), ("R", "right"))}
    for suffix, side in (("L", "left"), ("R", "right")):
        own[f"upperleg01.{suffix}"] = {f"{side}_hip": 1}
        own |= {
            f"{bone}.{suffix}": {f"{side}_{joint}": 1} for joint, bone in _SIDES.items() if joint != "foot"
        }
        for finger, number in _FINGER_NUMBER.items():
            own |= {f"finger{number}-{k}.{suffix}": {f"{side}_{finger}{k}": 1} for k in (1, 2, 3)}
    own |= {bone: {bone.rstrip("01"): 1} for bone in ("neck01", "head", "jaw")} | _SHARED
    M = np.zeros((len(labels), N_JOINTS))
    for i, _ in enumerate(labels):
        b = i
        while labels[b] not in own:
            b = parents[b]
        for joint, share in own[labels[b]].items():
            M[i, JOINT[joint]] = share
    return M

"""Poses by rules, mirrors, mixtures, and the check that turns impossible ones away."""

from __future__ import annotations

import numpy as np
import pytest

from backend.body import JOINT
from backend.synth.collide import depth
from backend.synth.motion import mirrored, mixed
from backend.synth.people import stance
from backend.synth.rules import RULES, Rule, rotvec, ruled_pose, standing_pose
from backend.synth.skin import chain, rotations


def joints(world, pose22) -> np.ndarray:
    pose = np.zeros((55, 3))
    pose[: len(pose22)] = pose22
    return chain(rotations(pose), world.skin.joints)[1]


def mean_joints(world, name: str, n: int = 40) -> np.ndarray:
    rule = next(r for r in RULES if r.name == name)
    rng = np.random.default_rng(0)
    return np.mean([joints(world, ruled_pose(rng, rule)[0]) for _ in range(n)], 0)


@pytest.mark.slow
def test_rules_are_what_they_are_called(world):
    at = lambda j, n: j[JOINT[n]]  # noqa: E731
    j = mean_joints(world, "handstand")
    assert at(j, "left_ankle")[1] > at(j, "pelvis")[1] > at(j, "head")[1] > at(j, "left_wrist")[1]
    j = mean_joints(world, "arms overhead")
    assert at(j, "left_wrist")[1] > at(j, "head")[1] > at(j, "pelvis")[1]
    j = mean_joints(world, "squat")
    assert at(j, "pelvis")[1] - at(j, "left_ankle")[1] < 0.6
    assert at(j, "left_knee")[2] > at(j, "pelvis")[2] + 0.2
    for name in ("lying on the back", "lying on the front", "plank"):
        j = mean_joints(world, name)
        assert abs(at(j, "head")[1] - at(j, "pelvis")[1]) < 0.25, name
    j = mean_joints(world, "side split")
    assert at(j, "left_ankle")[0] - at(j, "right_ankle")[0] > 1.2
    j = mean_joints(world, "all fours")
    assert at(j, "left_wrist")[1] < at(j, "left_shoulder")[1] - 0.35
    assert at(j, "left_knee")[1] < at(j, "left_hip")[1] - 0.3
    # Forearms fold forwards, shins backwards.
    bent = Rule("bent", hip=(0, 0), knee=(90, 0), arm=(0, 0), elbow=(90, 0), forward=(0, 0))
    j = np.mean([joints(world, ruled_pose(np.random.default_rng(i), bent)[0]) for i in range(20)], 0)
    for side in ("left", "right"):
        assert at(j, f"{side}_ankle")[2] < at(j, f"{side}_knee")[2] - 0.3
        assert at(j, f"{side}_wrist")[2] > at(j, f"{side}_elbow")[2] + 0.1


@pytest.mark.slow
def test_the_mirror_image(world):
    pose = ruled_pose(np.random.default_rng(5))[0]
    assert np.allclose(mirrored(mirrored(pose)), pose)
    a, b = joints(world, pose), joints(world, mirrored(pose))
    flipped = a[[JOINT["right_wrist"], JOINT["left_knee"], JOINT["head"]]] * [-1, 1, 1]
    assert np.abs(b[[JOINT["left_wrist"], JOINT["right_knee"], JOINT["head"]]] - flipped).max() < 1e-4


def test_halves_of_two_poses():
    a, b = (ruled_pose(np.random.default_rng(s))[0] for s in (1, 2))
    m = mixed(a, b)
    assert np.array_equal(m[JOINT["left_knee"]], a[JOINT["left_knee"]])
    assert np.array_equal(m[JOINT["left_elbow"]], b[JOINT["left_elbow"]])


def test_limbs_through_the_body_are_noticed(world):
    pose = np.zeros((22, 3))
    assert depth(joints(world, pose)) == 0
    # Hanging arms are no fault.
    pose[JOINT["left_shoulder"]] = [0, 0, np.deg2rad(-70)]
    assert depth(joints(world, pose)) < 0.03
    # The left forearm straight through the chest.
    pose[JOINT["left_elbow"]] = [0, 0, np.deg2rad(-110)]
    assert depth(joints(world, pose)) > 0.06
    # A shin through the other.
    pose = np.zeros((22, 3))
    pose[JOINT["left_hip"]] = [0, 0, np.deg2rad(-20)]
    assert depth(joints(world, pose)) > 0.05


def test_people_hardly_ever_stand_in_themselves(world):
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(150):
        s = stance(rng, world.skin, world.motion)
        inside.append(depth(joints(world, s.pose)))
    assert np.mean(np.array(inside) > 0.05) < 0.05


@pytest.mark.parametrize("v", [[0, 0, 0], [0.3, -0.2, 1.0], [np.pi, 0, 0], [0, -3.0, 0.5], [1e-8, 0, 0]])
def test_rotvec_is_the_inverse_of_rotations(v):
    R = rotations(np.array(v, float))
    assert np.abs(rotations(rotvec(R)) - R).max() < 1e-6


def test_who_stands_has_straight_legs_and_flat_feet():
    rng = np.random.default_rng(2)
    poses = np.rad2deg(np.stack([standing_pose(rng) for _ in range(200)]))
    knees = poses[:, [JOINT["left_knee"], JOINT["right_knee"]], 0]
    assert knees.min() >= 0 and np.median(knees) < 8 and np.percentile(knees, 95) < 25
    soles = sum(poses[:, JOINT[f"left_{n}"], 0] for n in ("hip", "knee", "ankle"))
    assert np.abs(soles).mean() < 5

"""Poses that motion capture of everyday movement lacks, made by rules: angles of joints within their limits.

Angles in degrees, anatomical: hip flexion lifts the thigh forwards, abduction to the side; 'raise' is the upper
arm's angle from hanging (0) over level (90) to overhead (180), 'forward' where it points between sideways (0)
and straight ahead (90). A rule gives the mean and the spread of each, and the tilt of the whole body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.body import JOINT
from backend.synth.motion import BODY_JOINTS
from backend.synth.skin import rotations

Range = tuple[float, float]
"""Mean and standard deviation, degrees."""


@dataclass(frozen=True)
class Rule:
    """One family of poses; ranges in degrees. The two sides have values of their own unless `together`."""

    name: str
    """What the pose is called."""
    hip: Range = (10, 20)
    """Flexion of the thigh."""
    out: Range = (5, 8)
    """Thigh away from the middle."""
    twist: Range = (0, 12)
    """Thigh about its own axis."""
    knee: Range = (20, 20)
    """Flexion."""
    foot: Range = (0, 15)
    """Turn of the ankle."""
    arm: Range = (35, 35)
    """Upper arm from hanging, up in the side plane."""
    forward: Range = (20, 40)
    """Upper arm round to the front."""
    elbow: Range = (30, 35)
    """Flexion."""
    bend: Range = (0, 12)
    """Spine forwards."""
    side: Range = (0, 10)
    """Spine to the side."""
    turn: Range = (0, 15)
    """Spine about its own axis."""
    head: Range = (0, 15)
    """Neck and head forwards."""
    pitch: Range = (0, 6)
    """Tilt of the trunk forwards; 90 is face down."""
    roll: Range = (0, 5)
    """Tilt of the trunk to the side."""
    together: float = 0.5
    """Chance that both sides do the same."""
    split: bool = False
    """One leg gets the opposite hip flexion."""
    seat: bool = False
    """The person sits on something as high as a chair."""


RULES: tuple[Rule, ...] = (
    Rule("standing, arms anyhow", (3, 8), knee=(5, 8), arm=(80, 55), forward=(30, 55), elbow=(60, 50)),
    Rule("arms overhead", (5, 12), knee=(8, 12), arm=(160, 18), forward=(20, 30), elbow=(25, 30)),
    Rule("squat", (95, 25), (18, 12), knee=(115, 22), foot=(20, 10), arm=(70, 35), forward=(70, 25),
         bend=(20, 15), pitch=(12, 10), together=1),
    Rule("sitting", (88, 12), (10, 9), knee=(85, 18), arm=(28, 18), forward=(60, 30), elbow=(55, 35),
         bend=(10, 12), pitch=(-5, 10), together=0.7, seat=True),
    Rule("sitting on the floor", (85, 18), (15, 14), knee=(40, 40), arm=(35, 25), forward=(40, 40),
         pitch=(-8, 12), bend=(12, 12)),
    Rule("cross-legged", (95, 10), (38, 8), (55, 8), (118, 10), arm=(30, 15), forward=(50, 25), elbow=(60, 25),
         together=1),
    Rule("kneeling", (15, 25), (8, 6), knee=(118, 18), foot=(40, 10), pitch=(4, 10), together=0.8),
    Rule("lunge", (55, 22), (5, 6), knee=(60, 30), arm=(70, 50), split=True),
    Rule("all fours", (85, 18), (8, 8), knee=(85, 20), foot=(35, 15), arm=(85, 15), forward=(85, 10),
         elbow=(10, 14), pitch=(82, 10), head=(-25, 15)),
    Rule("crawling", (70, 30), (15, 12), knee=(75, 28), arm=(95, 30), forward=(80, 20), elbow=(25, 25),
         pitch=(80, 12), head=(-25, 15), together=0.1),
    Rule("plank", (5, 10), knee=(6, 9), foot=(-10, 15), arm=(82, 12), forward=(85, 8), elbow=(20, 30),
         pitch=(80, 8), head=(-15, 12), together=0.9),
    Rule("lying on the back", (20, 30), (10, 10), knee=(30, 35), arm=(60, 50), pitch=(-90, 7)),
    Rule("lying on the front", (0, 8), knee=(20, 28), arm=(90, 55), forward=(-3, 9), elbow=(20, 25), pitch=(90, 6)),
    Rule("lying on the side", (45, 30), knee=(55, 35), arm=(70, 45), forward=(60, 35), roll=(90, 8)),
    Rule("handstand", (0, 22), (8, 14), knee=(15, 22), foot=(30, 15), arm=(172, 10), forward=(40, 25),
         elbow=(10, 12), pitch=(180, 10), head=(-20, 15), bend=(-5, 10), together=0.6),
    Rule("bridge", (-25, 12), (8, 6), knee=(85, 15), arm=(170, 12), elbow=(20, 15), bend=(-45, 12),
         pitch=(-95, 12), together=1),
    Rule("front split", (85, 12), (3, 5), knee=(8, 10), foot=(30, 15), arm=(90, 50), split=True),
    Rule("side split", (25, 20), (75, 10), knee=(6, 8), foot=(25, 15), arm=(90, 45), together=1),
    Rule("forward bend", (90, 25), knee=(10, 14), arm=(100, 30), forward=(80, 15), elbow=(12, 15),
         bend=(25, 15), pitch=(85, 25), together=0.9),
    Rule("dog", (105, 12), knee=(8, 10), arm=(165, 12), forward=(70, 20), elbow=(8, 10), pitch=(125, 12),
         together=0.9),
    Rule("tree", (5, 6), (3, 4), knee=(5, 5), arm=(150, 40), elbow=(30, 35)),
    Rule("kick", (35, 35), (10, 15), knee=(30, 35), foot=(20, 20), arm=(60, 35), split=True, side=(0, 15)),
    Rule("star jump", (5, 15), (35, 10), knee=(12, 16), arm=(125, 25), forward=(5, 15), elbow=(12, 15),
         together=0.9),
    Rule("throw", (20, 25), knee=(35, 25), arm=(100, 40), forward=(30, 60), elbow=(70, 40), turn=(0, 30),
         side=(0, 15), together=0),
    Rule("curled up", (115, 12), (8, 8), knee=(125, 12), arm=(60, 25), forward=(80, 15), elbow=(90, 30),
         bend=(35, 12), pitch=(0, 90), roll=(0, 50), together=0.9),
    Rule("anyhow", (40, 45), (20, 22), (0, 25), (60, 45), (10, 25), (85, 55), (30, 60), (60, 50), (5, 25),
         (0, 20), (0, 28), (0, 22), (0, 60), (0, 50), together=0),
)  # fmt: skip
_LIMITS = {
    "hip": (-28, 128), "out": (-18, 85), "twist": (-35, 65), "knee": (0, 148), "foot": (-30, 50),
    "arm": (-25, 182), "forward": (-55, 135), "elbow": (0, 148), "bend": (-45, 70), "side": (-35, 35),
    "turn": (-55, 55), "head": (-50, 45),
}  # fmt: skip


def ruled_pose(rng: np.random.Generator, rule: Rule | None = None) -> tuple[np.ndarray, Rule]:
    """(22, 3) pose in the world (y up, facing +z before any turn) of `rule`, or of any."""
    rule = RULES[rng.integers(len(RULES))] if rule is None else rule
    both = rng.random() < rule.together

    def draw(name: str) -> float:
        mean, spread = getattr(rule, name)
        return float(np.clip(rng.normal(mean, spread), *_LIMITS[name])) if name in _LIMITS else mean

    pose = np.zeros((BODY_JOINTS, 3))
    sides = {n: draw(n) for n in ("hip", "out", "twist", "knee", "foot", "arm", "forward", "elbow")}
    lead = rng.random() < 0.5
    for side, sign in (("left", 1.0), ("right", -1.0)):
        own = sides if both else {n: draw(n) for n in sides}
        # Two sides that do the same never do it to the degree.
        a = {n: float(np.clip(x + rng.normal(0, 4), *_LIMITS[n])) for n, x in own.items()}
        if rule.split and (sign > 0) != lead:
            a["hip"], a["knee"] = -0.35 * abs(a["hip"]) + rng.normal(0, 8), a["knee"] * rng.uniform(0.2, 1.2)
        if rule.name == "tree" and (sign > 0) == lead:
            a |= {
                "hip": rng.normal(70, 15),
                "out": rng.normal(45, 10),
                "twist": 40.0,
                "knee": rng.normal(125, 10),
            }
        _leg(pose, side, sign, a)
        _arm(pose, side, sign, a, rng)
    bend, lean, turn = draw("bend"), draw("side"), draw("turn")
    for joint, share in (("spine1", 0.3), ("spine2", 0.35), ("spine3", 0.35)):
        pose[JOINT[joint]] = np.deg2rad(np.array([bend, turn, lean]) * share)
    pose[JOINT["neck"]] = np.deg2rad([0.5 * draw("head"), rng.normal(0, 12), rng.normal(0, 6)])
    pose[JOINT["head"]] = np.deg2rad([0.5 * draw("head"), rng.normal(0, 16), rng.normal(0, 8)])
    tilt = rotations(np.deg2rad([rng.normal(*rule.pitch), 0, 0]))
    roll = rotations(np.deg2rad([0, 0, rng.normal(*rule.roll) * (1 if lead else -1)]))
    pose[0] = rotvec(roll @ tilt)
    return pose, rule


def standing_pose(rng: np.random.Generator) -> np.ndarray:
    """(22, 3): somebody who stands on straight legs, flat on both feet, arms anyhow."""
    pose = ruled_pose(rng, RULES[0])[0]
    pose[0] = 0
    for side in ("left", "right"):
        hip, knee = (pose[JOINT[f"{side}_{n}"], 0] for n in ("hip", "knee"))
        pose[JOINT[f"{side}_ankle"], 0] = rng.normal(0, np.deg2rad(4)) - hip - knee
    return pose


def _leg(pose: np.ndarray, side: str, sign: float, a: dict[str, float]) -> None:
    flex, out, twist = np.deg2rad([a["hip"], a["out"], a["twist"]])
    thigh = rotations([-flex, 0, 0]) @ rotations([0, 0, sign * out]) @ rotations([0, sign * twist, 0])
    pose[JOINT[f"{side}_hip"]] = rotvec(thigh)
    pose[JOINT[f"{side}_knee"], 0] = np.deg2rad(a["knee"])
    pose[JOINT[f"{side}_ankle"], 0] = np.deg2rad(a["foot"])


def _arm(pose: np.ndarray, side: str, sign: float, a: dict[str, float], rng: np.random.Generator) -> None:
    up, ahead, bend = np.deg2rad([a["arm"], a["forward"], a["elbow"]])
    # The shoulder blade takes a share of what goes beyond level.
    share = np.deg2rad(max(0.0, a["arm"] - 60) * 0.2)
    pose[JOINT[f"{side}_collar"]] = [0, 0, sign * share]
    # From the T-pose: twist about the arm, down to hanging and up by `arm` in the side plane, round to the front.
    swing = rotations([0, -sign * ahead, 0]) @ rotations([0, 0, sign * (up - np.pi / 2 - share)])
    twist = rotations([np.deg2rad(rng.normal(0, 35)), 0, 0])
    pose[JOINT[f"{side}_shoulder"]] = rotvec(swing @ twist)
    pose[JOINT[f"{side}_elbow"]] = rotvec(
        rotations([0, -sign * bend, 0]) @ rotations([np.deg2rad(rng.normal(0, 30)), 0, 0])
    )
    pose[JOINT[f"{side}_wrist"]] = np.deg2rad(rng.normal(0, [8, 10, 18]))


def rotvec(R: np.ndarray) -> np.ndarray:
    """Rotation matrix (3, 3) -> rotation vector (3,)."""
    q = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    s, c = np.linalg.norm(q) / 2, (np.trace(R) - 1) / 2
    angle = np.arctan2(s, c)
    if s > 1e-6:
        return q / (2 * s) * angle
    if c > 0:
        return q / 2
    # Half a turn: the axis is the column of (R + I) that is longest.
    columns = (R + np.eye(3)).T
    axis = columns[np.linalg.norm(columns, axis=1).argmax()]
    return axis / np.linalg.norm(axis) * np.pi

"""A random person: shape, face, pose. Source of poses: motion capture, rules, and mixtures of both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.body import JOINT
from backend.body.skeleton import FINGERS
from backend.synth.collide import depth
from backend.synth.motion import Motion, mirrored, mixed, shaken
from backend.synth.rules import rotvec, ruled_pose
from backend.synth.skin import Skin, chain, rotations

_TOLERATED = 0.03
"""Metres that limbs may stand in each other: flesh gives way."""
_TRIES = 5


@dataclass(frozen=True, eq=False)
class Stance:
    """A person before a camera is chosen, in the world (y up)."""

    pose: np.ndarray
    """(55, 3) rotation vectors."""
    betas: np.ndarray
    """(nb,)."""
    expression: np.ndarray
    """(ne,)."""
    kind: str
    """The pose's source or rule."""
    seat: bool
    """The person sits on something as high as a chair."""


def stance(rng: np.random.Generator, skin: Skin, motion: Motion | None, split: str = "train") -> Stance:
    """A random person in a random pose, facing anywhere."""
    betas = shape(rng, skin.n_betas, split)
    expression = np.clip(rng.normal(0, 0.5, skin.n_expressions), -2, 2) * (rng.random() < 0.7)
    joints = skin.joints + (skin.joint_basis[:, : skin.n_betas] @ betas.astype(np.float32)).reshape(-1, 3)
    best = None
    for _ in range(_TRIES):
        body, kind, seat = _body_pose(rng, motion)
        pose = np.zeros((55, 3))
        pose[:22] = body
        pose[22:] = _details(rng)
        if rng.random() < 0.5:
            pose = mirrored(pose)
        inside = depth(chain(rotations(pose), joints)[1])
        if best is None or inside < best[0]:
            best = inside, pose, kind, seat
        if inside < _TOLERATED:
            break
    _, pose, kind, seat = best
    pose[0] = rotvec(_facing(rng) @ rotations(pose[0]))
    return Stance(pose, betas.astype(np.float32), expression.astype(np.float32), kind, seat)


def shape(rng: np.random.Generator, n: int, split: str) -> np.ndarray:
    """(n,) betas, standard normal with wider tails now and then. The signs of five of them cut the space into 32
    cells, of which every sixth is held out."""
    while True:
        betas = np.clip(rng.normal(0, 1.7 if rng.random() < 0.2 else 1.0, n), -3, 3)
        if (shape_cell(betas) % 6 == 1) == (split == "held-out"):
            return betas


def shape_cell(betas: np.ndarray) -> int:
    """Number 0..31 of the cell of the shape space that `betas` lie in."""
    return int((betas[1:6] > 0) @ (1 << np.arange(5)))


def _body_pose(rng: np.random.Generator, motion: Motion | None) -> tuple[np.ndarray, str, bool]:
    """(22, 3), its kind, whether it sits."""
    amount = float(rng.choice([0.0, 0.6, 1.0, 1.8], p=[0.25, 0.35, 0.3, 0.1]))
    dice = rng.random() if motion is not None else 1.0
    if dice < 0.42:
        return shaken(motion.frame(rng), rng, amount), "motion", False
    if dice < 0.54:
        return shaken(mixed(motion.frame(rng), motion.frame(rng)), rng, amount), "motion, halves mixed", False
    if dice < 0.66:
        pose, rule = ruled_pose(rng)
        # The rule's arms on a walking body, or a walker's arms on the rule's legs and trunk.
        if rng.random() < 0.6:
            return shaken(mixed(motion.frame(rng), pose), rng, amount), f"motion below, {rule.name}", False
        upper = motion.frame(rng)
        keep = [JOINT[n] for n in ("spine1", "spine2", "spine3")]
        upper[keep] = pose[keep]
        return mixed(pose, upper), f"{rule.name}, arms of motion", rule.seat
    pose, rule = ruled_pose(rng)
    return pose, rule.name, rule.seat


def _facing(rng: np.random.Generator) -> np.ndarray:
    """Turn about the world's up: anywhere, with some liking for towards the camera (which stands at +z)."""
    yaw = rng.normal(0, 45) if rng.random() < 0.35 else rng.uniform(-180, 180)
    turn = rotations([0, np.deg2rad(yaw), 0])
    if rng.random() < 0.06:  # tumbling
        return turn @ rotations(rng.normal(size=3) * 1.2)
    return turn


def _details(rng: np.random.Generator) -> np.ndarray:
    """(33, 3): jaw, eyes, fingers."""
    out = np.zeros((33, 3))
    out[0, 0] = abs(rng.normal(0, 0.12)) if rng.random() < 0.5 else 0.0
    out[1] = out[2] = np.append(rng.normal(0, [0.1, 0.2]), 0)
    for start, sign in ((3, 1.0), (18, -1.0)):
        out[start : start + 15] = _hand(rng, sign)
    return out


def _hand(rng: np.random.Generator, sign: float) -> np.ndarray:
    """(15, 3) fingers of the left (sign 1) or right (-1) hand: flat, relaxed, fist, pointing or anyhow."""
    style = rng.random()
    curl = np.full(5, rng.normal(0.45, 0.2)) if style < 0.5 else np.full(5, rng.uniform(0, 1.5))
    if style > 0.75:
        curl = rng.uniform(0, 1.5, 5)
    curl = np.clip(curl + rng.normal(0, 0.1, 5), -0.15, 1.6)
    spread = rng.normal(0.0, 0.12)
    out = np.zeros((15, 3))
    fan = {"index": -1.0, "middle": -0.2, "ring": 0.5, "pinky": 1.2, "thumb": 0.0}
    for i, finger in enumerate(FINGERS):
        for k in range(3):
            bend = curl[i] * (0.8, 1.0, 0.7)[k]
            if finger == "thumb":
                out[3 * i + k] = [0.2 * curl[i], -sign * 0.35 * bend, 0.0]
            else:
                out[3 * i + k] = [0, -sign * fan[finger] * spread * (k == 0) * -1, -sign * bend]
    return out

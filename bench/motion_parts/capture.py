"""Motion capture put on our body: the clips of `cmu_30fps.npz` as pose and place of a body that stands on y = 0."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation, RotationSpline

from backend.body.kinematics import forward
from backend.body.model import Body
from backend.body.skeleton import JOINT
from backend.synth.split import split_of

RATE = 30.0
"""Frames a second of the file."""
TOE_HEIGHT = 0.02
"""Metres of a resting toe joint over the floor, by the file's README."""


@dataclass(eq=False)
class Performance:
    """A stretch of motion capture, y up, metres, the floor at y = 0."""

    name: str
    """Of the clip, CMU's subject and trial."""
    kind: str
    """What is done: walk, run, jump, dance, sport, still or climb."""
    floor_ok: bool
    """Whether everything happens on one floor."""
    times: np.ndarray
    """(n,) seconds from 0."""
    pose: np.ndarray
    """(n, 55, 3) rotation vectors."""
    pelvis: np.ndarray
    """(n, 3) place of the pelvis joint."""
    contacts: np.ndarray
    """(n, 4) bool: left ankle, left toe, right ankle, right toe at rest, by the file."""
    bad: np.ndarray
    """(n,) bool, frames that are not to be believed."""


class Capture:
    """The file, as arrays."""

    def __init__(self, file: Path) -> None:
        with np.load(file) as d:
            self._d = {n: d[n] for n in d.files}

    @cached_property
    def held_out(self) -> list[int]:
        """Clips of the held-out performers."""
        names = zip(self._d["names"], self._d["source"], strict=True)
        return [k for k, (n, s) in enumerate(names) if split_of(n, s) == "held-out"]

    def seconds(self, k: int) -> float:
        return float(np.diff(self._d["offsets"])[k] / RATE)

    def kind(self, k: int) -> str:
        """What is done in clip `k`, in one word, by CMU's text."""
        if not self._d["floor_ok"][k]:
            return "climb"
        text = str(self._d["description"][k]).lower()
        for word, kind in _KINDS:
            if word in text:
                return kind
        return "still"

    def performance(self, k: int, body: Body, betas: np.ndarray, first: int, count: int) -> Performance:
        """`count` frames of clip `k` from `first` on, on a body of this shape (nb,)."""
        d = self._d
        rows = slice(d["offsets"][k] + first, min(d["offsets"][k] + first + count, d["offsets"][k + 1]))
        pose = np.zeros((rows.stop - rows.start, 55, 3))
        pose[:, :22] = d["poses"][rows].astype(np.float64).reshape(-1, 22, 3)
        place = d["trans"][rows].astype(np.float64)
        place[:, 1] -= d["floor"][k] - TOE_HEIGHT
        place *= leg_length(body, betas) / d["leg"][k]
        times = np.arange(len(pose)) / RATE
        return Performance(str(d["names"][k]), self.kind(k), bool(d["floor_ok"][k]), times, pose, place,
                           d["contacts"][rows], d["bad"][rows])  # fmt: skip


_KINDS = (("dribble", "sport"), ("basketball", "sport"), ("boxing", "sport"), ("dance", "dance"), ("jump up", "jump"),
          ("forward jump", "jump"), ("jumping jacks", "jump"), ("jump", "jump"), ("run", "run"), ("walk", "walk"),
          ("navigate", "walk"))  # fmt: skip


def leg_length(body: Body, betas: np.ndarray) -> float:
    """Thigh and shin of the rest body, metres."""
    J = body.joints_template + body.joints_shapedirs @ np.asarray(betas, np.float32)
    hip, knee, ankle = (J[JOINT[f"left_{n}"]] for n in ("hip", "knee", "ankle"))
    return float(np.linalg.norm(hip - knee) + np.linalg.norm(knee - ankle))


def at_rate(p: Performance, rate: float) -> Performance:
    """The same at another number of frames a second, by smooth curves: corners would be jerks that nobody made."""
    if rate == RATE:
        return p
    times = np.arange(0, p.times[-1] + 1e-9, 1 / rate)
    pose = np.zeros((len(times), 55, 3))
    for j in range(22):
        pose[:, j] = RotationSpline(p.times, Rotation.from_rotvec(p.pose[:, j]))(times).as_rotvec()
    pelvis = CubicSpline(p.times, p.pelvis)(times)
    nearest = np.rint(times * RATE).astype(int).clip(0, len(p.times) - 1)
    return Performance(p.name, p.kind, p.floor_ok, times, pose, pelvis, p.contacts[nearest], p.bad[nearest])


def turned(p: Performance, yaw: float, to: np.ndarray) -> Performance:
    """The same, turned by `yaw` radians about the vertical through the first place and moved so that its middle lies
    over `to` (2,), x and z."""
    turn = Rotation.from_euler("y", yaw)
    pelvis = turn.apply(p.pelvis)
    middle = (pelvis[:, [0, 2]].min(0) + pelvis[:, [0, 2]].max(0)) / 2
    pelvis[:, [0, 2]] += to - middle
    pose = p.pose.copy()
    pose[:, 0] = (turn * Rotation.from_rotvec(p.pose[:, 0])).as_rotvec()
    return Performance(p.name, p.kind, p.floor_ok, p.times, pose, pelvis, p.contacts, p.bad)


def bodies(body: Body, pose: np.ndarray, betas: np.ndarray, pelvis: np.ndarray, points=None, vertices=False):
    """Joints (n, 55, 3), points (n, P, 3) or None, vertices (n, V, 3) or None, and `trans` (n, 3) of these poses with
    the pelvis joint at `pelvis` (n, 3)."""
    T = body.to()
    rest = body.joints_template[0] + body.joints_shapedirs[0] @ np.asarray(betas, np.float32)
    trans = np.asarray(pelvis - rest, np.float32)
    parts = []
    for s in range(0, len(pose), 32):
        f32 = lambda a: torch.from_numpy(np.asarray(a, np.float32))  # noqa: E731
        with torch.inference_mode():
            out = forward(
                T, f32(pose[s : s + 32]), f32(betas), f32(trans[s : s + 32]), points=points, vertices=vertices
            )
        parts.append((out.joints.numpy(), None if out.points is None else out.points.numpy(),
                      None if out.vertices is None else out.vertices.numpy()))  # fmt: skip
    joined = [None if column[0] is None else np.concatenate(column) for column in zip(*parts, strict=True)]
    return *joined, trans

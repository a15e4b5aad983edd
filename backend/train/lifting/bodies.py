"""Bodies without pictures: landmarks as BlazePose would find them, wrong as it is wrong, and where the body really is.

They train the lifter (`backend.localizers.field.lifter`) before the first picture is looked at, thousands a second.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from backend.body.kinematics import forward, rodrigues
from backend.body.model import Body
from backend.synth.motion import load_motion, mirrored, mixed, shaken
from backend.synth.rules import ruled_pose, standing_pose
from backend.train.streams.points import PointPool

STANDING = 0.25
"""Share of bodies that stand on straight legs. In films nearly everybody does for some of the time, while in motion
capture, where people are asked to do something, both legs are straight in one frame of a hundred; and whoever has
seen few straight legs answers with bent ones whenever he is in doubt."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """B bodies and P points."""

    xy: Tensor
    """(B, 33, 2) landmarks, as x/z and y/z of the camera, turned upright as a crop shows them."""
    visibility: Tensor
    """(B, 33) 0..1."""
    world: Tensor
    """(B, 33, 3) metres, as BlazePose would guess them."""
    has_world: Tensor
    """(B,) bool, whether the lifter is given that guess."""
    points: Tensor
    """(P, 3) canonical."""
    places: Tensor
    """(B, P, 3) metres, relative to the middle of the hip landmarks, camera axes of the crop."""

    def to(self, device: torch.device | str) -> Lesson:
        """The same on a torch device."""
        return Lesson(*(getattr(self, f.name).to(device) for f in fields(self)))


@dataclass(frozen=True)
class Noise:
    """How wrong landmarks are. The guess in metres is also turned and flattened.

    Of the order of what BlazePose heavy does on rendered people (medians: 0.048 of the radius, 0.15 where it sees
    little and 0.04 where it sees well; guess turned by 16 degrees, depth flattened to 0.63, then wrong by 9, 11 and
    11 cm). In the picture it is smaller, since BlazePose is better on real people.
    """

    everywhere: float = 0.015
    """In the picture, as a share of the person's radius: median over people. More where less is seen."""
    some: float = 0.015
    """What is added at a share of the points, in the same unit."""
    lost: float = 0.1
    """What is added at a few points, in the same unit."""
    side: float = 0.07
    """Error of the guess across the line of sight, metres."""
    depth: float = 0.1
    """Error of the guess along the line of sight, metres."""


class BodyLessons:
    """`motion`: npz of body poses; `bank`: poses drawn once."""

    def __init__(
        self,
        body: Body,
        pool: PointPool,
        motion: Path,
        seed: int = 0,
        bank: int = 40_000,
        split: str = "train",
    ) -> None:
        self.pool, self.noise, self.seed = pool, Noise(), seed
        self._body, self._betas = body.to(), body.n_betas
        self._poses = torch.from_numpy(pose_bank(motion, split, bank, seed))

    def lesson(self, index: int, size: int, points: int = 64) -> Lesson:
        """Number `index` of an endless row: a pure function of its arguments and the seed."""
        rng = np.random.default_rng((self.seed, index, 7))
        g = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        rows = self.pool.draw(rng, self.pool.fixed + points)
        chosen = self.pool.points.take(rows)
        R = rodrigues(self._pose(size, g))
        R[:, 0] = _camera(size, g) @ R[:, 0]
        betas = torch.randn(size, self._betas, generator=g) * 1.2
        x = forward(self._body, R, betas, torch.zeros(size, 3), points=chosen.to()).points
        landmarks = x[:, self.pool.landmarks]
        x = x - landmarks[:, [23, 24]].mean(1, keepdim=True)
        distance = 1.5 + 7 * torch.rand(size, generator=g)
        x, seen = _seen(x, self.pool.landmarks, distance, g)
        xy, visibility, world = self._as_found(seen, x[:, self.pool.landmarks], g)
        told = torch.rand(size, generator=g) < 0.5
        return Lesson(xy, visibility, world, told, torch.from_numpy(chosen.positions), x)

    def _pose(self, size: int, g: torch.Generator) -> Tensor:
        body = self._poses[torch.randint(len(self._poses), (size,), generator=g)]
        pose = torch.zeros(size, 55, 3)
        pose[:, :22] = body
        pose[:, 25:] = 0.3 * torch.randn(size, 30, 3, generator=g)
        return pose

    def _as_found(self, xy: Tensor, x: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        B, n = len(xy), self.noise
        randn = lambda *s: torch.randn(*s, generator=g)  # noqa: E731
        rand = lambda *s: torch.rand(*s, generator=g)  # noqa: E731
        size = torch.linalg.vector_norm(xy - xy[:, [23, 24]].mean(1, keepdim=True), dim=-1).amax(1)[
            :, None, None
        ]
        lost = rand(B, 33) < 0.05
        visibility = torch.where(lost | (rand(B, 33) < 0.2), rand(B, 33), 1 - 0.1 * rand(B, 33))
        wrong = (
            n.everywhere
            * (0.7 * randn(B, 1, 1)).exp()
            * randn(B, 33, 2)
            * (3.5 - 2.5 * visibility[..., None])
        )
        wrong = (
            wrong
            + n.some * randn(B, 33, 2) * (rand(B, 33, 1) < 0.3)
            + n.lost * randn(B, 33, 2) * lost[..., None]
        )
        # The guess in metres is flattened, turned a little as a whole, and wrong joint by joint.
        turn = rodrigues(0.22 * randn(B, 3))
        flat = torch.cat([torch.ones(B, 1, 2), 0.25 + 0.9 * rand(B, 1, 1)], -1)
        world = (x * flat) @ turn.mT * (1 + 0.08 * randn(B, 1, 1))
        error = torch.cat([n.side * randn(B, 33, 2), n.depth * randn(B, 33, 1)], -1)
        return xy + wrong * size, visibility, world + error * (0.5 + rand(B, 1, 1))


def pose_bank(motion: Path, split: str, count: int, seed: int) -> np.ndarray:
    """(count, 22, 3) body poses: motion capture, halves of it mixed, rules, people who stand; shaken and mirrored."""
    rng = np.random.default_rng((seed, count))
    source = load_motion(motion, split)
    out = np.zeros((count, 22, 3), np.float32)
    for i in range(count):
        dice, shakes = rng.random(), (0, 0.6, 1.0, 1.8)
        if dice < 0.45:
            pose = source.frame(rng)
        elif dice < 0.55:
            pose = mixed(source.frame(rng), source.frame(rng))
        elif dice < 1 - STANDING:
            pose = ruled_pose(rng)[0]
        else:
            stance = standing_pose(rng)
            pose, shakes = (
                mixed(stance, source.frame(rng)) if rng.random() < 0.7 else stance,
                (0, 0, 0.4, 0.8),
            )
        pose = shaken(pose, rng, float(rng.choice(shakes)))
        out[i] = mirrored(pose) if rng.random() < 0.5 else pose
    return out


def _camera(size: int, g: torch.Generator) -> Tensor:
    """(B, 3, 3): a body that faces +z, y up, turned anyhow and seen by a camera that looks up or down a little."""
    rand, randn = torch.rand(3, size, generator=g), torch.randn(3, size, generator=g)
    yaw = torch.where(rand[0] < 0.4, 0.8 * randn[0], (2 * rand[1] - 1) * torch.pi)
    pitch, roll = 0.08 + 0.25 * randn[1], 0.12 * randn[2]
    zero = torch.zeros(size)
    about = lambda *v: rodrigues(torch.stack(v, -1))  # noqa: E731
    towards = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    return about(zero, zero, roll) @ towards @ about(pitch, zero, zero) @ about(zero, yaw, zero)


def _seen(x: Tensor, landmarks: slice, distance: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points (B, P, 3) about the hips turned as an upright crop shows them, and the landmarks' (B, 33, 2) rays."""
    B = len(x)
    away = torch.stack([torch.zeros(B), torch.zeros(B), distance], -1)[:, None]
    # Nobody is behind the camera: whoever would reach it stands further off.
    near = (x[..., 2] + distance[:, None]).amin(1)
    away = away + torch.stack([torch.zeros(B), torch.zeros(B), (0.5 - near).clamp_min(0)], -1)[:, None]
    place = x + away
    rays = place[..., :2] / place[..., 2:]
    marks = rays[:, landmarks]
    axis = marks[:, [11, 12]].mean(1) - marks[:, [23, 24]].mean(1)
    roll = torch.atan2(axis[:, 0], -axis[:, 1]) + 0.12 * torch.randn(B, generator=g)
    c, s = roll.cos(), roll.sin()
    turn = torch.stack([c, s, -s, c], -1).view(B, 2, 2)
    x = torch.cat([x[..., :2] @ turn.mT, x[..., 2:]], -1)
    return x, marks @ turn.mT

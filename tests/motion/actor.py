"""People of whom everything is known, before a camera that looks down at them, and how a localizer would see them.

The floor is y = 0 of a world with y up; the camera stands at `HEIGHT` over the origin's far side and is tilted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from backend.body.kinematics import forward
from backend.body.load import load_body
from backend.body.native import native_points
from backend.camera.pinhole import Camera
from backend.fit.track import exhaust
from backend.motion.assemble import Clip
from backend.motion.solve import solve
from backend.motion.touch import touching_points
from backend.options import MocapOptions
from backend.records import Chunk, TrackChunk, TrackMotion

CAMERA = Camera.from_fov(1000, 1000)
HEIGHT, AWAY, TILT = 1.5, 4.0, np.deg2rad(12)
SURFACE = 8
_R = np.array([[1, 0, 0], [0, np.cos(TILT), -np.sin(TILT)], [0, np.sin(TILT), np.cos(TILT)]])
WORLD_TO_CAMERA = _R @ np.diag([1.0, -1, -1])
UP = WORLD_TO_CAMERA @ [0.0, 1, 0]

Script = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Times (n,) -> bend of each leg (n, 2), how high the soles are (n,) and where they are across (n,), metres."""


def stand(t: np.ndarray) -> tuple[np.ndarray, ...]:
    return np.zeros((len(t), 2)) + 0.04, 0 * t, 0 * t


def march(t: np.ndarray) -> tuple[np.ndarray, ...]:
    """On the spot, the left leg first, one step in 0.6 s."""
    lift = np.sin(np.pi * t / 0.6) ** 2
    left = (t // 0.6).astype(int) % 2 == 0
    return np.stack([np.where(left, lift, 0), np.where(left, 0, lift)], 1) * 0.7 + 0.04, 0 * t, 0 * t


def squat(t: np.ndarray) -> tuple[np.ndarray, ...]:
    bend = 0.04 + 0.7 * np.sin(np.pi * t / 1.6) ** 2
    return np.stack([bend, bend], 1), 0 * t, 0 * t


def jump(t: np.ndarray) -> tuple[np.ndarray, ...]:
    """0.7 m to the side, off the ground from 1.0 to 1.36 s."""
    crouch = lambda at: 0.5 * np.exp(-0.5 * ((t - at) / 0.13) ** 2)  # noqa: E731
    bend = 0.04 + crouch(0.8) + crouch(1.56)
    f = np.clip((t - 1.0) / 0.36, 0, 1)
    return np.stack([bend, bend], 1), 4 * 0.16 * f * (1 - f), 0.7 * f


@dataclass(frozen=True)
class Actor:
    """What is true of n frames, camera space."""

    times: np.ndarray
    points: np.ndarray
    """(n, P, 3) native points."""
    soles: np.ndarray
    """(n, 4, 3) left heel, left toes, right heel, right toes."""
    planted: np.ndarray
    """(n, 4) bool."""
    joints: np.ndarray
    """(n, 55, 3)."""

    @property
    def landmarks(self) -> np.ndarray:
        return self.points[:, :33]


@cache
def body():
    return load_body()


@cache
def points():
    return native_points(body(), SURFACE)


def act(script: Script, times: np.ndarray, x: float = 0.0, betas: tuple[float, ...] = (0.3, -0.2),
        lies: bool = False) -> Actor:  # fmt: skip
    """Somebody who stands `x` metres to the right of the middle and faces the camera, or lies there on his back."""
    legs, high, side = script(times)
    n = len(times)
    pose = np.zeros((n, 55, 3), np.float32)
    sway = np.sin(2 * np.pi * times / 1.2)
    for k in range(2):
        pose[:, 1 + k, 0], pose[:, 4 + k, 0], pose[:, 7 + k, 0] = -legs[:, k], 2 * legs[:, k], -legs[:, k]
    if lies:
        pose[:, 0, 0] = -np.pi / 2
    pose[:, 16, 2], pose[:, 17, 2] = -1.1 + 0.1 * sway, 1.1 + 0.1 * sway
    pose[:, 18, 1], pose[:, 19, 1] = -0.4 - 0.2 * sway, 0.4 - 0.2 * sway
    shape = np.zeros(body().n_betas, np.float32)
    shape[: len(betas)] = betas

    def posed(pts):
        with torch.inference_mode():
            return forward(body().to(), torch.from_numpy(pose), torch.from_numpy(shape),
                           torch.zeros(n, 3), points=pts.to(), correctives=False)  # fmt: skip

    out, touching = posed(points()), posed(touching_points(body())).points.numpy()
    soles = touching[:, :4]
    # Whichever foot is lower carries; it stays where it is.
    low = soles[..., 1].reshape(n, 2, 2).mean(2)
    ankles = out.joints[:, [7, 8]].numpy()
    carries = low.argmin(1)
    at = ankles[np.arange(n), carries]
    shift = np.stack([x + side, high - low.min(1), -at[:, 2]], 1)
    if lies:
        shift = np.stack([x + side, -touching[..., 1].min(1), 0 * side], 1)
    there = lambda a: (a + shift[:, None] - [0, HEIGHT, AWAY]) @ WORLD_TO_CAMERA.T  # noqa: E731
    planted = np.repeat(low < low.min(1, keepdims=True) + 0.004, 2, 1) & (high < 0.003)[:, None]
    return Actor(times, there(out.points.numpy()), there(soles), planted, there(out.joints.numpy()))


def seen(actor: Actor, number: int = 1, size: float = 1.0, error: float = 0.012, seed: int = 0) -> TrackChunk:
    """How a localizer sees `actor`: `error` metres wrong, for a fifth of a second alike, and `size` times as large."""
    rng = np.random.default_rng((seed, number))
    n, count = actor.points.shape[:2]
    keep = np.exp(-np.median(np.diff(actor.times)) / 0.2)
    wrong = rng.normal(size=(n, count, 3))
    for i in range(1, n):
        wrong[i] = keep * wrong[i - 1] + np.sqrt(1 - keep**2) * wrong[i]
    place = size * actor.points + error * wrong * [1, 1, 1.5]
    flat = CAMERA.project(actor.points + 0.4 * error * wrong[:, ::-1])
    low, high = flat.min(1), flat.max(1)
    f32 = lambda a: np.ascontiguousarray(a, np.float32)  # noqa: E731
    return TrackChunk(number, np.arange(n, dtype=np.int32), actor.times, f32(np.concatenate([low, high - low], 1)),
                      f32(place), f32(flat), np.full((n, count), 0.03, np.float32), np.ones(n, np.float32))  # fmt: skip


def without(track: TrackChunk, rows: np.ndarray) -> TrackChunk:
    """`track` whose `rows` (bool) show nothing."""
    gone = lambda a: np.where(rows.reshape(-1, *[1] * (a.ndim - 1)), np.float32(np.nan), a)  # noqa: E731
    return replace(track, points3d=gone(track.points3d), points2d=gone(track.points2d),
                   uncertainty=gone(track.uncertainty))  # fmt: skip


def clip_of(tracks: list[TrackChunk], **options: object) -> Clip:
    clip = Clip(body(), points(), MocapOptions(**options))
    clip.add(Chunk(0, int(tracks[0].frames[-1]), CAMERA.width, CAMERA.height, tracks))
    return clip


def solved(tracks: list[TrackChunk], **options: object) -> list[TrackMotion]:
    return exhaust(solve(clip_of(tracks, **options).take(), tracks))


def soles_of(motion: TrackMotion, count: int | None = 4) -> np.ndarray:
    """(n, 4, 3) where the soles of a motion are, camera space; the first `count` of all places that may touch."""
    arrays = (torch.from_numpy(a) for a in (motion.pose, motion.betas, motion.trans))
    with torch.inference_mode():
        return forward(body().to(), *arrays, points=touching_points(body()).to()).points[:, :count].numpy()

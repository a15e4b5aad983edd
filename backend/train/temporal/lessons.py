"""Endless lessons for the temporal network: stretches of motion before made-up cameras, and the truth beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backend.body.kinematics import rodrigues
from backend.motion.temporal.describe import FPS, Seen
from backend.train.temporal.bank import Bank
from backend.train.temporal.localizer import SimulatedLocalizer, wander

LIMBS = {"left_arm": (13, 15, 17, 19, 21), "right_arm": (14, 16, 18, 20, 22), "left_leg": (25, 27, 29, 31),
         "right_leg": (26, 28, 30, 32), "legs": (25, 26, 27, 28, 29, 30, 31, 32), "head": tuple(range(11))}  # fmt: skip
"""Landmarks that are hidden together."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What the network is to say of B x T frames, camera space, in the localizer's scale."""

    turned: Tensor
    """(B, T, 22, 3, 3)."""
    landmarks: Tensor
    """(B, T, 33, 3) metres about the middle of the hips."""
    velocity: Tensor
    """(B, T, 3) m/s."""
    up: Tensor
    """(B, T, 3)."""
    contacts: Tensor
    """(B, T, 8) 0 or 1."""
    counts: Tensor
    """(B, T, 8) whether the contact is known."""
    good: Tensor
    """(B, T) 1 where the recording does not jump."""
    bones: Tensor
    """(B, 22, 3)."""


class Lessons:
    """`length`: frames of a stretch, at `FPS`."""

    def __init__(self, bank: Bank, localizer: SimulatedLocalizer, length: int = 96, seed: int = 0) -> None:
        self.bank, self.localizer, self.length, self.seed = bank, localizer, length, seed
        self._long = np.diff(bank.starts)

    @torch.no_grad()
    def lesson(self, index: int, size: int) -> tuple[Seen, Truth]:
        """Number `index` of an endless row: a pure function of its arguments and the seed."""
        rng = np.random.default_rng((self.seed, index, 11))
        g = torch.Generator().manual_seed(self.seed * 1_000_003 + index)
        x, turned, pelvis, contacts, counts, good, bones = self._stretches(rng, size)
        camera, pan, turning = _cameras(size, self.length, rng)
        centre = pelvis[:, self.length // 2, None]
        world = (camera[:, None] @ (pelvis - centre)[..., None])[..., 0] + _away(rng, size)[:, None]
        x = (camera[:, None, None] @ x[..., None])[..., 0]
        # Nobody is behind the camera.
        near = (x[..., 2] + world[..., None, 2]).flatten(1).amin(1)
        world[..., 2] += (0.6 - near).clamp_min(0)[:, None]
        velocity = torch.zeros_like(world)
        velocity[:, 1:-1] = (world[:, 2:] - world[:, :-2]) * (FPS / 2)
        velocity[:, 0], velocity[:, -1] = velocity[:, 1], velocity[:, -2]
        up = (camera @ torch.tensor([0.0, 1.0, 0.0]))[:, None].expand(-1, self.length, -1)
        turned = camera[:, None, None] @ turned
        turn = pan[:, :, None]
        x, world = (turn @ x[..., None])[..., 0], (pan @ world[..., None])[..., 0]
        velocity, up = ((pan @ v[..., None])[..., 0] for v in (velocity, up))
        turned = turn[..., None, :, :] @ turned if turned.ndim == 6 else turn @ turned
        hidden = _hidden(rng, size, self.length)
        seen, scale = self.localizer.see(x, world, hidden, g)
        here = torch.from_numpy(_gaps(rng, size, self.length))
        known = torch.from_numpy((rng.random(size) < 0.8).astype(np.float32))
        still = (turning.abs().amax((1, 2)) == 0).float()
        known = torch.maximum(known, still * torch.from_numpy((rng.random(size) < 0.9).astype(np.float32)))
        known = known[:, None].expand(-1, self.length)
        points, rays, sigma = (_held(a, here) for a in _slower(rng, seen))
        about = x - x[..., [23, 24], :].mean(-2, keepdim=True)
        s = scale[:, None, None]
        return (
            Seen(points, rays, sigma, here, turning * known[..., None], known),
            Truth(turned, about * s[..., None], velocity * s, up, contacts, counts, good, bones * s),
        )

    def _stretches(self, rng: np.random.Generator, size: int) -> tuple[Tensor, ...]:
        b, T = self.bank, self.length
        rows, shares = np.zeros((size, T), int), np.zeros((size, T), np.float32)
        clips = rng.choice(len(b.chance), size, p=b.chance)
        for i, c in enumerate(clips):
            n = self._long[c]
            rate = 1.0 if rng.random() < 0.5 else rng.uniform(0.75, 1.3)
            span = (T - 1) * rate
            at = rng.uniform(0, max(n - 1 - span, 0)) + np.arange(T) * rate
            if rate == 1.0:
                at = np.floor(at)
            # A clip that is too short goes back the way it came.
            at = np.abs((at + n - 1) % (2 * (n - 1)) - (n - 1)) if at[-1] > n - 1 else at
            at = np.clip(at, 0, n - 1.001)
            rows[i], shares[i] = np.floor(at), at % 1
            rows[i] += b.starts[c]
        w = torch.from_numpy(shares)

        def taken(a: np.ndarray) -> Tensor:
            low, high = (torch.from_numpy(a[r].astype(np.float32)) for r in (rows, rows + 1))
            return torch.lerp(low, high, w.reshape(size, T, *[1] * (low.ndim - 2)))

        turned = taken(b.turned)
        first = torch.nn.functional.normalize(turned[..., 0], dim=-1)
        second = turned[..., 1] - (first * turned[..., 1]).sum(-1, keepdim=True) * first
        second = torch.nn.functional.normalize(second, dim=-1)
        turned = torch.stack([first, second, torch.linalg.cross(first, second)], -1)
        contacts = torch.from_numpy(b.contacts[rows].astype(np.float32))
        counts = torch.ones_like(contacts)
        counts[..., 4:] = torch.from_numpy(b.lifted[rows].astype(np.float32))[..., None]
        good = torch.from_numpy(1 - np.maximum(b.bad[rows], b.bad[rows + 1]).astype(np.float32))
        return (
            taken(b.landmarks),
            turned,
            taken(b.pelvis),
            contacts,
            counts,
            good,
            torch.from_numpy(b.bones[clips]),
        )


def _cameras(size: int, length: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """(B, 3, 3) from the world (y up) to the camera; (B, T, 3, 3) what a camera that pans adds; (B, T, 3) how it
    turns, rad/s. Three in four cameras stand still."""
    yaw = rng.uniform(-np.pi, np.pi, size)
    pitch = np.where(rng.random(size) < 0.85, rng.normal(0.08, 0.2, size), rng.normal(0.5, 0.4, size))
    roll = rng.normal(0, 0.06, size)
    zero = np.zeros(size)
    about = lambda *v: rodrigues(torch.from_numpy(np.stack(v, -1).astype(np.float32)))  # noqa: E731
    towards = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    camera = about(zero, zero, roll) @ towards @ about(pitch, zero, zero) @ about(zero, yaw, zero)
    t = np.arange(length) / FPS
    moves = rng.random((size, 1)) < 0.25
    swing = [rng.normal(0, s, (size, 1)) * np.sin(2 * np.pi * t / rng.uniform(1.5, 8, (size, 1)) + rng.uniform(
        0, 6.3, (size, 1))) * moves for s in (0.06, 0.25, 0.02)]  # fmt: skip
    angles = torch.from_numpy(np.stack(swing, -1).astype(np.float32))
    pan = rodrigues(angles)
    step = torch.zeros_like(angles)
    step[:, 1:] = (angles[:, 1:] - angles[:, :-1]) * FPS
    return camera, pan, step


def _away(rng: np.random.Generator, size: int) -> Tensor:
    """(B, 3) where the person is."""
    z = np.exp(rng.uniform(np.log(2.2), np.log(10), size))
    x, y = rng.normal(0, 0.18, (2, size)) * z
    return torch.from_numpy(np.stack([x, 0.6 * y, z], -1).astype(np.float32))


def _hidden(rng: np.random.Generator, size: int, length: int) -> Tensor:
    """(B, T, 33) 0..1, how much of each landmark is hidden by something for a while."""
    out = np.zeros((size, length, 33), np.float32)
    for i in range(size):
        for rows in LIMBS.values():
            if rng.random() < 0.1:
                first, long = rng.integers(-20, length), int(rng.uniform(8, 90))
                out[i, max(first, 0) : max(first + long, 0), list(rows)] = rng.uniform(0.4, 1)
        out[i] = np.maximum(out[i], (rng.random(33) < 0.03)[None] * rng.random())
    return torch.from_numpy(out)


def _gaps(rng: np.random.Generator, size: int, length: int) -> np.ndarray:
    """(B, T) 0 where nothing was seen."""
    out = np.ones((size, length), np.float32)
    for i in np.flatnonzero(rng.random(size) < 0.3):
        for _ in range(rng.integers(1, 3)):
            first, long = int(rng.integers(1, length - 2)), int(rng.integers(1, 16))
            out[i, first : min(first + long, length - 1)] = 0
    return out


def _held(a: Tensor, here: Tensor) -> Tensor:
    """`a` (B, T, ...) with what lies in gaps replaced by what lies between their ends."""
    T = here.shape[1]
    out = a.clone()
    at = torch.arange(T)
    for i in torch.where((here == 0).any(1))[0].tolist():
        rows = torch.where(here[i] > 0)[0]
        after = torch.searchsorted(rows, at).clamp(max=len(rows) - 1)
        before = (after - (rows[after] > at).long()).clamp_min(0)
        p, q = rows[before], rows[after]
        share = ((at - p) / (q - p).clamp_min(1)).clamp(0, 1).to(a).reshape(T, *[1] * (a.ndim - 2))
        out[i] = torch.lerp(a[i, p], a[i, q], share)
    return out


def _slower(rng: np.random.Generator, seen: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """A part of the stretches as a slower camera would give them: every second or third frame, others between."""
    points = seen[0]
    B, T = points.shape[:2]
    here = np.ones((B, T), np.float32)
    for i in np.flatnonzero(rng.random(B) < 0.15):
        step = int(rng.integers(2, 4))
        here[i] = 0
        here[i, ::step] = 1
    kept = torch.from_numpy(here)
    return tuple(_held(a, kept) for a in seen)


__all__ = ["Lessons", "Truth", "wander"]

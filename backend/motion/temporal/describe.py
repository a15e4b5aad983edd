"""What the temporal network is told of each frame: the localizer's landmarks, seen from the body itself.

Everything is given in the axes of a rough body frame (x to the person's left, y from hips to shoulders, z to the
front), so that a walk looks alike whichever way it goes. Axes elsewhere: camera space, metres.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

LANDMARKS = 33
FPS = 30.0
"""Frames a second that the network works at."""
HIPS, SHOULDERS = (23, 24), (11, 12)
_NEAR_M = 0.3
_FASTEST = 8.0
"""m/s; what seems faster is no news."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A track of T frames at `FPS`, B of them."""

    points: Tensor
    """(B, T, 33, 3) landmarks, camera space, metres."""
    rays: Tensor
    """(B, T, 33, 2) the same in the picture, as x/z and y/z."""
    sigma: Tensor
    """(B, T, 33) metres, stated uncertainty."""
    here: Tensor
    """(B, T) 1 where the person was seen, 0 where the frame lies in a gap and its arrays between those beside it."""
    turning: Tensor
    """(B, T, 3) rotation vector of the camera from frame to frame in its own axes, times `FPS`: rad/s."""
    known: Tensor
    """(B, T) 1 where `turning` is known, or the camera known to stand still; else 0."""

    def take(self, frames: slice) -> Seen:
        """Some frames."""
        return Seen(*(getattr(self, f.name)[:, frames] for f in fields(self)))


def hips(points: Tensor) -> Tensor:
    """(..., 33, k) -> (..., k) the middle of the hips."""
    return points[..., list(HIPS), :].mean(-2)


def body_frame(points: Tensor) -> Tensor:
    """(..., 33, 3) -> (..., 3, 3) rotation from the rough body frame to the axes of `points`."""
    up = points[..., list(SHOULDERS), :].mean(-2) - hips(points)
    left = points[..., HIPS[0], :] - points[..., HIPS[1], :]
    left = left + 0.7 * (points[..., SHOULDERS[0], :] - points[..., SHOULDERS[1], :])
    y = _unit(up, torch.tensor([0.0, -1.0, 0.0], dtype=points.dtype))
    x = _unit(left - (left * y).sum(-1, keepdim=True) * y, _across(y))
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def _unit(v: Tensor, otherwise: Tensor) -> Tensor:
    size = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    return torch.where(size > 1e-4, v / size.clamp_min(1e-4), otherwise.to(v))


def _across(y: Tensor) -> Tensor:
    """Some unit vector across `y`."""
    z = torch.tensor([0.0, 0.0, -1.0], dtype=y.dtype, device=y.device).expand_as(y)
    x = torch.linalg.cross(y, z)
    size = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return torch.where(size > 1e-3, x / size.clamp_min(1e-3), torch.tensor([1.0, 0.0, 0.0]).to(y))


def described(seen: Seen) -> tuple[Tensor, Tensor]:
    """-> what the network reads (B, T, `WIDTH`), and the body frames (B, T, 3, 3)."""
    B, T = seen.here.shape
    middle = hips(seen.points)
    frame = body_frame(seen.points)
    back = frame.mT[..., None, :, :]
    about = (back @ (seen.points - middle[..., None, :])[..., None])[..., 0]
    depth = middle[..., 2:].clamp_min(_NEAR_M)
    flat = (seen.rays - hips(seen.rays)[..., None, :]) * depth[..., None, :]
    # What the picture says beside the points in space, in metres across the line of sight.
    direct = (seen.points - middle[..., None, :])[..., :2]
    flat = flat - direct
    sigma = seen.sigma.clamp(1e-3, 2.0)
    usual = sigma.median(-1, keepdim=True).values
    moved = torch.zeros_like(middle)
    moved[:, 1:] = (middle[:, 1:] - middle[:, :-1]) * FPS
    moved = (frame.mT @ moved.clamp(-_FASTEST, _FASTEST)[..., None])[..., 0]
    turning = (frame.mT @ seen.turning[..., None])[..., 0] * seen.known[..., None]
    place = torch.cat([middle[..., :2] / depth, depth.log()], -1)
    parts = [
        2 * about.flatten(2), 5 * flat.clamp(-1, 1).flatten(2), (sigma / usual).log(), usual.log() + 3,
        frame.flatten(2), place, 0.5 * moved, turning, seen.known[..., None], seen.here[..., None],
    ]  # fmt: skip
    return torch.cat([p.reshape(B, T, -1) for p in parts], -1), frame


WIDTH = LANDMARKS * 6 + 1 + 9 + 3 + 3 + 3 + 2

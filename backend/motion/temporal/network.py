"""The temporal network: dilated steps through time over what each frame says, and one head for all answers.

It has no memory of its own and no norm over time, so that a track can be read in windows of any length: beyond
`REACH` frames nothing matters. Linear layers on shifted copies of the frames stand for convolutions; on processors
they are the faster of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backend.motion.temporal.describe import LANDMARKS, WIDTH, Seen, described, hips

JOINTS = 22
CONTACTS = 8
DILATIONS = (1, 2, 4, 8, 16)
REACH = sum(DILATIONS)
"""Frames to either side that an answer depends on."""
_SIZES = (JOINTS * 6, JOINTS, LANDMARKS * 3, LANDMARKS, 3, 1, 3, 1, CONTACTS)


@dataclass(frozen=True, eq=False)
class Told:
    """What the network says of B x T frames; camera space."""

    rotations: Tensor
    """(B, T, 22, 3, 3) of each body joint, from the body's rest axes to the camera's (not relative to the parent)."""
    rotation_sigma: Tensor
    """(B, T, 22) radians, one sigma of the whole turn."""
    landmarks: Tensor
    """(B, T, 33, 3) metres about the middle of the hips."""
    landmark_sigma: Tensor
    """(B, T, 33) metres, one sigma of the distance."""
    velocity: Tensor
    """(B, T, 3) m/s of the pelvis over the ground, so without the camera's own movement."""
    velocity_sigma: Tensor
    """(B, T) m/s."""
    up: Tensor
    """(B, T, 3) unit vector against gravity."""
    up_sigma: Tensor
    """(B, T) radians."""
    contacts: Tensor
    """(B, T, 8) logits, columns as `CONTACTS` of motions."""


class Step(nn.Module):
    """A look at the frames `dilation` before and after."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.norm = nn.LayerNorm(width)
        self.near, self.out = nn.Linear(3 * width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, c) -> the same."""
        y, d, T = F.gelu(self.norm(x)), self.dilation, x.shape[1]
        at = torch.arange(T, device=x.device)
        y = torch.cat([y[:, (at - d).clamp_min(0)], y, y[:, (at + d).clamp_max(T - 1)]], -1)
        return x + self.out(F.gelu(self.near(y)))


class TemporalNet(nn.Module):
    """See the module."""

    def __init__(self, width: int = 320) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, width)
        self.alone = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        self.steps = nn.Sequential(*(Step(width, d) for d in DILATIONS))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, sum(_SIZES))
        with torch.no_grad():
            self.last.weight *= 0.1

    def forward(self, seen: Seen) -> Told:
        """What B tracks of T frames say."""
        told, frame = described(seen)
        x = self.first(told)
        x = x + self.alone(x)
        rot, rot_s, points, point_s, v, v_s, up, up_s, contacts = self.last(self.norm(self.steps(x))).split(
            _SIZES, -1
        )
        turned = matrix_from_six(rot.unflatten(-1, (JOINTS, 6)))
        about = seen.points - hips(seen.points)[..., None, :]
        moved = (frame[..., None, :, :] @ points.unflatten(-1, (LANDMARKS, 3))[..., None])[..., 0]
        points = about + moved
        y = torch.tensor([0.0, 1.0, 0.0], dtype=up.dtype, device=up.device)
        return Told(
            frame[..., None, :, :] @ turned, _sigma(rot_s, 0.2),
            points - hips(points)[..., None, :], _sigma(point_s, 0.06),
            (frame @ v[..., None])[..., 0], _sigma(v_s, 0.3)[..., 0],
            F.normalize((frame @ (up + y)[..., None])[..., 0], dim=-1), _sigma(up_s, 0.15)[..., 0],
            contacts,
        )  # fmt: skip


def _sigma(x: Tensor, usual: float) -> Tensor:
    return usual * (4 * torch.tanh(x / 4)).exp()


def matrix_from_six(six: Tensor) -> Tensor:
    """(..., 6) -> (..., 3, 3): the identity's first two columns and six numbers beside them, made orthonormal (Zhou et
    al., "On the continuity of rotation representations", 2019)."""
    a, b = six[..., :3], six[..., 3:]
    a = a + torch.tensor([1.0, 0.0, 0.0], dtype=six.dtype, device=six.device)
    b = b + torch.tensor([0.0, 1.0, 0.0], dtype=six.dtype, device=six.device)
    x = F.normalize(a, dim=-1)
    y = F.normalize(b - (x * b).sum(-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)

"""A localizer that sees bodies as ours does, wrong as it is wrong, without a picture.

Most errors of our field on real people are those of its lifter, which reads landmarks in the picture: so the shipped
lifter itself is asked, with landmarks that wander about the true ones. Some stretches have BlazePose's own flattened
guess instead, or places near the truth, as better localizers give them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backend.body.kinematics import rodrigues
from backend.body.load import load_body
from backend.localizers.field.file import load_field
from backend.localizers.field.lifter import describe
from backend.localizers.field.localizer import WEIGHTS
from backend.localizers.field.model import guess
from backend.motion.temporal.describe import FPS, hips
from backend.train.streams.points import point_pool


@dataclass(frozen=True)
class Errors:
    """How wrong a localizer is. Shares are of the person's radius in the picture."""

    picture: float = 0.016
    """Of the landmarks that the lifter reads, one sigma; more where less is seen."""
    drawn: float = 0.014
    """Of the points in the picture, beside those landmarks."""
    places: tuple[float, float, float] = (0.018, 0.018, 0.03)
    """Metres, of places in space beside the lifter's own errors, along x, y, z."""
    lean: float = 0.07
    """Radians by which a whole body is turned."""
    size: float = 0.06
    """Relative."""
    lens: float = 0.12
    """Relative, of the focal length in half of all clips."""


def wander(shape: tuple[int, ...], g: torch.Generator, seconds: float = 0.3,
           shares: tuple[float, float, float] = (0.5, 0.47, 0.03)) -> Tensor:  # fmt: skip
    """(B, T, ...) errors of variance 1 that are alike from frame to frame: `shares` of the variance stay for the whole
    stretch, change within `seconds`, and are new in each frame."""
    B, T, *rest = shape
    keep = torch.exp(torch.tensor(-1 / (FPS * seconds)))
    new = torch.randn(shape, generator=g)
    slow = [new[:, 0]]
    for t in range(1, T):
        slow.append(keep * slow[-1] + (1 - keep**2).sqrt() * new[:, t])
    stays, once = torch.randn(B, 1, *rest, generator=g), torch.randn(shape, generator=g)
    a, b, c = (s**0.5 for s in shares)
    return a * stays + b * torch.stack(slow, 1) + c * once


_USUAL = Errors()


class SimulatedLocalizer:
    """Places of the 33 landmarks as a localizer would give them."""

    def __init__(self, errors: Errors = _USUAL) -> None:
        self.errors = errors
        body = load_body()
        model = load_field(WEIGHTS, torch.device("cpu"))
        pool = point_pool(body)
        rows = range(*pool.landmarks.indices(len(pool.points)))
        with torch.no_grad():
            self._places = model.field.places(torch.from_numpy(pool.points.take(list(rows)).positions))
        self._lifter = model.lifter

    def see(
        self, x: Tensor, pelvis: Tensor, hidden: Tensor, g: torch.Generator
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """`x`: (B, T, 33, 3) landmarks about the pelvis, `pelvis`: (B, T, 3), camera space; `hidden`: (B, T, 33) ->
        points, rays and sigma as in `Seen`, and the scale (B,) in which the points are given."""
        e, (B, T) = self.errors, x.shape[:2]
        place = x + pelvis[..., None, :]
        rays = place[..., :2] / place[..., 2:].clamp_min(0.3)
        middle = hips(rays)
        size = torch.linalg.vector_norm(rays - middle[..., None, :], dim=-1).amax(-1)[..., None, None]
        amount = (0.5 * torch.randn(B, 1, 1, 1, generator=g)).exp()
        seeing = 1 - hidden * (0.5 + 0.5 * torch.rand(B, 1, 33, generator=g))
        seeing = seeing - 0.1 * torch.rand(B, T, 33, generator=g)
        behind = x[..., 2] - hips(x)[..., None, 2]
        seeing = (seeing - 0.5 * (behind > 0.15) * torch.rand(B, 1, 33, generator=g)).clamp(0, 1)
        read = rays + e.picture * amount * size * wander((B, T, 33, 2), g) * (4 - 3 * seeing[..., None])
        lost = (torch.rand(B, T, 33, 1, generator=g) < 0.004) * 0.12 * torch.randn(B, T, 33, 2, generator=g)
        read = read + lost * size
        about = x - hips(x)[..., None, :]
        found = self._lifted(read, seeing, about, g)
        found = self._mixed(found, about, amount, seeing, g)
        s = 1 + e.size * torch.randn(B, 1, 1, 1, generator=g)
        found = found * s
        scale = (found[..., :2] * about[..., :2]).sum((1, 2, 3)) / about[..., :2].square().sum((1, 2, 3))
        # The lens that is assumed is not the one that was used.
        lens = (
            e.lens * torch.randn(B, 1, 1, 1, generator=g) * (torch.rand(B, 1, 1, 1, generator=g) < 0.5)
        ).exp()
        drawn = rays + e.drawn * amount * size * wander((B, T, 33, 2), g) * (4 - 3 * seeing[..., None])
        drawn = (0.5 * drawn + 0.5 * read) * lens
        sigma = 0.05 * (4 - 3 * seeing) * (0.3 * torch.randn(B, T, 33, generator=g)).exp() * amount[..., 0]
        sigma = sigma * (0.4 * torch.randn(B, 1, 33, generator=g)).exp()
        at = absolute(found, drawn, seeing.clamp_min(0.1).square())
        return (found + at[..., None, :], drawn, sigma), scale.clamp(0.6, 1.5)

    def _lifted(self, rays: Tensor, seeing: Tensor, about: Tensor, g: torch.Generator) -> Tensor:
        """What the lifter makes of landmarks in the picture: (B, T, 33, 3) about the hips, camera axes."""
        B, T = rays.shape[:2]
        view = towards(hips(rays))
        there = torch.cat([rays, torch.ones_like(rays[..., :1])], -1)
        there = (view[..., None, :, :] @ there[..., None])[..., 0]
        flat = there[..., :2] / there[..., 2:].clamp_min(0.2)
        axis = flat[..., [11, 12], :].mean(-2) - flat[..., [23, 24], :].mean(-2)
        roll = torch.atan2(axis[..., 0], -axis[..., 1])
        zero = torch.zeros_like(roll)
        turn = rodrigues(torch.stack([zero, zero, -roll], -1))
        flat = (turn[..., None, :2, :2] @ flat[..., None])[..., 0]
        view = turn @ view
        # BlazePose's own guess in metres, flattened, a little turned and wrong joint by joint.
        own = (view[..., None, :, :] @ about[..., None])[..., 0]
        guessed = self._guessed(own, g)
        told = torch.rand(B, 1, 1, 1, generator=g) < 0.5
        seen = describe(flat.flatten(0, 1), seeing.flatten(0, 1), guessed.flatten(0, 1))
        given = told.expand(-1, T, -1, -1).flatten()[:, None, None].float()
        seen = torch.cat([seen[..., :3], seen[..., 3:] * given], -1)
        out = guess(self._places, self._lifter(seen)).reshape(B, T, 33, 3)
        out = out - hips(out)[..., None, :]
        return (view.mT[..., None, :, :] @ out[..., None])[..., 0]

    def _guessed(self, own: Tensor, g: torch.Generator) -> Tensor:
        B, T = own.shape[:2]
        deep = 0.35 + 0.75 * torch.rand(B, 1, 1, 1, generator=g)
        flat = torch.cat([torch.ones(B, 1, 1, 2), deep], -1)
        turn = rodrigues(0.2 * wander((B, T, 3), g, 0.4))[..., None, :, :]
        out = (turn @ (own * flat)[..., None])[..., 0]
        return out + wander((B, T, 33, 3), g) * torch.tensor([0.06, 0.06, 0.09])

    def _mixed(
        self, lifted: Tensor, about: Tensor, amount: Tensor, seeing: Tensor, g: torch.Generator
    ) -> Tensor:
        """Two stretches in three have the lifter's places, others BlazePose's or such near the truth."""
        e, (B, T) = self.errors, about.shape[:2]
        dice = torch.rand(B, 1, 1, 1, generator=g)
        share = torch.where(dice < 0.8, 0.55 + 0.45 * torch.rand(B, 1, 1, 1, generator=g), 0.0)
        found = torch.lerp(about, lifted, share)
        found = torch.where((dice > 0.7) & (dice < 0.8), self._guessed(about, g), found)
        lean = rodrigues(e.lean * wander((B, T, 3), g, 0.4, (0.5, 0.48, 0.02)))[..., None, :, :]
        found = (lean @ found[..., None])[..., 0]
        wrong = wander((B, T, 33, 3), g) * torch.tensor(e.places) * amount * (4 - 3 * seeing[..., None])
        found = found + wrong
        return found - hips(found)[..., None, :]


def towards(ray: Tensor) -> Tensor:
    """(..., 2) x/z and y/z -> (..., 3, 3) rotation that lays this ray onto the z axis by the shortest way."""
    z = torch.nn.functional.normalize(torch.cat([ray, torch.ones_like(ray[..., :1])], -1), dim=-1)
    ax = torch.stack([z[..., 1], -z[..., 0], torch.zeros_like(z[..., 0])], -1)
    sine = torch.linalg.vector_norm(ax, dim=-1, keepdim=True)
    return rodrigues(ax / sine.clamp_min(1e-6) * torch.atan2(sine, z[..., 2:]))


def absolute(relative: Tensor, rays: Tensor, weight: Tensor) -> Tensor:
    """(..., P, 3) places known up to a shift, (..., P, 2) rays, (..., P) weights -> (..., 3) the shift that lays the
    places onto their rays (least squares), as localizers solve it."""
    w = (weight / weight.sum(-1, keepdim=True))[..., None]
    b = rays * relative[..., 2:] - relative[..., :2]
    ray, mean = (w * rays).sum(-2), (w * b).sum(-2)
    spread = (w * (rays - ray[..., None, :]).square()).sum((-2, -1))
    slope = (w * (rays - ray[..., None, :]) * (b - mean[..., None, :])).sum((-2, -1))
    z = (-slope / spread.clamp_min(1e-9)).clamp(0.3, 60)
    return torch.cat([mean + ray * z[..., None], z[..., None]], -1)

"""What a pose looks like when nothing is seen: means, covariances and ends of range of all joints but the pelvis.

- Body: mean and covariance learnt from recorded motion (`backend/assets/pose_prior.npz`, made by
  `make_pose_prior.py`), widened by an anatomical spread, since the recordings know neither collars nor twists.
- Hands: covariance built from the ways in which hands move: all fingers curl together, each finger curls, each
  joint bends, fingers spread; its principal components are the curls, as in hands that were recorded.
- Jaw and eyes: at rest, with a spread that lets them follow evidence.
Each group pulls with the tails of a Student t, so that an unusual pose is not bent back to a usual one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from backend.body.skeleton import FINGERS, JOINT, N_JOINTS
from backend.fit.solver import batchlast as bl
from backend.fit.solver.arrow import HAND, REST, Arrow

LEARNT = Path(__file__).resolve().parents[2] / "assets" / "pose_prior.npz"
WIDER = 4.0
"""Factor of the body's variances: the recordings are of few actions, and poses in the wild differ more (chosen on
the clip `pose2sim/single`: with 1 the fitted body lay 30 % further from its own landmarks in the picture)."""
LIMIT_RAD = 0.06
"""One sigma of how far a joint goes beyond the end of its range."""
FREEDOM = 12.0
"""Degrees of freedom of the Student t."""

_D = np.pi / 180
# joint: (spread xyz, lower xyz, upper xyz) degrees, left side; the right side is its mirror image (x kept).
_SIDE: dict[str, tuple[tuple[float, ...], ...]] = {
    "hip": ((15, 10, 10), (-125, -50, -40), (40, 50, 70)),
    "knee": ((15, 5, 5), (-1, -12, -9), (150, 12, 9)),
    "ankle": ((11, 8, 8), (-45, -28, -28), (50, 28, 28)),
    "foot": ((8, 3, 3), (-50, -6, -6), (30, 6, 6)),
    "collar": ((6, 8, 8), (-23, -29, -29), (23, 29, 34)),
    "shoulder": ((20, 24, 24), (-999, -999, -115), (999, 999, 103)),
    "elbow": ((8, 22, 8), (-69, -149, -25), (69, 2, 35)),
    "wrist": ((14, 14, 14), (-69, -45, -69), (69, 45, 69)),
}
_MIDDLE: dict[str, tuple[tuple[float, ...], ...]] = {
    "spine1": ((8, 6, 6), (-29, -23, -23), (52, 23, 23)),
    "spine2": ((7, 6, 5), (-20, -23, -18), (29, 23, 18)),
    "spine3": ((6, 6, 5), (-18, -23, -18), (23, 23, 18)),
    "neck": ((10, 11, 8), (-40, -45, -35), (45, 45, 35)),
    "head": ((10, 12, 8), (-35, -46, -29), (40, 46, 29)),
}
_FACE = {"jaw": ((5, 0, 0), (5, 2, 2)), "left_eye_smplhf": ((0, 0, 0), (8, 8, 3)),
         "right_eye_smplhf": ((0, 0, 0), (8, 8, 3))}  # fmt: skip
_CURL_MEAN = 20.0
"""Degrees that each joint of a long finger is bent in a hand at ease."""
_CURL_ALL, _CURL_FINGER, _CURL_JOINT = 9.0, 12.0, 13.0
_SPREAD_AT_KNUCKLE, _SPREAD_BEYOND, _TWIST = 6.0, 2.5, 3.0
_THUMB = (8.0, 13.0, 9.0)
_PALM, _HELD_RAD = 8.0, 1e-3
"""Degrees that SMPL's hand turns against its wrist, and radians that a joint turns which is not there."""
_BODY = range(1, 22)


@dataclass(frozen=True, eq=False)
class Group:
    """k joints in a row that belong together."""

    first: int
    """The first of them."""
    mean: Tensor
    """(k * 3,) rotation vectors, radians."""
    precision: Tensor
    """(k * 3, k * 3) inverse of their covariance, 1/rad^2."""


@dataclass(frozen=True, eq=False)
class PosePrior:
    """What is known of a pose before anything is seen. The pelvis is free."""

    groups: tuple[Group, ...]
    """They cover joints 1 to 54."""
    mean: Tensor
    """(55, 3) rotation vectors."""
    spread: Tensor
    """(55, 3) one sigma, radians."""
    lower: Tensor
    """(55, 3) lower ends of range, radians."""
    upper: Tensor
    """(55, 3) upper ends of range, radians."""

    def terms(self, rotations: Tensor) -> PriorTerms:
        """Cost of `rotations` (55, 3, 3, B), and what its derivatives need."""
        B = rotations.shape[-1]
        theta = bl.log(rotations)
        over = (theta - self.upper[..., None]).clamp_min(0) + (theta - self.lower[..., None]).clamp_max(0)
        cost = (over * over).sum((0, 1)) / LIMIT_RAD**2
        pull = -over / LIMIT_RAD**2
        shares = []
        for group in self.groups:
            k = len(group.mean)
            off = group.mean[:, None] - theta[group.first : group.first + k // 3].reshape(k, B)
            slope = group.precision @ off
            square = (off * slope).sum(0)
            cost = cost + (FREEDOM + k) * torch.log1p(square / FREEDOM)
            share = (FREEDOM + k) / (FREEDOM + square)
            pull[group.first : group.first + k // 3] += (slope * share).reshape(-1, 3, B)
            shares.append(share)
        return PriorTerms(cost, theta, over, pull, shares)

    def add_to(self, H: Tensor, terms: PriorTerms) -> None:
        """Add the prior's matrix to H (D, D, B), in place."""
        J, limits = self._sides(terms)
        _on_diagonal(H.permute(2, 0, 1), limits)
        for group, block in self._blocks(J, terms.shares, self.groups):
            s = slice(3 * group.first, 3 * group.first + block.shape[-1])
            H[s, s] += block.permute(1, 2, 0)

    def add_to_arrow(self, H: Arrow, terms: PriorTerms) -> None:
        """Add the prior's matrix to `H`, in place; where `H` has no hands they are held."""
        J, limits = self._sides(terms)
        _on_diagonal(H.rest, limits[:, : REST // 3])
        above = [g for g in self.groups if 3 * g.first < REST]
        for group, block in self._blocks(J, terms.shares, above):
            s = slice(3 * group.first, 3 * group.first + block.shape[-1])
            H.rest[:, s, s] += block
        if H.hands:
            # The last two groups.
            for k, (_, block) in enumerate(self._blocks(J, terms.shares[-2:], self.groups[-2:])):
                first = (REST + k * HAND) // 3
                H.hands[k].own += block
                _on_diagonal(H.hands[k].own, limits[:, first : first + HAND // 3])

    def _sides(self, terms: PriorTerms) -> tuple[Tensor, Tensor]:
        """(B, 55, 3, 3) derivatives of the rotation vectors, and what the ends of range add to each joint's block."""
        J = terms.J.permute(3, 0, 1, 2).contiguous()
        bound = (terms.over != 0).to(J).permute(2, 0, 1) / LIMIT_RAD**2
        return J, J.mT @ (J * bound[..., None])

    def _blocks(
        self, J: Tensor, shares: list[Tensor], groups: Sequence[Group]
    ) -> Iterator[tuple[Group, Tensor]]:
        """(B, d, d) of each of `groups`."""
        for group, share in zip(groups, shares, strict=False):
            d = len(group.mean)
            own = J[:, group.first : group.first + d // 3]
            if d == 3:
                yield group, (own[:, 0].mT @ (group.precision @ own[:, 0])) * share[:, None, None]
                continue
            # J is a 3 x 3 matrix for each joint: full products would multiply by zeros.
            left = (own.mT @ group.precision.reshape(-1, 3, d)) * share[:, None, None, None]
            right = left.reshape(-1, d, d // 3, 3).transpose(1, 2) @ own
            yield group, right.transpose(1, 2).reshape(-1, d, d)


def _on_diagonal(H: Tensor, blocks: Tensor) -> None:
    """Add `blocks` (B, k, 3, 3) to the diagonal of H (B, D, D), in place."""
    b, r, c = H.stride()
    H.as_strided(blocks.shape, (b, 3 * (r + c), r, c), H.storage_offset()).add_(blocks)


@dataclass
class PriorTerms:
    """What the prior says of B poses."""

    cost: Tensor
    """(B,)."""
    theta: Tensor
    """(55, 3, B) rotation vectors."""
    over: Tensor
    """(55, 3, B) what is beyond the range."""
    pull: Tensor
    """(55, 3, B) minus half the slope by rotation vectors."""
    shares: list[Tensor]
    """(B,) weight of each group."""
    J: Tensor | None = None
    """(55, 3, 3, B) the rotation vectors' change with increments about world axes; filled in by `differentiate`."""
    slope: Tensor | None = None
    """(55, 3, B) minus half the slope by such increments; filled in by `differentiate`."""

    def take(self, frames: Tensor) -> PriorTerms:
        """Some frames (indices), not differentiated."""
        parts = (t[..., frames] for t in (self.cost, self.theta, self.over, self.pull))
        return PriorTerms(*parts, [s[frames] for s in self.shares])

    def where(self, keep: Tensor, other: PriorTerms) -> PriorTerms:
        """This in the frames `keep` (B,) bool, `other` elsewhere, not differentiated."""
        pairs = zip((self.cost, self.theta, self.over, self.pull), (other.cost, other.theta, other.over, other.pull),
                    strict=True)  # fmt: skip
        shares = [torch.where(keep, a, b) for a, b in zip(self.shares, other.shares, strict=True)]
        return PriorTerms(*(torch.where(keep, a, b) for a, b in pairs), shares)

    def differentiate(self, world: Tensor, parent: Tensor) -> None:
        """Fill in `J` and `slope`. `world`: (55, 3, 3, B)."""
        if self.J is None:
            J = bl.mm(bl.left_jacobian_inverse(self.theta), bl.transpose(world[parent]))
            J[0] = 0
            self.J, self.slope = J, bl.mv(bl.transpose(J), self.pull)


@cache
def _tables() -> tuple[list[tuple[np.ndarray, np.ndarray, np.ndarray]], np.ndarray, np.ndarray]:
    lower, upper = np.full((N_JOINTS, 3), -np.inf), np.full((N_JOINTS, 3), np.inf)
    spread = np.zeros((N_JOINTS, 3))
    flip = np.array([1.0, -1.0, -1.0])
    for name, row in _MIDDLE.items():
        spread[JOINT[name]], lower[JOINT[name]], upper[JOINT[name]] = row
    for name, row in _SIDE.items():
        j, k = JOINT[f"left_{name}"], JOINT[f"right_{name}"]
        spread[j], lower[j], upper[j] = row
        ends = np.stack([lower[j] * flip, upper[j] * flip])
        spread[k], lower[k], upper[k] = spread[j], ends.min(0), ends.max(0)
    lower[np.abs(lower) > 500], upper[np.abs(upper) > 500] = -np.inf, np.inf
    with np.load(LEARNT) as learnt:
        mean = learnt["mean"].astype(np.float64)
        covariance = 1.5 * learnt["covariance"].astype(np.float64)
    body = WIDER * (covariance + np.diag((spread[1:22] * _D).reshape(-1) ** 2))
    groups = [(np.array(_BODY), mean, body)]
    for name, (middle, width) in _FACE.items():
        variance = np.diag((np.array(width) * _D) ** 2)
        groups.append((np.array([JOINT[name]]), np.array(middle) * _D, variance))
    groups += [_hand("left", 1.0), _hand("right", -1.0)]
    return groups, lower * _D, upper * _D


def _hand(side: str, sign: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, mean and covariance of one hand. Long fingers bend about -z (left hand), the thumb about y."""
    first = JOINT[f"{side}_index1"]
    mean, basis, own = np.zeros((15, 3)), [], np.zeros((15, 3))
    together = np.zeros((15, 3))
    for f, finger in enumerate(FINGERS):
        rows = slice(3 * f, 3 * f + 3)
        if finger == "thumb":
            mean[rows, 1] = 8 * sign
            own[rows] = _THUMB
            continue
        mean[rows, 2] = -_CURL_MEAN * sign
        together[rows, 2] = -_CURL_ALL * sign
        curl = np.zeros((15, 3))
        curl[rows, 2] = -_CURL_FINGER * sign
        basis.append(curl)
        own[rows] = [
            (_TWIST, _SPREAD_AT_KNUCKLE if k == 0 else _SPREAD_BEYOND, _CURL_JOINT) for k in range(3)
        ]
    basis.append(together)
    B = np.stack(basis).reshape(len(basis), -1) * _D
    covariance = B.T @ B + np.diag((own * _D).reshape(-1) ** 2)
    return np.arange(first, first + 15), mean.reshape(-1) * _D, covariance


def pose_prior(dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu",
               present: np.ndarray | None = None) -> PosePrior:  # fmt: skip
    """The prior of the module's description, as tensors. `present`: (55,) bool, joints that the body has (None: all);
    the others are held at rest, and of a hand of which not all is there, what is there is one flat piece."""

    def tensor(a) -> Tensor:
        return torch.as_tensor(a, dtype=dtype, device=device)

    found, lower, upper = _tables()
    groups, mean, spread = [], np.zeros((N_JOINTS, 3)), np.full((N_JOINTS, 3), np.inf)
    for joints, middle, covariance in found:
        if present is not None and not present[joints].all():
            middle = np.zeros_like(middle)
            covariance = np.diag(np.where(np.repeat(present[joints], 3), _PALM * _D, _HELD_RAD) ** 2)
        precision = np.linalg.inv(covariance)
        groups.append(Group(int(joints[0]), tensor(middle), tensor(precision)))
        mean[joints] = middle.reshape(-1, 3)
        spread[joints] = np.sqrt(np.diag(covariance)).reshape(-1, 3)
    return PosePrior(tuple(groups), tensor(mean), tensor(spread), tensor(lower), tensor(upper))

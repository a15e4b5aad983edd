"""Test-time augmentation: the fixed list of views in which one person is shown to the network (docs/nlf.md 8.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MAX_DEGREES = 25.0


@dataclass(frozen=True)
class Augmentations:
    """A views of the same box. All tensors are on the CPU."""

    gammas: Tensor
    """(A,) float64, brightness curve of the crop."""
    scales: Tensor
    """(A,) float64, extra zoom."""
    flips: Tensor
    """(A,) bool, True where the view is mirrored."""
    rotflip: Tensor
    """(A, 3, 3) float64, mirror (x -> -x) @ roll about the optical axis, which multiplies the crop camera's rotation
    from the left."""

    def __len__(self) -> int:
        return len(self.gammas)

    def only(self, index: int) -> Augmentations:
        """The list with nothing but view `index`."""
        pick = slice(index, index + 1)
        return Augmentations(self.gammas[pick], self.scales[pick], self.flips[pick], self.rotflip[pick])


def augmentations(num_aug: int = 1, max_degrees: float = MAX_DEGREES) -> Augmentations:
    """The reference's list of `num_aug` views; the middle one of an odd number is neither rolled nor mirrored.

    A single view has gamma 0.8, not 1: the mean of what the network is shown otherwise (docs/nlf.md 14.7).
    """
    if num_aug < 1:
        raise ValueError(f"The number of augmentations must be at least 1, not {num_aug}.")
    f64 = {"dtype": torch.float64}
    half = num_aug // 2
    gammas, angles = torch.tensor([0.8], **f64), torch.zeros(1, **f64)
    if num_aug > 1:
        gammas = torch.linspace(0.6, 1.0, num_aug, **f64)
        angles = torch.deg2rad(torch.linspace(-max_degrees, max_degrees, num_aug, **f64))
    scales = torch.cat(
        [torch.linspace(0.8, 1.0, half + 1, **f64)[:-1], torch.linspace(1.0, 1.1, num_aug - half, **f64)]
    )
    flips = (torch.arange(num_aug) - half) % 2 != 0
    c, s, o = torch.cos(angles), torch.sin(angles), torch.zeros(num_aug, **f64)
    roll = torch.stack([c, s, o, -s, c, o, o, o, o + 1], -1).reshape(num_aug, 3, 3)
    mirror = torch.ones(num_aug, 3, 1, **f64)
    mirror[flips, 0] = -1
    return Augmentations(gammas, scales, flips, mirror * roll)

"""What the tests of the inference recipe share: the golden arrays and the rows of crops that they hold."""

from __future__ import annotations

import json

import torch

from .golden_weights import golden


def tensor(name: str, key: str) -> torch.Tensor:
    """One array as float64 (numbers with a fraction) or in its own type."""
    array = torch.from_numpy(golden(name)[key])
    return array.double() if array.is_floating_point() else array


def configs(name: str) -> list[dict]:
    return [json.loads(str(text)) for text in golden(name)["configs"]]


def frames() -> torch.Tensor:
    """(2, 3, 480, 640) uint8."""
    return torch.from_numpy(golden("frames")["frames"]).permute(0, 3, 1, 2)

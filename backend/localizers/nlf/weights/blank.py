"""A crop model to be filled: its parameters are memory that nobody wrote to yet."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from backend.localizers.nlf.crop_model import CENTERS, LEFTS, CropModel

_RANDOM = (torch.Tensor.normal_, torch.Tensor.uniform_)


def blank_model(
    size: str, fix_uncert_factor: bool = False, lefts: int = LEFTS, centers: int = CENTERS
) -> CropModel:
    """As `CropModel`, but no random numbers are drawn for parameters that are replaced at once.

    That takes 0.06 s in place of 1 s for L. (The meta device is no remedy: it loads PyTorch's compiler.)
    """
    with _NoRandom():
        return CropModel(size, fix_uncert_factor, lefts, centers)


class _NoRandom(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in _RANDOM or getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)

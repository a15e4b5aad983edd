"""The golden numbers of tests/golden (or the folder in BODYFIELD_GOLDEN) and the rule that made their weights.

The rule is section 1 of the README beside the arrays: every tensor is a function of seed, name, shape and size.
"""

from __future__ import annotations

import os
import re
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch

from backend.localizers.nlf.crop_model import CONSTANTS, CropModel

FOLDER = Path(os.environ.get("BODYFIELD_GOLDEN") or Path(__file__).resolve().parent.parent / "golden")
_BLOCK_GAIN = {"s": 0.8, "l": 0.7}
_CHANNEL = {"s": 0.7, "l": 0.45}
_GAINS = {"gps_net.mlp.0": 2000.0, "gps_net.mlp.2": 20.0, "pred_mlp.0": 1e5, "pred_mlp.2": 1.0, ".fc": 1.0}


@cache
def golden(name: str) -> dict[str, np.ndarray]:
    """All arrays of `name`.npz."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as archive:
        return {k: archive[k] for k in archive.files}


def tensors(name: str, dtype: torch.dtype | None = None) -> dict[str, torch.Tensor]:
    """As `golden`, numbers as tensors; `dtype`: of the floating ones, None leaves them."""
    out = {}
    for key, value in golden(name).items():
        if value.dtype.kind in "fbiu" and value.dtype != np.uint32:
            tensor = torch.from_numpy(np.array(value))
            out[key] = tensor.to(dtype) if dtype and tensor.is_floating_point() else tensor
    return out


def seed() -> int:
    return int((FOLDER / "seed.txt").read_text(encoding="ascii"))


def noise(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform noise of zero mean and unit variance, the same on every machine."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"{seed()}:{name}".encode())))
    return np.sqrt(3.0) * (2 * generator.random(shape) - 1)


def make_tensor(name: str, shape: tuple[int, ...], size: str) -> np.ndarray:
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    x = noise(name, shape)
    channels = np.array([0.06] + 9 * [_CHANNEL[size]])
    if name.startswith("canonical_"):
        x = 0.02 * x
    elif leaf == "running_mean":
        x = 0.1 * x
    elif leaf == "running_var":
        x = 1 + 0.1 * abs(x)
    elif leaf == "bias":
        x = 0.1 * x
        if name.endswith("pred_mlp.2.bias"):
            x = (x.reshape(513, 10) * channels).ravel()
            x[5120] -= 1.2
    elif len(shape) == 1:
        x = 1 + 0.1 * x
    elif "fourier" in name:
        x = 12.0 * x
    else:
        if name.endswith("pred_mlp.2.weight"):
            x = x.reshape(513, 10, 384)
            x[:, 1:] = 0.9 * noise(f"{name}:common", (513, 1, 384)) + np.sqrt(0.19) * x[:, 1:]
            x = (x * channels[:, None]).reshape(shape)
        x = x * np.sqrt(_gain(name, size) / np.prod(shape[1:]))
    return x.astype(np.float32)


def _gain(name: str, size: str) -> float:
    block = re.match(r"backbone\.1\.\d+\.(\d+)\.block\.\d+\.", name)
    fixed = next((v for k, v in _GAINS.items() if k in name), None)
    if fixed is not None:
        return fixed
    if block is None:
        return 1.5
    return 2.0 if block[1] == "0" else _BLOCK_GAIN[size]


@cache
def golden_model(size: str) -> CropModel:
    """NLF-`size` in evaluation mode with the weights of the rule and the constants of the file."""
    model = CropModel(size)
    state = model.state_dict()
    made = {k: torch.from_numpy(make_tensor(k, tuple(v.shape), size)) for k, v in state.items()}
    model.load_state_dict(made)
    arrays = golden(f"net_{size}")
    model.load_constants({short: torch.from_numpy(arrays[f"buf_{short}"]) for short in CONSTANTS})
    return model.eval()

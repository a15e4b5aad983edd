"""Checkpoints from which a training goes on exactly: weights, their average, the optimiser, the step.

Batches and all chance are functions of the step and the recipe's seed, so nothing else needs keeping. One
safetensors file: reading it executes no code.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from backend.errors import JobError
from blender_addon.shared.whole import aside

FORMAT = "bodyfield-checkpoint-1"
_NAME = "checkpoint_{:08d}.safetensors"


@dataclass
class State:
    """What a checkpoint holds beside tensors."""

    model: dict[str, Any]
    """The model's configuration."""
    recipe: dict[str, Any]
    """The whole recipe."""
    step: int = 0
    """Steps done."""
    seen: int = 0
    """Pictures seen."""
    seconds: float = 0.0
    """Of training so far."""


def save(
    folder: Path, state: State, model: dict[str, Tensor], average: dict[str, Tensor], optimizer, keep: int = 2
) -> Path:
    """Write a checkpoint and remove all but the newest `keep`."""
    tensors = {f"model.{k}": v for k, v in model.items()} | {f"ema.{k}": v for k, v in average.items()}
    for i, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optim.{i}.{k}": torch.as_tensor(v) for k, v in values.items()}
    # Shared or strided memory cannot be written; conv weights are channels-last.
    tensors = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    path = folder / _NAME.format(state.step)
    # What is left of a run that was killed while it wrote.
    for half in folder.glob(".checkpoint_*.part.safetensors"):
        half.unlink(missing_ok=True)
    with aside(path) as part:
        save_file(tensors, str(part), {"format": FORMAT, "state": json.dumps(vars(state))})
    for old in checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints in a folder, oldest first."""
    return sorted(folder.glob(_NAME.format(0).replace("00000000", "*")))


def load(path: Path, model_config: dict[str, Any]) -> tuple[State, dict[str, Tensor]]:
    """State and tensors. JobError("bad_checkpoint") for a damaged file or another model's."""
    try:
        with safe_open(path, framework="pt") as f:
            metadata = f.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError("format")
            state = State(**json.loads(metadata["state"]))
            tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, TypeError, OSError) as e:
        raise JobError(
            "bad_checkpoint", f"{path} is no checkpoint or damaged: name another, or start anew."
        ) from e
    if state.model != model_config:
        different = sorted(
            k for k in {*state.model, *model_config} if state.model.get(k) != model_config.get(k)
        )
        raise JobError(
            "bad_checkpoint",
            f"{path} is of another model ({', '.join(different)} differ): use its own recipe, or another folder.",
        )
    return state, tensors


def restore(tensors: dict[str, Tensor], model, average: dict[str, Tensor], optimizer) -> None:
    """Put the tensors of a checkpoint back where they came from."""
    model.load_state_dict(_part(tensors, "model."))
    for name, value in _part(tensors, "ema.").items():
        average[name].copy_(value)
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _part(tensors, "optim.").items():
        i, name = key.split(".", 1)
        state.setdefault(int(i), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

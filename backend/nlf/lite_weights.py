"""Files of our own localizer field: one safetensors file with the network's description and its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from backend.body.landmarks import body_landmarks
from backend.body.load import load_body
from backend.body.model import Body
from backend.nlf.lite import LiteConfig, LiteField
from backend.nlf.lite_trunk import build_trunk, describe, load_trunk
from backend.records import JobError

FORMAT = "bodyfield-lite-1"


def new_model(config: LiteConfig) -> LiteField:
    """An untrained model of the open body on the shipped BlazePose trunk. The caller seeds torch."""
    model = LiteField(config, load_trunk(config.trunk, config.taps()))
    set_body(model, load_body())
    return model


def set_body(model: LiteField, body: Body) -> None:
    """Tell the model where the landmarks of `body` are, whose rest pose is its canonical space."""
    with torch.no_grad():
        model.marks.copy_(torch.from_numpy(body_landmarks(body)[0].positions))


def save_lite(model: LiteField, path: Path, card: Mapping[str, Any] | None = None, half: bool = True) -> None:
    """Write `model` with `card` (plain values: where it came from). `half`: float16, as shipped."""
    spec, _ = describe(model.trunk, model.config.taps())
    tensors = {}
    for name, value in model.state_dict().items():
        # The frequencies are multiplied by positions and then wrapped: they need all their digits.
        keep = not half or name.startswith("field.frequency") or name in ("sigma", "marks", "focus")
        tensors[name] = value.detach().cpu().to(torch.float32 if keep else torch.float16).contiguous()
    metadata = {
        "format": FORMAT,
        "config": json.dumps(model.describe()),
        "graph": json.dumps(spec),
        "card": json.dumps(dict(card or {})),
    }
    part = path.with_suffix(".part")
    save_file(tensors, str(part), metadata)
    part.replace(path)


def load_lite(path: Path, device: str | torch.device = "cpu") -> LiteField:
    """Read a model, ready to run; JobError("bad_weights") for a missing, damaged or other file."""
    model, _ = read_lite(path)
    return model.to(device).eval()


def read_lite(path: Path) -> tuple[LiteField, dict[str, Any]]:
    """The model (float32) and its card."""
    if not path.is_file():
        raise JobError(
            "bad_weights", f"The weights file {path.name} is missing: get the project's files again."
        )
    try:
        with safe_open(path, framework="pt") as f:
            metadata = f.metadata() or {}
            tensors = {name: f.get_tensor(name).float() for name in f.keys()}  # noqa: SIM118
        if metadata.get("format") != FORMAT:
            raise ValueError("format")
        model = model_from(json.loads(metadata["config"]), json.loads(metadata["graph"]), tensors)
        return model, json.loads(metadata["card"])
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as e:
        text = f"The weights file {path.name} is damaged or of another kind: get the project's files again."
        raise JobError("bad_weights", text) from e


def model_from(config: dict, graph: dict, tensors: dict[str, Tensor]) -> LiteField:
    """The model of a description and a whole state dict."""
    prefix = "trunk.convs."
    convs = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    model = LiteField(LiteConfig(**config), build_trunk(graph, convs))
    model.load_state_dict(tensors)
    return model

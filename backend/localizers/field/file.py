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
from backend.errors import JobError
from backend.localizers.field.model import FieldConfig, FieldModel
from backend.localizers.field.trunk import build_trunk, describe, load_trunk
from backend.nets.graph import Graph
from blender_addon.shared.whole import aside

FORMAT = "bodyfield-field-1"
_EARLIER = "bodyfield-lite-1"
"""The same under its earlier name; the shipped file is such a one."""


def new_model(config: FieldConfig) -> FieldModel:
    """An untrained model of the open body on the shipped BlazePose trunk. The caller seeds torch."""
    branch = load_trunk(config.branch, config.branch_taps()) if config.branch else None
    model = FieldModel(config, load_trunk(config.trunk, config.taps()), branch)
    set_body(model, load_body())
    return model


def set_body(model: FieldModel, body: Body) -> None:
    """Tell the model where the landmarks of `body` are, whose rest pose is its canonical space."""
    with torch.no_grad():
        model.marks.copy_(torch.from_numpy(body_landmarks(body)[0].positions))


def save_field(
    model: FieldModel, path: Path, card: Mapping[str, Any] | None = None, half: bool = True
) -> None:
    """Write `model` with `card` (plain values: where it came from). `half`: float16, as shipped.

    A trunk that is still BlazePose's as shipped is not written again: the file then names it, and reading takes it
    from there.
    """
    spec, _ = describe(model.trunk, model.config.taps())
    branch = describe(model.branch, model.config.branch_taps())[0] if model.branch is not None else None
    tensors, shipped = {}, is_shipped(model)
    for name, value in model.state_dict().items():
        if shipped and name.startswith("trunk."):
            continue
        # The frequencies are multiplied by positions and then wrapped: they need all their digits.
        keep = not half or name.startswith("field.frequency") or name in ("sigma", "marks", "focus")
        tensors[name] = value.detach().cpu().to(torch.float32 if keep else torch.float16).contiguous()
    metadata = {
        "format": FORMAT,
        "config": json.dumps(model.describe()),
        "graph": json.dumps(None if shipped else spec),
        "branch": json.dumps(branch),
        "card": json.dumps(dict(card or {})),
    }
    with aside(path) as part:
        save_file(tensors, str(part), metadata)


def load_field(path: Path, device: str | torch.device = "cpu") -> FieldModel:
    """Read a model, ready to run; JobError("bad_weights") for a missing, damaged or other file."""
    model, _ = read_field(path)
    return model.to(device).eval()


def read_field(path: Path) -> tuple[FieldModel, dict[str, Any]]:
    """The model (float32) and its card."""
    if not path.is_file():
        raise JobError(
            "bad_weights", f"The weights file {path.name} is missing: get the project's files again."
        )
    try:
        with safe_open(path, framework="pt") as f:
            metadata = f.metadata() or {}
            tensors = {name: f.get_tensor(name).float() for name in f.keys()}  # noqa: SIM118
        if metadata.get("format") not in (FORMAT, _EARLIER):
            raise ValueError("format")
        graphs = [json.loads(metadata[name]) for name in ("graph", "branch")]
        model = model_from(json.loads(metadata["config"]), *graphs, tensors)
        return model, json.loads(metadata["card"])
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as e:
        text = f"The weights file {path.name} is damaged or of another kind: get the project's files again."
        raise JobError("bad_weights", text) from e


def is_shipped(model: FieldModel) -> bool:
    """Whether the model's trunk is BlazePose's as shipped, to the bit."""
    own = dict(model.trunk.named_parameters())
    other = dict(load_trunk(model.config.trunk, model.config.taps()).named_parameters())
    return own.keys() == other.keys() and all(torch.equal(own[k].cpu(), other[k]) for k in own)


def model_from(
    config: dict, trunk: dict | None, branch: dict | None, tensors: dict[str, Tensor]
) -> FieldModel:
    """The model of its descriptions and a whole state dict; no description of the trunk stands for the shipped one,
    whose weights the state dict then lacks."""
    made = FieldConfig(**config)
    graph = load_trunk(made.trunk, made.taps()) if trunk is None else _graph(trunk, "trunk.convs.", tensors)
    second = None if branch is None else _graph(branch, "branch.convs.", tensors)
    model = FieldModel(made, graph, second)
    if trunk is None:
        tensors = tensors | {f"trunk.{k}": v for k, v in graph.state_dict().items()}
    model.load_state_dict(tensors)
    return model


def _graph(spec: dict, prefix: str, tensors: dict[str, Tensor]) -> Graph:
    return build_trunk(spec, {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})

"""Runs a convolutional network described by a list of nodes: weights and graph from one safetensors file.

Format (metadata key "graph", JSON, written by `tools/make_blazepose.py` and
`tools/make_nanodet.py`): `input`, `input_size`,
`outputs` and `taps` (name -> value), `nodes` in running order, each with `op`, `in` (values), `out` (value)
and what the op needs. Values are NCHW maps; `conv` pads [top, bottom, left, right], which also covers
TensorFlow's uneven SAME padding. Reading a file executes no code, and what does not fit is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional

from backend.errors import JobError

FORMAT = "bodyfield-graph-1"
_ACTIVATIONS = {
    "": None,
    "relu": functional.relu_,
    "relu6": lambda y: functional.hardtanh_(y, 0.0, 6.0),
    "leaky": lambda y: functional.leaky_relu_(y, 0.1),
}
_OPS = {
    "conv",
    "add",
    "concat",
    "resize",
    "max_pool",
    "pad_channels",
    "reshape",
    "logistic",
    "depth_to_space",
}


class Graph(nn.Module):
    """The network. Parameters are ordinary ones and the forward pass is differentiable, for fine-tuning."""

    def __init__(self, spec: dict, weights: dict[str, Tensor]) -> None:
        """`spec`: graph description; `weights`: "<name>.weight" (O, I/groups, h, w), "<name>.bias" (O,)."""
        super().__init__()
        self.input_size = int(spec["input_size"])
        self.input = spec["input"]
        self.names = {**spec["taps"], **spec["outputs"]}
        self.outputs = tuple(spec["outputs"])
        self.taps = tuple(spec["taps"])
        self.nodes = spec["nodes"]
        self.convs = nn.ModuleDict()
        known = {self.input}
        for node in self.nodes:
            if (
                node["op"] not in _OPS
                or node.get("act", "") not in _ACTIVATIONS
                or not set(node["in"]) <= known
            ):
                raise ValueError(f"node {node['out']} is not understood")
            known.add(node["out"])
            if node["op"] == "conv":
                self.convs[node["name"]] = _conv(node, weights)
        if not set(self.names.values()) <= known:
            raise ValueError("an output is not computed")
        self._plans: dict[tuple[str, ...], list] = {}

    def forward(self, x: Tensor, wanted: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Run on `x` (B, 3, S, S) float; -> name -> tensor for each of `wanted`: outputs or taps.

        Default: all outputs. Only what the wanted values need is computed (the segmentation branch of
        BlazePose costs a third of the time). Maps are NCHW; flattened outputs are as in the source.
        """
        wanted = self.outputs if wanted is None else tuple(wanted)
        values = {self.input: x}
        for node, done in self._plan(wanted):
            values[node["out"]] = self._run(node, [values[i] for i in node["in"]])
            # Memory is freed as soon as nothing reads it any more.
            for name in done:
                del values[name]
        return {name: values[self.names[name]] for name in wanted}

    def _plan(self, wanted: tuple[str, ...]) -> list:
        """Nodes to run for `wanted`, each with the values that nobody needs after it."""
        if wanted not in self._plans:
            keep = {self.names[name] for name in wanted}
            needed, nodes = set(keep), []
            for node in reversed(self.nodes):
                if node["out"] in needed:
                    nodes.insert(0, node)
                    needed.update(node["in"])
            plan, alive = [], set(keep)
            for node in reversed(nodes):
                done = set(node["in"]) - alive
                alive |= done
                plan.insert(0, (node, tuple(done)))
            self._plans[wanted] = plan
        return self._plans[wanted]

    def _run(self, node: dict, inputs: list[Tensor]) -> Tensor:
        op, x = node["op"], inputs[0]
        if op == "conv":
            top, bottom, left, right = node["pad"]
            if top != bottom or left != right:
                x = functional.pad(x, (left, right, top, bottom))
            y = self.convs[node["name"]](x)
        elif op == "add":
            y = inputs[0] + inputs[1]
        elif op == "concat":
            y = torch.cat(inputs, node["axis"])
        elif op == "resize":
            y = functional.interpolate(x, scale_factor=node["factor"], mode="bilinear", align_corners=False)
        elif op == "max_pool":
            y = functional.max_pool2d(x, node["size"], node.get("stride"), node.get("pad", 0))
        elif op == "pad_channels":
            y = functional.pad(x, (0, 0, 0, 0, 0, node["count"]))
        elif op == "reshape":  # the source counts channels last
            y = x.permute(0, 2, 3, 1).reshape(x.shape[0], *node["shape"])
        elif op == "logistic":
            y = torch.sigmoid(x)
        else:
            y = _depth_to_space(x, node["block"])
        act = _ACTIVATIONS[node.get("act", "")]
        return y if act is None else act(y)


def _conv(node: dict, weights: dict[str, Tensor]) -> nn.Conv2d:
    w, b = weights[f"{node['name']}.weight"], weights[f"{node['name']}.bias"]
    top, bottom, left, right = node["pad"]
    even = top == bottom and left == right
    conv = nn.Conv2d(
        w.shape[1] * node["groups"],
        w.shape[0],
        tuple(w.shape[2:]),
        tuple(node["stride"]),
        (top, left) if even else 0,
        groups=node["groups"],
        device="meta",
    )
    if conv.weight.shape != w.shape or conv.bias.shape != b.shape:
        raise ValueError(f"the weights of {node['name']} do not fit")
    conv.weight, conv.bias = nn.Parameter(w.float()), nn.Parameter(b.float())
    return conv


def _depth_to_space(x: Tensor, r: int) -> Tensor:
    """TensorFlow's order (block row, block column, channel), which is not that of `pixel_shuffle`."""
    B, C, H, W = x.shape
    y = x.reshape(B, r, r, C // (r * r), H, W).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(B, C // (r * r), H * r, W * r)


def load_graph(path: Path, device: str | torch.device = "cpu") -> Graph:
    """Read a converted network; JobError("bad_weights") for a missing, damaged or other file."""
    path = Path(path)
    if not path.is_file():
        raise JobError(
            "bad_weights", f"The weights file {path.name} is missing: get the project's files again."
        )
    try:
        with safe_open(path, framework="numpy") as f:
            metadata = f.metadata() or {}
            arrays = {name: f.get_tensor(name) for name in sorted(f.keys())}
        if metadata.get("sha256") != _digest(arrays):
            raise ValueError("checksum")
        spec = json.loads(metadata["graph"])
        if spec["format"] != FORMAT:
            raise ValueError("format")
        graph = Graph(spec, {name: torch.from_numpy(a) for name, a in arrays.items()})
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError, AttributeError, OSError) as e:
        text = f"The weights file {path.name} is damaged or of another kind: get the project's files again."
        raise JobError("bad_weights", text) from e
    # Channels-last is the layout that oneDNN and cuDNN run depthwise convolutions fastest in.
    return graph.to(device, memory_format=torch.channels_last).eval()


def _digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over all tensors in order of name, as `make_blazepose.weights_digest` wrote it."""
    h = hashlib.sha256()
    for name, a in arrays.items():
        h.update(name.encode())
        h.update(np.ascontiguousarray(a).tobytes())
    return h.hexdigest()

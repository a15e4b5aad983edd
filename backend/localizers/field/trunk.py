"""BlazePose as a trunk: only the part of the network that its wanted maps and numbers need, ready for training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from backend.nets.blazepose import ASSETS, refine
from backend.nets.graph import FORMAT, Graph, load_graph

TRUNKS = ("full", "heavy")
LANDMARKS = 39
"""Points that BlazePose answers: 33 landmarks and auxiliary ones."""


def load_trunk(variant: str, wanted: Iterable[str]) -> Graph:
    """The shipped BlazePose `variant`, cut down to the taps and outputs `wanted`."""
    graph = load_graph(ASSETS / f"blazepose_{variant}.safetensors")
    spec, weights = describe(graph, wanted)
    return build_trunk(spec, weights)


def build_trunk(spec: dict[str, Any], weights: dict[str, Tensor]) -> Graph:
    """The network of `describe`, in the layout that depthwise convolutions run fastest in."""
    return Graph(spec, weights).to(memory_format=torch.channels_last)


def describe(graph: Graph, wanted: Iterable[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Graph description and weights of what `wanted` (taps or outputs) needs; JSON can hold the description."""
    wanted = tuple(wanted)
    needed, nodes = {graph.names[name] for name in wanted}, []
    for node in reversed(graph.nodes):
        if node["out"] in needed:
            nodes.insert(0, node)
            needed.update(node["in"])
    convs = {node["name"] for node in nodes if node["op"] == "conv"}
    spec = {
        "format": FORMAT,
        "input": graph.input,
        "input_size": graph.input_size,
        "taps": {n: graph.names[n] for n in wanted if n in graph.taps},
        "outputs": {n: graph.names[n] for n in wanted if n in graph.outputs},
        "nodes": nodes,
    }
    weights = {}
    for name in sorted(convs):
        conv = graph.convs[name]
        weights[f"{name}.weight"], weights[f"{name}.bias"] = conv.weight.detach(), conv.bias.detach()
    return spec, weights


def channels(graph: Graph, tap: str) -> int:
    """Number of channels of a tap, from the last operation that changes it."""
    made = {node["out"]: node for node in graph.nodes}
    value, added = graph.names[tap], 0
    while made[value]["op"] != "conv":
        node = made[value]
        if node["op"] == "concat":
            return added + sum(_width(graph, made, v) for v in node["in"])
        added += node.get("count", 0) if node["op"] == "pad_channels" else 0
        value = node["in"][0]
    return added + graph.convs[made[value]["name"]].out_channels


def _width(graph: Graph, made: dict[str, dict], value: str) -> int:
    while made[value]["op"] != "conv":
        value = made[value]["in"][0]
    return graph.convs[made[value]["name"]].out_channels


def read_landmarks(out: dict[str, Tensor]) -> Tensor:
    """(B, 39, 8): x, y, depth in half crops about the crop's middle, visibility, presence 0..1, world metres.

    x and y as MediaPipe gives them, refined by the heat map; no gradient goes through them into the trunk, whose
    landmarks are what ties it to real people.
    """
    points = out["landmarks"].detach().reshape(-1, LANDMARKS, 5)
    xy, _ = refine(points[..., :2], out["heatmap"].detach())
    place = torch.cat([xy / 128 - 1, points[..., 2:3] / 128], -1)
    world = out["world"].detach().reshape(-1, LANDMARKS, 3)
    return torch.cat([place, points[..., 3:].sigmoid(), world], -1)

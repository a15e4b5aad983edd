"""Write the graphs by which ONNX Runtime runs our frozen networks: `backend/assets/graphs`.

    python -m tools.make_graphs [-o FOLDER]

A graph holds what is to be computed, and no weights: these are handed over when it is opened (`backend.nets.engine`).
To be run again when the code of a network changes; `tests/nets/test_engine.py` says when that was forgotten. A build
script for our own assets: it needs the development-only package `onnx`, the product does not.
"""

from __future__ import annotations

import argparse
import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from torch import nn

from backend.localizers.field.file import load_field
from backend.localizers.field.localizer import WEIGHTS
from backend.localizers.field.look import FieldHeads, FieldLook
from backend.localizers.field.model import SIDE as FIELD_SIDE
from backend.localizers.nlf.crop_model import CropLink, CropModel
from backend.localizers.nlf.precision import prepare_model
from backend.nets.blazepose import SIDE as POSE_SIDE
from backend.nets.blazepose import VARIANTS, pose_net
from backend.nets.engine import GRAPHS, OPSET
from backend.people.persons import SIDE as PERSON_SIDE
from backend.people.persons import person_net
from backend.people.upright import SIDE as DETECTOR_SIDE
from backend.people.upright import detector_net
from blender_addon.shared.whole import write_text, write_whole

Made = tuple[nn.Module, dict[str, torch.Tensor], tuple[str, ...]]
"""A module, what it may be given by name, and those of the inputs of which there may be any number (points)."""


def _picture(module: nn.Module, side: int) -> Made:
    return module, {"pictures": torch.zeros(1, side, side, 3, dtype=torch.uint8)}, ()


def _heads() -> Made:
    model = load_field(WEIGHTS)
    points, cells = model.prepare(model.marks), (FIELD_SIDE // 16) ** 2
    size, code = model.config.width, model.config.code
    seen = {"cells": torch.zeros(1, cells, size), "code": torch.zeros(1, code), "frame": torch.ones(1, 3)}
    asked = {"weights": points.weights, "biases": points.biases, "places": points.places}
    return FieldHeads(model), seen | asked, tuple(asked)


def _nlf(size: str) -> Made:
    """Without its weights it is the same, whoever has them."""
    model = prepare_model(CropModel(size), "cpu")
    return CropLink(model), {"crops": torch.zeros(1, 3, model.side, model.side)}, ()


NETWORKS: dict[str, Callable[[], Made]] = {
    "nanodet": lambda: _picture(person_net(), PERSON_SIDE),
    "blazepose_detector": lambda: _picture(detector_net(), DETECTOR_SIDE),
    **{f"blazepose_{v}": (lambda v=v: _picture(pose_net(v), POSE_SIDE)) for v in VARIANTS},
    "field": lambda: _picture(FieldLook(load_field(WEIGHTS)), FIELD_SIDE),
    "field_heads": _heads,
    "nlf_s": lambda: _nlf("s"),
    "nlf_l": lambda: _nlf("l"),
}
"""By the name of the graph."""


def graph_of(module: nn.Module, inputs: dict[str, torch.Tensor], many: tuple[str, ...]) -> tuple[bytes, dict]:
    """The graph of `module`, and its description."""
    out = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # Of what is constant in the graph since a picture's size is, and that this exporter is the older one of two;
        # the newer one renames weights.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            out,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            dynamic_axes={name: {0: "points"} for name in many},
            # Folded weights would be other ones than the module's: ONNX Runtime folds them itself.
            do_constant_folding=False,
        )
    model, state = onnx.load_from_string(out.getvalue()), module.state_dict()
    weights = {}
    for tensor in model.graph.initializer:
        if tensor.name in state:
            weights[tensor.name] = list(state[tensor.name].shape)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            place = tensor.external_data.add()
            place.key, place.value = "location", "handed over"
    # Where in our code each node comes from is of no use to anybody else.
    for node in model.graph.node:
        node.doc_string = ""
    return model.SerializeToString(deterministic=True), {
        "opset": OPSET,
        "weights": dict(sorted(weights.items())),
    }


def main() -> None:
    """See the module."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("-o", "--out", type=Path, default=GRAPHS, help="folder for the graphs")
    folder = p.parse_args().out
    for name, make in NETWORKS.items():
        graph, said = graph_of(*make())
        write_whole(folder / f"{name}.onnx", lambda file, graph=graph: file.write(graph))
        write_text(folder / f"{name}.json", json.dumps(said, indent=0) + "\n")
        print(f"{name}: {len(graph) / 1e3:.0f} kB, {len(said['weights'])} weights")


if __name__ == "__main__":
    main()

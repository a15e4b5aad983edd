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
from backend.localizers.field.look import FieldLook
from backend.localizers.field.model import SIDE as FIELD_SIDE
from backend.nets.blazepose import SIDE as POSE_SIDE
from backend.nets.blazepose import VARIANTS, pose_net
from backend.nets.engine import GRAPHS, OPSET
from backend.people.detect import SIDE as DETECTOR_SIDE
from backend.people.detect import detector_net
from blender_addon.shared.whole import write_text, write_whole

NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "blazepose_detector": (detector_net, DETECTOR_SIDE),
    **{f"blazepose_{v}": (lambda v=v: pose_net(v), POSE_SIDE) for v in VARIANTS},
    "field": (lambda: FieldLook(load_field(WEIGHTS)), FIELD_SIDE),
}
"""Name of the graph -> its module, and the pixels of a picture's side."""


def graph_of(module: nn.Module, side: int) -> tuple[bytes, dict]:
    """The graph of `module` for one picture of `side` x `side` pixels, and its description."""
    picture, out = torch.zeros(1, side, side, 3, dtype=torch.uint8), io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        # Of what is constant in the graph since its picture's size is, and that this exporter is the older one of two;
        # the newer one renames weights.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (picture,),
            out,
            dynamo=False,
            opset_version=OPSET,
            input_names=["pictures"],
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
    for name, (make, side) in NETWORKS.items():
        graph, said = graph_of(make(), side)
        write_whole(folder / f"{name}.onnx", lambda file, graph=graph: file.write(graph))
        write_text(folder / f"{name}.json", json.dumps(said, indent=0) + "\n")
        print(f"{name}: {len(graph) / 1e3:.0f} kB, {len(said['weights'])} weights")


if __name__ == "__main__":
    main()

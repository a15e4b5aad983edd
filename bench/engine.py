"""What runs the field's network: PyTorch, ONNX Runtime, and the same with fewer bits.

    python -m bench.engine CALIBRATE.mp4 JUDGE.mp4 --json out.json

One picture at a time on one thread, and on all cores side by side. Errors are against PyTorch's 32 bits on the people
of JUDGE, every tenth frame: landmarks in pixels of the crop, and points relative to their middle, mm. *int8*: the
convolutions, by ONNX Runtime's static quantization, their ranges read off the people of CALIBRATE. *bfloat16*:
PyTorch's autocast (ONNX Runtime has none on processors). The packages of the group `test` are needed.
*nlf*: one crop through NLF's backbone and linking layer, random weights, all cores.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import onnx
import torch

from backend.batch.clip import open_video
from backend.body.load import load_body
from backend.body.native import native_points
from backend.camera.pinhole import Camera
from backend.camera.turned import extract
from backend.localizers.field.file import load_field
from backend.localizers.field.localizer import SURFACE, WEIGHTS
from backend.localizers.field.look import FieldLook
from backend.localizers.field.model import SIDE, FieldFeatures
from backend.localizers.nlf.crop_model import CropLink, CropModel
from backend.localizers.nlf.precision import prepare_model
from backend.nets.engine import OPSET, RUNTIME, TORCH, Eager, Runtime
from backend.nets.hands import Hands
from backend.people.detect import PersonDetector
from bench.report import finish, parser
from blender_addon.shared.threads import usable_cores

EVERY = 10
Run = Callable[[np.ndarray], Sequence[np.ndarray]]


def crops(video: Path) -> list[np.ndarray]:
    """(256, 256, 3) uint8 of everybody in every tenth frame."""
    found, detector = [], PersonDetector()
    with open_video(video) as clip:
        camera = Camera.from_fov(clip.width, clip.height)
        for frame in clip:
            if frame.index % EVERY == 0:
                for person in detector.detect([frame.image])[0]:
                    found.append(extract(frame.image, camera, person.roi, SIDE).image)
    return found


def quantized(module: torch.nn.Module, pictures: Sequence[np.ndarray], folder: Path) -> Run:
    """The network with its convolutions in eight bits."""
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left: Iterator[np.ndarray] = iter(pictures)

        def get_next(self) -> dict | None:
            picture = next(self._left, None)
            return None if picture is None else {"pictures": picture[None]}

    plain, ready, small = (str(folder / f"{n}.onnx") for n in ("plain", "ready", "small"))
    example = torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8)
    with torch.no_grad():
        torch.onnx.export(
            module, (example,), plain, dynamo=False, opset_version=OPSET, input_names=["pictures"]
        )
    quant_pre_process(plain, ready, skip_symbolic_shape=True)
    quantize_static(
        ready, small, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=["Conv"], per_channel=True
    )
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load(small).graph.node)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(small, options, providers=["CPUExecutionProvider"])
    return lambda picture: session.run(None, {"pictures": picture})


def in_sixteen_bits(eager: Eager) -> Run:
    """PyTorch's autocast."""

    def run(picture: np.ndarray) -> list[np.ndarray]:
        with torch.autocast("cpu", torch.bfloat16):
            return [t.float().numpy() for t in eager.run(picture)]

    return run


def milliseconds(run: Run, pictures: Sequence[np.ndarray], rounds: int) -> float:
    """Of processor time for one picture."""
    run(pictures[0][None])
    taken = []
    for n in range(rounds):
        start = time.process_time()
        run(pictures[n % len(pictures)][None])
        taken.append(time.process_time() - start)
    return 1000 * median(taken)


def pictures_per_second(run: Run, pictures: Sequence[np.ndarray], rounds: int) -> float:
    """With all cores."""
    with Hands(0) as hands:
        work = [pictures[n % len(pictures)][None] for n in range(rounds)]
        hands.map(run, work[: hands.count])
        start = time.perf_counter()
        hands.map(run, work)
        return len(work) / (time.perf_counter() - start)


def report(options: argparse.Namespace) -> dict:
    """All engines, taking turns."""
    torch.set_num_threads(1)
    model = load_field(WEIGHTS)
    module = FieldLook(model)
    points = model.prepare(torch.from_numpy(native_points(load_body(), SURFACE).positions))
    learn, judge = crops(options.calibrate), crops(options.judge)
    eager, runtime = Eager(module, "cpu"), Runtime("field", module)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ways: dict[str, Run] = {
            "torch": lambda p: [t.numpy() for t in eager.run(p)],
            "onnxruntime": lambda p: [t.numpy() for t in runtime.run(p)],
            "onnxruntime, int8": quantized(module, learn, Path(name)),
            "torch, bfloat16": in_sixteen_bits(eager),
        }

        @torch.inference_mode()
        def seen(run: Run) -> tuple[np.ndarray, np.ndarray]:
            flat, deep = [], []
            for picture in judge:
                features = FieldFeatures(*(torch.from_numpy(np.array(a)) for a in run(picture[None])))
                where = model.heads(features, points).coords3d_rel[0].numpy()
                flat.append((features.landmarks[0, :33, :2].numpy() + 1) * SIDE / 2)
                deep.append(where - where.mean(0))
            return np.array(flat), np.array(deep)

        truth, rows = seen(ways["torch"]), {}
        for way, run in ways.items():
            flat, deep = seen(run)
            rows[way] = {
                "cpu_ms": round(milliseconds(run, judge, options.rounds), 1),
                "all_cores_pictures_per_second": round(
                    pictures_per_second(run, judge, 2 * options.rounds), 1
                ),
                "landmarks_off_px": round(float(np.linalg.norm(flat - truth[0], axis=-1).mean()), 4),
                "points_off_mm": round(1000 * float(np.linalg.norm(deep - truth[1], axis=-1).mean()), 3),
            }
    for row in rows.values():
        row["time_against_torch"] = round(row["cpu_ms"] / rows["torch"]["cpu_ms"], 2)
    return {"people": len(judge), "rows": rows}


@torch.inference_mode()
def nlf(rounds: int) -> dict:
    """Seconds by the clock for one crop of NLF-S and NLF-L."""
    rows = {}
    for size in ("s", "l"):
        model = prepare_model(CropModel(size), "cpu")
        crop, taken = torch.rand(1, 3, model.side, model.side), {TORCH: [], RUNTIME: []}
        runtime = Runtime(f"nlf_{size}", CropLink(copy.deepcopy(model)), usable_cores())
        for n in range(rounds + 1):
            for name, engine in ((TORCH, None), (RUNTIME, runtime)):
                model.runtime = engine
                start = time.perf_counter()
                model.link(crop)
                if n:
                    taken[name].append(time.perf_counter() - start)
        ms = {name: round(1000 * median(times)) for name, times in taken.items()}
        rows[f"nlf-{size}"] = {f"{k}_ms": v for k, v in ms.items()} | {
            "ratio": round(ms[RUNTIME] / ms[TORCH], 2)
        }
    return rows


def main() -> None:
    """See the module."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("calibrate", type=Path)
    p.add_argument("judge", type=Path)
    p.add_argument("--rounds", type=int, default=12)
    options = p.parse_args()
    finish({"nlf": nlf(options.rounds // 2), **report(options)}, options.json)


if __name__ == "__main__":
    main()

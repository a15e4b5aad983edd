"""What localizing points costs beside the bare backbone: time, memory, preparing; and the rival that prepares nothing.

    python -m bench.localizer [--size s|l|both] [--weights NAME] [--threads 1] --json out.json

*bare* is the backbone in the official layout, eager, float32, on the same batch of crops. *localize* is the crop model
as the product runs it (`prepare_model`), from crops to absolute points, for points prepared once; *as run* is its
backbone alone, faster than *bare* by its folded norms; *whole* adds cutting the crops out of pictures. The rival
pushes the points through the field with every call, as upstream's `predict_multi_same_canonicals` does. All take
turns, round by round; a ratio is the median over rounds of time / time of *bare* (or of *as run*) in the same round.
Memory is the peak of a process of its own.

Claims: S at 256 px: 256 points at most 1.10 x, 1024 at most 1.35 x; 8192 points at most 1.5 GiB above the backbone.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import torch

from backend.localizers.nlf.crop_model import CropModel
from backend.localizers.nlf.multiperson import Recipe, estimate_poses
from backend.localizers.nlf.precision import prepare_model
from bench.memory import peak_bytes
from bench.report import finish, parser

COUNTS = (24, 256, 1024, 8192)
BATCH = {"s": 8, "l": 4}
TARGETS = {("s", 256): 1.10, ("s", 1024): 1.35}
MEMORY_TARGET = 1.5 * 2**30
MEMORY_BATCH = 8
PICTURE = (1080, 1920, 3)


def main() -> None:
    """Print the ratios."""
    p = parser(__doc__)
    p.add_argument("--size", choices=["s", "l", "both"], default="both")
    p.add_argument("--weights", help="name of installed weights in place of random ones")
    p.add_argument("--threads", type=int, default=1, help="threads of torch")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument(
        "--memory", choices=["backbone", "localize", "rival"], help="print the peak of this and end"
    )
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    if a.memory:
        print(json.dumps(peak(a.memory, make(a.size, a.weights))))
        return
    if a.weights:
        a.size = make("", a.weights).size
    figures = {"threads": a.threads, "weights": a.weights or "random"}
    for size in ("s", "l") if a.size == "both" else (a.size,):
        figures[f"nlf_{size}"] = measured(size, a.weights, a.rounds, a.seed, a.threads)
    finish(figures, a.json)


def make(size: str, weights: str | None) -> CropModel:
    """The crop model in the official layout, in evaluation mode."""
    if weights:
        from backend.localizers.nlf.weights import open_weights

        return open_weights(weights).model().eval()
    return CropModel(size).eval()


@torch.inference_mode()
def measured(size: str, weights: str | None, rounds: int, seed: int, threads: int) -> dict:
    """All figures of one size, printed on the way."""
    official = make(size, weights)
    model = prepare_model(copy.deepcopy(official), "cpu")
    B, side = BATCH[size], model.side
    print(f"NLF-{size.upper()} at {side} px, batch {B}, {threads} thread(s), {rounds} rounds")
    points = {P: points_in(official, P) for P in COUNTS}
    preparing = {P: prepare_times(model, points[P]) for P in (1024, 8192)}
    for P, (cold, warm) in preparing.items():
        print(f"  preparing {P} points: {cold:.3f} s, again {warm * 1e3:.2f} ms")
    prepared = {P: model.prepare(points[P], mirrored=False) for P in COUNTS}
    images, K = torch.rand(B, 3, side, side), camera(side).expand(B, 3, 3)
    pictures = [torch.randint(0, 256, PICTURE, dtype=torch.uint8).numpy() for _ in range(B)]
    boxes = [torch.tensor([[800.0 + 20 * i, 200, 300, 700]]) for i in range(B)]
    jobs: dict[str, Callable[[], object]] = {"bare": lambda: official.features(images)}
    jobs["as run"] = lambda: model.features(images)
    for P in COUNTS:
        jobs[f"localize {P}"] = lambda P=P: model.forward_prepared(images, K, prepared[P])
    for P in (256, 1024):
        jobs[f"whole {P}"] = lambda P=P: estimate_poses(model, pictures, boxes, prepared[P], Recipe(batch=B))
    for P in COUNTS:
        jobs[f"rival {P}"] = lambda P=P: official.forward_points(images, K, points[P])
    cpu, wall = take_turns(jobs, rounds)
    rows = {}
    for name in jobs:
        row = {"cpu_ms": round(median(cpu[name]) * 1e3, 1), "wall_ms": round(median(wall[name]) * 1e3, 1)}
        row |= {"cpu_ratio": ratio(cpu, name), "wall_ratio": ratio(wall, name)}
        row |= {"cpu_ratio_as_run": ratio(cpu, name, "as run")}
        kind, _, count = name.partition(" ")
        target = TARGETS.get((size, int(count))) if kind == "localize" else None
        rows[name] = row | ({"target": target, "met": row["cpu_ratio"] <= target} if target else {})
        print(
            f"  {name:14} {row['cpu_ratio']:6.3f} x bare in processor time, {row['wall_ratio']:6.3f} x on the clock, "
            f"{row['cpu_ratio_as_run']:6.3f} x as run, {row['cpu_ms']:8.1f} ms"
            + (f"   (target {target:.2f} x bare)" if target else "")
        )
    memory = {
        what: child_peak(what, size, weights, seed, threads) for what in ("backbone", "localize", "rival")
    }
    above = {what: memory[what] - memory["backbone"] for what in ("localize", "rival")}
    for what, extra in above.items():
        print(f"  memory of {what} with {COUNTS[-1]} points, batch {MEMORY_BATCH}: {extra / 2**30:+.2f} GiB to the "
              f"backbone's {memory['backbone'] / 2**30:.2f} GiB")  # fmt: skip
    return {
        "side": side, "batch": B, "rounds": rounds, "times": rows,
        "prepare_s": {P: {"first": t[0], "cached": t[1]} for P, t in preparing.items()},
        "peak_bytes": memory, "peak_above_backbone_gib": {k: round(v / 2**30, 3) for k, v in above.items()},
        "memory_target_met": above["localize"] <= MEMORY_TARGET,
    }  # fmt: skip


def points_in(model: CropModel, count: int) -> torch.Tensor:
    """(count, 3) metres, anywhere in the bounds of the field."""
    net = model.heatmap_head.weight_field.gps_net
    return net.mini + (net.maxi - net.mini) * torch.rand(count, 3)


def camera(side: int) -> torch.Tensor:
    """(3, 3): some 55 degrees."""
    return torch.tensor([[0.96 * side, 0, side / 2], [0, 0.96 * side, side / 2], [0, 0, 1.0]])


def prepare_times(model: CropModel, points: torch.Tensor) -> tuple[float, float]:
    """Seconds of processor time for the first and for the second time."""
    times = []
    for _ in range(2):
        start = time.process_time()
        model.prepare(points, mirrored=False)
        times.append(time.process_time() - start)
    return times[0], times[1]


def take_turns(
    jobs: dict[str, Callable[[], object]], rounds: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Processor and clock seconds of every job in every round, after one round that does not count."""
    cpu: dict[str, list[float]] = {name: [] for name in jobs}
    wall: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(rounds + 1):
        for name, job in jobs.items():
            start, clock = time.process_time(), time.perf_counter()
            job()
            if turn:
                cpu[name].append(time.process_time() - start)
                wall[name].append(time.perf_counter() - clock)
    return cpu, wall


def ratio(times: dict[str, list[float]], name: str, base: str = "bare") -> float:
    """Median over the rounds of the time of `name` by that of `base`."""
    return round(median(x / y for x, y in zip(times[name], times[base], strict=True)), 3)


@torch.inference_mode()
def peak(what: str, official: CropModel) -> int:
    """Bytes at most after running `what` on the most points."""
    images = torch.rand(MEMORY_BATCH, 3, official.side, official.side)
    K = camera(official.side).expand(MEMORY_BATCH, 3, 3)
    points = points_in(official, COUNTS[-1])
    if what == "rival":
        official.forward_points(images, K, points)
        return peak_bytes()
    model = prepare_model(official, "cpu")
    if what == "backbone":
        model.features(images)
    else:
        model.forward_prepared(images, K, model.prepare(points, mirrored=False))
    return peak_bytes()


def child_peak(what: str, size: str, weights: str | None, seed: int, threads: int) -> int:
    """`peak` in a process of its own."""
    command = [sys.executable, "-m", "bench.localizer", "--memory", what, "--size", size]
    command += ["--seed", str(seed), "--threads", str(threads), *(["--weights", weights] if weights else [])]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(json.loads(out.splitlines()[-1]))


if __name__ == "__main__":
    main()

"""The whole road's speed, memory and manners, in one run with MediaPipe.

    python -m bench.road DEMO.mp4 --rival PYTHON --json out.json

DEMO: a clip of one or two people. `--rival`: see `bench.accuracy`; it runs MediaPipe's heavy model, which follows one
person and fits no body. Every measurement is a process of its own, with the threads that it chooses.

*speed*: frames a second of the road from the first frame to the last motion (reading the clip, people, points, bodies;
starting the program is told apart), alone and beside busy programs; `of_fair_share`: what is kept beside them of what
the road is owed there. *long*: a clip of ten times as many frames, there and back again. *memory*: the most that the
process holds, MB, with one and four people in pictures of 1920 x 1080.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from itertools import count
from pathlib import Path
from statistics import median

import av
import cv2
import numpy as np

from bench.accuracy import run_rival
from bench.neighbours import busy, fair_share
from bench.report import finish, parser
from blender_addon.shared.threads import usable_cores

LOCALIZERS = ("field", "landmarks-full")
WIDE, HIGH = 1920, 1080


def child(video: Path, localizer: str, people: int) -> dict:
    """Figures of one run of the road, by the process that runs nothing else."""
    from backend.batch.clip import run_clip
    from backend.options import MocapOptions
    from backend.records import Progress

    marks: list[tuple[float, float]] = []

    def hear(event: object) -> None:
        if isinstance(event, Progress) and event.stage != "prepare" and not marks:
            marks.append((time.perf_counter(), time.process_time()))

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as home:
        outcome = run_clip(video, MocapOptions(localizer, max_people=people), hear, Path(home))
    # The first frame is done when its progress is told.
    frames = outcome.summary.frames - 1
    wall, cpu = time.perf_counter() - marks[0][0], time.process_time() - marks[0][1]
    return {
        "fps": frames / wall,
        "cpu_ms_per_frame": 1000 * cpu / frames,
        "start_s": marks[0][0] - began,
        "people": outcome.summary.people,
        "memory_mb": peak_memory_mb(),
        "stages_s": outcome.summary.seconds,
        "engine": outcome.summary.engine,
    }


def peak_memory_mb() -> float:
    """The most that this process has held so far; NaN where the system does not tell."""
    if Path("/proc/self/status").is_file():
        # `getrusage` would tell of the parent, too, on Linux.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1e3
    try:
        import resource
    except ImportError:
        return float("nan")
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (1e6 if sys.platform == "darwin" else 1e3)


def measured(video: Path, localizer: str, people: int = 4) -> dict:
    """`child` in a process of its own."""
    command = [sys.executable, "-m", "bench.road", str(video), "--child", localizer, "--people", str(people)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


def there_and_back(video: Path, out: Path, times: int) -> Path:
    """`video` forwards and backwards by turns, `times` in all."""
    pictures = [frame.to_ndarray(format="rgb24") for frame in av.open(str(video)).decode(video=0)]
    order = [p for n in range(times) for p in (pictures if n % 2 == 0 else pictures[::-1])]
    return write(order, out)


def side_by_side(video: Path, out: Path, people: int) -> Path:
    """Pictures of 1920 x 1080 with `people` copies of the clip beside one another."""
    rows = []
    for frame in av.open(str(video)).decode(video=0):
        image = frame.to_ndarray(format="rgb24")
        scale = min(WIDE / people / image.shape[1], HIGH / image.shape[0])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        whole = np.full((HIGH, WIDE, 3), 90, np.uint8)
        for n in range(people):
            x, y = int((n + 0.5) * WIDE / people - small.shape[1] / 2), HIGH - small.shape[0]
            whole[y:, x : x + small.shape[1]] = small
        rows.append(whole)
    return write(rows, out)


def write(pictures: list[np.ndarray], out: Path, fps: int = 60) -> Path:
    """A movie of these pictures."""
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "20", "preset": "veryfast"}
        for picture, pts in zip(pictures, count()):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = pts
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out


def speed(options: argparse.Namespace) -> dict:
    """Frames a second alone and beside busy programs, all taking turns."""
    neighbours = [int(n) for n in options.neighbours.split(",")]
    ours: dict[tuple[str, int], list[dict]] = {(name, n): [] for n in neighbours for name in LOCALIZERS}
    theirs: dict[int, list[float]] = {n: [] for n in neighbours}
    for _ in range(options.rounds):
        for n in neighbours:
            with busy(n):
                for name in LOCALIZERS:
                    ours[name, n].append(measured(options.video, name))
                if options.rival:
                    found = run_rival(options.rival, options.video)
                    theirs[n].append(len(found["image"]) / float(found["seconds"]))
    rows = []
    for n in neighbours:
        row: dict = {"neighbours": n}
        if options.rival:
            row["mediapipe_heavy_fps"] = round(median(theirs[n]), 2)
        for name in LOCALIZERS:
            fps = median(r["fps"] for r in ours[name, n])
            alone = median(r["fps"] for r in ours[name, neighbours[0]])
            row[name] = {
                "fps": round(fps, 2),
                "cpu_ms_per_frame": round(median(r["cpu_ms_per_frame"] for r in ours[name, n]), 1),
                "start_s": round(median(r["start_s"] for r in ours[name, n]), 2),
                "of_fair_share": round(fps / alone / fair_share(n, usable_cores()), 2),
            }
            if options.rival:
                row[name]["ratio"] = round(fps / median(theirs[n]), 2)
        rows.append(row)
    first = ours[LOCALIZERS[0], neighbours[0]][0]
    return {"rows": rows, "engine": first["engine"], "people": first["people"], "stages_s": first["stages_s"]}


def length_and_memory(options: argparse.Namespace) -> dict:
    """One person for 100 and 1,000 frames, four people for 100 frames, in pictures of 1920 x 1080."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one = side_by_side(options.video, folder / "one.mp4", 1)
        four = side_by_side(options.video, folder / "four.mp4", 4)
        long = there_and_back(one, folder / "long.mp4", options.long)
        short = [measured(one, LOCALIZERS[0], 1) for _ in range(max(options.rounds, 1))]
        longer, more = measured(long, LOCALIZERS[0], 1), measured(four, LOCALIZERS[0], 4)
    per_frame = 1 / median(r["fps"] for r in short)
    return {
        "one_person": {"fps": round(1 / per_frame, 2), "people": short[0]["people"],
                       "cpu_ms_per_frame": round(median(r["cpu_ms_per_frame"] for r in short), 1),
                       "memory_mb": round(max(r["memory_mb"] for r in short))},
        "long": {"times_as_many_frames": options.long, "people": longer["people"], "fps": round(longer["fps"], 2),
                 "time_per_frame_against_short": round(1 / longer["fps"] / per_frame, 3),
                 "memory_mb": round(longer["memory_mb"])},
        "four_people": {"people": more["people"], "fps": round(more["fps"], 2),
                        "memory_mb": round(more["memory_mb"])},
    }  # fmt: skip


def main() -> None:
    """See the module."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("video", type=Path)
    p.add_argument("--rival", help="a Python interpreter that has mediapipe 0.10.21")
    p.add_argument("--neighbours", default="0,1,3", help="how many busy programs, the first of them 0")
    p.add_argument("--rounds", type=int, default=3, help="0: nothing beside busy programs")
    p.add_argument(
        "--long", type=int, default=10, help="times as many frames in the long clip; 0: leave that out"
    )
    p.add_argument("--child", help=argparse.SUPPRESS)
    p.add_argument("--people", type=int, default=4, help=argparse.SUPPRESS)
    options = p.parse_args()
    if options.child:
        print(json.dumps(child(options.video, options.child, options.people)))
        return
    figures: dict = {"cores": usable_cores(), "cores_of_machine": os.cpu_count()}
    if options.rounds:
        figures["speed"] = speed(options)
    if options.long:
        figures |= length_and_memory(options)
    finish(figures, options.json)


if __name__ == "__main__":
    main()

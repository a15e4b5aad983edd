"""How PyTorch fares beside busy programs: localizing one person with the field, alone and beside 1 and 3 of them.

ONNX Runtime's single threads, by which the road really runs, have nobody to wait for: `bench.road` measures those.

    python -m bench.neighbours [--neighbours 0,1,3] [--seconds 8] [--rounds 3] --json out.json

The rival is the same network with OpenMP's own way of waiting (spinning), as release 0.1 ran it. Each figure is the
median over rounds of interleaved child processes. `of_fair_share`: pictures a second beside busy programs, against
pictures a second alone times the share of the machine that the system's scheduler owes to as many threads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.report import finish, parser
from blender_addon.shared.threads import COUNT, PASSIVE, usable_cores

DEMO = Path(__file__).resolve().parents[1] / "tests" / "data" / "demo.mp4"
SPINNING = {"KMP_BLOCKTIME": "200"}
"""A word of the user's own, Intel's default: with it nothing is set, and every OpenMP waits as it likes."""
WAYS = {"passive": PASSIVE, "spinning": SPINNING}


def pictures_per_second(seconds: float) -> float:
    """Of one person, in this process, in the time given; loading and a first picture are not counted."""
    from backend.body.load import load_body
    from backend.camera.pinhole import Camera
    from backend.localizers.contract import LocalizerOptions
    from backend.localizers.field.localizer import FieldLocalizer
    from backend.people.detect import PersonDetector
    from backend.records import Subject
    from blender_addon.shared.frames import open_clip

    with open_clip(DEMO) as clip:
        image = next(iter(clip)).image
    camera = Camera.from_fov(image.shape[1], image.shape[0])
    find = max(PersonDetector("cpu").detect([image], far=True)[0], key=lambda d: d.score)
    localizer = FieldLocalizer(load_body(), LocalizerOptions(engine="torch"))
    subject = [Subject(image, camera, find.box, find.roi)]
    first = localizer.localize(subject)
    subject = [Subject(image, camera, find.box, find.roi, first.points2d[0, localizer.landmarks])]
    localizer.localize(subject)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        localizer.localize(subject)
        count += 1
    return count / (time.perf_counter() - start)


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many programs that do nothing but compute."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def measured(way: dict[str, str], neighbours: int, seconds: float) -> float:
    """Pictures a second of a child process that waits in this way."""
    environ = {k: v for k, v in os.environ.items() if k not in (*PASSIVE, COUNT)} | way
    command = [sys.executable, "-m", "bench.neighbours", "--child", str(seconds)]
    with busy(neighbours):
        ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


def fair_share(neighbours: int, cores: int) -> float:
    """Of what it has alone: what a process with a thread for each core is owed beside others with one thread each."""
    return min(1.0, cores / (cores + neighbours))


def report(options: argparse.Namespace) -> dict:
    """All ways beside all numbers of neighbours."""
    counts = [int(n) for n in options.neighbours.split(",")]
    found: dict[tuple[str, int], list[float]] = {(w, n): [] for w in WAYS for n in counts}
    for _ in range(options.rounds):
        for (way, neighbours), values in found.items():
            values.append(measured(WAYS[way], neighbours, options.seconds))
    cores, rows = usable_cores(), []
    for neighbours in counts:
        rate = {way: median(found[way, neighbours]) for way in WAYS}
        alone = median(found["passive", counts[0]])
        rows.append(
            {
                "neighbours": neighbours,
                **{f"{way}_pictures_per_second": round(v, 2) for way, v in rate.items()},
                "ratio": round(rate["passive"] / rate["spinning"], 2),
                "of_fair_share": round(rate["passive"] / alone / fair_share(neighbours, cores), 2),
            }
        )
    return {"cores": cores, "rounds": options.rounds, "rows": rows}


def main() -> None:
    """See the module."""
    p = parser(__doc__.splitlines()[0])
    p.add_argument("--neighbours", default="0,1,3", help="how many busy programs, the first of them 0")
    p.add_argument("--seconds", type=float, default=8.0, help="of each measurement")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--child", type=float, help=argparse.SUPPRESS)
    options = p.parse_args()
    if options.child:
        print(json.dumps(pictures_per_second(options.child)))
        return
    finish(report(options), options.json)


if __name__ == "__main__":
    main()

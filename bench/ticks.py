"""How long Blender's window stands still while results arrive: the longest tick of the timer and the 99th percentile.

    python -m bench.ticks [--frames 10000] [--points 100] [--runs 3] [--python PYTHON_WITH_BPY] --json out.json

The shipped clip with a real backend; a person of many frames that comes in chunks and then as a whole, replayed over a
real socket; points over 1000 frames; pose correctives. What Blender itself does after a tick (evaluating what changed)
and playback are measured in background mode, so without drawing.

Claim: the median over the runs of the longest tick is at most 100 ms in each of them.
"""

from __future__ import annotations

from statistics import median

from bench.blender import in_blender
from bench.report import finish, parser

CLAIMED_MS = 100.0
PARTS = {
    "demo": "import of the shipped clip",
    "replayed": "person of many frames",
    "tracked": "points",
    "make body": "correctives off to body",
    "make all": "correctives body to all",
    "make off": "correctives all to off",
}
PLAYED = ("play off", "play body", "play all")


def main() -> None:
    """Print the ticks of each part and the times of playback."""
    p = parser(__doc__)
    p.add_argument("--frames", type=int, default=10_000, help="of the replayed person")
    p.add_argument("--points", type=int, default=100)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--only", nargs="*", default=["demo", "replayed", "points", "correctives"])
    p.add_argument("--python", help="an interpreter with bpy, if this one has none")
    a = p.parse_args()
    numbers = ("--frames", a.frames, "--points", a.points)
    runs = [
        in_blender(
            "blender.bench_ticks",
            *map(str, numbers),
            *("--seed", str(a.seed + i), "--only", *a.only),
            python=a.python,
        )
        for i in range(a.runs)
    ]
    print(
        f"Blender {runs[0]['blender']}, {a.runs} runs, medians in ms; load {[run['load'] for run in runs]}:"
    )
    longest = {}
    for part, words in PARTS.items():
        if part in runs[0]:
            said = {name: median(run[part][name] for run in runs) for name in runs[0][part]}
            longest[part] = said["longest_ms"]
            print(f"  {words}: {said['ticks']:.0f} ticks, longest {said['longest_ms']:.0f} (of it computing "
                  f"{said['longest_cpu_ms']:.0f}), 99 % below {said['p99_ms']:.0f}; Blender's update after one: median "
                  f"{said['update_median_ms']:.0f}, longest {said['update_longest_ms']:.0f}")  # fmt: skip
    for part in PLAYED:
        if part in runs[0]:
            middle = median(run[part]["median_ms"] for run in runs)
            print(f"  playback, correctives {part[5:]}: {middle:.1f} a frame")
    print(f"  longest tick {max(longest.values()):.0f} ms (claimed: at most {CLAIMED_MS:.0f})")
    finish({"runs": runs, "longest_ms": longest, "claimed_ms": CLAIMED_MS}, a.json)


if __name__ == "__main__":
    main()

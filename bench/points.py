"""Points that are added to a finished clip: what the second pass costs against the first, from Blender's side.

    python -m bench.points [--points 100] [--clip CLIP] [--python PYTHON_WITH_BPY] --json out.json

Claim: 100 points, tracked and keyed on everybody in the clip, take at most a quarter of the time of the import.
"""

from __future__ import annotations

from bench.blender import in_blender
from bench.report import finish, parser

CLAIMED = 0.25


def main() -> None:
    """Print both times, their ratio, and how long the window stood still at most."""
    p = parser(__doc__)
    p.add_argument("--points", type=int, default=100)
    p.add_argument("--clip", help="another clip than the shipped one")
    p.add_argument("--localizer", default="field")
    p.add_argument("--python", help="an interpreter with bpy, if this one has none")
    a = p.parse_args()
    more = ["--clip", a.clip] if a.clip else []
    figures = in_blender(
        "blender.bench_points", "--points", str(a.points), "--localizer", a.localizer, *more, python=a.python
    )
    ratio = figures["second_s"] / figures["first_s"]
    print(f"Blender {figures['blender']}, {figures['frames']} frames, {figures['people']} people:")
    print(f"  import {figures['first_s']:.1f} s, {a.points} points {figures['second_s']:.2f} s")
    print(f"  ratio {ratio:.3f} (claimed: at most {CLAIMED})")
    print(f"  longest tick: import {1000 * figures['longest_tick_first_s']:.0f} ms, points "
          f"{1000 * figures['longest_tick_second_s']:.0f} ms")  # fmt: skip
    finish(figures | {"ratio": ratio, "claimed": CLAIMED}, a.json)


if __name__ == "__main__":
    main()

"""Keying a body in bulk, against Blender's own `keyframe_insert`, in the same Blender on the same values.

    python -m bench.keys [--frames 1000] [--python PYTHON_WITH_BPY] --json out.json

Claim: 1000 frames x 55 bones are keyed at least 15 times faster, and both ways give the same curves.
"""

from __future__ import annotations

from bench.blender import in_blender
from bench.report import finish, parser

CLAIMED = 15.0


def main() -> None:
    """Print the times and their ratio."""
    p = parser(__doc__)
    p.add_argument("--frames", type=int, default=1000, help="keys per curve")
    p.add_argument("--python", help="an interpreter with bpy, if this one has none")
    a = p.parse_args()
    figures = in_blender(
        "blender.bench_keys", "--frames", str(a.frames), "--seed", str(a.seed), python=a.python
    )
    ratio = figures["keyframe_insert_s"] / figures["bulk_s"]
    print(f"Blender {figures['blender']}, {a.frames} frames x 55 bones (223 curves):")
    print(f"  keyframe_insert {figures['keyframe_insert_s']:.3f} s, in bulk {figures['bulk_s']:.3f} s")
    print(f"  {ratio:.0f} times as fast (claimed: at least {CLAIMED:.0f}); largest difference of any value "
          f"{figures['difference']:.1e}")  # fmt: skip
    finish(figures | {"ratio": ratio, "claimed": CLAIMED}, a.json)


if __name__ == "__main__":
    main()

"""FBX round trip: every joint of every frame, read back by Blender and by ufbx, against forward kinematics.

    python -m bench.fbx [--frames 300] [--python PYTHON_WITH_BPY] --json out.json

Claim: 55 joints, all frames, every joint within 1 mm, for each preset and each reader.
"""

from __future__ import annotations

from bench.blender import in_blender
from bench.report import finish, parser


def main() -> None:
    """Print the errors by preset and reader."""
    p = parser(__doc__)
    p.add_argument("--frames", type=int, default=300, help="length of the take")
    p.add_argument("--python", help="an interpreter with bpy, if this one has none")
    a = p.parse_args()
    figures = in_blender(
        "blender.bench_fbx", "--frames", str(a.frames), "--seed", str(a.seed), python=a.python
    )
    print(f"Blender {figures['blender']}, {a.frames} frames x 55 joints:")
    for row in figures["readers"]:
        if row["error_mm"] is None:
            print(f"  preset {row['preset']:8} {row['reader']:8} is not installed here")
            continue
        print(f"  preset {row['preset']:8} {row['reader']:8} {row['joints']} joints, {row['frames']} frames, "
              f"largest error {row['error_mm']:.6f} mm")  # fmt: skip
    for preset, seconds in figures["export_s"].items():
        print(f"  preset {preset:8} written in {seconds:.2f} s, {figures['bytes'][preset] / 1e6:.2f} MB")
    finish(figures, a.json)


if __name__ == "__main__":
    main()

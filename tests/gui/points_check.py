"""Clicks three points onto a body in a real Blender window with the mouse (X11: needs Xvfb and xdotool).

    python tests/gui/points_check.py --blender blender --zip dist/bodyfield-...zip --out PICTURES

Exit code 0 when the three points lie where they were clicked, undo takes them away and redo brings them back, and an
FBX is written. Needs Pillow in the Python that runs it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from check import SIZE, click, grab, install, screen

HERE = Path(__file__).resolve().parent
NEAR_M = 0.02


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--blender", default="blender")
    parser.add_argument("--zip", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--display", default=":97")
    parser.add_argument("--timeout", type=float, default=300)
    args = parser.parse_args()
    out = args.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    end = out / "end"
    end.unlink(missing_ok=True)
    said: dict[str, dict] = {}
    with screen(args.display) as environ:
        environ["BLENDER_USER_RESOURCES"] = str(out / "blender_user")
        install(args.blender, args.zip.absolute(), environ)
        command = [args.blender, "--window-geometry", "0", "0", *map(str, SIZE)]
        command += [
            "--python",
            str(HERE / "points_window.py"),
            "--",
            str(HERE.parent.parent),
            str(end),
            str(out),
        ]
        with (out / "points.log").open("w") as log:
            child = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=log, text=True)
        began = time.monotonic()
        try:
            for line in child.stdout:
                if time.monotonic() - began > args.timeout:
                    break
                if not line.startswith('{"step"'):
                    continue
                print(line, end="", flush=True)
                facts = json.loads(line)
                said[facts["step"]] = facts
                if facts["step"] == "ready":
                    grab(args.display, out / "points_1_waiting.png")
                    for x, y in facts["targets"]:
                        click(x, SIZE[1] - 1 - y, environ)
                        time.sleep(1.0)
                elif facts["step"] == "clicked":
                    time.sleep(0.7)
                    grab(args.display, out / "points_2_clicked.png")
                    subprocess.run(["xdotool", "key", "Escape"], env=environ, check=True)
                elif facts["step"] == "exported":
                    time.sleep(1.5)
                    grab(args.display, out / "points_3_after.png")
                    break
        finally:
            end.touch()
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
    wrong = problems(said)
    print("\n".join(wrong) or "Points are put where the mouse clicks.")
    return len(wrong) > 0


def problems(said: dict[str, dict]) -> list[str]:
    """What is wrong, one sentence each."""
    if "exported" not in said:
        return [f"It did not come to the end; the last word was {list(said.values())[-1:]}."]
    clicked, found = said["clicked"], []
    for i, (place, expected) in enumerate(zip(clicked["places"], clicked["expected"], strict=True)):
        off = sum((a - b) ** 2 for a, b in zip(place, expected, strict=True)) ** 0.5
        if off > NEAR_M:
            found.append(f"Wrong: point {i} lies {100 * off:.1f} cm from where it was clicked.")
    if said["undone"]["points"] or said["undone"]["empties"]:
        found.append("Wrong: undo left points behind.")
    if said["redone"]["points"] != 3 or len(said["redone"]["places"]) != 3:
        found.append("Wrong: redo did not bring the points back.")
    if said["exported"]["bytes"] < 100_000:
        found.append("Wrong: the FBX is too small.")
    return found


if __name__ == "__main__":
    sys.exit(main())

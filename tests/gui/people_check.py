"""Clicks one of two people in a real Blender window with the mouse (X11: needs Xvfb and xdotool), and starts.

    BACKEND_PYTHON=python tests/gui/people_check.py --blender blender --zip dist/bodyfield-...zip --out PICTURES

The backend is a real one on the CPU, started here with BACKEND_PYTHON (else this Python) for a folder of its own.
Exit code 0 when exactly the person who was clicked was followed. Needs Pillow in the Python that runs it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from check import SIZE, click, grab, install, screen

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
HER_X = (230, 330)
"""Where the middle of her box lies, pixels of the clip: she stands on the right of the two."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--blender", default="blender")
    parser.add_argument("--zip", type=Path, required=True)
    parser.add_argument("--clip", type=Path, default=HERE.parent / "data" / "two_people.mp4")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--display", default=":83")
    parser.add_argument("--timeout", type=float, default=500)
    args = parser.parse_args()
    out = args.out.absolute()
    home = out / "people_home"
    home.mkdir(parents=True, exist_ok=True)
    for old in ("end", "people_home/endpoint.json"):
        (out / old).unlink(missing_ok=True)
    said: dict[str, dict] = {}
    with screen(args.display) as environ:
        environ |= {"BLENDER_USER_RESOURCES": str(out / "blender_user"), "BODYFIELD_HOME": str(home)}
        install(args.blender, args.zip.absolute(), environ)
        python = os.environ.get("BACKEND_PYTHON", sys.executable)
        serve = [python, "-m", "backend", "serve", "--home", str(home), "--device", "cpu"]
        with (out / "people_backend.log").open("w") as log:
            backend = subprocess.Popen(serve, cwd=ROOT, env=dict(os.environ), stdout=log, stderr=log)
        began = time.monotonic()
        while not (home / "endpoint.json").exists() and time.monotonic() - began < 120:
            time.sleep(0.2)
        try:
            drive(args, out, environ, said)
        finally:
            backend.terminate()
            backend.wait(20)
    wrong = problems(said)
    print("\n".join(wrong) or "Only the person who was clicked is followed.")
    return len(wrong) > 0


def drive(args: argparse.Namespace, out: Path, environ: dict[str, str], said: dict[str, dict]) -> None:
    """Open Blender, click through, and put what it tells into `said`."""
    end = out / "end"
    command = [args.blender, "--window-geometry", "0", "0", *map(str, SIZE)]
    command += ["--python", str(HERE / "people_window.py"), "--", str(args.clip.absolute()), str(end)]
    with (out / "people.log").open("w") as log:
        child = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=log, text=True)
    outlined = []
    patience = threading.Timer(args.timeout, child.kill)
    patience.start()
    try:
        for line in child.stdout:
            if not line.startswith('{"step"'):
                continue
            print(line, end="", flush=True)
            facts = json.loads(line)
            step = facts["step"]
            said[step] = facts
            if step == "panel":
                time.sleep(0.5)
                grab(args.display, out / "people_0_panel.png")
            elif step == "opened":
                time.sleep(0.8)
                grab(args.display, out / "people_1_looking.png")
            elif step == "outlined":
                outlined.append(facts)
                time.sleep(0.7)
                grab(args.display, out / f"people_2_outlined_{len(outlined)}.png")
                if len(outlined) == 1:
                    # A second on: the people there are others' places.
                    subprocess.run(["xdotool", "key", "Right", "Right", "Right"], env=environ, check=True)
                else:
                    click(*turned(facts["targets"][-1]), environ)
            elif step == "chosen" and facts["chosen"] == [1]:
                time.sleep(0.7)
                grab(args.display, out / "people_3_chosen.png")
                x, y = turned(said["outlined"]["targets"][0])
                subprocess.run(["xdotool", "mousemove", str(x), str(y)], env=environ, check=True)
                time.sleep(1.0)
                grab(args.display, out / "people_4_hover.png")
                click(*turned(said["outlined"]["button"]), environ)
            elif step == "running":
                time.sleep(2)
                grab(args.display, out / "people_5_running.png")
            elif step == "done":
                time.sleep(3)
                grab(args.display, out / "people_6_done.png")
                break
    finally:
        said["pictures"] = {"frames": [facts["frame"] for facts in outlined]}
        end.touch()
        patience.cancel()
        try:
            child.wait(30)
        except subprocess.TimeoutExpired:
            child.kill()


def turned(place: list[int]) -> tuple[int, int]:
    """Blender counts from below, X11 from above."""
    return place[0], SIZE[1] - 1 - place[1]


def problems(said: dict[str, dict]) -> list[str]:
    """What is wrong, one sentence each."""
    done = said.get("done")
    if done is None:
        return [f"It did not come to the end; the last word was {list(said.items())[-2:]}."]
    middles = [box[0] + box[2] / 2 for box in done["boxes"].values()]
    people = said["running"]["options"].get("people", {})
    checks = {
        "the import failed": done["state"] == "done",
        "not exactly one person was followed": len(middles) == 1 and len(done["bodies"]) == 1,
        "somebody else was followed": all(HER_X[0] < x < HER_X[1] for x in middles),
        "the arrow keys went elsewhere": said["pictures"]["frames"] == [0, 3] and people.get("frame") == 3,
        "the overlay stayed": not said["running"]["open"],
        "the panel says something else": done["words"] == "1 of 2 chosen, frame 3",
    }
    return [f"Wrong: {words} ({json.dumps(done)})." for words, right in checks.items() if not right]


if __name__ == "__main__":
    sys.exit(main())

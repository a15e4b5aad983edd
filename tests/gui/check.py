"""The add-on in a real Blender with a real window, driven by mouse and keyboard (X11: needs Xvfb and xdotool).

    python tests/gui/check.py --blender blender --zip dist/bodyfield-...zip --clip CLIP.mp4 --out PICTURES

Installs the zip into a user folder of its own, opens the window, clicks *Start* in the panel, takes pictures on the
way and checks what lies in the scene at the end. The backend is the one of BODYFIELD_PYTHON or `install.py setup`.
Needs Pillow in the Python that runs it. Exit code 0 when all is as it should be.
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

from PIL import ImageGrab

HERE = Path(__file__).resolve().parent
SIZE = (1280, 800)
START_TIMEOUT_S = 120


@contextlib.contextmanager
def screen(display: str) -> Iterator[dict[str, str]]:
    """An X screen of our own; gives the environment for programs on it."""
    size = f"{SIZE[0]}x{SIZE[1]}x24"
    command = ["Xvfb", display, "-screen", "0", size, "+extension", "GLX", "-nolisten", "tcp"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            environ = {**os.environ, "DISPLAY": display}
            for _ in range(100):
                if (
                    subprocess.run(
                        ["xdotool", "getdisplaygeometry"], env=environ, capture_output=True
                    ).returncode
                    == 0
                ):
                    break
                time.sleep(0.1)
            yield environ
        finally:
            server.terminate()


def install(blender: str, package: Path, environ: dict[str, str]) -> None:
    """Install and enable the zip as a user would, and turn the splash off."""
    fixed = ["--command", "extension", "install-file", "--repo", "user_default", "--enable"]
    subprocess.run([blender, *fixed, str(package)], env=environ, check=True)
    code = "import bpy; bpy.context.preferences.view.show_splash = False; bpy.ops.wm.save_userpref()"
    command = [blender, "-b", "--python-exit-code", "1", "--python-expr", code]
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)


def click(x: int, y: int, environ: dict[str, str]) -> None:
    """Blender wants the pointer to hover before a button takes a click."""
    for dx, dy in ((-6, -3), (-2, 0), (0, 0)):
        subprocess.run(["xdotool", "mousemove", str(x + dx), str(y + dy)], env=environ, check=True)
        time.sleep(0.4)
    subprocess.run(["xdotool", "click", "1"], env=environ, check=True)


def start_button(picture, sidebar: list[int]) -> tuple[int, int]:
    """Middle of *Start*: the brightest even stretch of the panel that is half as tall again as its other buttons."""
    x = sidebar[0] + sidebar[2] // 2 - 12
    top = picture.height - (sidebar[1] + sidebar[3])
    column = [picture.getpixel((x + 60, y)) for y in range(top, picture.height - 40)]
    runs, begin = [], 0
    for i in range(1, len(column) + 1):
        if i == len(column) or column[i] != column[begin]:
            runs.append((i - begin, begin, column[begin]))
            begin = i
    buttons = [r for r in runs if 24 <= r[0] <= 40]
    assert buttons, f"no Start button in the panel: {runs}"
    length, first, _ = max(buttons, key=lambda run: sum(run[2]))
    return x, top + first + length // 2


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--blender", default="blender")
    parser.add_argument("--zip", type=Path, required=True)
    parser.add_argument("--clip", type=Path, default=HERE.parent / "data" / "demo.mp4")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--display", default=":97")
    parser.add_argument("--timeout", type=float, default=900, help="seconds for the import")
    args = parser.parse_args()
    out = args.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    end = out / "end"
    end.unlink(missing_ok=True)
    with screen(args.display) as environ:
        environ["BLENDER_USER_RESOURCES"] = str(out / "blender_user")
        install(args.blender, args.zip.absolute(), environ)
        command = [
            args.blender,
            "--window-geometry",
            "0",
            "0",
            *map(str, SIZE),
            "--python",
            str(HERE / "in_window.py"),
        ]
        command += ["--", str(args.clip.absolute()), str(end)]
        with (out / "blender.log").open("w") as log:
            child = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=log, text=True)
        said: dict[str, dict] = {}
        began = time.monotonic()
        try:
            for line in child.stdout:
                if time.monotonic() - began > args.timeout:
                    break
                if not line.startswith('{"step"'):
                    continue
                print(line, end="", flush=True)
                facts = json.loads(line)
                step = facts["step"]
                first = step not in said
                said[step] = facts
                if step == "ready":
                    grab(args.display, out / "1_panel.png")
                    x, y = start_button(ImageGrab.grab(xdisplay=args.display), facts["sidebar"])
                    print(f"click at {x}, {y}", flush=True)
                    click(x, y, environ)
                elif step == "running" and (first or facts["progress"][1] in (10, 40)):
                    grab(args.display, out / f"2_running_{facts['progress'][1] or 0}.png")
                elif step == "done":
                    time.sleep(4)
                    grab(args.display, out / "3_done.png")
                    break
        finally:
            end.touch()
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()
    wrong = problems(said)
    print("\n".join(wrong) or "The add-on works in a real Blender with a window.")
    return len(wrong) > 0


def grab(display: str, path: Path) -> None:
    ImageGrab.grab(xdisplay=display).save(path)


def problems(said: dict[str, dict]) -> list[str]:
    """What is wrong with the result, one sentence each."""
    done = said.get("done")
    if done is None:
        return [f"The import did not end; the last word was {list(said.values())[-1:]}."]
    checks = {
        "the import failed": done["state"] == "done",
        "nobody was found": done["people"] >= 1 and len(done["bodies"]) == done["people"],
        "a body has not 55 bones": set(done["bones"]) == {55},
        "a body has no skinned mesh": done["meshes"] == done["people"],
        "the camera shows no footage": done["footage"],
        "nobody moved": max(done["wrist_moved_m"], default=0) > 0.1,
        "no progress was seen": "running" in said,
    }
    return [f"Wrong: {words} ({json.dumps(done)})." for words, right in checks.items() if not right]


if __name__ == "__main__":
    sys.exit(main())

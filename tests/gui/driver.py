"""A real Blender with a real window for a script: mouse, keys, pictures, and Python inside (X11: Xvfb and xdotool).

`Window.press("bodyfield.cancel")` hovers over the sidebar and asks Blender what the button under
the pointer would run, so that a script clicks where a person would and breaks when the button is not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from check import SIZE, grab, install, screen

HERE = Path(__file__).resolve().parent
STEP_PX = 7
PAGES, WHEEL = 3, 8
"""How often a region is scrolled down in search of a button, and by how many turns of the wheel."""
UNDER_POINTER = """
window, area, region = view({region!r})
bpy.context.window_manager.clipboard = ""
with bpy.context.temp_override(window=window, area=area, region=region):
    if bpy.ops.ui.copy_python_command_button.poll():
        bpy.ops.ui.copy_python_command_button()
answer = bpy.context.window_manager.clipboard
"""


class Window:
    """A running Blender. Times are seconds; window coordinates are X11's, y down."""

    def __init__(self, child: subprocess.Popen, environ: dict[str, str], out: Path) -> None:
        self._child, self._environ, self.out = child, environ, out
        self._asked = 0

    def run(self, code: str, timeout: float = 120) -> object:
        """Run Python in Blender; -> what it left in `answer`. Raises AssertionError with Blender's traceback."""
        self._asked += 1
        ask = self.out / "ask.json"
        fresh = ask.with_suffix(".new")
        fresh.write_text(json.dumps({"id": self._asked, "code": code}), encoding="utf-8")
        fresh.replace(ask)
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            line = self._child.stdout.readline()
            assert line, "Blender ended"
            if not line.startswith('{"id"'):
                continue
            said = json.loads(line)
            assert said["error"] is None, said["error"]
            if said["id"] == self._asked:
                return said["answer"]
        raise AssertionError(f"no answer within {timeout} s to: {code}")

    def until(self, condition: str, timeout: float = 300, every: float = 0.3) -> object:
        """Wait for an expression in Blender to become true; -> its value."""
        end = time.monotonic() + timeout
        while True:
            value = self.run(f"answer = {condition}")
            if value:
                return value
            assert time.monotonic() < end, f"{condition} did not come true within {timeout} s"
            time.sleep(every)

    def xdotool(self, *words: object) -> None:
        subprocess.run(["xdotool", *map(str, words)], env=self._environ, check=True)

    def key(self, *names: str) -> None:
        """Press keys, one after the other: "Return", "ctrl+z"."""
        for name in names:
            self.xdotool("key", name)
            time.sleep(0.3)

    def type(self, text: str) -> None:
        self.xdotool("type", "--delay", 40, text)
        time.sleep(0.3)

    def hover(self, x: float, y: float, settle: float = 0.25) -> None:
        """Move the pointer; Blender wants to see it come nearer before a button takes a click."""
        for dx, dy in ((-6, -3), (-2, 0), (0, 0)):
            self.xdotool("mousemove", round(x + dx), round(y + dy))
            time.sleep(settle / 3)

    def click(self, x: float, y: float) -> None:
        self.hover(x, y, 0.9)
        self.xdotool("click", 1)
        time.sleep(0.5)

    def picture(self, name: str) -> Path:
        path = self.out / f"{name}.png"
        grab(self._environ["DISPLAY"], path)
        return path

    def sidebar(self, category: str = "Bodyfield") -> None:
        """Show the add-on's tab; it can be chosen only after the sidebar has been drawn once."""
        self.run("view()[1].spaces.active.show_region_ui = True")
        time.sleep(0.6)
        self.run(f"view('UI')[2].active_panel_category = {category!r}; view()[1].tag_redraw()")
        time.sleep(0.6)

    def press(self, operator: str, region: str = "UI") -> None:
        """Click the button of `operator` ("bodyfield.cancel", or with arguments), scrolled to if it is further down."""
        x0, y0, width, height = self.run(f"r = view({region!r})[2]; answer = [r.x, r.y, r.width, r.height]")
        for _ in range(PAGES):
            for share in (0.3, 0.62, 0.82):
                for y in range(SIZE[1] - (y0 + height) + STEP_PX, SIZE[1] - y0 - STEP_PX, STEP_PX):
                    self.hover(x0 + share * width, y, 0.12)
                    if operator in str(self.run(UNDER_POINTER.format(region=region))):
                        return self.click(x0 + share * width, y + 2)
            self.hover(x0 + 0.3 * width, SIZE[1] - y0 - height / 2)
            self.xdotool("click", "--repeat", WHEEL, "--delay", 60, 5)
            time.sleep(0.6)
        self.picture("missing_button")
        raise AssertionError(f"there is no button for {operator} (see missing_button.png)")


@contextlib.contextmanager
def blender_window(
    blender: str, package: Path, out: Path, display: str, **variables: str
) -> Iterator[Window]:
    """Install the zip, open a window, close it at the end. `variables`: more of the environment."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "ask.json").unlink(missing_ok=True)
    with screen(display) as environ:
        environ |= {"BLENDER_USER_RESOURCES": str(out / "blender_user"), **variables}
        install(blender, package, environ)
        command = [blender, "--window-geometry", "0", "0", *map(str, SIZE)]
        command += ["--python", str(HERE / "remote_window.py"), "--", str(out)]
        with (out / "blender.log").open("w") as log:
            child = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=log, text=True)
        window = Window(child, environ, out)
        try:
            window.run("answer = bpy.app.version_string")
            yield window
        finally:
            with contextlib.suppress(Exception):
                (out / "ask.json").write_text(json.dumps({"id": 1 << 30, "code": "quit"}), encoding="utf-8")
                child.wait(20)
            child.kill()


@contextlib.contextmanager
def backend(home: Path, python: str, root: Path) -> Iterator[None]:
    """A backend beside the window, which the add-on finds by its endpoint file in `home`."""
    home.mkdir(parents=True, exist_ok=True)
    environ = {**os.environ, "BODYFIELD_HOME": str(home), "PYTHONPATH": str(root)}
    with (home / "serve.log").open("w") as log:
        child = subprocess.Popen([python, "-m", "backend", "serve"], env=environ, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 120
        while not (home / "endpoint.json").exists():
            assert child.poll() is None and time.monotonic() < until, (home / "serve.log").read_text()
            time.sleep(0.2)
        yield
    finally:
        child.terminate()
        child.wait(20)

"""The demo: the whole road on one clip in one command, and nothing half-written when it fails."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from installer import ROOT, SetupError
from installer.blenders import background_command, choose, packages
from installer.environment import Environment
from installer.terminal import Line

CLIP = ROOT / "tests" / "data" / "demo.mp4"
STAGES = {
    "opening": (0.0, 0.05, "Starting the backend"),
    "localize": (0.05, 0.65, "Following people"),
    "body": (0.65, 0.75, "Fitting the body"),
    "scene": (0.75, 0.8, "Building the scene"),
    "write": (0.8, 0.85, "Writing the files"),
    "overlay": (0.85, 1.0, "Drawing the overlay"),
}
"""Where each stage begins and ends on the one bar for the whole road, about as long as it takes."""


def run_demo(env: Environment, video: Path, out: Path, blender: str | None) -> dict:
    """Video -> `out`/{demo.fbx, demo.blend, overlay.mp4, summary.json}; returns the summary."""
    start = time.monotonic()
    environ = {
        "OMP_WAIT_POLICY": "PASSIVE",
        **os.environ,
        "BODYFIELD_PYTHON": str(env.python),
        "PYTHONUTF8": "1",
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as folder, Line() as line:
        work = Path(folder)
        summary = _mocap(env, video, work, blender, environ, line)
        line.show(STAGES["overlay"][2], STAGES["overlay"][0])
        command = [str(env.python), "-m", "backend", "overlay", str(summary["job"]), str(video)]
        run_child([*command, "-o", str(work / "overlay.mp4")], environ, "Drawing the overlay")
        line.show(STAGES["overlay"][2], 1.0)
        seconds = {stage: max(s, 1e-9) for stage, s in summary.get("seconds", {}).items()}
        summary["frames_per_second"] = {
            stage: round(summary["frames"] / s, 2) for stage, s in seconds.items()
        }
        summary["seconds_total"] = round(time.monotonic() - start, 2)
        summary["versions"] = _versions(env, summary.pop("blender", ""))
        summary["bytes"] = {path.name: path.stat().st_size for path in sorted(work.iterdir())}
        summary["files"] = [*summary["bytes"], "summary.json"]
        (work / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        _move(work, out)
    return summary


def _move(work: Path, out: Path) -> None:
    """Put the new files in place of the old ones; old files of people whom this clip does not show go too."""
    out.mkdir(exist_ok=True)
    for old in out.glob("demo_*.fbx"):
        old.unlink()
    for path in work.iterdir():
        path.replace(out / path.name)


def _mocap(
    env: Environment, video: Path, work: Path, blender: str | None, environ: dict[str, str], line: Line
) -> dict:
    """Run the add-on in Blender's Python module or in an installed one; returns what it says at its end."""
    arguments = [str(video), "--out", str(work), "--name", "demo"]
    line.show(STAGES["opening"][2], 0.0)
    if blender is None and env.version("bpy"):
        command = [str(env.python), "-m", "blender_addon.headless", *arguments]
    else:
        program = choose(blender)
        paths = [ROOT, packages(env, program, line)]
        command = background_command(program, paths, "blender_addon.headless", arguments)
    done: dict = {}

    def hear(message: dict) -> None:
        kind = message.get("type")
        if kind == "progress":
            begin, end, words = STAGES.get(str(message.get("stage")), STAGES["opening"])
            of, total = message.get("done") or 0, message.get("total")
            share = min(1.0, of / total) if total else 0.0
            line.show(words, begin + (end - begin) * share, f"{of}/{total}" if total else "")
        elif kind == "warning":
            line.note(message["text"])
        elif kind == "done":
            done.update(message["summary"])

    run_child(command, environ, "The demo", hear)
    if not done:
        raise SetupError(
            "The add-on ended without a result: 'python install.py doctor' says what is missing."
        )
    return done


def run_child(command: Sequence[str], environ: dict[str, str], what: str, hear=None) -> None:
    """Run a child that prints JSON lines; `hear` gets each object. Raises SetupError with its own last words.

    On Ctrl-C the child, which the terminal told too, gets ten seconds to end in order.
    """
    error = None
    with (
        tempfile.TemporaryFile() as noise,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=noise, env=environ, cwd=ROOT
        ) as child,
    ):
        try:
            for raw in child.stdout:
                with contextlib.suppress(ValueError):
                    message = json.loads(raw)
                    if isinstance(message, dict):
                        error = message.get("text") if message.get("type") == "error" else error
                        if hear:
                            hear(message)
            child.wait()
        except BaseException:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(10)
            child.terminate()
            raise
        if child.returncode:
            noise.seek(0)
            lines = [line.strip() for line in noise.read().decode("utf-8", "replace").splitlines()]
            last = next((line for line in reversed(lines) if line), "it printed nothing.")
            raise SetupError(error or f"{what} stopped (exit code {child.returncode}): {last}")


def _versions(env: Environment, blender: str) -> dict[str, str]:
    names = ("torch", "onnxruntime", "numpy", "opencv-python-headless", "pyzmq", "av")
    found = {name: env.version(name) or "" for name in names}
    return {
        "blender": blender,
        "python": platform.python_version(),
        "system": platform.platform(),
        **found,
    }

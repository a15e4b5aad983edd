# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole road without a window: a video in, .fbx, .blend and .bvh out.

    python -m blender_addon.headless VIDEO -o FOLDER [--fbx NAME] [--blend NAME] [--bvh NAME] [--npz]
    blender -b --factory-startup --python blender_addon/headless.py -- VIDEO -o FOLDER ...

Each line on standard output is one JSON object: {"type": "progress", "stage", "done", "total", "seconds_left"},
{"type": "warning", "text"}, at the end {"type": "done", "summary"} or {"type": "error", "text"}. Exit code 0 only
when every file is written; files appear under their names only when all of them are complete.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

if not __package__:
    # Started as a file by Blender: import ourselves as the package that we are.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    __package__ = "blender_addon"
    import blender_addon  # noqa: F401

import bpy
import numpy as np

from .export.fbx import PRESETS, ExportError, export_fbx
from .export.formats import export_bvh
from .shared.filenames import person_names
from .shared.frames import ClipError
from .work.backend import Backend
from .work.video_import import VideoImport

PUMP_S = 0.2
KINDS = ("fbx", "blend", "bvh")
_output: TextIO | None = None
"""Where the JSON lines go; None is standard output."""


class Failure(Exception):  # noqa: N818 - read as a sentence
    """The run ends here. The message is one sentence."""


def main(argv: list[str] | None = None) -> int:
    """Run with these arguments; -> exit code."""
    arguments = _parse(argv)
    with _own_output():
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    backend = Backend()
    try:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        done = _import(arguments, backend)
        device = backend.device
        files = _write(arguments, done)
    except (ClipError, ExportError, Failure) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("The import was interrupted; the frames finished so far are kept by the backend.")
    finally:
        backend.close()
    summary = done.summary | {
        "job": done.job_id,
        "device": device,
        "blender": bpy.app.version_string,
        "files": [str(file) for file in files],
    }
    _say("done", summary=summary)
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="blender_addon.headless", description="A video becomes an animated body."
    )
    parser.add_argument("video", nargs="?", type=Path, help="movie, folder of pictures, or picture pattern")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the files; made if missing")
    parser.add_argument("--name", help="name of the files, without suffix; else that of the video")
    for kind in KINDS:
        parser.add_argument(f"--{kind}", nargs="?", const="", metavar="NAME", help=f"write a .{kind}")
    parser.add_argument("--npz", action="store_true", help="write the motion of each person in camera space")
    parser.add_argument("--preset", choices=PRESETS, default="unity", help="axes of the FBX")
    parser.add_argument("--job", help="import this finished job, or go on with it")
    parser.add_argument(
        "--options", type=json.loads, default={}, help="options of the backend, a JSON object"
    )
    parser.add_argument("--fps", type=float, help="rate of an image sequence")
    arguments = parser.parse_args(argv)
    if arguments.video is None and arguments.job is None:
        parser.error("give a video, or a finished job with --job")
    if not isinstance(arguments.options, dict):
        parser.error("--options must be a JSON object, such as '{\"max_people\": 1}'")
    return arguments


def _import(arguments: argparse.Namespace, backend: Backend) -> VideoImport:
    """Run the import to its end, telling its progress. Raises Failure or ClipError."""
    running = VideoImport(
        backend, arguments.video, arguments.options, job_id=arguments.job, fps=arguments.fps
    )
    said, warned = None, 0
    try:
        while not running.finished:
            running.pump(PUMP_S)
            far = running.progress
            if (far.stage, far.done) != said:
                said = (far.stage, far.done)
                _say("progress", **asdict(far))
            for text in running.warnings[warned:]:
                _say("warning", text=text)
            warned = len(running.warnings)
    except BaseException:
        running.cancel()
        raise
    if running.state != "done":
        raise Failure(running.error or "The import was cancelled.")
    if not running.results:
        raise Failure(f"The job of {running.name} holds no person; there is nothing to write.")
    return running


def _write(arguments: argparse.Namespace, done: VideoImport) -> list[Path]:
    """Write all files into a temporary folder, then give them their names. Raises ExportError or Failure."""
    stem = arguments.name or done.name
    asked = {kind: getattr(arguments, kind) for kind in KINDS}
    if all(name is None for name in asked.values()) and not arguments.npz:
        asked |= {"fbx": "", "blend": ""}
    names = {kind: Path(name or stem).name for kind, name in asked.items() if name is not None}
    names = {kind: name.removesuffix(f".{kind}") + f".{kind}" for kind, name in names.items()}
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bodyfield-", dir=arguments.out) as folder:
            written = list(_write_into(Path(folder), arguments, done, names, stem))
            for file in written:
                file.replace(arguments.out / file.name)
    except OSError as error:
        raise Failure(
            f"{arguments.out} cannot be written to ({error.strerror}); choose another folder."
        ) from error
    return [arguments.out / file.name for file in written]


def _write_into(
    folder: Path, arguments: argparse.Namespace, done: VideoImport, names: dict[str, str], stem: str
) -> Iterator[Path]:
    """The files one by one, each when it is written. The person seen longest has the plain name."""
    people = sorted(done.clip.people, key=lambda track: -len(done.results[track].frames))
    steps = len(names) + arguments.npz
    given = {int(track): str(name) for track, name in done.summary.get("names", {}).items()}
    called = person_names(done.results, given)
    for step, (kind, name) in enumerate(names.items()):
        _say("progress", stage="write", done=step, total=steps, seconds_left=None)
        if kind == "blend":
            yield _save_blend(folder / name)
            continue
        for number, track in enumerate(people):
            more = called[track] if track in given or str(number + 1) in called.values() else number + 1
            file = folder / (name if number == 0 else f"{Path(name).stem}_{more}.{kind}")
            armature = done.clip.armature(track)
            yield (
                export_bvh(armature, file) if kind == "bvh" else export_fbx(armature, file, arguments.preset)
            )
    if arguments.npz:
        for track, result in done.results.items():
            arrays = result.arrays()
            np.savez_compressed(folder / f"{stem}_{called[track]}.npz", **arrays)
            yield folder / f"{stem}_{called[track]}.npz"
    _say("progress", stage="write", done=steps, total=steps, seconds_left=None)


def _save_blend(file: Path) -> Path:
    """Save a copy of the file. Raises Failure."""
    try:
        bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True, compress=True, relative_remap=False)
    except RuntimeError as error:
        raise Failure(f"{file.name} could not be saved: {' '.join(str(error).split())}") from error
    return file


@contextlib.contextmanager
def _own_output() -> Iterator[None]:
    """Keep standard output for our JSON lines; whatever Blender prints there goes to standard error."""
    global _output
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w", encoding="utf-8") as _output:
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        _output = None


def _say(kind: str, **fields: object) -> None:
    print(json.dumps({"type": kind, **fields}), file=_output, flush=True)


def _fail(text: str) -> int:
    _say("error", text=text)
    print(text, file=sys.stderr)
    return 1


if __name__ == "__main__":
    code = main(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else None)
    sys.exit(code)

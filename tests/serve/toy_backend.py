"""The real server process with a small road: real frames in, real records out, and no neural network.

A frame's first pixel may carry a command, so that a test can stop the road at a known place:
HOLD waits until the file `release` is in the home folder (or the job is cancelled), CRASH and REFUSE raise, FIT makes
the end of the job long: it counts in the file `steps` until there is `release`. The option `smooth` scales the result;
as 205 it makes the end long too, as 202 it makes it fail, so that an end can be stopped when it is done anew.
Run as `python tests/serve/toy_backend.py HOME [PORT [PARENT_PID]]`.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from backend.camera.pinhole import Camera
from backend.commands.serve import start
from backend.errors import JobError
from backend.records import Chunk, Notice, Progress, Summary, TrackChunk, TrackMotion
from backend.serve import runs
from backend.serve.road import Road

HOLD, CRASH, REFUSE, STALL, FIT = 201, 202, 203, 204, 205


@dataclass(frozen=True)
class Options:
    """The part of MocapOptions that matters here; not that class itself, since its module imports torch."""

    chunk: int = 32
    smooth: float = 1.0

    @classmethod
    def from_dict(cls, given):
        if set(given) - {"chunk", "smooth"}:
            raise JobError("bad_options", "There is no such option: choose chunk or smooth.")
        if given.get("smooth", 0) < 0:
            raise JobError("bad_options", "The option 'smooth' must not be negative.")
        return cls(**given)

    def pinhole(self, width, height):
        return Camera.from_fov(width, height)

    def load_body(self):
        rng = np.random.default_rng(0)
        shapes = {"v_template": (20, 3), "joints_template": (55, 3), "shapedirs": (20, 3, 4)}
        shapes |= {"exprdirs": (20, 3, 5), "joints_shapedirs": (55, 3, 4), "joints_exprdirs": (55, 3, 5)}
        arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        indices = {name: rng.integers(0, 20, (30, 3)) for name in ("faces", "faces_uv")}
        weights = rng.random((20, 55))
        names, parents = [f"joint{i}" for i in range(55)], np.arange(-1, 54)
        arrays |= {"weights": weights, "parents": parents, "uv": rng.random((20, 2)), **indices}
        return SimpleNamespace(name="open", joint_names=names, licence_note="A toy under CC0.", **arrays)


def mocap(frames, options, *, total, resume, cancelled, breathe, focal_35mm, pieces):
    """The colours of the clip as motion: the final pose depends on every frame that was ever seen."""
    chunks, rows, size, long_fit = list(resume), [], (1, 1), False
    for frame in frames:
        command = int(frame.image[0, 0, 0])
        long_fit = long_fit or command == FIT
        _obey(command, cancelled)
        if cancelled():
            return
        size = frame.image.shape[1::-1]
        rows.append((frame.index, frame.time_s, frame.image.mean((0, 1)).astype(np.float32)))
        yield Progress("localize", frame.index + 1, total)
        if len(rows) == options.chunk:
            chunks.append(_chunk(rows, size))
            rows = []
            yield chunks[-1]
            yield _motion(chunks[-1:], final=False)
    if rows:
        chunks.append(_chunk(rows, size))
        yield chunks[-1]
    if not chunks:
        raise JobError("no_frames", "The clip has no frames: choose another file.")
    if long_fit or options.smooth == FIT:
        _count_steps(breathe)
    yield Notice("This is a toy.")
    yield _motion(chunks, final=True, scale=options.smooth)
    if options.smooth == CRASH:
        raise ZeroDivisionError("on purpose")
    yield Summary(chunks[-1].last + 1, 1, {"toy": 0.0}, float("nan"), "toy")


def _obey(command, cancelled):
    release = Path(sys.argv[1]) / "release"
    while command == HOLD and not release.exists() and not cancelled():
        time.sleep(0.01)
    while command == STALL and not release.exists():
        time.sleep(0.01)
    if command == CRASH and not release.exists():
        raise ZeroDivisionError("on purpose")
    if command == REFUSE:
        raise JobError("no_person", "No person was found: choose another clip.")


def _count_steps(breathe):
    home, step = Path(sys.argv[1]), 0
    while not (home / "release").exists():
        step += 1
        (home / "steps").write_text(str(step))
        breathe()
        time.sleep(0.01)


def _chunk(rows, size):
    index, times, colours = (np.array(column) for column in zip(*rows, strict=True))
    points = np.broadcast_to(colours[:, None], (len(rows), 33, 3)).copy()
    boxes, ones = np.zeros((len(rows), 4), np.float32), np.ones((len(rows), 33), np.float32)
    track = TrackChunk(
        1, index.astype(np.int32), times, boxes, points, points[..., :2].copy(), ones, ones[:, 0]
    )
    return Chunk(int(index[0]), int(index[-1]), *size, [track])


def _motion(chunks, final, scale=1.0):
    frames, times, boxes, points = (
        np.concatenate([getattr(c.tracks[0], name) for c in chunks])
        for name in ("frames", "times", "boxes", "points3d")
    )
    n, trans = len(frames), np.cumsum(points[:, 0], 0) * scale
    pose = np.broadcast_to(trans[:, None], (n, 55, 3)) * np.arange(1, 56)[:, None]
    joints, unsure = pose + 1, np.ones((n, 55))
    betas, expression = np.zeros(4), np.zeros((n, 5))
    return TrackMotion(1, frames, times, boxes, pose, trans, betas, expression, joints, unsure, final)


if __name__ == "__main__":
    home, port, parent = (*sys.argv[1:], "", "")[:3]
    runs.PATIENCE_S = float(os.environ.get("TOY_PATIENCE_S", runs.PATIENCE_S))
    road = Road(Options.from_dict, mocap, "cpu", ("toy",))
    start(Path(home), int(port or 0), int(parent) if parent else None, lambda: road)

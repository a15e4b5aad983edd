"""A real backend process and a short real clip for tests that go the whole road."""

import importlib.util
import os
import sys
from fractions import Fraction
from pathlib import Path

import av
import pytest

from blender_addon.shared.frames import open_clip

from .people import ROOT

DEMO = ROOT / "tests" / "data" / "demo.mp4"
NAMED = os.environ.get("BODYFIELD_PYTHON")
"""As it was at the start: tests of the set-up take it out of the environment."""
OPTIONS = {"localizer": "landmarks-lite", "max_people": 1}


def backend_python() -> str:
    """A Python that can run the backend: named by BODYFIELD_PYTHON, or this one."""
    named = os.environ.get("BODYFIELD_PYTHON") or NAMED
    if not named and importlib.util.find_spec("torch") is None:
        pytest.skip("this Python has no torch; name the backend's with BODYFIELD_PYTHON")
    return named or sys.executable


def environment(home: Path) -> dict[str, str]:
    """The environment in which the add-on finds this backend and a Bodyfield folder of its own."""
    return {"BODYFIELD_HOME": str(home), "BODYFIELD_PYTHON": backend_python()}


def short_clip(path: Path, count: int, first: int = 0) -> Path:
    """The demo clip's frames from `first` on, at a third of its size, so that a test takes seconds."""
    clip = open_clip(DEMO)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream("libx264", rate=Fraction(60))
        stream.width, stream.height, stream.pix_fmt = 360, 640, "yuv420p"
        for frame in clip.frames(first):
            if frame.index >= first + count:
                break
            picture = av.VideoFrame.from_ndarray(frame.image, format="rgb24").reformat(360, 640)
            picture.pts = frame.index - first
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return path


def empty_clip(path: Path, count: int = 10) -> Path:
    """A clip without any person."""
    import numpy as np

    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for _ in range(count):
            out.mux(
                stream.encode(
                    av.VideoFrame.from_ndarray(np.full((240, 320, 3), 90, np.uint8), format="rgb24")
                )
            )
        out.mux(stream.encode())
    return path

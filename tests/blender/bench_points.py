"""The half of bench/points.py that runs in Blender, with a real backend; prints one JSON object."""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import bpy
import numpy as np

import blender_addon
from blender_addon.points.canonical import Place
from blender_addon.scene.points import add_place, place_of, show_points
from blender_addon.scene.tracked import tracked
from blender_addon.work import running
from blender_addon.work.point_tracking import PointTracking
from blender_addon.work.video_import import VideoImport

from .backends import DEMO, backend_python


def run(work) -> tuple[float, float]:
    """-> seconds from start to end, longest tick in seconds."""
    longest, begin = 0.0, time.perf_counter()
    running.start(work)
    while True:
        tick = time.perf_counter()
        busy = running.tick(running.BUDGET_S)
        longest = max(longest, time.perf_counter() - tick)
        if not busy:
            break
        time.sleep(running.BUSY_S)
    assert work.state == "done", work.error
    return time.perf_counter() - begin, longest


def main() -> None:
    """Import the clip, then track points on it; the backend is warm for both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clip", type=Path, default=DEMO)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--localizer", default="field")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bodyfield-") as folder:
        os.environ |= {"BODYFIELD_HOME": folder, "BODYFIELD_PYTHON": backend_python()}
        bpy.ops.wm.read_factory_settings(use_empty=True)
        blender_addon.register()
        try:
            print(json.dumps(measure(a)))
        finally:
            running.stop()
            blender_addon.unregister()


def measure(a: argparse.Namespace) -> dict:
    scene = bpy.context.scene
    while running.backend.pump(0.1) is None or running.backend.device is None:
        pass
    options = {"localizer": a.localizer, "max_people": 2}
    first = VideoImport(running.backend, a.clip, options, scene=scene.name)
    first_s, first_tick = run(first)
    person = first.clip.armature(first.clip.people[0])
    rng = np.random.default_rng(0)
    for i in range(a.points):
        share = rng.dirichlet((1, 1, 1))
        add_place(
            scene.bodyfield_points, Place(f"p{i}", face=int(rng.integers(27000)), barycentric=tuple(share))
        )
    show_points(scene)
    places = {item.uid: place_of(item) for item in scene.bodyfield_points.items}
    second_s, second_tick = run(
        PointTracking(running.backend, person["bodyfield_job"], "clip", places, "open")
    )
    assert len(tracked(person)) == a.points
    return {
        "blender": bpy.app.version_string,
        "frames": int(scene.frame_end),
        "people": len(first.results),
        "points": a.points,
        "first_s": first_s,
        "second_s": second_s,
        "longest_tick_first_s": first_tick,
        "longest_tick_second_s": second_tick,
    }


if __name__ == "__main__":
    main()

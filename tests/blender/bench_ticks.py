"""The half of bench/ticks.py that runs in Blender; prints one JSON object."""

import argparse
import json
import os
import tempfile
import time

import bpy
import numpy as np

import blender_addon
from blender_addon.points.canonical import Place
from blender_addon.scene.tracked import tracked
from blender_addon.work import running
from blender_addon.work.body_keys import BodyKeys
from blender_addon.work.point_tracking import PointTracking
from blender_addon.work.video_import import VideoImport

from .backends import DEMO, backend_python
from .people import open_body
from .replay import Replay


def ticks_of(work) -> dict:
    """Run `work` as the timer would. -> milliseconds of its ticks, by the clock and of this thread's own computing
    (without what other programs took), and of Blender's evaluation after each."""
    ticks, cpu, updates = [], [], []
    running.start(work)
    layer = bpy.context.view_layer
    while not work.finished:
        begin, own = time.perf_counter(), time.thread_time()
        running.tick(running.BUDGET_S)
        middle = time.perf_counter()
        cpu.append(1000 * (time.thread_time() - own))
        layer.update()
        ticks.append(1000 * (middle - begin))
        updates.append(1000 * (time.perf_counter() - middle))
        time.sleep(running.BUSY_S)
    assert work.state == "done", work.error
    running.imports.clear()
    return {
        "ticks": len(ticks),
        "longest_ms": max(ticks),
        "p99_ms": float(np.percentile(ticks, 99)),
        "longest_cpu_ms": max(cpu),
        "update_longest_ms": max(updates),
        "update_median_ms": float(np.median([u for u in updates if u > 0.5] or [0])),
    }


def person() -> bpy.types.Object:
    """The one in the scene."""
    (armature,) = (ob for ob in bpy.context.scene.objects if ob.type == "ARMATURE")
    return armature


def demo() -> dict:
    """(a) the shipped clip, from its pictures to the body, with a real backend."""
    while running.backend.pump(0.1) is None or running.backend.device is None:
        pass
    options = {"localizer": "landmarks-heavy", "max_people": 2}
    return ticks_of(VideoImport(running.backend, DEMO, options, scene=bpy.context.scene.name))


def replayed(frames: int, seed: int) -> dict:
    """(b) a person of so many frames, chunk by chunk, then final."""
    backend = Replay(frames, pause_s=0.02, seed=seed)
    try:
        return ticks_of(VideoImport(backend, None, {}, job_id="replay", scene=bpy.context.scene.name))
    finally:
        backend.close()


def points(count: int, seed: int) -> dict:
    """(c) so many points over 1000 frames."""
    backend = Replay(1000, chunk=1000, seed=seed)
    try:
        ticks_of(VideoImport(backend, None, {}, job_id="replay", scene=bpy.context.scene.name))
        places = {i + 1: Place(f"p{i}", face=i, barycentric=(1.0, 0.0, 0.0)) for i in range(count)}
        figures = ticks_of(PointTracking(backend, "replay", "clip", places, "open"))
        assert len(tracked(person())) == count
        return figures
    finally:
        backend.close()


def correctives() -> dict:
    """(d) made and removed, on the person that `points` left; (e) playback with each level."""
    out = {"play off": playback()}
    for level in ("body", "all", "off"):
        out[f"make {level}"] = ticks_of(BodyKeys(running.backend, person(), level, open_body()))
        mesh = next(ob for ob in person().children if ob.type == "MESH")
        keys = mesh.data.shape_keys
        out[f"make {level}"]["keys"] = len(keys.key_blocks) - 1 if keys else 0
        if level != "off":
            out[f"play {level}"] = playback()
    return out


def playback(count: int = 60) -> dict:
    """Milliseconds a frame to set it and evaluate everything, without drawing."""
    times = []
    for frame in range(1, count + 1):
        begin = time.perf_counter()
        bpy.context.scene.frame_set(10 * frame)
        times.append(1000 * (time.perf_counter() - begin))
    return {"median_ms": float(np.median(times)), "longest_ms": max(times)}


def main() -> None:
    """Everything asked for, each in an empty file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=["demo", "replayed", "points", "correctives"])
    a = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bodyfield-") as folder:
        os.environ |= {"BODYFIELD_HOME": folder, "BODYFIELD_PYTHON": backend_python()}
        bpy.ops.wm.read_factory_settings(use_empty=True)
        blender_addon.register()
        out = {"blender": bpy.app.version_string, "frames": a.frames, "points": a.points}
        try:
            if "demo" in a.only:
                out["demo"] = demo()
                running.stop()
            if "replayed" in a.only:
                bpy.ops.wm.read_factory_settings(use_empty=True)
                out["replayed"] = replayed(a.frames, a.seed)
            if "points" in a.only or "correctives" in a.only:
                bpy.ops.wm.read_factory_settings(use_empty=True)
                out["tracked"] = points(a.points, a.seed)
            if "correctives" in a.only:
                out |= correctives()
        finally:
            running.stop()
            blender_addon.unregister()
    # Below the bridge to the backend, whose child ends with the folder.
    out["load"] = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    print(json.dumps(out))


if __name__ == "__main__":
    main()

"""The half of bench/fbx.py that runs in Blender; prints one JSON object."""

import argparse
import importlib.util
import json
import tempfile
import time
from pathlib import Path

import bpy
import numpy as np

from blender_addon.export.fbx import PRESETS, export_fbx
from blender_addon.scene.clip import ClipScene, Footage

from .people import motion, open_body, posed
from .readers import joints_by_blender, joints_by_ufbx, to_blender_world

FPS = 30.0


def main() -> None:
    """Export with each preset, read back with each reader."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    out = {"blender": bpy.app.version_string, "readers": [], "export_s": {}, "bytes": {}}
    result = motion(a.frames, seed=a.seed)
    want = to_blender_world(posed(result.betas, result.pose, result.trans)[0])
    with tempfile.TemporaryDirectory() as folder:
        for preset in PRESETS:
            file = Path(folder) / f"{preset}.fbx"
            out["export_s"][preset] = export(result, file, preset)
            out["bytes"][preset] = file.stat().st_size
            for reader, read in (("blender", joints_by_blender), ("ufbx", joints_by_ufbx)):
                row = {"preset": preset, "reader": reader, "error_mm": None}
                if reader != "ufbx" or importlib.util.find_spec("pufbx"):
                    found = read(file, FPS)
                    row |= {"frames": found.shape[0], "joints": found.shape[1]}
                    row["error_mm"] = float(1000 * np.abs(found - want).max())
                out["readers"].append(row)
    print(json.dumps(out))


def export(result, file: Path, preset: str) -> float:
    """Build the person in an empty file and export it; -> seconds for the export alone."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    clip = ClipScene(Footage("walk", None, 640, 360, FPS), "bench")
    clip.set_body(open_body())
    clip.add([result])
    clip.refresh()
    begin = time.perf_counter()
    export_fbx(clip.armature(1), file, preset)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()

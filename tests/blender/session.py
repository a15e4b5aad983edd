"""A Blender session of its own that is ended from outside in the middle of an import.

    python tests/blender/session.py CLIP [BLEND]

Imports CLIP and says "ready JOB" when a person is in the scene. With BLEND the import is paused then and the file
saved; without, it goes on until the process is killed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import bpy

import blender_addon
from blender_addon.work import running
from blender_addon.work.video_import import VideoImport

OPTIONS = {"localizer": "landmarks-lite", "max_people": 1, "chunk": 8}


def main(clip: str, blend: str | None = None) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    blender_addon.register()
    new = VideoImport(running.backend, Path(clip), OPTIONS, scene=bpy.context.scene.name)
    running.start(new)
    while running.tick(0.05) and not bpy.data.objects:
        pass
    assert not new.finished, new.error
    if blend is not None:
        assert bpy.ops.bodyfield.pause() == {"FINISHED"}
        while new.progress.stage != "paused":
            assert running.tick(0.05), new.error
        bpy.ops.wm.save_as_mainfile(filepath=blend)
    print("ready", new.job_id, flush=True)
    while True:
        running.tick(0.05)


main(*sys.argv[1:])

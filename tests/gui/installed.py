"""The installed extension at work, run inside Blender: blender -b --python-exit-code 1 --python installed.py -- CLIP

The source tree is nowhere on the path: what is imported lies in the user's extensions, and the backend is the one that
the add-on finds by itself. Ends with one JSON line on standard output.
"""

import importlib
import json
import sys
from pathlib import Path

import bpy

(clip,) = sys.argv[sys.argv.index("--") + 1 :]
(name,) = (a.module for a in bpy.context.preferences.addons if a.module.endswith(".bodyfield"))
addon = importlib.import_module(name)
folder = Path(bpy.utils.user_resource("EXTENSIONS"))
modules = {n: Path(importlib.import_module(n).__file__) for n in (name, "zmq", "av")}
assert all(path.is_relative_to(folder) for path in modules.values()), modules
command = importlib.import_module(name + ".link.process").find_backend()

assert bpy.ops.bodyfield.doctor() == {"FINISHED"}
assert bpy.ops.bodyfield.import_video(filepath=clip, people=1, quality="lite") == {"FINISHED"}
(armature,) = (ob for ob in bpy.data.objects if ob.type == "ARMATURE")
(motion,) = bpy.data.actions
first, last = motion.frame_range
heads = []
for frame in (first, last):
    bpy.context.scene.frame_set(int(frame))
    heads.append([list(armature.matrix_world @ bone.head) for bone in armature.pose.bones])
moved = max(abs(a - b) for one, two in zip(*heads, strict=True) for a, b in zip(one, two, strict=True))
assert len(armature.data.bones) >= 55 and last - first > 1 and moved > 0.01, (first, last, moved)
importlib.import_module(name + ".work.running").stop()
said = {"blender": bpy.app.version_string, "python": sys.version.split()[0], "addon": str(modules[name])}
said |= {"backend": str(command.python), "frames": [first, last], "moved_m": round(moved, 3)}
# A report of Blender may have ended without the end of its line.
print("\nINSTALLED", json.dumps(said))

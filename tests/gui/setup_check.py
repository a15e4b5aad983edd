"""*Set Up Backend* for real, with all packages (2 GB), run inside Blender: cancelled in the middle, gone on with, used.

    blender -b --python-exit-code 1 --python tests/gui/setup_check.py -- ZIP CLIP [FOLDER OF WHEELS]
    python tests/gui/setup_check.py -- ZIP CLIP [FOLDER OF WHEELS]          (Blender as a Python module)

Set BLENDER_USER_RESOURCES and BODYFIELD_HOME to empty folders first: the built zip is installed into the one, and
uninstalled at the end. Without a folder of wheels pip's own index is asked. The last line is one JSON object.
"""

import importlib
import json
import os
import sys
import time
from pathlib import Path

import bpy

package, clip, *wheels = sys.argv[sys.argv.index("--") + 1 :]
for name in ("BLENDER_USER_RESOURCES", "BODYFIELD_HOME"):
    assert os.environ[name], name
bpy.context.preferences.system.use_online_access = True
bpy.ops.extensions.package_install_files(filepath=package, repo="user_default", enable_on_install=True)
(addon,) = (a for a in bpy.context.preferences.addons if a.module.endswith(".bodyfield"))
running, ours, process = (
    importlib.import_module(f"{addon.module}.{name}")
    for name in ("work.running", "work.backend_setup", "link.process")
)
if wheels:
    (addon.preferences.wheels,) = wheels
user = Path(bpy.utils.extension_path_user(addon.module))
folder = ours.backend_folder()
assert folder.is_relative_to(user) and not folder.exists() and not ours.installed()

begin = time.monotonic()
first = ours.BackendSetup(folder, ours.sources_of(bpy.context))
running.start(first)
said: list[str] = []
while running.tick(0.05):
    if said[-1:] != [first.progress.stage]:
        said.append(first.progress.stage)
    # In the middle of PyTorch: the environment is there, and packages are being written into it.
    if first.progress.stage.startswith("Installing PyTorch  unpacking"):
        bpy.ops.bodyfield.cancel()
    time.sleep(0.05)
assert first.state == "cancelled", (first.state, first.error, said[-5:])
assert folder.is_dir() and not ours.installed() and not process.locator_path().exists()
cancelled_s = time.monotonic() - begin
state = json.loads((folder / "bodyfield.json").read_text("utf-8"))

begin = time.monotonic()
assert bpy.ops.bodyfield.setup_backend() == {"FINISHED"}
resumed_s = time.monotonic() - begin
assert ours.installed() and process.find_backend().python.is_relative_to(folder)
log = (folder / "setup.log").read_text("utf-8")
# What was finished was not done again: one virtual environment, pip brought up to date once.
assert log.count("install pip==") <= 1 and set(state) <= set(
    json.loads((folder / "bodyfield.json").read_text())
)

begin = time.monotonic()
assert bpy.ops.bodyfield.import_video(filepath=clip, people=1, quality="lite") == {"FINISHED"}
(armature,) = (ob for ob in bpy.data.objects if ob.type == "ARMATURE")
import_s = time.monotonic() - begin
size = importlib.import_module(f"{addon.module}.link.setup").size_of(folder)
assert bpy.ops.bodyfield.doctor() == {"FINISHED"}
running.stop()
bpy.ops.extensions.package_uninstall(repo_index=1, pkg_id="bodyfield")
assert not folder.exists() and not user.exists(), sorted(user.rglob("*"))[:5]
result = {"blender": bpy.app.version_string, "python": sys.version.split()[0], "environment_bytes": size}
result |= {
    "cancelled_after_s": round(cancelled_s),
    "resumed_s": round(resumed_s),
    "import_s": round(import_s),
}
result |= {"finished_before_cancel": sorted(state), "frames": list(bpy.data.actions[0].frame_range)}
print("\nSET UP", json.dumps(result), flush=True)
os._exit(0)

"""The whole road in a real Blender window, by mouse and keyboard: import, pause, cancel, resume, undo, points, export.

    python tests/gui/road_check.py --blender blender --zip dist/bodyfield-...zip --python BACKENDS_PYTHON --out PICTURES

Exit code 0 when everything is as it should be; a picture of every step lies in PICTURES. Needs Pillow.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from check import SIZE
from driver import Window, backend, blender_window

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RUNNING = "__import__('bl_ext.user_default.bodyfield.work.running', fromlist=['x'])"
NEAR_M = 0.02
LOOK = """
for ob in bpy.data.objects:
    ob.hide_set(ob.type in ("CAMERA", "ARMATURE"))
mesh = next(ob for ob in bpy.data.objects if ob.type == "MESH")
bpy.context.view_layer.objects.active = mesh
mesh.select_set(True)
bpy.context.scene.frame_set({frame})
bpy.ops.view3d.view_axis(type="FRONT")
bpy.ops.view3d.view_selected()
"""
TARGETS = """
from bpy_extras.view3d_utils import location_3d_to_region_2d, region_2d_to_origin_3d, region_2d_to_vector_3d
window, area, region = view()
r3d = area.spaces.active.region_3d
mesh = next(ob for ob in bpy.data.objects if ob.type == "MESH")
seen = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
eye, into = r3d.view_matrix.inverted().translation, seen.matrix_world.inverted()

def hit(x, y):
    at, way = region_2d_to_origin_3d(region, r3d, (x, y)), region_2d_to_vector_3d(region, r3d, (x, y))
    found = seen.ray_cast(into @ at, (into.to_3x3() @ way).normalized())
    return seen.matrix_world @ found[1] if found[0] else None

answer = []
for polygon in list(seen.data.polygons)[::17]:
    place = seen.matrix_world @ polygon.center
    if (seen.matrix_world.to_3x3() @ polygon.normal).dot((eye - place).normalized()) < 0.8:
        continue
    xy = location_3d_to_region_2d(region, r3d, place)
    if not (80 < xy.x < region.width - 340 and 40 < xy.y < region.height - 80):
        continue
    around = [hit(xy.x + dx, xy.y + dy) for dx, dy in ((0, 0), (-3, 0), (3, 0), (0, -3), (0, 3))]
    clear = all(p is not None and (p - place).length < 0.03 for p in around)
    far = all(sum((a - b) ** 2 for a, b in zip(place, other[2])) > 0.12**2 for other in answer)
    if clear and far:
        answer.append([round(region.x + xy.x), round(region.y + xy.y), list(place)])
    if len(answer) == 3:
        break
"""
PLACES = """
depsgraph = bpy.context.evaluated_depsgraph_get()
riding = sorted((o for o in bpy.data.objects if "bodyfield_riding" in o), key=lambda o: o["bodyfield_point"])
answer = [list(o.evaluated_get(depsgraph).matrix_world.translation) for o in riding]
"""
LOOKS = """
import os
view_ = bpy.context.preferences.view
view_.language = {language!r}
view_.use_translate_interface = view_.use_translate_tooltips = True
themes = [os.path.join(f, "Blender_Light.xml") for f in bpy.utils.preset_paths("interface_theme")]
light = next(f for f in themes if os.path.exists(f))
bpy.ops.script.execute_preset(filepath=light, menu_idname="USERPREF_MT_interface_theme_presets")
"""
BONES = "[len(o.data.bones) for o in bpy.data.objects if o.type == 'ARMATURE']"


def last_state(window: Window) -> str:
    return window.run(f"answer = {RUNNING}.imports[-1].state")


def to_the_view(window: Window) -> None:
    """Point at the 3D view, which then gets the keys; not at a body."""
    window.hover(60, SIZE[1] // 2)


def story(window: Window, clip: Path) -> None:
    window.sidebar()
    window.run("bpy.data.objects.remove(bpy.data.objects['Cube'])")
    window.run(f"bpy.context.scene.bodyfield.filepath = {str(clip)!r}; view()[1].tag_redraw()")
    window.run("bpy.context.scene.bodyfield.people = 1")
    window.run("bpy.ops.ed.undo_push(message='before')")
    window.picture("1_panel")

    window.press("bodyfield.import_video")
    window.until(f"{RUNNING}.current() is not None and {RUNNING}.current().progress.done >= 5")
    window.picture("2_running")
    window.press("bodyfield.pause")
    window.until(f"{RUNNING}.current().progress.stage == 'paused'", 30)
    window.picture("2_paused")
    window.press("bodyfield.pause")
    far = window.run(f"answer = {RUNNING}.current().progress.done")
    window.until(f"{RUNNING}.current().progress.done > {far}", 60)
    window.press("bodyfield.cancel")
    window.until(f"{RUNNING}.current() is None", 20)
    assert last_state(window) == "cancelled", "Cancel was pressed, but the import went on"
    time.sleep(1)
    window.picture("3_cancelled")

    window.press("job=")
    window.until(f"{RUNNING}.current() is None", 600)
    assert last_state(window) == "done", window.run(f"answer = {RUNNING}.imports[-1].error")
    window.run("view()[1].spaces.active.region_3d.view_perspective = 'CAMERA'; view()[1].tag_redraw()")
    time.sleep(2)
    window.picture("4_done")
    assert window.run(f"answer = {BONES}") == [55], window.run(f"answer = {BONES}")

    to_the_view(window)
    window.key("ctrl+z")
    window.until(f"not {BONES}", 20)
    window.picture("5_undone")
    window.key("ctrl+shift+z")
    window.until(f"{BONES} == [55]", 20)

    window.run(LOOK.format(frame=20))
    time.sleep(1)
    window.press("bodyfield.add_points")
    targets = window.run(TARGETS)
    assert len(targets) == 3, targets
    for x, y, _ in targets:
        window.click(x, SIZE[1] - 1 - y)
    window.picture("6_clicked")
    window.key("Escape")
    for place, (_, _, wanted) in zip(window.run(PLACES), targets, strict=True):
        off = sum((a - b) ** 2 for a, b in zip(place, wanted, strict=True)) ** 0.5
        assert off < NEAR_M, f"a point lies {100 * off:.1f} cm from where it was clicked"

    window.press("bodyfield.track_points")
    window.until(f"{RUNNING}.current() is None", 120)
    assert last_state(window) == "done", window.run(f"answer = {RUNNING}.imports[-1].error")
    tracked = (
        "[len(o.animation_data.action.frame_range) for o in bpy.data.objects if 'bodyfield_tracked' in o]"
    )
    assert len(window.run(f"answer = {tracked}")) == 3
    time.sleep(1)
    window.picture("7_tracked")

    window.run("bpy.context.preferences.view.filebrowser_display_type = 'SCREEN'")
    export(window)
    other_looks(window)


def other_looks(window: Window) -> None:
    """German on a light theme: what is in our tables is what the buttons say."""
    known = window.run("answer = bpy.app.translations.locales")
    if "de_DE" in known or "de" in known:
        window.run(LOOKS.format(language="de_DE" if "de_DE" in known else "de"))
        time.sleep(2)
        said = window.run("answer = bpy.app.translations.pgettext_iface('Track Points', 'Operator')")
        words = json.loads((ROOT / "blender_addon" / "languages" / "de.json").read_text(encoding="utf-8"))
        assert said == words["Track Points"], said
    window.picture("10_german_light")


def export(window: Window) -> None:
    """By the keyboard alone: the search menu, then Return in the file browser."""
    file = "os.path.expanduser('~/untitled.fbx')"
    window.run(f"import os; os.path.exists({file}) and os.remove({file})")
    window.run("view()[1].spaces.active.show_region_ui = True")
    to_the_view(window)
    window.key("F3")
    time.sleep(1)
    window.type("Bodyfield Person (.fbx)")
    time.sleep(1)
    window.picture("8_search")
    window.key("Return")
    time.sleep(2)
    window.hover(SIZE[0] // 2, SIZE[1] // 2)
    window.picture("9_file_browser")
    window.key("Return")
    time.sleep(3)
    size = window.run(f"answer = os.path.getsize({file}) if os.path.exists({file}) else 0")
    assert size > 100_000, f"the FBX has {size} bytes"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--blender", default="blender")
    parser.add_argument("--zip", type=Path, required=True)
    parser.add_argument("--python", default=sys.executable, help="Python of the backend's environment")
    parser.add_argument("--clip", type=Path, default=ROOT / "tests" / "data" / "demo.mp4")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--display", default=":97")
    args = parser.parse_args()
    out = args.out.absolute()
    home = out / "home"
    with (
        backend(home, args.python, ROOT),
        blender_window(
            args.blender, args.zip.absolute(), out, args.display, BODYFIELD_HOME=str(home)
        ) as window,
    ):
        try:
            story(window, args.clip.absolute())
        except AssertionError as wrong:
            window.picture("wrong")
            print(f"Wrong: {wrong}")
            return 1
    print("The whole road works in a real Blender with a window.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs inside a Blender with a window: a synthetic person, Add Points waiting for clicks, then what came of them.

Prints one JSON line a step: {"step": "ready", "targets": [[x, y], ...]} (window coordinates, y up) once *Add Points*
waits for clicks on three places of the body; {"step": "clicked", ...} when three points are there; after Esc {"step":
"undone"}, {"step": "redone"}, {"step": "exported"}; quits when the file named after `--` exists.
"""

import importlib
import json
import sys
from pathlib import Path

import bpy

ROOT, END, OUT = (Path(p) for p in sys.argv[sys.argv.index("--") + 1 :])
ADDON = "bl_ext.user_default.bodyfield"
TICK_S = 0.5
state = {"ticks": 0, "step": "build", "expected": []}


def part(name: str):
    return importlib.import_module(f"{ADDON}.{name}")


def tell(step: str, **facts: object) -> None:
    state["step"] = step
    print(json.dumps({"step": step, **facts}), flush=True)


def view():
    window = bpy.context.window_manager.windows[0]
    area = next(a for a in window.screen.areas if a.type == "VIEW_3D")
    return window, area, next(r for r in area.regions if r.type == "WINDOW")


def build() -> None:
    """A person as an import makes one, from the test's body; the same code as in the tests under bpy."""
    for ob in list(bpy.data.objects):
        bpy.data.objects.remove(ob)
    # The test's helpers import the add-on from the source tree; here it is the installed one.
    sys.modules["blender_addon"] = importlib.import_module(ADDON)
    for name in ("axes", "job"):
        sys.modules[f"blender_addon.{name}"] = part(name)
    sys.path[:0] = [str(ROOT / "tests" / "blender")]
    people = importlib.import_module("people")
    clip = part("scene.clip")
    scene = clip.ClipScene(clip.Footage("walk", None, 640, 360, 30.0), "gui-job")
    scene.set_body(people.open_body())
    scene.add([people.motion(24)])
    scene.refresh(force=True)
    bpy.context.scene.frame_set(8)


def targets() -> list[list[int]]:
    """Three places on the side of the body that the view sees, in window coordinates."""
    from bpy_extras.view3d_utils import location_3d_to_region_2d

    _, area, region = view()
    mesh = next(ob for ob in bpy.data.objects if ob.type == "MESH")
    evaluated = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    eye = area.spaces.active.region_3d.view_matrix.inverted().translation
    found, expected = [], []
    for polygon in list(evaluated.data.polygons)[::17]:
        place = evaluated.matrix_world @ polygon.center
        normal = evaluated.matrix_world.to_3x3() @ polygon.normal
        if normal.dot((eye - place).normalized()) < 0.8:
            continue
        xy = location_3d_to_region_2d(region, area.spaces.active.region_3d, place)
        far = all((place - other).length > 0.12 for other in expected)
        inside = xy is not None and 80 < xy.x < region.width - 320 and 40 < xy.y < region.height - 80
        if inside and far and seen_around(region, area.spaces.active.region_3d, evaluated, xy, place):
            found.append([round(region.x + xy.x), round(region.y + xy.y)])
            expected.append(place)
        if len(found) == 3:
            break
    state["expected"] = [list(p) for p in expected]
    return found


def seen_around(region, view3d, evaluated, xy, place) -> bool:
    """Whether a few pixels around are this place of the body too, and no limb lies before it."""
    from bpy_extras.view3d_utils import region_2d_to_origin_3d, region_2d_to_vector_3d

    into = evaluated.matrix_world.inverted()
    for dx, dy in ((0, 0), (-3, 0), (3, 0), (0, -3), (0, 3)):
        at = (xy.x + dx, xy.y + dy)
        origin, way = region_2d_to_origin_3d(region, view3d, at), region_2d_to_vector_3d(region, view3d, at)
        hit = evaluated.ray_cast(into @ origin, (into.to_3x3() @ way).normalized())
        if not hit[0] or (evaluated.matrix_world @ hit[1] - place).length > 0.03:
            return False
    return True


def places() -> list[list[float]]:
    depsgraph = bpy.context.evaluated_depsgraph_get()
    riding = sorted(
        (ob for ob in bpy.data.objects if "bodyfield_riding" in ob), key=lambda ob: ob["bodyfield_point"]
    )
    return [list(ob.evaluated_get(depsgraph).matrix_world.translation) for ob in riding]


def tick() -> float | None:
    state["ticks"] += 1
    if END.exists():
        bpy.ops.wm.quit_blender()
        return None
    window, area, region = view()
    count = len(bpy.context.scene.bodyfield_points.items)
    with bpy.context.temp_override(window=window, area=area, region=region):
        if state["step"] == "build":
            area.spaces.active.show_region_ui = True
            build()
            bpy.ops.view3d.view_axis(type="FRONT")
            state["step"] = "look"
        elif state["step"] == "look" and state["ticks"] > 4:
            mesh = next(ob for ob in bpy.data.objects if ob.type == "MESH")
            bpy.context.view_layer.objects.active = mesh
            mesh.select_set(True)
            bpy.ops.view3d.view_selected()
            # Neither is in the way of a click; the pictures are clearer without them.
            for ob in bpy.data.objects:
                ob.hide_set(ob.type in ("CAMERA", "ARMATURE"))
            sidebar = next(r for r in area.regions if r.type == "UI")
            sidebar.active_panel_category = "Bodyfield"
            state["step"], state["ticks"] = "invoke", 0
        elif state["step"] == "invoke" and state["ticks"] > 4:
            bpy.ops.ed.undo_push(message="before the points")
            bpy.ops.bodyfield.add_points("INVOKE_DEFAULT")
            tell("ready", targets=targets(), version=bpy.app.version_string)
        elif state["step"] == "ready" and count == 3:
            tell("clicked", places=places(), expected=state["expected"])
            state["ticks"] = 0
        elif state["step"] == "clicked" and state["ticks"] > 6:
            # The check has pressed Esc by now, which ends the operator with one undo step.
            bpy.ops.ed.undo()
            tell("undone", points=len(bpy.context.scene.bodyfield_points.items), empties=len(places()))
            bpy.ops.ed.redo()
            tell("redone", points=len(bpy.context.scene.bodyfield_points.items), places=places())
            file = OUT / "person.fbx"
            bpy.ops.bodyfield.export_fbx(filepath=str(file), preset="unreal", root="root")
            tell("exported", bytes=file.stat().st_size)
    return TICK_S


bpy.app.timers.register(tick, first_interval=2.0, persistent=True)

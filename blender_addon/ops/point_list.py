# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done with the list of points: remove, mirror, snap, presets, files."""

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty
from bpy_extras.io_utils import ExportHelper, ImportHelper

from ..languages.words import said
from ..points.canonical import Place, PointError, mirrored_name, read_points, unique_names, write_points
from ..points.presets import COCO, clusters, plug_in_gait
from ..scene.body_surface import BodySurface
from ..scene.points import add_place, person_of, place_of, set_place, show_points
from ..shared.axes import blender_to_smpl
from .operators import NeedsPerson, NeedsPoints, guarded

WHICH = (("ACTIVE", "Active", "The active point"), ("ALL", "All", "Every point of the list"))
PRESETS = (
    ("coco", "COCO 17", "The 17 keypoints of the COCO data set"),
    ("smplx", "SMPL-X Joints", "The 55 joints of the armature"),
    ("gait", "Plug-in Gait Markers", "Vicon's 39 markers on the skin"),
    ("clusters", "Rigid-Body Clusters", "Three or four markers on each rigid part of the body"),
)


def surface_of(context: bpy.types.Context) -> BodySurface:
    """The body that the scene's points are shown on. Raises PointError when there is none."""
    person = person_of(context.scene)
    if person is None:
        raise PointError("There is no person to put points on: import a video first.")
    return BodySurface(person)


def preset_places(preset: str, surface: BodySurface) -> list[Place]:
    """The places of a preset on this body, in its own order. Raises PointError."""
    if preset == "coco":
        return [Place(name, "landmark", where=name) for name in COCO]
    if preset == "smplx":
        return [Place(name, "joint", where=name) for name in surface.joints]
    rules = plug_in_gait if preset == "gait" else clusters
    joints = [blender_to_smpl(place) for place in surface.joints.values()]
    return [surface.find(rule) for rule in rules(list(surface.joints), joints)]


class _OnPoints(NeedsPoints):
    """Operators that change some of the points."""

    bl_options = {"REGISTER", "UNDO"}

    def chosen(self, context: bpy.types.Context) -> list:
        """The items that the operator acts on."""
        points = context.scene.bodyfield_points
        if self.which == "ALL":
            return list(points.items)
        return [points.items[min(points.active, len(points.items) - 1)]]


class BODYFIELD_OT_remove_points(_OnPoints, bpy.types.Operator):
    """Take points off the list; what was tracked of them stays"""

    bl_idname = "bodyfield.remove_points"
    bl_label = "Remove Points"

    which: EnumProperty(name="Which", items=WHICH)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove and redraw."""
        points = context.scene.bodyfield_points
        gone = {item.uid for item in self.chosen(context)}
        for index in reversed(range(len(points.items))):
            if points.items[index].uid in gone:
                points.items.remove(index)
        points.active = max(0, min(points.active, len(points.items) - 1))
        show_points(context.scene)
        return {"FINISHED"}


class BODYFIELD_OT_mirror_points(_OnPoints, bpy.types.Operator):
    """Make the same points on the other side of the body; one that is there already is moved"""

    bl_idname = "bodyfield.mirror_points"
    bl_label = "Mirror Points"

    which: EnumProperty(name="Which", items=WHICH)

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Mirror about the body's middle, at rest."""
        points, surface = context.scene.bodyfield_points, surface_of(context)
        active, names = points.active, {item.name for item in points.items}
        sources = [place_of(item) for item in self.chosen(context)]
        for source in sources:
            place = surface.mirrored(source, mirrored_name(source.name))
            if place.name in names and self.which == "ALL":
                # Both sides are there: neither may overwrite the other.
                continue
            there = next((item for item in points.items if item.name == place.name), None)
            if there is not None:
                set_place(there, place)
            else:
                add_place(points, place)
        points.active = active
        show_points(context.scene, surface)
        return {"FINISHED"}


class BODYFIELD_OT_snap_points(_OnPoints, bpy.types.Operator):
    """Move points along the skin to the nearest vertex; their depth stays"""

    bl_idname = "bodyfield.snap_points"
    bl_label = "Snap to Vertex"

    which: EnumProperty(name="Which", items=WHICH)

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Give the whole weight to the nearest corner."""
        for item in self.chosen(context):
            if item.kind == "surface":
                share = list(item.barycentric)
                best = share.index(max(share))
                item.barycentric = [float(k == best) for k in range(3)]
        show_points(context.scene, surface_of(context))
        return {"FINISHED"}


class BODYFIELD_OT_add_preset(NeedsPerson, bpy.types.Operator):
    """Put a known set of points on the body"""

    bl_idname = "bodyfield.add_preset"
    bl_label = "Add Preset"
    bl_options = {"REGISTER", "UNDO"}

    preset: EnumProperty(name="Preset", items=PRESETS)

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Append the preset's points."""
        surface = surface_of(context)
        places = preset_places(self.preset, surface)
        points = context.scene.bodyfield_points
        for place in unique_names(places, {item.name for item in points.items}):
            add_place(points, place)
        show_points(context.scene, surface)
        self.report({"INFO"}, said("{count} points added.", count=len(places)))
        return {"FINISHED"}


class BODYFIELD_OT_import_points(NeedsPerson, bpy.types.Operator, ImportHelper):
    """Read points from a JSON file, as Bodyfield's command line writes and reads them too"""

    bl_idname = "bodyfield.import_points"
    bl_label = "Import Points"
    bl_options = {"REGISTER", "UNDO"}

    filename_ext = ".json"
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"})
    replace: BoolProperty(name="Replace the List", description="Remove the points that are there now")

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read all or nothing."""
        surface, points = surface_of(context), context.scene.bodyfield_points
        path = Path(bpy.path.abspath(self.filepath))
        found = read_points(
            path, surface.body_name, surface.faces, list(surface.joints), list(surface.landmarks)
        )
        if self.replace:
            points.items.clear()
        for place in unique_names(found.places, {item.name for item in points.items}):
            add_place(points, place)
        show_points(context.scene, surface)
        self.report({"INFO"}, said("{count} points read.", count=len(found.places)))
        return {"FINISHED"}


class BODYFIELD_OT_export_points(NeedsPoints, bpy.types.Operator, ExportHelper):
    """Write the list of points as JSON, for another file or for Bodyfield's command line"""

    bl_idname = "bodyfield.export_points"
    bl_label = "Export Points"

    filename_ext = ".json"
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"})

    @guarded
    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write the file."""
        path = Path(bpy.path.abspath(self.filepath))
        places = [place_of(item) for item in context.scene.bodyfield_points.items]
        person = person_of(context.scene)
        body = BodySurface(person).body_name if person else "open"
        write_points(path, path.stem, body, places)
        self.report({"INFO"}, said("{count} points written to {file}.", count=len(places), file=path.name))
        return {"FINISHED"}

# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's list of points as Blender keeps it in the file: `scene.bodyfield_points`."""

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..languages.words import OWN
from ..points.canonical import ABOVE_SKIN, DEEPEST, free_name
from .body_surface import body_mesh
from .clip_keys import TRACK_KEY
from .points import riding, show_point, show_points

KINDS = (
    ("surface", "Skin", "A place on a triangle of the skin, or below it"),
    ("joint", "Joint", "The centre of a joint"),
    ("landmark", "Landmark", "One of the 33 landmarks of BlazePose"),
    ("position", "Position", "A position in the rest pose of the mean body"),
    (
        "own",
        "Model Space",
        "A position in the localizer's own space; it can be tracked but not shown beforehand",
    ),
)


def _name_changed(item: "BODYFIELD_PG_point", context: bpy.types.Context) -> None:
    others = {o.name for o in item.id_data.bodyfield_points.items if o.uid != item.uid}
    free = free_name(item.name.strip() or "point", others)
    if free != item.name:
        # Setting it calls this function again, which then finds nothing to change.
        item.name = free
        return
    show_point(item.id_data, item)


def _depth_changed(item: "BODYFIELD_PG_point", context: bpy.types.Context) -> None:
    show_point(item.id_data, item)


def _names_changed(points: "BODYFIELD_PG_points", context: bpy.types.Context) -> None:
    for ob in riding(points.id_data):
        ob.show_name = points.show_names


def _person_changed(points: "BODYFIELD_PG_points", context: bpy.types.Context) -> None:
    show_points(points.id_data)


def _is_person(_points: "BODYFIELD_PG_points", ob: bpy.types.Object) -> bool:
    return ob.type == "ARMATURE" and TRACK_KEY in ob and body_mesh(ob) is not None


class BODYFIELD_PG_point(bpy.types.PropertyGroup):
    """One named point of the body, kept on the mean body at rest"""

    name: StringProperty(
        name="Name", description="Name of the point, for tracking and export", update=_name_changed
    )
    uid: IntProperty(options={"HIDDEN"})
    kind: EnumProperty(
        name="Kind", description="What the point is fixed to", items=KINDS, translation_context=OWN
    )
    face: IntProperty(options={"HIDDEN"})
    barycentric: FloatVectorProperty(size=3, default=(1.0, 0.0, 0.0), options={"HIDDEN"})
    depth: FloatProperty(
        name="Depth",
        description="How far below the skin the point lies, along the inward normal; negative: above the skin",
        subtype="DISTANCE",
        soft_min=-0.02,
        soft_max=0.1,
        min=-ABOVE_SKIN,
        max=DEEPEST,
        precision=4,
        step=0.1,
        update=_depth_changed,
    )
    where: StringProperty(options={"HIDDEN"})
    position: FloatVectorProperty(size=3, options={"HIDDEN"})


class BODYFIELD_PG_points(bpy.types.PropertyGroup):
    """All points of a scene, on whom they are shown, and how new ones are made"""

    items: CollectionProperty(type=BODYFIELD_PG_point)
    active: IntProperty(name="Active Point", description="The point that the buttons below act on")
    last_id: IntProperty(options={"HIDDEN"})
    person: PointerProperty(
        name="Shown On",
        description="The person on whom the points are shown; empty: the first one. All people are tracked",
        type=bpy.types.Object,
        poll=_is_person,
        update=_person_changed,
    )
    show_names: BoolProperty(
        name="Names", description="Write the names beside the points in the view", update=_names_changed
    )
    new_depth: FloatProperty(
        name="Depth of New Points",
        description="How far below the skin new points are put",
        subtype="DISTANCE",
        min=-ABOVE_SKIN,
        max=DEEPEST,
        soft_max=0.1,
    )
    snap: BoolProperty(name="Snap to Vertex", description="Put new points on the nearest vertex of the mesh")
    mirror: BoolProperty(name="Mirror", description="Make the same point on the other side of the body too")


def add_points_settings() -> None:
    """Give every scene its list; after the classes are registered."""
    bpy.types.Scene.bodyfield_points = PointerProperty(type=BODYFIELD_PG_points)


def remove_points_settings() -> None:
    """Undo `add_points_settings`; before the classes go."""
    del bpy.types.Scene.bodyfield_points

# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's list of points, and the empties that show it riding on a person.

The list (`scene.bodyfield_points`, see `scene.point_items`) is the truth; empties are made to fit it and can be deleted
at any time. An empty knows its point by `POINT_KEY`.
"""

from collections.abc import Iterable

import bpy
import numpy as np

from ..points.canonical import Place, PointError, free_name
from .body_surface import BodySurface, body_mesh, hang
from .clip_keys import TRACK_KEY

POINT_KEY, RIDING_KEY = "bodyfield_point", "bodyfield_riding"
COLLECTION = "Bodyfield points"
SIZE = 0.02
"""Radius of an empty, metres."""


def place_of(item: object) -> Place:
    """The place that an item of the list means."""
    return Place(
        item.name,
        item.kind,
        item.face,
        _shortest(item.barycentric),
        float(_shortest([item.depth])[0]),
        item.where,
        _shortest(item.position),
    )


def add_place(points: object, place: Place) -> object:
    """Append a place to the list under a free name; -> the item, which becomes the active one."""
    name = free_name(place.name, {item.name for item in points.items})
    item = points.items.add()
    points.last_id += 1
    item.uid = points.last_id
    set_place(item, place)
    item.name = name
    points.active = len(points.items) - 1
    return item


def set_place(item: object, place: Place) -> None:
    """Move an item to another place; its name stays."""
    item.kind, item.face, item.where = place.kind, place.face, place.where
    item.barycentric, item.position = place.barycentric, place.position
    if item.depth != place.depth:
        item.depth = place.depth


def person_of(scene: bpy.types.Scene) -> bpy.types.Object | None:
    """The person that the points are shown on; the only or first one of the scene when none was chosen."""
    chosen = scene.bodyfield_points.person
    if chosen is not None and chosen.name in scene.objects and body_mesh(chosen):
        return chosen
    return next((ob for ob in scene.objects if TRACK_KEY in ob and body_mesh(ob)), None)


def show_points(scene: bpy.types.Scene, surface: BodySurface | None = None) -> None:
    """Make the empties equal to the list. Points that this body cannot show have none."""
    points = scene.bodyfield_points
    person = person_of(scene)
    if surface is None and person is not None:
        surface = BodySurface(person)
    shown = {ob[POINT_KEY]: ob for ob in riding(scene)}
    wanted: set[int] = set()
    for item in points.items if surface is not None else ():
        try:
            hook = surface.hook(place_of(item))
        except PointError:
            continue
        wanted.add(item.uid)
        empty = shown.get(item.uid) or _new_empty(scene, item)
        empty.name, empty.show_name = item.name, points.show_names
        hang(empty, hook, surface)
    bpy.data.batch_remove([ob for uid, ob in shown.items() if uid not in wanted])


def show_point(scene: bpy.types.Scene, item: object) -> None:
    """Bring one item's empty up to date, after its depth or name has changed."""
    empty = next((ob for ob in riding(scene) if ob[POINT_KEY] == item.uid), None)
    person = person_of(scene)
    if empty is None or person is None:
        return
    surface = BodySurface(person)
    empty.name = item.name
    hang(empty, surface.hook(place_of(item)), surface)


def riding(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """The empties that show the list."""
    return [ob for ob in scene.objects if RIDING_KEY in ob and POINT_KEY in ob]


def bodies(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> list[bpy.types.Object]:
    """Every visible mesh that points can be put on."""
    people = [ob for ob in scene.objects if ob.type == "ARMATURE" and TRACK_KEY in ob]
    meshes = (body_mesh(ob) for ob in people)
    return [ob for ob in meshes if ob is not None and ob.visible_get(view_layer=layer)]


def points_collection(scene: bpy.types.Scene, name: str = COLLECTION, parent=None) -> bpy.types.Collection:
    """A collection of ours in the scene (or below `parent`), made when missing."""
    holder = parent or scene.collection
    found = next((c for c in holder.children if c.get(RIDING_KEY) == name), None)
    if found is None:
        found = bpy.data.collections.new(name)
        found[RIDING_KEY] = name
        holder.children.link(found)
    return found


def _new_empty(scene: bpy.types.Scene, item: object) -> bpy.types.Object:
    empty = bpy.data.objects.new(item.name, None)
    empty[POINT_KEY], empty[RIDING_KEY] = item.uid, True
    empty.empty_display_type, empty.empty_display_size = "SPHERE", SIZE
    empty.show_in_front = True
    empty.lock_location = (True, True, True)
    points_collection(scene).objects.link(empty)
    return empty


def _shortest(values: Iterable[float]) -> tuple[float, ...]:
    """The shortest decimals that give these float32 again, as a file should show them."""
    return tuple(float(str(np.float32(v))) for v in values)

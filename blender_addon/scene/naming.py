# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person's objects are called, and their colour."""

from collections.abc import Iterable, Mapping

import bpy

from .clip_keys import JOB_KEY, NAME_KEY, TRACK_KEY

PALETTE = (
    (0.90, 0.35, 0.13, 1.0), (0.12, 0.47, 0.71, 1.0), (0.35, 0.68, 0.20, 1.0), (0.80, 0.25, 0.60, 1.0),
    (0.95, 0.75, 0.10, 1.0), (0.15, 0.70, 0.68, 1.0), (0.50, 0.35, 0.75, 1.0), (0.55, 0.40, 0.25, 1.0),
)  # fmt: skip
"""Colours of people, by their numbers; linear RGBA."""


def colour_of(identity: int) -> tuple[float, ...]:
    """Of a person, by the first track that is this person."""
    return PALETTE[(identity - 1) % len(PALETTE)]


def give_colour(objects: Iterable[bpy.types.Object], colour: tuple[float, ...]) -> None:
    """Colour a person's objects, unless the user has given them a colour of their own."""
    for ob in objects:
        if _is_ours(ob.color):
            ob.color = colour
        if ob.type == "ARMATURE":
            for bone in ob.data.bones:
                bone.color.palette = "CUSTOM"
                for kind, strength in (("normal", 0.8), ("select", 1.0), ("active", 1.2)):
                    setattr(bone.color.custom, kind, [min(1.0, strength * v) for v in ob.color[:3]])


def _is_ours(colour: Iterable[float]) -> bool:
    have = tuple(colour)
    known = (*PALETTE, (1.0, 1.0, 1.0, 1.0))
    return any(max(abs(a - b) for a, b in zip(have, one, strict=True)) < 1e-4 for one in known)


def identity_of(track: int, persons: Mapping[int, int]) -> int:
    """The first track that is the same person. `persons`: track -> the track that it continues, 0 for none."""
    seen = {track}
    while (earlier := persons.get(track, 0)) and earlier not in seen:
        seen.add(earlier)
        track = earlier
    return track


def automatic_name(clip: str, track: int, shot: int) -> str:
    """What the objects of a person are called who has no name."""
    return f"{clip} person {track}" + (f" (shot {shot})" if shot > 1 else "")


def keeps_name(armature: bpy.types.Object, name: str) -> bool:
    """Whether a person's armature is called `name` already, or something that the user has given it."""
    given = armature.get(NAME_KEY)
    if armature.name != given:
        return True
    # Blender adds .001 to a name that is taken.
    return given == name or given.startswith(f"{name}.")


def rename_objects(armature: bpy.types.Object, name: str) -> None:
    """Call a person's armature and bodies by `name`, and remember that."""
    armature.name = name
    armature.data.name = armature.name
    armature[NAME_KEY] = armature.name
    for child in armature.children:
        if child.type == "MESH" and child.get(JOB_KEY) == armature.get(JOB_KEY):
            child.name = f"{armature.name} body"
            child.data.name = child.name


def active_of(context: bpy.types.Context) -> tuple[bpy.types.Object, ...]:
    """The active object and its parent, none when nothing is active. `context.active_object` knows nothing of one that
    is hidden, as everybody is before and after being seen, and all people of the other shots."""
    active = context.view_layer.objects.active
    return tuple(ob for ob in (active, active.parent if active is not None else None) if ob is not None)


def is_person(ob: bpy.types.Object) -> bool:
    """Whether this is the armature of somebody in a clip."""
    return ob.type == "ARMATURE" and JOB_KEY in ob and int(ob.get(TRACK_KEY, 0)) > 0

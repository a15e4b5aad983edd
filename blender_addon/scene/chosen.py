# SPDX-License-Identifier: GPL-3.0-or-later
"""The people whom the user has chosen in a frame of the panel's video, kept in the scene."""

from collections.abc import Mapping
from pathlib import Path

import bpy
from bpy.props import CollectionProperty, FloatVectorProperty, IntProperty, PointerProperty, StringProperty

from ..languages.words import iface


class BODYFIELD_PG_chosen_person(bpy.types.PropertyGroup):
    """Somebody in the frame"""

    box: FloatVectorProperty(size=4, options={"HIDDEN"})
    """x, y, width, height in pixels."""


class BODYFIELD_PG_chosen(bpy.types.PropertyGroup):
    """Whom to follow"""

    filepath: StringProperty(options={"HIDDEN"})
    """The video in which they were chosen."""
    frame: IntProperty(min=0, options={"HIDDEN"})
    """Frame of the video, from 0."""
    found: IntProperty(options={"HIDDEN"})
    """How many people were found in that frame."""
    people: CollectionProperty(type=BODYFIELD_PG_chosen_person)


def choice_of(scene: bpy.types.Scene, filepath: str) -> dict | None:
    """The import's option `people` for a video; None when nobody was chosen in it."""
    chosen = scene.bodyfield_chosen
    if not chosen.people or not filepath or _full(chosen.filepath) != _full(filepath):
        return None
    return {"frame": chosen.frame, "boxes": [[round(v, 1) for v in person.box] for person in chosen.people]}


def keep_choice(scene: bpy.types.Scene, filepath: str, choice: Mapping | None, found: int = 0) -> None:
    """Put a choice as `choice_of` gives it in the place of the earlier one."""
    chosen = scene.bodyfield_chosen
    chosen.people.clear()
    chosen.filepath = filepath if choice else ""
    chosen.frame, chosen.found = (choice["frame"], found) if choice else (0, 0)
    for box in choice["boxes"] if choice else ():
        chosen.people.add().box = box


def words_of(scene: bpy.types.Scene) -> str:
    """The choice in a few words."""
    chosen = scene.bodyfield_chosen
    count = len(chosen.people)
    return iface(
        "{chosen} of {total} chosen, frame {frame}",
        chosen=count,
        total=max(count, chosen.found),
        frame=chosen.frame,
    )


def add_chosen_settings() -> None:
    """Give every scene its choice; after the classes are registered."""
    bpy.types.Scene.bodyfield_chosen = PointerProperty(type=BODYFIELD_PG_chosen)


def remove_chosen_settings() -> None:
    """Undo `add_chosen_settings`; before the classes go."""
    del bpy.types.Scene.bodyfield_chosen


def _full(filepath: str) -> Path:
    return Path(bpy.path.abspath(filepath)).absolute()

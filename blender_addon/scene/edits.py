# SPDX-License-Identifier: GPL-3.0-or-later
"""The corrections of a clip's people, as the backend's option `edits` wants them, kept on the clip's collection.

Each is a dict: {"op": "exclude", "track": 4}, {"op": "merge", "tracks": [1, 3]}, {"op": "split", "track": 1, "frame":
57}, {"op": "swap", "tracks": [1, 2], "frame": 40}, {"op": "rename", "track": 1, "name": "Anna"}, {"op": "same",
"tracks": [1, 5]}. Frames count from 0, as the clip's. Being in the file they are under undo.
"""

import json
from collections.abc import Iterable, Mapping

import bpy

from .clip_keys import EDITS_KEY

Edit = Mapping[str, object]


def edits_of(clip: bpy.types.Collection | None) -> list[dict]:
    """The corrections of a clip, oldest first."""
    try:
        found = json.loads(clip[EDITS_KEY]) if clip is not None else []
    except (KeyError, ValueError, TypeError):
        return []
    return [dict(one) for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def keep_edits(clip: bpy.types.Collection, edits: Iterable[Edit]) -> None:
    """Put these in the place of the clip's corrections."""
    clip[EDITS_KEY] = json.dumps([dict(one) for one in edits])


def renamed(edits: Iterable[Edit], track: int) -> str:
    """What the user calls a track; empty when it was not named."""
    names = [str(e.get("name", "")) for e in edits if e.get("op") == "rename" and e.get("track") == track]
    return names[-1] if names else ""


def excluded(edits: Iterable[Edit]) -> list[int]:
    """The tracks that are left out."""
    return sorted({int(e["track"]) for e in edits if e.get("op") == "exclude" and "track" in e})


def with_exclusion(edits: Iterable[Edit], track: int, out: bool) -> list[dict]:
    """The corrections with a track left out, or back in."""
    rest = [dict(e) for e in edits if not (e.get("op") == "exclude" and e.get("track") == track)]
    return [*rest, {"op": "exclude", "track": track}] if out else rest


def with_name(edits: Iterable[Edit], track: int, name: str) -> list[dict]:
    """The corrections with a name for a track; an empty one takes it back."""
    rest = [dict(e) for e in edits if not (e.get("op") == "rename" and e.get("track") == track)]
    return [*rest, {"op": "rename", "track": track, "name": name}] if name else rest


def names_in(edits: Iterable[Edit]) -> list[dict]:
    """The names among the corrections."""
    return [dict(e) for e in edits if e.get("op") == "rename"]


def with_names(edits: Iterable[Edit], names: Iterable[Edit]) -> list[dict]:
    """The corrections with these names in the place of theirs."""
    return [dict(e) for e in edits if e.get("op") != "rename"] + [dict(e) for e in names]

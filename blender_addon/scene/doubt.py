# SPDX-License-Identifier: GPL-3.0-or-later
"""Where it is not sure who somebody is: a curve on the armature, and markers on the timeline.

`armature["doubtful"]`, 1 where this may be another person than in the other frames, is keyed, CONSTANT.
"""

from collections.abc import Iterable, Sequence

import bpy
import numpy as np

from ..link.job import Result
from .clip_keys import DOUBTFUL_KEY, FRAMES_KEY
from .keys import Channel, curves_of

DOUBTFUL, GROUP = "doubtful", "Identity"


def channels(result: Result) -> list[Channel]:
    """What to key on the armature object."""
    rows = np.asarray(result.doubtful, np.float32)[:, None]
    return [Channel(f'["{DOUBTFUL}"]', rows, GROUP, constant=True)]


def declare(armature: bpy.types.Object, result: Result) -> None:
    """Give the armature the property that `channels` keys, and the counts that the list shows."""
    armature[DOUBTFUL] = 0
    armature.id_properties_ui(DOUBTFUL).update(
        min=0, max=1, description="1 where it is not sure that this is the same person as in the other frames"
    )
    armature[FRAMES_KEY], armature[DOUBTFUL_KEY] = len(result.frames), int(np.count_nonzero(result.doubtful))


def stretches(armature: bpy.types.Object) -> list[tuple[float, float]]:
    """First and last scene frame of every doubtful stretch, as the curve is now."""
    curve = next((c for c in curves_of(armature) if c.data_path == f'["{DOUBTFUL}"]'), None)
    if curve is None or not len(curve.keyframe_points):
        return []
    flat = np.empty(2 * len(curve.keyframe_points), np.float32)
    curve.keyframe_points.foreach_get("co", flat)
    at, on = flat[::2], flat[1::2] >= 0.5
    edges = np.diff(np.concatenate([[0], on.astype(int), [0]]))
    return list(zip(at[edges[:-1] == 1].tolist(), at[edges[1:] == -1].tolist(), strict=True))


def marks(people: Iterable[tuple[str, bpy.types.Object]]) -> list[tuple[str, float]]:
    """Markers (name, scene frame) at the beginning of every doubtful stretch of people (name, armature)."""
    found = [(f"{name} doubtful", first) for name, armature in people for first, _ in stretches(armature)]
    return sorted(found, key=lambda one: one[1])


def next_doubtful(people: Sequence[bpy.types.Object], frame: float) -> tuple[bpy.types.Object, float] | None:
    """Who is doubtful next after `frame`, and where that begins; after the last the first; None when nobody is."""
    found = [(first, i) for i, armature in enumerate(people) for first, _ in stretches(armature)]
    if not found:
        return None
    first, i = min(found, key=lambda one: (one[0] <= frame + 0.5, one[0]))
    return people[i], first

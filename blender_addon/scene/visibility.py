# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody is shown where nothing is known of him: before he is seen, after it, and in long gaps between.

`hide_viewport` and `hide_render` of armature and mesh are keyed, CONSTANT, in the action of each. Whoever is there for
the whole clip has no such keys.
"""

from collections.abc import Callable, Iterable

import bpy
import numpy as np

from ..geometry.timing import hidden_spans, scene_frames
from ..link.job import Result
from .keys import Channel, curves_of, key_steps, remove_curves, sampled
from .steps import Steps

PATHS = ("hide_viewport", "hide_render")
GROUP = "Visibility"


def visibility_steps(
    find: Callable[[], bpy.types.Object],
    name: str,
    result: Result,
    fps: float,
    last: float,
    pause: Callable[[], Iterable[None]],
) -> Steps[None]:
    """Key when the object that `find()` gives is hidden, in its action (a new one called `name` if it has none).
    `last`: the scene frame at which the clip ends. Raises VanishedError, see `key_steps`."""
    places = scene_frames(result.frames, result.times, fps)
    at, hidden = hidden_spans(result.frames, places, last)
    # Of a motion on the way nobody knows what will be bridged.
    if not (result.final and hidden.any()):
        if not any(curve.data_path in PATHS for curve in curves_of(find())):
            return
        at, hidden = places[:1], np.zeros(1)
    channels = [Channel(path, hidden[:, None].astype(float), GROUP, constant=True) for path in PATHS]
    yield from key_steps(find, name, channels, at, pause)


def shown_at(armature: bpy.types.Object, frames: np.ndarray) -> np.ndarray:
    """(n,) whether somebody is shown at scene frames; always where that is not keyed."""
    hidden = sampled(armature, PATHS[0], frames)
    return np.ones(len(frames), bool) if hidden is None else hidden < 0.5


def show_always(copy: bpy.types.Object) -> None:
    """Let a copy of somebody be visible in every frame; the original's action stays as it is."""
    data = copy.animation_data
    if data is not None and any(curve.data_path in PATHS for curve in curves_of(copy)):
        data.action = data.action.copy()
        remove_curves(copy, PATHS)
    copy.hide_viewport = copy.hide_render = False

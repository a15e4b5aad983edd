# SPDX-License-Identifier: GPL-3.0-or-later
"""The shots of a clip in one scene: where the world of each lies, and what the file remembers of them.

Every shot has a space of its own (see `shared.shot`). Each is turned level and set down with its floor at height 0 and
its first person above the origin; only the people of one shot are visible at a time. `told` reads back what
`remember` wrote onto the clip's collection.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from ..geometry.timing import FIRST_FRAME, scene_frames
from ..link.job import Result
from ..shared.axes import level_rotation, world_shift
from ..shared.shot import Shot
from .clip_keys import RATE_KEY, SHOTS_KEY, TIMES_KEY, WORLD_KEY

_SAME_PLACE = 1e-6


@dataclass(frozen=True, eq=False)
class World:
    """How a shot's space lies in Blender's world, see `axes.camera_to_world`."""

    shift: np.ndarray
    """(3,) metres."""
    level: np.ndarray
    """(3, 3)."""
    origin: int = 0
    """The track that starts above the origin; 0 for none."""

    @classmethod
    def of(cls, values: Sequence[float], origin: int = 0) -> "World":
        """From the 12 numbers of `values`."""
        return cls(np.array(values[:3], float), np.array(values[3:12], float).reshape(3, 3), origin)

    def values(self) -> list[float]:
        """Shift and level as 12 numbers."""
        return [*self.shift.tolist(), *self.level.ravel().tolist()]

    def same(self, other: "World") -> bool:
        """Whether a place comes to lie where it lay."""
        return np.abs(self.shift - other.shift).max() <= _SAME_PLACE and np.allclose(self.level, other.level)


@dataclass(frozen=True)
class Told:
    """What is known of one shot."""

    number: int
    """From 1."""
    first: int
    """The clip's first frame in it, from 0."""
    last: int
    """The last one."""
    world: tuple[float, ...]
    """Shift and level, see `World.values`."""
    origin: int = 0
    """The track that starts above the world's origin."""
    final: bool = False
    """Whether that is of final results."""
    moving: bool = False
    """Whether the camera turns or moves."""
    zooms: bool = False
    """Whether the focal length changes."""
    fov_deg: float = 0.0
    """Degrees over the picture's larger side; 0 when nobody said."""
    fov_sigma_deg: float = 0.0
    """One sigma of it; 0 for a lens that is known."""
    lens_source: str = ""
    """Where that comes from, see `Shot.lens_source`."""
    note: str = ""
    """One sentence on what could not be solved."""


def worlds_of(
    people: Iterable[Result], shots: Mapping[int, Shot], before: Iterable[Told]
) -> dict[int, World]:
    """Of every shot that has people or is told of. `people`: in the order of their tracks; `before`: what the file
    remembers. Where the one who stood above the origin is not there any more, the origin stays."""
    by_shot: dict[int, list[Result]] = {number: [] for number in shots}
    for result in people:
        by_shot.setdefault(int(result.shot[0]), []).append(result)
    kept = {one.number: one for one in before if one.final}
    return {number: _world(number, found, shots, kept) for number, found in sorted(by_shot.items())}


def _world(number: int, people: list[Result], shots: Mapping[int, Shot], kept: Mapping[int, Told]) -> World:
    up, floor = _floor_of(number, people, shots)
    level = np.eye(3) if up is None else level_rotation(up)
    if not people:
        height = float(floor[0])
        return World(np.array([0.0, height if np.isfinite(height) else 0.0, 0.0]), level)
    shift = world_shift([r.joints for r in people], level, floor)
    old = kept.get(number)
    if old is not None and old.origin and old.origin not in [r.track for r in people]:
        shift[[0, 2]] = np.array(old.world)[[0, 2]]
        return World(shift, level, old.origin)
    return World(shift, level, people[0].track)


def _floor_of(
    number: int, people: list[Result], shots: Mapping[int, Shot]
) -> tuple[np.ndarray | None, np.ndarray]:
    """Up, None where nobody knows, and floor, (1,) metres or NaN: those of a final result, once there is one."""
    known = next((r for r in people if r.final), None) or (None if people else shots.get(number))
    return (None, np.array([np.nan])) if known is None else (known.up, known.floor)


def remember(
    clip: bpy.types.Collection, worlds: Mapping[int, World], shots: Mapping[int, Shot], final: bool
) -> None:
    """Write down what is known of a clip's shots."""
    found = [_told(number, world, shots.get(number), final) for number, world in worlds.items()]
    clip[SHOTS_KEY] = json.dumps([vars(one) for one in found])
    clip[WORLD_KEY] = next(iter(worlds.values())).values()
    frames = np.concatenate([s.frames for _, s in sorted(shots.items())] or [np.zeros(0)])
    times = np.concatenate([s.times for _, s in sorted(shots.items())] or [np.zeros(0)])
    if np.abs(scene_frames(frames, times, clip[RATE_KEY]) - frames - FIRST_FRAME).max(initial=0.0) > 1e-6:
        clip[TIMES_KEY] = times.tolist()
    elif TIMES_KEY in clip:
        del clip[TIMES_KEY]


def _told(number: int, world: World, shot: Shot | None, final: bool) -> Told:
    more = {}
    if shot is not None and len(shot.frames):
        names = ("moving", "zooms", "fov_deg", "fov_sigma_deg", "lens_source", "note")
        more = {name: getattr(shot, name) for name in names}
        more |= {"first": int(shot.frames[0]), "last": int(shot.frames[-1])}
    return Told(**({"number": number, "first": 0, "last": -1} | more),
                world=tuple(world.values()), origin=world.origin, final=final)  # fmt: skip


def told(clip: bpy.types.Collection | None) -> list[Told]:
    """The shots of a clip in the file; none of one that an earlier release made."""
    try:
        return [Told(**one) for one in json.loads(clip[SHOTS_KEY])] if clip is not None else []
    except (KeyError, ValueError, TypeError):
        return []


def world_of(armature: bpy.types.Object, clip: bpy.types.Collection) -> World:
    """That in which a person's keys are."""
    return World.of(list(armature.get(WORLD_KEY) or clip[WORLD_KEY]))


def clip_frame(clip: bpy.types.Collection, frame: float) -> int:
    """The clip's frame, from 0, that is shown at a scene frame."""
    times = clip.get(TIMES_KEY)
    if times is None:
        return max(0, int(np.floor(frame + 1e-6)) - FIRST_FRAME)
    seconds = (frame - FIRST_FRAME) / clip[RATE_KEY]
    return max(0, int(np.searchsorted(np.array(times), seconds + 1e-6, "right")) - 1)


def cuts(clip: bpy.types.Collection) -> list[tuple[str, float]]:
    """Name and scene frame of the first frame of every shot but the first."""
    times, rate = clip.get(TIMES_KEY), clip[RATE_KEY]
    return [
        (f"Shot {one.number}", FIRST_FRAME + (one.first if times is None else times[one.first] * rate))
        for one in told(clip)[1:]
        if one.first > 0
    ]

# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes animation curves in bulk, and keeps what the user keyed.

Keys made here are LINEAR (CONSTANT for what is on or off, and before a cut) and of the type GENERATED. A later run
replaces them and leaves every other key alone.
Blender leaves the type GENERATED on a key whose value the user overwrites, so each key made here also carries a
copy of its value in `back` (a parameter of the "Back" easing, unused by LINEAR keys): a GENERATED key that no
longer equals its copy was edited, and is the user's.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import bpy
import numpy as np

from ..shared.axes import continuous
from .steps import Steps, VanishedError, run

PIECE = 20_000
"""Keys that are written in one step: a few milliseconds."""
_SAME_FRAME = 1e-3
_INT_FIELDS = ("type", "interpolation", "easing", "handle_left_type", "handle_right_type")
_FLOAT_FIELDS = ("back", "amplitude", "period")
_POINT_FIELDS = ("co", "handle_left", "handle_right")


@dataclass(frozen=True, eq=False)
class Channel:
    """One animated property with its values over n frames."""

    path: str
    """Its data path from the owner of the action."""
    values: np.ndarray
    """(n, k) its k components."""
    group: str = ""
    """The group's name in the dope sheet."""
    quaternion: bool = False
    """Whether the k = 4 components are w, x, y, z of a rotation."""
    constant: bool = False
    """Whether a value holds until the next key."""
    holds: np.ndarray | None = None
    """(n,) the same for each key by itself; None where `constant` says it for all."""


def bone_path(bone: str, prop: str) -> str:
    """The data path of a pose bone's property."""
    return f'pose.bones["{bpy.utils.escape_identifier(bone)}"].{prop}'


def write_keys(
    owner: bpy.types.ID, name: str, channels: Iterable[Channel], frames: np.ndarray
) -> bpy.types.Action:
    """Key `channels` at the scene `frames` (n,), in the owner's action (a new one called `name` if it has none).

    -> the action. Earlier GENERATED keys of these channels are replaced; the user's keys stay, also where they
    stand on a frame of ours.
    """
    run(key_steps(lambda: owner, name, channels, frames, lambda: iter(())))
    return owner.animation_data.action


def key_steps(
    find: Callable[[], bpy.types.ID],
    name: str,
    channels: Iterable[Channel],
    frames: np.ndarray,
    pause: Callable[[], Iterable[None]],
) -> Steps[None]:
    """`write_keys` in steps of about `PIECE` keys, with `pause()` between them; `find()` gives the owner, also after
    an undo. Raises VanishedError when its action was taken away meanwhile."""
    frames = np.asarray(frames, np.float32)
    curves, action, written = None, None, 0
    for channel in channels:
        values = continuous(channel.values) if channel.quaternion else np.asarray(channel.values)
        signed = not channel.quaternion
        for i in range(values.shape[1]):
            if curves is None:
                curves = _Curves(find(), name, action)
                action = curves.action_name
            if not signed:
                values, signed = values * curves.users_sign(channel.path, frames, values), True
            curves.fill(channel, i, frames, values[:, i])
            written += len(frames)
            if written >= PIECE:
                curves, written = None, 0
                yield from pause()


class _Curves:
    """The curves of one owner, until the next pause. `action`: its action's name before the pause, if there was one."""

    def __init__(self, owner: bpy.types.ID, name: str, action: str | None) -> None:
        has = owner.animation_data.action if owner.animation_data else None
        if action is not None and (has is None or has.name != action):
            raise VanishedError
        held, self._bag = _channelbag(owner, name)
        self.action_name = held.name
        self._known = {(curve.data_path, curve.array_index): curve for curve in self._bag.fcurves}
        self._kept: dict[int, dict | None] = {}

    def users_sign(self, path: str, frames: np.ndarray, values: np.ndarray) -> float:
        """See `_users_sign`."""
        found = [self._known.get((path, i)) for i in range(4)]
        self._kept = {i: _users_keys(curve) if curve else None for i, curve in enumerate(found)}
        kept = list(self._kept.values())
        return _users_sign(kept, frames, values) if any(keys is not None for keys in kept) else 1.0

    def fill(self, channel: Channel, i: int, frames: np.ndarray, values: np.ndarray) -> None:
        """Give the i-th curve of a channel its keys."""
        curve = self._known.get((channel.path, i))
        kept = self._kept if channel.quaternion else {}
        keys = kept[i] if i in kept else _users_keys(curve) if curve else None
        curve = curve or _new_curve(self._bag, channel.path, i, channel.group)
        holds = np.full(len(frames), channel.constant) if channel.holds is None else channel.holds
        _fill(curve, frames, np.ascontiguousarray(values, np.float32), keys, holds)


def users_key_count(owner: bpy.types.ID) -> int:
    """How many keys of the owner's action are not ours (or were edited)."""
    return run(users_key_steps(lambda: owner))


def users_key_steps(find: Callable[[], bpy.types.ID | None]) -> Steps[int]:
    """`users_key_count` in steps; `find()` gives the owner, None when it is gone."""
    at = count = 0
    while True:
        owner = find()
        data = owner.animation_data if owner is not None else None
        if data is None or data.action is None:
            return count
        curves, seen = _channelbag(owner, data.action.name)[1].fcurves, 0
        while at < len(curves) and seen < PIECE:
            keys = _users_keys(curves[at])
            seen += len(curves[at].keyframe_points)
            count += len(keys["type"]) if keys is not None else 0
            at += 1
        if at >= len(curves):
            return count
        yield


def curves_of(owner: bpy.types.ID) -> list[bpy.types.FCurve]:
    """The curves that animate the owner; none when it has no action."""
    data = owner.animation_data
    if data is None or data.action is None:
        return []
    return list(_channelbag(owner, data.action.name)[1].fcurves)


def sampled(owner: bpy.types.ID, path: str, frames: np.ndarray) -> np.ndarray | None:
    """(n,) values of the curve of a data path without components, at scene frames; None when there is no such curve."""
    curve = next((curve for curve in curves_of(owner) if curve.data_path == path), None)
    return None if curve is None else np.array([curve.evaluate(float(frame)) for frame in frames])


def remove_curves(owner: bpy.types.ID, paths: Iterable[str]) -> None:
    """Remove the curves of these data paths from the owner's action."""
    paths, bag = set(paths), _channelbag(owner, owner.animation_data.action.name)[1]
    for curve in [curve for curve in bag.fcurves if curve.data_path in paths]:
        bag.fcurves.remove(curve)


def _channelbag(owner: bpy.types.ID, name: str):
    """(action, what holds the owner's `fcurves` and `groups`), made when missing.

    From Blender 4.4 on an action has a slot for each owner and a channelbag for each slot; before, the action
    itself holds the curves.
    """
    data = owner.animation_data or owner.animation_data_create()
    if data.action is None:
        data.action = bpy.data.actions.new(name)
    action = data.action
    if bpy.app.version < (4, 4, 0):
        return action, action
    if data.action_slot is None:
        fitting = [slot for slot in action.slots if slot.target_id_type in (owner.id_type, "UNSPECIFIED")]
        data.action_slot = fitting[0] if fitting else action.slots.new(id_type=owner.id_type, name=owner.name)
    layer = action.layers[0] if action.layers else action.layers.new("Layer")
    strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")
    return action, strip.channelbag(data.action_slot, ensure=True)


def _new_curve(bag, path: str, index: int, group: str) -> bpy.types.FCurve:
    if bpy.app.version >= (5, 0, 0):
        return bag.fcurves.new(path, index=index, group_name=group)
    if bpy.app.version < (4, 4, 0):
        return bag.fcurves.new(path, index=index, action_group=group)
    curve = bag.fcurves.new(path, index=index)
    if group:
        curve.group = bag.groups.get(group) or bag.groups.new(group)
    return curve


def _enum(prop: str, name: str) -> int:
    return bpy.types.Keyframe.bl_rna.properties[prop].enum_items[name].value


def _users_keys(curve: bpy.types.FCurve) -> dict[str, np.ndarray] | None:
    """All fields of those keys that the user made or edited; None when there are none."""
    points = curve.keyframe_points
    count = len(points)
    types, values, copies = (
        np.empty(count, np.int32),
        np.empty(2 * count, np.float32),
        np.empty(count, np.float32),
    )
    points.foreach_get("type", types)
    points.foreach_get("co", values)
    points.foreach_get("back", copies)
    users = (types != _enum("type", "GENERATED")) | (values[1::2] != copies)
    if not users.any():
        return None
    out = {}
    for field in (*_INT_FIELDS, *_FLOAT_FIELDS, *_POINT_FIELDS):
        array = np.empty((count, 2) if field in _POINT_FIELDS else count, _dtype(field))
        points.foreach_get(field, array.ravel())
        out[field] = array[users]
    return out


def _dtype(field: str) -> type:
    return np.int32 if field in _INT_FIELDS else np.float32


def _users_sign(kept: list[dict | None], frames: np.ndarray, values: np.ndarray) -> float:
    """The sign (q and -q are one rotation) with which new quaternions (n, 4) join the user's keys best."""
    agreement = 0.0
    for component, keys in enumerate(kept):
        if keys is not None:
            at, value = keys["co"].T
            agreement += float(np.sum(np.interp(at, frames, values[:, component]) * value))
    return -1.0 if agreement < 0 else 1.0


def _fill(
    curve: bpy.types.FCurve, frames: np.ndarray, values: np.ndarray, kept: dict | None, holds: np.ndarray
) -> None:
    """Make the curve hold exactly these keys, constant where one `holds` (n,) and else linear, and the user's `kept`
    ones."""
    if kept is not None:
        free = np.abs(frames[:, None] - kept["co"][None, :, 0]).min(1) > _SAME_FRAME
        frames, values, holds = frames[free], values[free], holds[free]
    points = curve.keyframe_points
    count = len(frames) + (0 if kept is None else len(kept["co"]))
    if len(points) != count:
        points.clear()
        points.add(count)
    fields = {
        "co": np.stack([frames, values], -1),
        "back": values,
        "type": np.full(len(frames), _enum("type", "GENERATED"), np.int32),
        "interpolation": np.where(
            holds, *(_enum("interpolation", kind) for kind in ("CONSTANT", "LINEAR"))
        ).astype(np.int32),
    }
    if kept is not None:
        order = np.argsort(np.concatenate([frames, kept["co"][:, 0]]), kind="stable")
        fields |= _default_fields(fields)
        fields = {name: np.concatenate([array, kept[name]])[order] for name, array in fields.items()}
    for name, array in fields.items():
        points.foreach_set(name, np.ascontiguousarray(array).ravel())
    curve.update()


def _default_fields(fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The remaining fields of our keys, needed only where the user's keys stand among them."""
    co, count = fields["co"], len(fields["co"])
    automatic = np.full(count, _enum("handle_left_type", "AUTO_CLAMPED"), np.int32)
    return {
        "handle_left": co,
        "handle_right": co,
        "handle_left_type": automatic,
        "handle_right_type": automatic,
        "easing": np.full(count, _enum("easing", "AUTO"), np.int32),
        "amplitude": np.full(count, 0.8, np.float32),
        "period": np.full(count, 4.1, np.float32),
    }

# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a person rests on the floor: F-curves and markers on the armature, and where it is shown in a view.

`armature["contact_left_heel"]` and the like, 0 to 1, one for each of `motion.CONTACTS`, and `armature["bridged"]`, 1
where the person was not seen and the motion is what lies between, are keyed. The action carries a marker where a foot
comes down and where it leaves the floor.
"""

import json
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Vector

from ..geometry.footsteps import footsteps
from ..link.job import Result
from ..shared.motion import CONTACTS
from .clip_keys import EXCLUDED_KEY, FLOOR_KEY, TRACK_KEY
from .keys import Channel, sampled
from .rest import RestBody

GROUP, BRIDGED, CARRIERS = "Contacts", "bridged", "bodyfield_contacts"
MARKERS = {
    ("left", True): "Left foot down",
    ("left", False): "Left foot up",
    ("right", True): "Right foot down",
    ("right", False): "Right foot up",
}
"""Side, and whether the foot comes down, to the marker's name, by which a later run knows its own."""
SOLE_M, END = 0.02, 0.25
"""Vertices within 2 cm of a foot's lowest one are its sole; the rear and the front quarter of that: heel and toes."""
FAINTEST = 0.1
"""Contacts below this are not shown: a foot that passes over the floor has some."""


def prop(contact: str) -> str:
    """The armature's property for one of `CONTACTS`."""
    return f"contact_{contact}"


def channels(result: Result) -> list[Channel]:
    """What to key on the armature object."""
    bridged = np.asarray(result.bridged, np.float32)[:, None]
    return [
        *(
            Channel(f'["{prop(name)}"]', column[:, None], GROUP)
            for name, column in zip(CONTACTS, result.contacts.T, strict=True)
        ),
        Channel(f'["{BRIDGED}"]', bridged, GROUP, constant=True),
    ]


def declare(armature: bpy.types.Object, rest: RestBody) -> None:
    """Give the armature the properties that `channels` keys, and what `rings` needs to know of the body."""
    for name in CONTACTS:
        armature[prop(name)] = 0.0
        words = name.replace("_", " ")
        armature.id_properties_ui(prop(name)).update(
            min=0.0, max=1.0, description=f"How much the {words} rests on the floor"
        )
    armature[BRIDGED] = 0
    armature.id_properties_ui(BRIDGED).update(
        min=0, max=1, description="1 where the person was not seen and the motion is what lies between"
    )
    armature[CARRIERS] = json.dumps(carriers(rest))


def carriers(rest: RestBody) -> dict[str, tuple[str, list[float]]]:
    """For each of `CONTACTS` the bone that it hangs on, and its place (3,) from the bone's head, metres, the bone's
    axes, which at rest are SMPL-X's."""
    out = {}
    for side in ("left", "right"):
        sole = _sole(rest, side)
        back, front = sole[:, 2].min(), sole[:, 2].max()
        reach = END * (front - back)
        heel, toes = sole[sole[:, 2] < back + reach].mean(0), sole[sole[:, 2] > front - reach].mean(0)
        palm = rest.joints[rest.joint_names.index(f"{side}_middle1")]
        knee = rest.joints[rest.joint_names.index(f"{side}_knee")]
        for part, bone, place in (
            ("heel", "ankle", heel), ("toes", "foot", toes), ("hand", "wrist", palm), ("knee", "knee", knee),
        ):  # fmt: skip
            joint = f"{side}_{bone}"
            off = place - rest.joints[rest.joint_names.index(joint)]
            out[f"{side}_{part}"] = (joint, [round(float(v), 5) for v in off])
    return out


def _sole(rest: RestBody, side: str) -> np.ndarray:
    """(k, 3) the lowest vertices of a foot at rest."""
    foot = [rest.joint_names.index(f"{side}_{name}") for name in ("ankle", "foot")]
    carried = (rest.weights_value * np.isin(rest.weights_index, foot)).sum(1)
    vertices = rest.vertices[carried > 0.5]
    return vertices[vertices[:, 1] < vertices[:, 1].min() + SOLE_M]


def mark_footsteps(action: bpy.types.Action, result: Result, frames: np.ndarray) -> None:
    """Put a marker on the action where a foot comes down or leaves the floor; those of an earlier run go. `frames`:
    (n,) the scene frames of the result."""
    for marker in [m for m in action.pose_markers if m.name in MARKERS.values()]:
        action.pose_markers.remove(marker)
    for step in footsteps(result.contacts, result.frames, result.times):
        action.pose_markers.new(MARKERS[step.side, step.down]).frame = round(float(frames[step.row]))


def contacts_at(armature: bpy.types.Object, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((n, 8) 0..1 of `CONTACTS`, (n,) 1 where bridged) at scene frames, as the curves are now."""
    columns = [sampled(armature, f'["{name}"]', frames) for name in (*map(prop, CONTACTS), BRIDGED)]
    *touch, bridged = (np.zeros(len(frames)) if column is None else column for column in columns)
    return np.stack(touch, 1).clip(0, 1).astype(np.float32), (bridged >= 0.5).astype(np.uint8)


@dataclass(frozen=True)
class Ring:
    """A contact as it is shown: a disk on the floor."""

    contact: str
    """One of `CONTACTS`."""
    place: Vector
    """Its middle in the world, metres."""
    turn: Matrix
    """(3, 3) turn of the floor in the world; its third column points up."""
    strength: float
    """0..1, how much it rests."""


def rings(armature: bpy.types.Object) -> list[Ring]:
    """What rests in the current frame."""
    if CARRIERS not in armature or armature.pose is None:
        return []
    world, floor, found = armature.matrix_world, float(armature.get(FLOOR_KEY, 0.0)), []
    turn = world.to_quaternion().to_matrix()
    for contact, (bone, place) in json.loads(armature[CARRIERS]).items():
        strength, pose = float(armature.get(prop(contact), 0.0)), armature.pose.bones.get(bone)
        if pose is not None and strength >= FAINTEST:
            at = pose.matrix @ Vector(place)
            at.z = floor
            found.append(Ring(contact, world @ at, turn, min(strength, 1.0)))
    return found


def people_with_contacts(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """The armatures of ours that are seen in a scene."""
    found = [ob for ob in scene.objects if TRACK_KEY in ob and CARRIERS in ob and not ob.hide_viewport]
    return [ob for ob in found if not any(EXCLUDED_KEY in c for c in ob.users_collection)]

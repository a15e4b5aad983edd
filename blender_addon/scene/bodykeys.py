# SPDX-License-Identifier: GPL-3.0-or-later
"""Shape sliders and pose correctives as shape keys of a person's mesh, made a few at a time.

Shape sliders `Shape000` ... are offsets from the shape that was fitted: at 0 the body is as it came. Pose correctives
`Pose000` ... are driven: each is one element of R - I of a joint's rotation, which is a polynomial of the bone's
quaternion, so that Blender evaluates it without Python and the body is right after every edit of the pose.
"""

from collections.abc import Callable, Iterator

import bpy
import numpy as np

from ..link.job import BodyMessage
from ..shared.axes import smpl_to_blender
from .clip_keys import TRACK_KEY

LEVELS = ("off", "body", "all")
BODY_JOINTS = 21
"""Joints 1 to 21 are the body's; jaw, eyes and fingers follow."""
SMALLEST_M = 2e-4
"""Correctives that move no vertex by more are left out: each key costs time in every frame."""
SHAPE, POSE = "Shape", "Pose"
LEVEL_KEY = "bodyfield_correctives"
_ELEMENTS = (
    ("-2*(y*y+z*z)", "yz"), ("2*(x*y-w*z)", "wxyz"), ("2*(x*z+w*y)", "wxyz"),
    ("2*(x*y+w*z)", "wxyz"), ("-2*(x*x+z*z)", "xz"), ("2*(y*z-w*x)", "wxyz"),
    ("2*(x*z-w*y)", "wxyz"), ("2*(y*z+w*x)", "wxyz"), ("-2*(x*x+y*y)", "xy"),
)  # fmt: skip
"""Element k of R - I, row by row, and the parts of the quaternion in it."""


def keys_of(mesh: bpy.types.Object, prefix: str) -> list[bpy.types.ShapeKey]:
    """Our keys of one kind on a mesh."""
    blocks = mesh.data.shape_keys.key_blocks if mesh.data.shape_keys else ()
    return [
        block for block in blocks if block.name.startswith(prefix) and block.name[len(prefix) :].isdigit()
    ]


def has_shape_keys(mesh: bpy.types.Object) -> bool:
    """Whether the shape sliders are there."""
    return bool(keys_of(mesh, SHAPE))


def remove_keys(mesh: bpy.types.Object, prefix: str) -> None:
    """Remove our keys of one kind, with their drivers."""
    for block in keys_of(mesh, prefix):
        _remove_key(mesh, block)
    _drop_lone_basis(mesh)


def _remove_key(mesh: bpy.types.Object, block: bpy.types.ShapeKey) -> None:
    block.driver_remove("value")
    mesh.shape_key_remove(block)


def _drop_lone_basis(mesh: bpy.types.Object) -> None:
    blocks = mesh.data.shape_keys.key_blocks if mesh.data.shape_keys else ()
    if len(blocks) == 1:
        mesh.shape_key_remove(blocks[0])


def add_shape_keys(find: Callable[[], bpy.types.Object], body: BodyMessage) -> Iterator[str]:
    """Make the shape sliders that are missing; gives the name of each when it is there. `find()` gives the mesh, also
    after an undo."""
    names = [f"{SHAPE}{i:03d}" for i in range(body.shapedirs.shape[-1])]
    # Once more when an undo took some of them away meanwhile.
    while missing := [name for name in names if not _has_key(find(), name)]:
        for name in missing:
            if not _has_key(mesh := find(), name):
                _new_key(mesh, name, body.shapedirs[..., names.index(name)])
                yield name


def last_row(body: BodyMessage, level: str) -> int:
    """How many of the 486 elements belong to a level."""
    wanted = {"off": 0, "body": 9 * BODY_JOINTS, "all": len(body.posedirs)}[level]
    return min(wanted, len(body.posedirs))


def add_correctives(find: Callable[[], bpy.types.Object], body: BodyMessage, level: str) -> Iterator[str]:
    """Make the correctives of a level and remove those of a higher one, a little at each step; gives the name of a key
    when it is there, "" for a step that made none. `find()` gives the mesh, also after an undo."""
    last = last_row(body, level)
    for name in [block.name for block in keys_of(find(), POSE) if int(block.name[len(POSE) :]) >= last]:
        mesh = find()
        if _has_key(mesh, name):
            _remove_key(mesh, mesh.data.shape_keys.key_blocks[name])
            yield ""
    _drop_lone_basis(find())
    rows = []
    for row in range(last):
        if np.abs(body.posedirs[row]).max() > SMALLEST_M:
            rows.append(row)
        yield ""
    # Once more when an undo took some of them away meanwhile.
    while missing := [row for row in rows if not _has_key(find(), f"{POSE}{row:03d}")]:
        for row in missing:
            mesh, name = find(), f"{POSE}{row:03d}"
            if not _has_key(mesh, name):
                block = _new_key(mesh, name, body.posedirs[row])
                _drive(block, mesh.parent, body.joint_names[1 + row // 9], row % 9)
                mesh[LEVEL_KEY] = level
                yield name
    find()[LEVEL_KEY] = level


def _has_key(mesh: bpy.types.Object, name: str) -> bool:
    return mesh.data.shape_keys is not None and name in mesh.data.shape_keys.key_blocks


def level_of(mesh: bpy.types.Object) -> str:
    """The level of correctives that a mesh has; the levels are alike on a body whose fingers have none."""
    return str(mesh.get(LEVEL_KEY, "body")) if keys_of(mesh, POSE) else "off"


def _new_key(mesh: bpy.types.Object, name: str, offsets: np.ndarray) -> bpy.types.ShapeKey:
    """A key that moves the vertices by `offsets` (V, 3), SMPL-X axes, metres, at 1."""
    if mesh.data.shape_keys is None:
        mesh.shape_key_add(name="Basis", from_mix=False)
    basis = np.empty(3 * len(mesh.data.vertices), np.float32)
    mesh.data.shape_keys.key_blocks[0].points.foreach_get("co", basis)
    block = mesh.shape_key_add(name=name, from_mix=False)
    block.slider_min, block.slider_max = -10.0, 10.0
    # New keys begin at 1 in newer Blenders.
    block.value = 0.0
    block.points.foreach_set("co", basis + smpl_to_blender(offsets).astype(np.float32).ravel())
    return block


def _drive(block: bpy.types.ShapeKey, armature: bpy.types.Object, bone: str, element: int) -> None:
    expression, parts = _ELEMENTS[element]
    driver = block.driver_add("value").driver
    driver.type = "SCRIPTED"
    for part in parts:
        variable = driver.variables.new()
        variable.name, variable.type = part, "TRANSFORMS"
        target = variable.targets[0]
        # The bone as it stands in the end, after constraints, relative to its parent.
        target.id, target.bone_target = armature, bone
        target.transform_type, target.transform_space = f"ROT_{part.upper()}", "LOCAL_SPACE"
        target.rotation_mode = "QUATERNION"
    driver.expression = expression


def persons_mesh(armature: bpy.types.Object | None) -> bpy.types.Object | None:
    """The mesh of a person of ours."""
    if armature is None or TRACK_KEY not in armature:
        return None
    return next((ob for ob in armature.children if ob.type == "MESH" and TRACK_KEY in ob), None)

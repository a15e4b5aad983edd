# SPDX-License-Identifier: GPL-3.0-or-later
"""The skinned mesh: shape baked in, vertex groups named like the bones, UVs, expressions as shape keys."""

import bpy
import numpy as np

from ..shared.axes import smpl_to_blender
from .rest import RestBody


def new_mesh(name: str, rest: RestBody) -> bpy.types.Mesh:
    """A new mesh of the rest body in Blender's axes, smooth, with its UV map; not linked to anything yet."""
    mesh = bpy.data.meshes.new(name)
    count = len(rest.faces)
    mesh.vertices.add(len(rest.vertices))
    mesh.vertices.foreach_set("co", _coordinates(rest.vertices))
    mesh.loops.add(3 * count)
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(rest.faces, np.int32).ravel())
    mesh.polygons.add(count)
    mesh.polygons.foreach_set("loop_start", np.arange(0, 3 * count, 3, dtype=np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(count, bool))
    mesh.update(calc_edges=True)
    if len(rest.faces_uv) == count:
        layer = mesh.uv_layers.new(name="UVMap")
        layer.uv.foreach_set("vector", np.ascontiguousarray(rest.uv[rest.faces_uv], np.float32).ravel())
    return mesh


def add_weights(ob: bpy.types.Object, rest: RestBody, rows: slice = slice(None)) -> None:
    """Fill the vertex groups of a new mesh object from the (V, K) sparse skinning weights, those of the vertices
    `rows`."""
    have = ob.vertex_groups
    groups = [have.get(name) or have.new(name=name) for name in rest.joint_names]
    first = rows.start or 0
    for column in range(rest.weights_index.shape[1]):
        values = rest.weights_value[rows, column]
        used = np.flatnonzero(values)
        joints = rest.weights_index[rows, column][used]
        vertices = (used + first).tolist()
        for vertex, joint, value in zip(vertices, joints.tolist(), values[used].tolist(), strict=True):
            groups[joint].add((vertex,), value, "ADD")


def set_rest_shape(mesh: bpy.types.Mesh, rest: RestBody) -> None:
    """Move an existing mesh of ours to another shape; expression keys move with it."""
    old = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", old)
    new = _coordinates(rest.vertices)
    for block in mesh.shape_keys.key_blocks if mesh.shape_keys else ():
        held = np.empty_like(old)
        block.points.foreach_get("co", held)
        block.points.foreach_set("co", held + (new - old))
    mesh.vertices.foreach_set("co", new)
    mesh.update()


def add_expressions(ob: bpy.types.Object, rest: RestBody) -> list[str]:
    """One shape key an expression coefficient, made once; -> their names `Exp000`, `Exp001`, ..."""
    count = rest.exprdirs.shape[-1]
    names = [f"Exp{i:03d}" for i in range(count)]
    if ob.data.shape_keys is not None:
        return names
    ob.shape_key_add(name="Basis", from_mix=False)
    for i, name in enumerate(names):
        block = ob.shape_key_add(name=name, from_mix=False)
        block.slider_min, block.slider_max = -10.0, 10.0
        block.points.foreach_set("co", _coordinates(rest.vertices + rest.exprdirs[..., i]))
    return names


def _coordinates(vertices: np.ndarray) -> np.ndarray:
    """(V, 3) SMPL-X axes -> (3 V,) float32 in Blender's axes, for foreach_set."""
    return np.ascontiguousarray(smpl_to_blender(vertices), np.float32).ravel()

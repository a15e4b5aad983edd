# SPDX-License-Identifier: GPL-3.0-or-later
"""The skin of a body in the scene: where a canonical point lies on it, at rest and posed.

Each mesh that we make carries the mean body's rest vertices as an attribute, and its armature the mean places of
joints and landmarks. So points keep their canonical place whatever shape and pose the person has, also in a file that
is opened without any backend.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import bpy
import numpy as np
from mathutils import Vector
from mathutils.bvhtree import BVHTree

from ..link.job import BodyMessage
from ..points.canonical import Place, PointError
from ..points.presets import Rule
from ..shared.axes import smpl_to_blender

MEAN, PLACES, BODY_NAME = "bodyfield_mean", "bodyfield_places", "bodyfield_body"
_SAME_PLACE = 1e-4
_MOST_WALLS = 32


@dataclass(frozen=True)
class Hit:
    """Where a ray met a posed body."""

    mesh: bpy.types.Object
    """The body."""
    face: int
    """The triangle of its mesh."""
    barycentric: tuple[float, float, float]
    """The place in the triangle: shares of its three corners, 0 to 1, which sum to 1."""
    location: Vector
    """The same place in the world, metres."""


@dataclass(frozen=True)
class Hook:
    """What an empty hangs on: a bone, or three vertices."""

    bone: str | None = None
    """Name of the bone; None when it is vertices."""
    vertices: tuple[int, int, int] | None = None
    """The corners of a triangle; None when it is a bone."""
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Metres from the middle of that triangle, in the frame that Blender gives a child of three vertices."""


def remember_body(mesh: bpy.types.Object, armature: bpy.types.Object, body: BodyMessage) -> None:
    """Keep in the file what `BodySurface` needs."""
    attribute = mesh.data.attributes.get(MEAN) or mesh.data.attributes.new(MEAN, "FLOAT_VECTOR", "POINT")
    attribute.data.foreach_set("vector", np.ascontiguousarray(body.v_template, np.float32).ravel())
    landmarks = {
        n: p for n, p in zip(body.landmark_names, body.landmarks, strict=False) if np.isfinite(p).all()
    }
    joints = dict(zip(body.joint_names, body.joints_template, strict=True))
    armature[PLACES] = json.dumps(
        {
            kind: {name: [round(float(v), 6) for v in place] for name, place in places.items()}
            for kind, places in (("joints", joints), ("landmarks", landmarks))
        }
    )


def body_mesh(armature: bpy.types.Object | None) -> bpy.types.Object | None:
    """The skinned mesh of a person that points can be put on."""
    children = armature.children if armature is not None else ()
    return next((ob for ob in children if ob.type == "MESH" and MEAN in ob.data.attributes), None)


class BodySurface:
    """Rest geometry of one person's mesh, Blender's axes, metres. `mean`: (V, 3) of the mean body, `shaped`: (V, 3)
    of this person, `faces`: (F, 3). Raises PointError when the mesh was changed."""

    def __init__(self, armature: bpy.types.Object) -> None:
        self.armature, self.mesh = armature, body_mesh(armature)
        if self.mesh is None:
            raise PointError("This person has no body of ours to put points on: import the clip again.")
        data = self.mesh.data
        self.faces = np.empty(len(data.loops), np.int32)
        data.loops.foreach_get("vertex_index", self.faces)
        if len(data.loops) != 3 * len(data.polygons):
            raise PointError(
                f"The mesh {self.mesh.name} was edited, so that points have no place on it any more."
            )
        self.faces = self.faces.reshape(-1, 3)
        self.shaped = _vectors(data.vertices, "co", len(data.vertices))
        self.mean = smpl_to_blender(_vectors(data.attributes[MEAN].data, "vector", len(data.vertices)))
        places = json.loads(armature[PLACES])
        self.joints = {name: smpl_to_blender(place) for name, place in places["joints"].items()}
        self.landmarks = {name: smpl_to_blender(place) for name, place in places["landmarks"].items()}

    @property
    def body_name(self) -> str:
        """Whose numbers the triangles are: "open", "smplx", "smplh" or "smpl"."""
        return str(self.armature.get(BODY_NAME, "open"))

    @cached_property
    def _tree(self) -> BVHTree:
        return BVHTree.FromPolygons(self.mean.tolist(), self.faces.tolist())

    @cached_property
    def _normals(self) -> np.ndarray:
        """(V, 3) unit normals of the mean body, each the mean of the triangles around by area, as at the backend."""
        a, b, c = self.mean[self.faces].transpose(1, 0, 2)
        of_faces, out = np.cross(b - a, c - a), np.zeros_like(self.mean)
        for corner in range(3):
            np.add.at(out, self.faces[:, corner], of_faces)
        return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)

    def position(self, place: Place) -> np.ndarray:
        """(3,) of a place on the mean body. Raises PointError for one that this body cannot show."""
        if place.kind == "surface":
            if not 0 <= place.face < len(self.faces):
                raise PointError(f"The point {place.name} lies on a triangle that this body does not have.")
            rows, share = self.faces[place.face], np.asarray(place.barycentric)
            normal = share @ self._normals[rows]
            return share @ self.mean[rows] - place.depth * normal / max(np.linalg.norm(normal), 1e-12)
        if place.kind in ("joint", "landmark"):
            known = self.joints if place.kind == "joint" else self.landmarks
            if place.where not in known:
                raise PointError(
                    f"This body has no {place.kind} {place.where}: remove the point {place.name}."
                )
            return known[place.where]
        if place.kind == "own":
            raise PointError(
                f"The point {place.name} is given in the localizer's own space and cannot be shown."
            )
        return smpl_to_blender(place.position)

    def hook(self, place: Place) -> Hook:
        """What an empty at `place` hangs on. Raises PointError like `position`."""
        position = self.position(place)
        if place.kind != "surface":
            for bone, joint in self.joints.items():
                if np.abs(joint - position).max() < _SAME_PLACE:
                    return Hook(bone)
        face, share = (
            (place.face, np.asarray(place.barycentric)) if place.kind == "surface" else self.nearest(position)
        )
        rows = self.faces[face]
        mean, shaped = self.mean[rows], self.shaped[rows]
        # Off the skin along the mean body's frame, within the triangle by the person's own shape.
        offset = _frame(mean).T @ (position - share @ mean) + _frame(shaped).T @ (
            share @ shaped - shaped.mean(0)
        )
        return Hook(vertices=tuple(rows.tolist()), offset=tuple(offset.tolist()))

    def nearest(self, position: np.ndarray) -> tuple[int, np.ndarray]:
        """(triangle, barycentric (3,)) of the nearest place on the mean body's skin."""
        location, _, face, _ = self._tree.find_nearest(Vector(position))
        return face, _barycentric(self.mean[self.faces[face]], np.array(location))

    def find(self, rule: Rule) -> Place:
        """The place that a rule of `points.presets` means. Raises PointError when its ray meets nothing."""
        origin, way = (Vector(smpl_to_blender(v)) for v in (rule.start, rule.direction))
        for _ in range(_MOST_WALLS):
            location, normal, face, _ = self._tree.ray_cast(origin, way)
            if location is None:
                break
            if normal.dot(way) > 0:
                share = _barycentric(self.mean[self.faces[face]], np.array(location))
                return Place(rule.name, face=face, barycentric=tuple(share.tolist()))
            # A wall that is entered: something within the body, such as an eyeball.
            origin = location + 1e-5 * way.normalized()
        raise PointError(f"The marker {rule.name} finds no skin on this body.")

    def mirrored(self, place: Place, name: str) -> Place:
        """The same place on the other side of the mean body, called `name`."""
        if place.kind in ("joint", "landmark"):
            swapped = place.where.replace("left", "§").replace("right", "left").replace("§", "right")
            return Place(name, place.kind, where=swapped)
        if place.kind != "surface":
            x, y, z = place.position
            return Place(name, place.kind, position=(-x, y, z))
        skin = self.position(Place("", face=place.face, barycentric=place.barycentric))
        face, share = self.nearest(skin * [-1, 1, 1])
        return Place(name, face=face, barycentric=tuple(share.tolist()), depth=place.depth)


def pick(
    depsgraph: bpy.types.Depsgraph, bodies: Sequence[bpy.types.Object], origin: Vector, direction: Vector
) -> Hit | None:
    """The nearest place where a ray in world space meets one of `bodies` (meshes) as posed. Raises PointError when a
    modifier has changed a mesh so that its triangles are not ours any more."""
    best: tuple[float, Hit] | None = None
    for ob in bodies:
        evaluated = ob.evaluated_get(depsgraph)
        if len(evaluated.data.polygons) != len(ob.data.polygons):
            raise PointError(
                f"Turn off the modifiers of {ob.name} that add or remove faces (Subdivision, for example) while "
                "you add points."
            )
        into = evaluated.matrix_world.inverted()
        way = into.to_3x3() @ direction
        met, location, _, face = evaluated.ray_cast(into @ origin, way.normalized())
        if not met:
            continue
        world = evaluated.matrix_world @ location
        distance = (world - origin).length
        if best is None or distance < best[0]:
            corners = [evaluated.data.vertices[i].co for i in ob.data.polygons[face].vertices]
            share = _barycentric(np.array(corners), np.array(location))
            best = distance, Hit(ob, face, tuple(share.tolist()), world)
    return best[1] if best else None


def hang(empty: bpy.types.Object, hook: Hook, surface: BodySurface) -> None:
    """Parent an empty so that it rides on the posed, shaped body."""
    empty.parent = surface.armature if hook.bone else surface.mesh
    if hook.bone:
        empty.parent_type, empty.parent_bone = "BONE", hook.bone
        # A child of a bone starts at its tail.
        empty.location = (0.0, -surface.armature.data.bones[hook.bone].length, 0.0)
    else:
        empty.parent_type, empty.parent_vertices = "VERTEX_3", hook.vertices
        empty.location = hook.offset
    empty.matrix_parent_inverse.identity()


def _frame(corners: np.ndarray) -> np.ndarray:
    """(3, 3) columns x, y, z of the frame that Blender gives a child of three vertices: x along the first edge, z along
    the triangle's normal."""
    x = corners[1] - corners[0]
    z = np.cross(x, corners[2] - corners[0])
    x, z = x / max(np.linalg.norm(x), 1e-12), z / max(np.linalg.norm(z), 1e-12)
    return np.stack([x, np.cross(z, x), z], 1)


def _barycentric(corners: np.ndarray, point: np.ndarray) -> np.ndarray:
    """(3,) shares of the corners at the point of the triangle nearest to `point`'s projection, within 0..1."""
    edges = np.stack([corners[1] - corners[0], corners[2] - corners[0]], 1)
    v, w = np.linalg.lstsq(edges, point - corners[0], rcond=None)[0]
    share = np.clip([1 - v - w, v, w], 0, 1)
    return share / share.sum()


def _vectors(source, name: str, count: int) -> np.ndarray:
    flat = np.empty(3 * count, np.float32)
    source.foreach_get(name, flat)
    return flat.reshape(-1, 3).astype(np.float64)

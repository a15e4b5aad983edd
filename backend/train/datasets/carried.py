"""Canonical points of the body that is learnt, as points of a dataset's own body.

A point is carried by the map between the two bodies' volumes (`backend.volumes.map`), which is made with the
neutral body, as in NLF. Bodies of other genders have the same mesh: a point there is the same combination of vertices.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from backend.body.model import Body, CanonicalPoints
from backend.body.points import canonical_points
from backend.localizers.nlf.space import kept_map
from backend.train.datasets.bodies import Licensed, licensed_body
from backend.volumes.map import map_same_mesh
from backend.volumes.volume import CanonicalVolume, volume_of_body
from blender_addon.shared.home import home_folder


def _quiet(_: str) -> None:
    """A training's processes have nobody to tell that a map takes half a minute."""


class Carried:
    """`points` of the learnt `body`, on the bodies of a dataset. `folder`: of licensed files; `model`: "smpl" or
    "smplx"; `wanted_by`: the dataset's name. JobError("bad_body") for missing files."""

    def __init__(self, body: Body, points: CanonicalPoints, folder: str, model: str, wanted_by: str) -> None:
        self._body, self._points = body, points
        self._folder, self._model, self._wanted_by = folder, model, wanted_by
        self._neutral = self.licensed("neutral")

    def licensed(self, gender: str) -> Licensed:
        """The dataset's body of a gender."""
        return licensed_body(self._folder, self._model, gender, self._wanted_by)

    def points(self, gender: str) -> CanonicalPoints:
        """The points on the body of a gender, all of them."""
        return _points_on(self._body, self._points, self._neutral, self.licensed(gender))


@lru_cache(maxsize=8)
def _points_on(body: Body, points: CanonicalPoints, neutral: Licensed, other: Licensed) -> CanonicalPoints:
    """Kept, as several datasets have the same bodies."""
    return same_combinations(neutral.body, other.body, places_in(body, points, neutral))


@lru_cache(maxsize=4)
def volume_of(licensed: Licensed) -> CanonicalVolume:
    """The canonical volume of a licensed body, with the joints that it really has."""
    return volume_of_body(licensed.body)


@lru_cache(maxsize=4)
def places_in(body: Body, points: CanonicalPoints, licensed: Licensed) -> np.ndarray:
    """(P, 3) places of `points` of `body` in the rest volume of the licensed neutral body. Up to a minute, once."""
    other = licensed.body
    if same_mesh(body, other):
        return points.positions.astype(np.float64)
    volume = volume_of(licensed)
    there = kept_map(body, volume, home_folder() / "maps", licensed.body.name, _quiet).to_volume(points)
    return map_same_mesh(other, volume.vertices).to_body(there)


def vertices_in(body: Body, licensed: Licensed) -> np.ndarray:
    """(V, 3) where the vertices of the licensed neutral body lie in the rest volume of `body`."""
    if same_mesh(body, licensed.body):
        return body.v_template.astype(np.float64)
    volume = volume_of(licensed)
    return kept_map(body, volume, home_folder() / "maps", licensed.body.name, _quiet).to_body(volume.vertices)


def same_mesh(a: Body, b: Body) -> bool:
    """Whether two bodies are the same file's."""
    return a.v_template.shape == b.v_template.shape and np.array_equal(a.v_template, b.v_template)


def same_combinations(neutral: Body, other: Body, places: np.ndarray) -> CanonicalPoints:
    """Points of `other`, a body of the same mesh, combined of its vertices as `places` (P, 3) are of `neutral`'s."""
    if neutral is other:
        return canonical_points(neutral, places)
    # What the two rest bodies differ in goes along as one more direction of shape.
    apart = (other.v_template - neutral.v_template)[..., None]
    mixed = replace(
        other,
        v_template=neutral.v_template,
        shapedirs=np.concatenate([other.shapedirs, apart], 2),
    )
    found = canonical_points(mixed, places)
    return replace(
        found,
        positions=np.ascontiguousarray(found.positions + found.shapedirs[..., -1]),
        shapedirs=np.ascontiguousarray(found.shapedirs[..., :-1]),
    )

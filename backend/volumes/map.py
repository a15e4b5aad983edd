"""The same place in two bodies: our rest volume and a canonical volume of another body, mapped onto each other.

Three steps make a map: our body takes the other's shape and pose (`shape`), its surface is bent onto the other's
(`register`), and what lies inside goes along with what carries it: skinned like a canonical point, plus the
carriers' mean of the bending. Measured in `bench.spaces`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from backend.body.model import Body, CanonicalPoints
from backend.body.skeleton import JOINT
from backend.body.surface import Surface
from backend.errors import JobError
from backend.volumes.carriers import Carriers
from backend.volumes.cloud import Cloud, cloud_of, skin_faces
from backend.volumes.inverse import invert
from backend.volumes.model import Shape, VolumeModel, start
from backend.volumes.register import Skin, register
from backend.volumes.shape import fit_shape, outer_skin
from backend.volumes.skin import apply
from backend.volumes.volume import MIRROR, CanonicalVolume, mirror_pairs

MAX_FITTED_MM, MAX_SURFACE_MM = 30.0, 10.0
"""Mean distances of the volume's skin from our fitted and from our bent surface beyond which it is no person in the
official pose; bodies of other models came to 3 and 1 mm."""
_HEIGHTS = (0.5, 2.6)
_PAIRED = 1e-4
_NO_ROWS = np.zeros(0, int)


class VolumeMap:
    """From places of `body`'s rest volume to places of a canonical volume, and back.

    `shape`: how the body is posed and shaped first; `displacement`: (V, 3) float32 metres added then;
    `figures`: what is known of the fit, in millimetres (see `map_volumes`).
    """

    def __init__(
        self, body: Body, shape: Shape, displacement: np.ndarray, figures: Mapping[str, float] | None = None
    ) -> None:
        self.body, self.shape = body, shape
        self.displacement = np.asarray(displacement, np.float32)
        self.figures = dict(figures or {})
        self._joints = VolumeModel(body, _NO_ROWS)

    def to_volume(self, points: CanonicalPoints) -> np.ndarray:
        """(P, 3) float64 places of `points`, which are points of this map's body, in the canonical volume."""
        nb = self.body.n_betas
        if points.weights.shape[1:] != self.body.weights.shape[1:] or points.shapedirs.shape[2] < nb:
            raise ValueError("the points belong to another body than the map")
        if not len(points):
            return np.zeros((0, 3))
        skinned = self._joints.points(self.shape, points)
        return skinned + self._carriers.blend(points.positions.astype(np.float64), self.displacement)

    def to_body(self, positions: np.ndarray) -> np.ndarray:
        """(P, 3) float64 places of the body's rest volume for `positions` (P, 3) of the canonical volume.

        A position outside keeps its place over the skin as far as there is such a place, else the nearest is taken.
        """
        p = np.asarray(positions, np.float64)
        if p.ndim != 2 or p.shape[1] != 3 or not np.isfinite(p).all():
            raise ValueError("positions in a canonical volume must be finite numbers of shape (P, 3)")
        if not len(p):
            return np.zeros((0, 3))
        images = self._forward_at_vertices
        return invert(self._forward, self._carriers.surface.v, images, p)

    def vertices(self) -> np.ndarray:
        """(V, 3) where the body's vertices lie in the canonical volume."""
        return self._forward_at_vertices.copy()

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Arrays for an npz file."""
        s = self.shape
        return {
            "pose": s.pose,
            "betas": s.betas,
            "scales": s.scales,
            "trans": s.trans,
            "displacement": self.displacement,
            "figure_names": np.array(list(self.figures), "U32"),
            "figures": np.array(list(self.figures.values()), np.float64),
        }

    @classmethod
    def from_arrays(cls, body: Body, arrays: Mapping[str, np.ndarray]) -> VolumeMap:
        """The map of `body` that `to_arrays` gave. ValueError or KeyError for arrays that are none of it."""
        V, nb = len(body.v_template), body.n_betas
        wanted = {"pose": (55, 3), "betas": (nb,), "scales": (55,), "trans": (3,), "displacement": (V, 3)}
        for name, size in wanted.items():
            a = np.asarray(arrays[name])
            if a.shape != size or a.dtype.kind != "f" or not np.isfinite(a).all():
                raise ValueError(f"the {name} of a volume map do not belong to this body")
        shape = Shape(arrays["pose"], arrays["betas"], arrays["scales"], arrays["trans"])
        names, values = np.atleast_1d(arrays["figure_names"]), np.atleast_1d(arrays["figures"])
        figures = {str(n): float(v) for n, v in zip(names, values, strict=True)}
        return cls(body, shape, arrays["displacement"], figures)

    @cached_property
    def _carriers(self) -> Carriers:
        return Carriers(Surface(self.body.v_template, self.body.faces))

    @cached_property
    def _values(self) -> np.ndarray:
        """(V, 18) blended transforms, what is added in the rest pose, what is added when posed."""
        model = VolumeModel(self.body)
        T = model.weights @ model.joint_transforms(self.shape)[0]
        return np.concatenate([T, model.displacement(self.shape), self.displacement], 1)

    @cached_property
    def _forward_at_vertices(self) -> np.ndarray:
        return self._image(self.body.v_template.astype(np.float64), self._values)

    def _forward(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = self._carriers.blend(x, self._values)
        return self._image(x, values), values[:, :9].reshape(-1, 3, 3)

    @staticmethod
    def _image(x: np.ndarray, values: np.ndarray) -> np.ndarray:
        return apply(values[:, :12], x + values[:, 12:15]) + values[:, 15:]


def map_volumes(body: Body, volume: CanonicalVolume) -> VolumeMap:
    """The map between two different bodies; half a minute of one core.

    Its figures: `surface_mean`, `surface_95`: millimetres from the volume's skin to our bent one; `fitted_mean`:
    the same before bending; `joints_mean`: between the joints that both have. JobError("bad_volume") for a volume
    onto which the body does not go.
    """
    height = float(np.ptp(volume.vertices[:, 1]))
    if not _HEIGHTS[0] < height < _HEIGHTS[1]:
        raise JobError(
            "bad_volume",
            f"The canonical body {volume.name} is {height:.2f} m high, which is no person: give its vertices in "
            "metres with y up.",
        )
    cloud = cloud_of(volume)
    shape = fit_shape(body, volume, cloud)
    model = VolumeModel(body)
    x = model.vertices(shape)
    faces = skin_faces(model.v, body.faces)
    before = _apart(x, faces, cloud)
    _check(before, MAX_FITTED_MM, body, volume)
    outer = np.zeros(len(x), bool)
    outer[outer_skin(body)] = True
    fingers = model.weights[:, 25:].sum(1)
    d = register(x, Skin(faces, outer, fingers), cloud)
    d = _spread(d, x, np.unique(faces))
    if cloud.symmetric:
        d = _symmetric(d, model.v)
    after = _apart(x + d, faces, cloud)
    _check(after, MAX_SURFACE_MM, body, volume)
    figures = {
        "surface_mean": after.mean(),
        "surface_95": np.percentile(after, 95),
        "fitted_mean": before.mean(),
    }
    if volume.joints:
        ours = model.joint_transforms(shape)[1]
        figures["joints_mean"] = 1e3 * np.mean(
            [np.linalg.norm(ours[JOINT[n]] - place) for n, place in volume.joints.items()]
        )
    return VolumeMap(body, shape, d, {k: round(float(v), 3) for k, v in figures.items()})


def _check(apart: np.ndarray, limit: float, body: Body, volume: CanonicalVolume) -> None:
    if apart.mean() > limit:
        raise JobError(
            "bad_volume",
            f"The canonical body {volume.name} cannot be laid onto the {body.name} body (they stay "
            f"{apart.mean():.0f} mm apart): it is no person in the official pose, so take it from the "
            "official weights as it is.",
        )


def map_same_mesh(body: Body, vertices: np.ndarray) -> VolumeMap:
    """The map of a body whose own vertices' places in the canonical volume are known: `vertices` (V, 3).

    Exact at the vertices; inside, the official pose gives the turns. JobError("bad_volume") for another mesh.
    """
    places = np.asarray(vertices, np.float64)
    if places.shape != body.v_template.shape or not np.isfinite(places).all():
        raise JobError(
            "bad_volume",
            f"The canonical vertices do not belong to the {body.name} body, which has {len(body.v_template)}: give "
            "the body file of the same kind as the official weights' SMPL-X.",
        )
    shape = start(body.n_betas)
    moved = places - VolumeModel(body).vertices(shape)
    return VolumeMap(body, shape, moved, {"surface_mean": 0.0})


def _spread(d: np.ndarray, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`d` (V, 3), known at the vertices `rows`, for all: eyeballs and teeth go along with the skin around them."""
    others = np.setdiff1d(np.arange(len(x)), rows)
    if len(others):
        distance, near = cKDTree(x[rows]).query(x[others], k=24)
        w = 1 / np.maximum(distance, 1e-4) ** 2
        d = d.copy()
        d[others] = (w[..., None] * d[rows[near]]).sum(1) / w.sum(1)[:, None]
    return d


def _symmetric(d: np.ndarray, v: np.ndarray) -> np.ndarray:
    """`d` (V, 3) averaged with its mirror image where the mesh `v` (V, 3) has one."""
    pair = mirror_pairs(v)
    paired = np.linalg.norm(v[pair] * MIRROR - v, axis=1) < _PAIRED
    return np.where(paired[:, None], (d + d[pair] * MIRROR) / 2, d)


def _apart(x: np.ndarray, faces: np.ndarray, cloud: Cloud) -> np.ndarray:
    """(N,) millimetres from the cloud's points to the surface."""
    near = Carriers(Surface(x, faces)).nearest(cloud.points)[0]
    return 1e3 * np.linalg.norm(near - cloud.points, axis=1)

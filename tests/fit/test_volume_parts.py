"""The parts of a volume map: derivatives, carriers, oriented clouds, turning a map around, triangles."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.body.kinematics import forward
from backend.body.points import canonical_points
from backend.body.skeleton import JOINT
from backend.body.surface import Surface, surface_of
from backend.volumes.carriers import Carriers
from backend.volumes.cloud import cloud_of, estimate_normals, seen_from_outside, skin_faces, vertex_normals
from backend.volumes.inverse import invert
from backend.volumes.model import FIRST_BETA, Shape, VolumeModel, start
from backend.volumes.triangles import triangles_between
from backend.volumes.volume import CanonicalVolume, official_pose, volume_of_body
from bench.spaces import strewn


@pytest.fixture(scope="module")
def posed(body):
    """Vertices in the official pose and the triangles of the skin."""
    v = volume_of_body(body).vertices.astype(np.float64)
    return v, skin_faces(v, body.faces)


def test_the_model_poses_as_the_bodys_kinematics_do(body):
    rng = np.random.default_rng(7)
    pose, betas, trans = rng.normal(0, 0.3, (55, 3)), rng.normal(size=body.n_betas), rng.normal(size=3)
    points = canonical_points(body, body.v_template[::500] * [0.97, 1, 0.97])
    given = (torch.from_numpy(a[None]).float() for a in (pose, betas, trans))
    posed = forward(body.to("cpu"), *given, points=points, vertices=True)
    model, s = VolumeModel(body), Shape(pose, betas, np.ones(55), trans)
    np.testing.assert_allclose(model.vertices(s), posed.vertices[0].numpy(), atol=3e-6)
    np.testing.assert_allclose(model.points(s, points), posed.points[0].numpy(), atol=3e-6)
    np.testing.assert_allclose(model.joint_transforms(s)[1], posed.joints[0].numpy(), atol=3e-6)


def test_a_joints_scale_enlarges_what_hangs_on_it(body):
    model, s = VolumeModel(body), start(body.n_betas)
    knee, pair = JOINT["left_knee"], [JOINT["left_ankle"], JOINT["left_knee"]]
    grown = replace(s, scales=np.where(np.arange(55) == knee, 1.2, 1.0))
    before, after = (model.joint_transforms(t)[1] for t in (s, grown))
    shin = lambda j: np.linalg.norm(j[pair[0]] - j[pair[1]])  # noqa: E731
    assert shin(after) == pytest.approx(1.2 * shin(before))
    others = [j for j in range(55) if not model.below[knee, j] or j == knee]
    np.testing.assert_allclose(after[others], before[others], atol=1e-12)


def test_derivatives_match_differences(body):
    rng = np.random.default_rng(0)
    model = VolumeModel(body, rng.choice(len(body.v_template), 12))
    model.posedirs = None  # held by the derivative
    s = Shape(official_pose() + rng.normal(0, 0.2, (55, 3)), rng.normal(size=body.n_betas),
              np.exp(rng.normal(0, 0.1, 55)), rng.normal(size=3))  # fmt: skip
    J, joints = model.jacobian(s), model.joint_jacobian(s)
    for k in [*range(0, FIRST_BETA, 7), *range(FIRST_BETA - 4, FIRST_BETA + body.n_betas)]:
        delta = np.zeros(J.shape[2])
        delta[k] = 1e-6
        more, less = model.step(s, delta), model.step(s, -delta)
        np.testing.assert_allclose(J[..., k], (model.vertices(more) - model.vertices(less)) / 2e-6, atol=1e-7)
        numeric = (model.joint_transforms(more)[1] - model.joint_transforms(less)[1]) / 2e-6
        np.testing.assert_allclose(joints[..., k], numeric, atol=1e-7)


@pytest.mark.slow
def test_carriers_are_those_of_canonical_points(body):
    rng = np.random.default_rng(1)
    surface = surface_of(body)
    p = rng.uniform(body.v_template.min(0), body.v_template.max(0), (6000, 3))
    p = p[surface.inside(p, *surface.nearest(p))][:150]
    skin = body.v_template[rng.choice(len(body.v_template), 50)]
    p = np.concatenate([p, skin, skin + rng.normal(0, 0.01, skin.shape)])
    points = canonical_points(body, p)
    values = np.concatenate([body.weights, body.shapedirs[:, :, 0]], 1)
    mine = Carriers(surface).blend(p, values)
    # At most one in fifty may take the other of two equally near triangles.
    apart = np.abs(mine[:, :55] - points.weights).max(1)
    assert np.percentile(apart, 98) < 1e-4 and apart.max() < 0.05
    np.testing.assert_allclose(mine[:, 55:], points.shapedirs[..., 0], atol=1e-4)


@pytest.mark.slow
def test_normals_of_a_cloud_point_outwards(posed):
    v, faces = posed
    places = strewn(v, faces, 6890, np.random.default_rng(2))
    places = places[seen_from_outside(places)]
    normals, areas = estimate_normals(places)
    carriers = Carriers(Surface(v, faces))
    face = carriers.nearest(places)[1]
    true = carriers.surface.face_normals[face]
    true /= np.linalg.norm(true, axis=1, keepdims=True)
    cosine = (normals * true).sum(1)
    assert (cosine > 0.8).mean() > 0.9 and (cosine < 0).mean() < 0.05
    assert (areas > 0).all()


@pytest.mark.slow
def test_teeth_and_backs_of_eyeballs_are_not_seen(body, posed):
    v, faces = posed
    inner = np.setdiff1d(np.arange(len(v)), np.unique(faces))
    limbs = np.flatnonzero(body.weights[:, 1:9].sum(1) > 0.9)
    seen = seen_from_outside(v)
    assert len(inner) > 300 and seen[inner].mean() < 0.1
    assert seen[limbs].mean() > 0.97


@pytest.mark.slow
def test_a_volume_that_is_symmetric_up_to_its_vertices_gets_its_image(posed):
    v, faces = posed
    rng = np.random.default_rng(3)
    places = strewn(v, faces, 6890, rng)
    cloud = cloud_of(CanonicalVolume("strewn", places))
    assert cloud.symmetric and len(cloud.points) > 1.9 * seen_from_outside(places).sum()
    assert cloud.areas.sum() == pytest.approx(1)
    bent = places + np.where(places[:, :1] > 0, 0.02, 0) * [0, 0, 1]
    assert not cloud_of(CanonicalVolume("bent", bent)).symmetric


def test_vertex_areas_add_up_to_the_surface(posed):
    v, faces = posed
    normals, areas = vertex_normals(v, faces)
    a, b, c = v[faces].transpose(1, 0, 2)
    assert areas.sum() == pytest.approx(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)
    used = np.unique(faces)
    np.testing.assert_allclose(np.linalg.norm(normals[used], axis=1), 1, atol=1e-9)


def _twisted(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A strong twist about y with the turn alone as its matrix: the simple way must give way to Newton's."""
    angle = 2.0 * x[:, 1]
    c, s, o = np.cos(angle), np.sin(angle), np.zeros(len(x))
    R = np.stack([c, o, s, o, o + 1, o, -s, o, c], 1).reshape(-1, 3, 3)
    return (R @ x[..., None])[..., 0], R


def test_a_map_is_turned_around():
    rng = np.random.default_rng(4)
    known, there = rng.uniform(-1, 1, (2000, 3)), rng.uniform(-1, 1, (300, 3))
    found = invert(_twisted, known, _twisted(known)[0], _twisted(there)[0])
    np.testing.assert_allclose(found, there, atol=1e-5)


def test_what_has_no_origin_gets_the_nearest_place():
    flat = lambda x: (x * [1, 1, 0], np.tile(np.diag([1.0, 1, 1]), (len(x), 1, 1)))  # noqa: E731
    known = np.random.default_rng(5).uniform(-1, 1, (500, 3))
    found = invert(flat, known, flat(known)[0], np.array([[0.2, -0.3, 0.7], [5.0, 0, 0]]))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0, :2], [0.2, -0.3], atol=1e-3)


@pytest.mark.slow
def test_triangles_between_strewn_places_close_the_surface(posed):
    v, faces = posed
    places = strewn(v, faces, 8000, np.random.default_rng(6))
    made = triangles_between(v, faces, places)
    edges = Counter(tuple(sorted(e)) for f in made.tolist() for e in zip(f, f[1:] + f[:1], strict=True))
    assert sum(n == 2 for n in edges.values()) / len(edges) > 0.999
    whole = vertex_normals(v, faces)[1].sum()
    assert vertex_normals(places, made)[1].sum() == pytest.approx(whole, rel=0.03)
    # Wound as the surface is: normals of used places agree with those of the triangles beneath.
    normals = vertex_normals(places, made)[0]
    carriers = Carriers(Surface(v, faces))
    below = carriers.surface.face_normals[carriers.nearest(places)[1]]
    used = np.unique(made)
    assert ((normals * below).sum(1)[used] > 0).mean() > 0.97
    assert len(used) > 0.95 * len(places)

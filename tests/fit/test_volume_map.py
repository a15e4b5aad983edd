"""Places of our body in other bodies' volumes: against hidden truth, both ways, both sides, saved and read back."""

from __future__ import annotations

import numpy as np
import pytest

from backend.body.load import load_body
from backend.body.points import canonical_points, joint_point, stack
from backend.body.skeleton import JOINT_NAMES, mirror_joints
from backend.errors import JobError
from backend.volumes.cloud import vertex_normals
from backend.volumes.map import VolumeMap, map_same_mesh, map_volumes
from backend.volumes.model import VolumeModel, start
from backend.volumes.triangles import triangulate
from backend.volumes.volume import MIRROR, CanonicalVolume, official_pose, volume_of_body
from bench.spaces import CASES, Places, make_places, make_target, methods, summary

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole():
    """The open body with all shape directions: half of them are unknown to the map's body."""
    return load_body(betas=32)


@pytest.fixture(scope="module")
def places(whole) -> Places:
    return make_places(whole, np.random.default_rng(0), few=0.25)


@pytest.fixture(scope="module")
def target(whole):
    return make_target(whole, CASES["shape, 6890 vertices"], np.random.default_rng(7))


@pytest.fixture(scope="module")
def found(body, target) -> VolumeMap:
    return map_volumes(body, target.volume)


@pytest.fixture(scope="module")
def error(found, target, places):
    """Millimetres by method and part of the body."""
    true = target.truth(places.points)
    got = methods(found, target.volume, places)
    return {m: summary(np.linalg.norm(p - true, axis=1), places) for m, p in got.items()}


def test_points_lie_where_they_belong_in_an_unseen_body(error):
    body = error["map"]["all but fingers"]
    assert body["mean"] < 5 and body["p95"] < 12 and body["worst"] < 25
    assert error["map"]["inside"]["mean"] < 5
    assert error["map"]["fingers"]["p95"] < 10


def test_every_step_of_the_map_is_worth_its_while(error):
    mean = {m: e["all but fingers"]["mean"] for m, e in error.items()}
    assert mean["map"] < 0.9 * mean["skinned"] < 0.3 * mean["nearest"]


def test_its_figures_say_how_near_the_surfaces_are(found):
    f = found.figures
    assert 0 < f["surface_mean"] < 1 < f["surface_95"] * 2 and f["surface_mean"] < f["fitted_mean"]
    assert f["joints_mean"] < 10


def test_there_and_back(found, places):
    points = places.seen_by(found.body)
    there = found.to_volume(points)
    back = found.to_body(there)
    mm = 1e3 * np.linalg.norm(back - points.positions, axis=1)
    # Where skinning folds, in the armpits, two places have one image: a few points may come back as the other.
    assert np.percentile(mm, 99) < 0.5 and mm.max() < 10
    again = found.to_volume(canonical_points(found.body, back))
    assert 1e3 * np.linalg.norm(again - there, axis=1).max() < 0.1


def test_outside_there_is_always_an_answer(found, places):
    rng = np.random.default_rng(1)
    there = found.to_volume(places.seen_by(found.body))[:60]
    near = there + rng.normal(0, 0.01, there.shape)
    far = there + rng.normal(0, 0.5, there.shape)
    for p in (near, far):
        back = found.to_body(p)
        assert np.isfinite(back).all()
        # Never further off than the nearest vertex would be.
        nearest = np.array([np.linalg.norm(found.vertices() - q, axis=1).min() for q in p])
        image = found.to_volume(canonical_points(found.body, back))
        assert (np.linalg.norm(image - p, axis=1) < nearest + 1e-3).all()


def test_mirrored_points_have_mirrored_places(found, places):
    p = places.points.positions.astype(np.float64)
    one = found.to_volume(canonical_points(found.body, p))
    other = found.to_volume(canonical_points(found.body, p * MIRROR))
    np.testing.assert_allclose(other, one * MIRROR, atol=1e-5)
    np.testing.assert_allclose(found.to_body(one[:50] * MIRROR) * MIRROR, found.to_body(one[:50]), atol=1e-4)


def test_joints_go_to_the_joints_of_the_fitted_body(found, target):
    points = stack([joint_point(found.body, name) for name in JOINT_NAMES[:22]])
    there = found.to_volume(points)
    known = np.stack([target.volume.joints[name] for name in JOINT_NAMES[:22]])
    assert np.linalg.norm(there - known, axis=1).mean() < 0.012
    np.testing.assert_allclose(there[mirror_joints()[:22]], there * MIRROR, atol=1e-5)


def test_saved_and_read_back_it_is_the_same_map(found, places, tmp_path):
    np.savez(tmp_path / "map.npz", **found.to_arrays())
    with np.load(tmp_path / "map.npz", allow_pickle=False) as archive:
        read = VolumeMap.from_arrays(found.body, dict(archive))
    points = places.seen_by(found.body)
    np.testing.assert_array_equal(read.to_volume(points), found.to_volume(points))
    assert read.figures == found.figures


def test_arrays_of_another_body_or_of_no_map_are_refused(found):
    arrays = found.to_arrays()
    for name, value in (
        ("displacement", arrays["displacement"][:-1]),
        ("pose", arrays["pose"] * np.nan),
        ("betas", np.zeros(3)),
        ("scales", np.ones(55, int)),
    ):
        with pytest.raises(ValueError, match=name):
            VolumeMap.from_arrays(found.body, arrays | {name: value})
    with pytest.raises(KeyError):
        VolumeMap.from_arrays(found.body, {})


def test_points_of_another_body_and_broken_positions_are_refused(found, body):
    few = canonical_points(load_body(betas=4), body.v_template[:3])
    with pytest.raises(ValueError, match="another body"):
        found.to_volume(few)
    for p in (np.zeros(3), np.zeros((2, 2)), np.array([[0, np.nan, 0]])):
        with pytest.raises(ValueError, match="finite"):
            found.to_body(p)


def test_no_points_are_no_places(found, body):
    assert found.to_volume(canonical_points(body, np.zeros((0, 3)))).shape == (0, 3)
    assert found.to_body(np.zeros((0, 3))).shape == (0, 3)


def test_triangles_for_vertices_that_came_without(found, whole):
    volume = make_target(whole, CASES["shape, 10475 with faces"], np.random.default_rng(7)).volume
    # Another strewing of vertices over the very body that the map was made for (same seed, same shape).
    made = triangulate(found, volume.vertices)
    v, known = volume.vertices.astype(np.float64), volume.faces
    area, whole = (vertex_normals(v, f)[1].sum() for f in (made, known))
    assert area == pytest.approx(whole, rel=0.01)
    edges = np.sort(np.concatenate([made[:, [0, 1]], made[:, [1, 2]], made[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).mean() > 0.99


def test_the_body_itself_is_found_as_it_stands(body, places):
    found = map_volumes(body, volume_of_body(body))
    points = places.seen_by(body)
    model = VolumeModel(body)
    true = model.points(start(body.n_betas), points)
    mm = 1e3 * np.linalg.norm(found.to_volume(points) - true, axis=1)
    assert mm.mean() < 1 and np.percentile(mm, 95) < 2.5
    assert np.degrees(np.abs(found.shape.pose - official_pose())[:22]).max() < 2


def test_the_same_mesh_is_exact_at_its_vertices(body):
    rng = np.random.default_rng(2)
    stood = volume_of_body(body).vertices.astype(np.float64)
    other = stood * [1.05, 0.97, 1.1] + 0.02 * np.sin(4 * stood[:, [1, 2, 0]])
    found = map_same_mesh(body, other)
    rows = rng.choice(len(other), 400, replace=False)
    there = found.to_volume(body.vertices_as_points(rows))
    np.testing.assert_allclose(there, other[rows], atol=2e-6)
    np.testing.assert_allclose(found.to_body(other[rows]), body.v_template[rows], atol=1e-4)
    # Halfway between the corners of a triangle lies the middle of their places.
    f = body.faces[rng.choice(len(body.faces), 200)]
    middle = canonical_points(body, body.v_template[f].mean(1))
    assert np.linalg.norm(found.to_volume(middle) - other[f].mean(1), axis=1).max() < 5e-4


def test_another_mesh_is_not_the_same_mesh(body):
    for vertices in (np.zeros((10475, 3)), np.full_like(body.v_template, np.nan)):
        with pytest.raises(JobError, match="do not belong"):
            map_same_mesh(body, vertices)


def _ball(height: float) -> CanonicalVolume:
    v = np.random.default_rng(3).normal(size=(900, 3))
    return CanonicalVolume("ball", v / np.linalg.norm(v, axis=1, keepdims=True) * height / 2)


@pytest.mark.parametrize(("height", "says"), [(1700.0, "metres"), (1.7, "official pose")])
def test_what_is_no_person_is_refused(body, height, says):
    with pytest.raises(JobError, match=says) as e:
        map_volumes(body, _ball(height))
    assert e.value.code == "bad_volume"

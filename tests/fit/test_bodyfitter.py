"""Fits of meshes and loose points of known pose: exact, noisy, spoilt, sparse, absent; tracks; uncertainties."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.body.kinematics import forward
from backend.body.points import joint_point, stack
from backend.body.pointsets import named_set
from backend.body.skeleton import JOINT_NAMES
from backend.camera.pinhole import Camera
from backend.errors import JobError
from backend.fit import track
from backend.fit.bodyfitter import BodyFitter, FitOptions, surface_and_joints
from backend.fit.results import continuous
from bench.fit_scenarios import clip_poses, make_scenario, random_poses

ALONE = FitOptions(shape="frame", uncertainties=False)


@pytest.fixture(scope="module")
def mesh(body):
    return BodyFitter(body, surface_and_joints(body))


@pytest.fixture(scope="module")
def sparse_points(body):
    return stack([named_set(body, "surface_200").points, *(joint_point(body, n) for n in JOINT_NAMES)])


@pytest.fixture(scope="module")
def sparse(body, sparse_points):
    return BodyFitter(body, sparse_points)


def place(body, points, pose, betas, trans, expression=None):
    """Points (n, P, 3) and joints (n, 55, 3) of a posed body."""
    args = [torch.as_tensor(np.asarray(a, np.float32)) for a in (pose.reshape(-1, 55, 3), betas, trans)]
    e = None if expression is None else torch.as_tensor(np.asarray(expression, np.float32))
    out = forward(body.to("cpu"), *args, e, points)
    return out.points.numpy(), out.joints.numpy()


def people(body, points, n, seed, clip=False):
    rng = np.random.default_rng(seed)
    pose = clip_poses(n, rng) if clip else random_poses(n, rng)
    betas = rng.normal(size=(1 if clip else n, body.n_betas)) * 0.7
    betas[:, 10:] = 0
    trans = np.cumsum(rng.normal(size=(n, 3)) * 0.01, 0) + np.array([0.0, 0.0, 3.0])
    found, joints = place(body, points, pose, np.repeat(betas, n // len(betas), 0), trans)
    return pose, betas, trans, found, joints


def mm(a, b) -> float:
    return 1e3 * float(np.linalg.norm(a - b, axis=-1).mean())


def fit_scene(fitter, scene, **options):
    targets = np.concatenate([scene.target_vertices, scene.target_joints], 1)
    sigma = None
    if scene.vertex_sigma is not None:
        sigma = np.concatenate([scene.vertex_sigma, scene.joint_sigma], 1)
    return fitter.fit(targets, sigma, options=FitOptions(shape="frame", uncertainties=False, **options))


@pytest.fixture(scope="module")
def narrow(body):
    """The open body with the ten betas that the scenarios vary."""
    from backend.body.load import load_body

    return load_body(betas=10, expressions=0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "most_mm"), [("clean", 0.8), ("iid10", 2.0), ("outlier20_unweighted", 3.0)])
def test_a_mesh_gives_its_body_back(narrow, mesh, name, most_mm):
    scene = make_scenario(narrow, name, 4, 5)
    fit = fit_scene(mesh, scene)
    assert mm(fit.joints[:, :22], scene.joints[:, :22]) < most_mm
    if name == "iid10":
        np.testing.assert_allclose(fit.noise_m, 0.01, rtol=0.15)
    if name == "outlier20_unweighted":
        assert mm(fit_scene(mesh, scene, robust="never").joints, scene.joints) > 1.5 * mm(
            fit.joints, scene.joints
        )


@pytest.mark.slow
def test_shared_errors_are_found_and_taken_out(narrow, mesh):
    scene = make_scenario(narrow, "corr", 4, 5)
    fit, plain = fit_scene(mesh, scene), fit_scene(mesh, scene, coherent=False)
    assert ((fit.shared_m > 0.007) & (fit.shared_m < 0.045)).all()
    assert mm(fit.joints[:, :22], scene.joints[:, :22]) < 0.8 * mm(plain.joints[:, :22], scene.joints[:, :22])
    assert (fit_scene(mesh, make_scenario(narrow, "iid10", 4, 5)).shared_m == 0).all()


@pytest.mark.slow
def test_a_fit_does_not_depend_on_its_companions(narrow, mesh):
    """Neither on their number nor on how hard they are."""
    easy, hard = make_scenario(narrow, "iid10", 2, 5), make_scenario(narrow, "outlier20_unweighted", 3, 6)
    worse = make_scenario(narrow, "corr", 2, 7)
    targets = [np.concatenate([s.target_vertices, s.target_joints], 1) for s in (easy, hard, worse)]
    alone = mesh.fit(targets[0][:1], options=ALONE)
    among = mesh.fit(np.concatenate(targets), options=ALONE)
    assert mm(alone.joints[0], among.joints[0]) < 0.01
    np.testing.assert_allclose(alone.betas[0], among.betas[0], atol=1e-3)


@pytest.mark.slow
def test_sparse_points_of_every_kind(body, sparse, sparse_points):
    _pose, _betas, _trans, points, joints = people(body, sparse_points, 4, 1)
    fit = sparse.fit(points, options=ALONE)
    assert mm(fit.joints[:, :22], joints[:, :22]) < 3
    assert fit.pose.shape == (4, 55, 3) and fit.betas.shape == (4, 10) and fit.trans.shape == (4, 3)
    again, _ = place(body, sparse_points, fit.pose, fit.betas, fit.trans)
    np.testing.assert_allclose(again, points, atol=0.02)


@pytest.mark.slow
def test_scale_and_expression(body, sparse_points):
    fitter = BodyFitter(body, sparse_points, expressions=4)
    _pose, _betas, _trans, points, joints = people(body, sparse_points, 2, 2)
    middle = joints[:, :1]
    grown = middle + 1.3 * (points - middle)
    known = np.zeros(10)
    fit = BodyFitter(body, sparse_points).fit(
        grown, betas=known, options=FitOptions(scale=True, uncertainties=False)
    )
    plain = BodyFitter(body, sparse_points).fit(
        points, betas=known, options=FitOptions(scale=True, uncertainties=False)
    )
    np.testing.assert_allclose(fit.scale / plain.scale, 1.3, rtol=0.02)
    assert fitter.fit(points, options=ALONE).expression.shape == (2, 4)


def test_expression_is_found_on_a_dense_face(body):
    head = np.flatnonzero(body.weights[:, [15, 22, 23, 24]].sum(1) > 0.5)[::4]
    points = stack([body.vertices_as_points(head), surface_and_joints(body).take(slice(0, None, 40))])
    want = np.array([[1.5, 0, -1.0, 0.5]])
    pose = np.zeros((1, 55, 3))
    found, _ = place(body, points, pose, np.zeros((1, 10)), np.zeros((1, 3)), want)
    fit = BodyFitter(body, points, expressions=4).fit(found, options=ALONE)
    np.testing.assert_allclose(fit.expression, want, atol=0.15)


def test_exact_input_stays_exact_though_there_are_priors(body, sparse, sparse_points):
    """A pose far from any that the prior knows: arms crossed over the head, one leg up to the side."""
    pose = np.zeros((1, 55, 3))
    pose[0, 16], pose[0, 17], pose[0, 1] = (0.3, 0.2, 1.2), (0.3, -0.2, -1.2), (-0.4, 0.3, 0.9)
    points, joints = place(body, sparse_points, pose, np.zeros((1, 10)), np.zeros((1, 3)))
    fit = sparse.fit(points, options=FitOptions(shape="frame", uncertainties=False, steps=12))
    assert mm(fit.joints[:, :22], joints[:, :22]) < 2


def test_what_no_point_shows_stays_at_rest(body):
    """Only the trunk is seen: limbs, fingers, jaw and eyes are those of a person at ease, and are said to be unsure."""
    rows = np.flatnonzero(body.weights[:, [0, 3, 6, 9]].sum(1) > 0.9)[::10]
    points = body.vertices_as_points(rows)
    found, _ = place(body, points, np.zeros((1, 55, 3)), np.zeros((1, 10)), np.zeros((1, 3)))
    fit = BodyFitter(body, points).fit(
        found, np.full(found.shape[:2], 0.005), options=FitOptions(shape="frame")
    )
    assert np.abs(fit.pose[0, 25:]).max() < 0.6 and np.abs(fit.pose[0, 22:25]).max() < 0.15
    assert np.linalg.norm(fit.pose[0, 10:12], axis=-1).max() < 0.4
    assert fit.joint_uncertainty[0, 20] > 5 * fit.joint_uncertainty[0, 3]


@pytest.mark.slow
def test_missing_points_missing_frames_and_nothing_at_all(body, sparse, sparse_points):
    _, _, _, points, joints = people(body, sparse_points, 8, 3, clip=True)
    times = np.arange(8) / 30
    spoilt = points.copy()
    spoilt[4] = np.nan
    spoilt[0, ::3] = np.inf
    fit = sparse.fit(spoilt, times=times, options=FitOptions(smooth=1.0))
    assert np.isfinite(fit.pose).all() and np.isfinite(fit.joints).all()
    assert mm(fit.joints[0, :22], joints[0, :22]) < 12
    assert mm(fit.joints[4, :22], joints[4, :22]) < 60
    assert fit.joint_uncertainty[4, :22].min() > 5 * fit.joint_uncertainty[5, :22].max()
    none = sparse.fit(np.full_like(points[:2], np.nan))
    assert np.isfinite(none.pose).all() and np.isfinite(none.trans).all()
    unseen = sparse.fit(points[:2], np.full(points.shape[:2], np.nan)[:2])
    assert np.isfinite(unseen.pose).all()


def test_one_point(body):
    fitter = BodyFitter(body, joint_point(body, "left_wrist"))
    fit = fitter.fit(np.array([[[1.0, 2.0, 3.0]]]), np.full((1, 1), 0.01))
    assert np.isfinite(fit.pose).all()
    np.testing.assert_allclose(fit.joints[0, 20], [1, 2, 3], atol=0.05)


@pytest.mark.slow
def test_no_input_diverges(body, sparse, sparse_points):
    """Points of no body: a cloud, all in one place, enormous."""
    rng = np.random.default_rng(0)
    P = len(sparse_points)
    for targets in (rng.normal(size=(2, P, 3)), np.ones((1, P, 3)), 1e3 * rng.normal(size=(1, P, 3))):
        fit = sparse.fit(targets.astype(np.float32))
        for array in (fit.pose, fit.betas, fit.trans, fit.joint_uncertainty):
            assert np.isfinite(array).all()


def test_wrong_input_is_told_in_a_sentence(sparse, body, sparse_points):
    P = len(sparse_points)
    with pytest.raises(JobError, match="no frames") as e:
        sparse.fit(np.zeros((0, P, 3)))
    assert e.value.code == "no_frames"
    good = np.zeros((2, P, 3))
    for wrong in ({"targets": good[:, :-1]}, {"targets": good, "uncertainty": np.zeros((2, P))},
                  {"targets": good, "uncertainty": np.ones((2, 3))}, {"targets": good, "times": np.array([1.0, 1.0])},
                  {"targets": good, "points2d": good[..., :2]},
                  {"targets": good, "betas": np.full(10, np.nan)}):  # fmt: skip
        with pytest.raises(JobError):
            sparse.fit(**wrong)
    with pytest.raises(JobError):
        BodyFitter(body, sparse_points.take(slice(0, 0)))


@pytest.mark.slow
def test_a_track_has_one_shape_which_is_surer_than_a_frame_s(body, sparse, sparse_points):
    _pose, betas, _trans, points, joints = people(body, sparse_points, 24, 4, clip=True)
    noisy = points + np.random.default_rng(1).normal(0, 0.02, points.shape)
    each = sparse.fit(noisy, options=ALONE)
    one = sparse.fit(noisy, options=FitOptions(uncertainties=False))
    assert (one.betas == one.betas[:1]).all()
    off = lambda b: np.abs(b[:, :5] - betas[:, :5]).mean()  # noqa: E731
    assert off(one.betas) < 0.5 * off(each.betas)
    assert mm(one.joints, joints) < mm(each.joints, joints)


@pytest.mark.slow
def test_ties_in_time_help_and_leave_exact_motion_alone(body, sparse, sparse_points):
    _pose, _betas, _trans, points, joints = people(body, sparse_points, 30, 5, clip=True)
    times = np.arange(30) / 30
    noisy = points + np.random.default_rng(1).normal(0, 0.03, points.shape)
    tied = sparse.fit(noisy, times=times, options=FitOptions(smooth=1.0, uncertainties=False))
    loose = sparse.fit(noisy, options=FitOptions(uncertainties=False))
    assert mm(tied.joints[:, :22], joints[:, :22]) < 0.85 * mm(loose.joints[:, :22], joints[:, :22])
    exact = sparse.fit(points, times=times, options=FitOptions(smooth=1.0, uncertainties=False))
    assert mm(exact.joints[:, :22], joints[:, :22]) < 5


@pytest.mark.slow
def test_windows_are_stitched_without_a_seam(body, sparse, sparse_points, monkeypatch):
    _, _, _, points, _ = people(body, sparse_points, 40, 6, clip=True)
    noisy = points + np.random.default_rng(1).normal(0, 0.02, points.shape)
    options = FitOptions(smooth=1.0, uncertainties=False)
    whole = sparse.fit(noisy, times=np.arange(40) / 30, options=options)
    monkeypatch.setattr(track, "WINDOW", 24)
    monkeypatch.setattr(track, "OVERLAP", 12)
    pieces = sparse.fit(noisy, times=np.arange(40) / 30, options=options)
    assert mm(pieces.joints, whole.joints) < 4
    assert np.linalg.norm(np.diff(pieces.joints - whole.joints, axis=0), axis=-1).max() < 0.02


def test_uncertainties_are_of_the_size_of_the_errors(body, sparse, sparse_points):
    _, _, _, points, joints = people(body, sparse_points, 24, 7)
    sigma = 0.02
    noisy = points + np.random.default_rng(1).normal(0, sigma, points.shape)
    fit = sparse.fit(noisy, np.full(points.shape[:2], sigma), options=FitOptions(shape="frame"))
    error = np.linalg.norm(fit.joints - joints, axis=-1)[:, :22]
    z = np.sqrt((error**2).mean() / (fit.joint_uncertainty[:, :22] ** 2).mean())
    assert 0.7 < z < 1.4
    assert fit.rotation_covariance.shape == (24, 55, 3, 3)
    assert np.linalg.eigvalsh(fit.rotation_covariance[0]).min() > 0


def test_pictures_place_a_body(body, sparse_points):
    """Points known in space only roughly, and well in the picture: the reprojection decides."""
    few = sparse_points.take(slice(0, None, 3))
    fitter = BodyFitter(body, few)
    _pose, _betas, _trans, points, joints = people(body, few, 3, 8)
    camera = Camera.from_fov(1280, 720)
    rng = np.random.default_rng(2)
    rough = points + rng.normal(0, 0.05, points.shape) + np.array([0.3, 0.0, 0.0])
    sigma = np.full(points.shape[:2], 0.3)
    pixels = camera.project(points)
    with_pictures = fitter.fit(rough, sigma, points2d=pixels, camera=camera, options=ALONE)
    without = fitter.fit(rough, sigma, options=ALONE)
    off = lambda f: np.linalg.norm(camera.project(f.joints) - camera.project(joints), axis=-1)[:, :22].mean()  # noqa: E731
    assert off(with_pictures) < 4 < off(without)


def test_rotation_vectors_go_on_through_a_full_turn():
    angle = np.linspace(0, 4 * np.pi, 80)
    wrapped = (angle + np.pi) % (2 * np.pi) - np.pi
    pose = wrapped[:, None, None] * np.array([0.0, 1.0, 0.0])
    out = continuous(pose)
    assert np.abs(np.diff(out[:, 0, 1])).max() < 0.2
    np.testing.assert_allclose(np.cos(out[:, 0, 1]), np.cos(angle), atol=1e-9)

"""Canonical points: exact on the surface, sensible inside."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.body import JOINT, canonical_points, forward
from backend.body.points import closest_on_triangles


def posed(body, points, seed=0):
    """Random pose, shape and expression: (4, P, 3) points and (4, V, 3) vertices."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: torch.from_numpy(rng.normal(size=shape).astype(np.float32))  # noqa: E731
    out = forward(
        body.to(), draw(4, 55, 3) * 0.3, draw(4, 8), draw(4, 3), draw(4, 5), points.to(), vertices=True
    )
    return out.points.numpy(), out.vertices.numpy()


def test_exact_at_vertices(open_body):
    rows = np.random.default_rng(0).choice(len(open_body.v_template), 60, replace=False)
    points = canonical_points(open_body, open_body.v_template[rows])
    mine, vertices = posed(open_body, points)
    assert np.abs(mine - vertices[:, rows]).max() < 2e-5
    exact = open_body.vertices_as_points(rows)
    mine, vertices = posed(open_body, exact)
    assert np.abs(mine - vertices[:, rows]).max() < 2e-6


def test_on_a_triangle_the_point_is_the_mix_of_its_corners(open_body):
    rng = np.random.default_rng(1)
    faces = open_body.faces[rng.choice(len(open_body.faces), 40, replace=False)]
    share = rng.dirichlet([1, 1, 1], 40).astype(np.float32)
    mix = lambda a: (a[faces] * share.reshape(40, 3, *[1] * (a.ndim - 1))).sum(1)  # noqa: E731
    points = canonical_points(open_body, mix(open_body.v_template))
    assert np.abs(points.weights - mix(open_body.weights)).max() < 1e-3
    assert np.abs(points.shapedirs - mix(open_body.shapedirs)).max() < 1e-5


@pytest.mark.parametrize(
    ("joint", "toward", "carrier"),
    [
        ("left_hip", "left_knee", "left_hip"),
        ("right_elbow", "right_wrist", "right_elbow"),
        ("spine2", "spine3", "spine2"),
    ],
)
def test_deep_points_follow_their_own_limb(open_body, joint, toward, carrier):
    J = open_body.joints_template
    middle = 0.5 * (J[JOINT[joint]] + J[JOINT[toward]])
    points = canonical_points(open_body, middle[None])
    assert points.weights[0].argmax() == JOINT[carrier]
    assert points.weights.min() >= 0 and abs(points.weights.sum() - 1) < 1e-5
    side, _, _ = joint.partition("_")
    if side in ("left", "right"):
        other = [j for n, j in JOINT.items() if n.startswith("right" if side == "left" else "left")]
        assert points.weights[0, other].sum() < 0.02


def test_deep_points_stay_inside_when_the_shape_changes(open_body):
    """The middle of the thigh moves, per sigma of a beta, as the middle of the wall around it: within 2.5 mm."""
    J, v = open_body.joints_template, open_body.v_template
    middle = 0.5 * (J[JOINT["left_hip"]] + J[JOINT["left_knee"]])
    point = canonical_points(open_body, middle[None])
    ring = np.flatnonzero(
        (np.abs(v[:, 1] - middle[1]) < 0.02) & (open_body.weights[:, JOINT["left_hip"]] > 0.9)
    )
    assert len(ring) > 20
    for k in range(4):
        walls = open_body.shapedirs[ring, :, k]
        assert np.linalg.norm(point.shapedirs[0, :, k] - 0.5 * (walls.min(0) + walls.max(0))) < 0.0025


def test_carriers_change_smoothly_with_depth(open_body):
    """From the skin to the middle of the thigh in 1 mm steps, nothing jumps."""
    J = open_body.joints_template
    middle = 0.5 * (J[JOINT["left_hip"]] + J[JOINT["left_knee"]])
    line = middle + np.linspace(0, 0.12, 121)[:, None] * np.array([0, 0, 1.0])
    points = canonical_points(open_body, line)
    assert np.abs(np.diff(points.weights, axis=0)).max() < 0.05
    assert np.abs(np.diff(points.shapedirs, axis=0)).max() < 2e-3


def test_outside_the_body_the_nearest_skin_carries(open_body):
    """Before the chest: the same carriers as on the chest itself."""
    v = open_body.v_template
    chest = np.array([0.08, open_body.joints_template[JOINT["spine3"], 1], 0])
    front = v[np.linalg.norm(v[:, :2] - chest[:2], axis=1) < 0.03]
    skin = front[front[:, 2].argmax()]
    away = canonical_points(open_body, skin + np.array([[0, 0, 0.001], [0, 0, 0.005]]))
    at = canonical_points(open_body, skin[None])
    assert np.abs(away.weights - at.weights).max() < 0.05
    assert np.abs(away.shapedirs - at.shapedirs).max() < 1e-3
    far = canonical_points(open_body, skin + np.array([[0, 0, 0.1]]))
    assert len(np.flatnonzero(far.weights[0] > 1e-6)) <= 8, "one triangle's corners, not the whole wall"


def test_take_keeps_rows_together(open_body):
    points = canonical_points(open_body, open_body.v_template[[10, 20, 30]])
    two = points.take([2, 0])
    assert len(two) == 2 and np.array_equal(two.positions, points.positions[[2, 0]])
    if points.posedirs is not None:
        assert np.array_equal(two.posedirs[:, :3], points.posedirs[:, 6:9])


def test_bad_positions_are_refused(open_body):
    for bad in (np.zeros((3, 2)), np.array([[0, np.nan, 0]])):
        with pytest.raises(ValueError, match=r"\(P, 3\)"):
            canonical_points(open_body, bad)


def test_closest_point_on_triangles_against_dense_sampling():
    rng = np.random.default_rng(2)
    tri = rng.normal(size=(50, 3, 3))
    grid = np.array([(a, b, 1 - a - b) for a in np.linspace(0, 1, 61) for b in np.linspace(0, 1 - a, 61)])
    dense = np.einsum("gk,tkc->tgc", grid, tri)
    for x in rng.normal(size=(20, 3)) * 2:
        points, bary = closest_on_triangles(x, tri)
        best = np.linalg.norm(dense - x, axis=2).min(1)
        mine = np.linalg.norm(points - x, axis=1)
        assert (mine <= best + 1e-9).all() and (best - mine < 0.06).all()
        assert np.allclose((bary[..., None] * tri).sum(1), points)
        assert bary.min() >= 0 and np.allclose(bary.sum(1), 1)

"""Named sets of points and points by place: where they are and how they move."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from backend.body import (
    JOINT,
    JOINT_NAMES,
    LANDMARK_NAMES,
    body_landmarks,
    canonical_points,
    forward,
    load_body,
)
from backend.body.landmarks import landmark
from backend.body.places import joint_points, landmark_points, named_points, surface_points, vertex_points
from backend.body.pointsets import PointSet, join_sets, make_set, named_set, unique_labels
from backend.body.surface import surface_of
from backend.errors import JobError


@pytest.fixture(scope="module")
def bodies(open_body, synthetic_file):
    return {"open": open_body, "smplx": load_body(synthetic_file)}


@pytest.fixture(params=["open", "smplx"])
def body(request, bodies):
    return bodies[request.param]


def moved(body, points, pose_scale=0.4, seed=0, parts=slice(None)):
    """Four random poses (radians, only of the joints `parts`), shapes, expressions, places in the room."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: torch.from_numpy(rng.normal(size=shape).astype(np.float32))  # noqa: E731
    pose = torch.zeros(4, 55, 3)
    pose[:, parts] = draw(4, 55, 3)[:, parts] * pose_scale
    return forward(body.to(), pose, draw(4, 10), draw(4, 3), draw(4, 8), points.to(), vertices=True)


def refused(words: str, call, *args, **kwargs) -> str:
    with pytest.raises(JobError, match=words) as e:
        call(*args, **kwargs)
    assert e.value.code == "bad_points"
    return str(e.value)


# --- skeletons ---------------------------------------------------------------------------------------------------


def test_smplx_55_is_the_joints_in_any_pose_and_shape(body):
    found = named_set(body, "smplx_55")
    assert found.labels == JOINT_NAMES and not found.raw.any()
    out = moved(body, found.points)
    assert (out.points - out.joints).abs().max() < 2e-6
    assert len(found.edges) == 54
    assert all(body.parents[b] == a for a, b in found.edges)


def test_coco_17(open_body):
    found = named_set(open_body, "coco_17")
    assert found.labels[:5] == ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
    assert found.labels[5:] == tuple(
        f"{s}_{p}" for p in ["shoulder", "elbow", "wrist", "hip", "knee", "ankle"] for s in ("left", "right")
    )
    for label, position in zip(found.labels, found.points.positions, strict=True):
        assert np.array_equal(position, landmark(open_body, label).positions[0]), label
    # The annotators' hips lie further out than the joints.
    hip = found.points.positions[found.labels.index("left_hip")]
    assert hip[0] > open_body.joints_template[JOINT["left_hip"], 0] + 0.005
    joined = {frozenset(found.labels[i] for i in pair) for pair in found.edges}
    assert len(joined) == 19
    wanted = (
        "left_ankle left_knee/left_hip right_hip/left_shoulder left_ear/nose left_eye/left_elbow left_wrist"
    )
    assert {frozenset(pair.split()) for pair in wanted.split("/")} <= joined
    swap = {label: _other_side(label) for label in found.labels}
    assert {frozenset(swap[end] for end in pair) for pair in joined} == joined


def test_landmarks_33(open_body):
    found = named_set(open_body, "landmarks_33")
    assert found.labels == LANDMARK_NAMES
    assert np.array_equal(found.points.positions, body_landmarks(open_body)[0].positions)
    joined = {frozenset(found.labels[i] for i in pair) for pair in found.edges}
    assert len(joined) == 35
    assert {frozenset(_other_side(end) for end in pair) for pair in joined} == joined
    lengths = np.linalg.norm(np.diff(found.points.positions[found.edges], axis=1), axis=2)
    assert lengths.max() < 0.6, "an edge joins neighbours"


def test_a_body_without_landmarks_says_so(bodies):
    """The synthetic body is a cloud of triangles without a face."""
    for name in ("coco_17", "landmarks_33"):
        refused("landmarks cannot be found .*smplx_55", named_set, bodies["smplx"], name)
    refused("landmarks cannot be found", named_points, bodies["smplx"], ["neck", "nose"])


def _other_side(label: str) -> str:
    return re.sub("left|right", lambda m: {"left": "right", "right": "left"}[m[0]], label)


# --- spreads -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["surface", "volume"])
@pytest.mark.parametrize("count", [1, 2, 3, 64, 501])
def test_spreads_are_alike_on_both_sides_and_the_same_every_time(open_body, kind, count):
    found = named_set(open_body, f"{kind}_{count}")
    p = found.points.positions
    assert len(p) == count and not found.raw.any() and len(found.edges) == 0
    assert found.labels[0] == f"{kind}_0000" and len(set(found.labels)) == count
    pairs = p[: 2 * (count // 2)].reshape(-1, 2, 3)
    assert (pairs[:, 0, 0] > 0).all() and np.abs(pairs[:, 0] * [-1, 1, 1] - pairs[:, 1]).max(initial=0) < 1e-6
    if count % 2:
        assert abs(p[-1, 0]) < 1e-6
    again = named_set(replace(open_body), f"{kind}_{count}")
    assert again is not found and np.array_equal(again.points.positions, p)


@pytest.mark.slow
def test_surface_points_lie_on_the_skin_and_move_with_it(body):
    found = named_set(body, "surface_100")
    p = found.points.positions.astype(np.float64)
    near, face, share = surface_of(body).nearest(p)
    assert np.abs(near - p).max() < 1e-6
    out = moved(body, found.points, pose_scale=0.0)
    skin = (out.vertices.numpy()[:, body.faces[face]] * share[None, ..., None]).sum(2)
    assert np.abs(out.points.numpy() - skin).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("count", [500, 4000])
def test_surface_points_are_spread_by_area(open_body, count):
    """Each part of the body has its share of the points, and none is much nearer to its neighbour than others."""
    surface = surface_of(open_body)
    area = np.linalg.norm(surface.face_normals, axis=1) / 2
    p = named_set(open_body, f"surface_{count}").points.positions.astype(np.float64)
    owner = open_body.weights[open_body.faces].sum(1).argmax(1)
    here = owner[surface.nearest(p)[1]]
    for parts in (
        "hip",
        "knee",
        "ankle foot",
        "shoulder elbow wrist",
        "pelvis spine",
        "index middle ring pinky thumb",
    ):
        rows = [j for n, j in JOINT.items() if any(part in n for part in parts.split())]
        share = area[np.isin(owner, rows)].sum() / area.sum()
        assert 0.8 < np.isin(here, rows).mean() / share < 1.25, parts
    spacing = np.sqrt(area.sum() / count)
    apart = cKDTree(p).query(p, 2)[0][:, 1]
    assert 0.7 * spacing < np.median(apart) < 1.1 * spacing
    assert (apart > 0.4 * spacing).mean() > 0.97


def test_no_surface_point_in_the_mouth(open_body):
    corners = np.concatenate([landmark(open_body, f"mouth_{s}").positions for s in ("left", "right")])
    inside = corners.mean(0) - [0, 0, 0.03]
    assert (np.linalg.norm(open_body.v_template - inside, axis=1) < 0.015).sum() > 20, (
        "there is skin to avoid"
    )
    p = named_set(open_body, "surface_4000").points.positions
    assert np.linalg.norm(p - inside, axis=1).min() > 0.015


@pytest.mark.slow
def test_every_vertex_count_can_be_asked_for(open_body):
    most = len(open_body.v_template)
    p = named_set(open_body, f"surface_{most}").points.positions
    assert len(p) == most and len(np.unique(p.round(6), axis=0)) == most


def test_volume_points_are_inside_and_even(open_body):
    p = named_set(open_body, "volume_300").points.positions.astype(np.float64)
    # Van Oosterom and Strackee: the solid angles of all triangles sum to 4 pi inside.
    tri = surface_of(open_body).corners
    for x in p[::12]:
        a, b, c = (tri - x).transpose(1, 0, 2)
        la, lb, lc = (np.linalg.norm(q, axis=1) for q in (a, b, c))
        dot = lambda u, v: (u * v).sum(1)  # noqa: E731
        den = la * lb * lc + dot(a, b) * lc + dot(b, c) * la + dot(c, a) * lb
        winding = 2 * np.arctan2(dot(a, np.cross(b, c)), den).sum() / (4 * np.pi)
        assert winding > 0.9
    spacing = (0.068 / 300) ** (1 / 3)
    apart = cKDTree(p).query(p, 2)[0][:, 1]
    assert apart.min() > 0.5 * spacing and np.median(apart) > 0.75 * spacing
    trunk = (np.abs(p[:, 0]) < 0.13) & (p[:, 1] > open_body.joints_template[0, 1]) & (p[:, 1] < 0)
    assert 0.25 < trunk.mean() < 0.6


def test_a_body_without_an_inside_says_so(bodies):
    refused("not closed: use surface_10", named_set, bodies["smplx"], "volume_10")


def test_sets_are_remembered_and_others_are_none(open_body):
    assert named_set(open_body, "surface_64") is named_set(open_body, "surface_64")
    for name in ("", "coco_18", "surface_", "surface_-1", "surface_1.5", "surface_64 ", "SURFACE_64"):
        assert named_set(open_body, name) is None, name
    for name in ("surface_0", "volume_0", "surface_13719", "volume_999999999"):
        refused("_1 to .*_13718", named_set, open_body, name)


# --- sets put together -------------------------------------------------------------------------------------------


def test_join_keeps_places_edges_and_spaces(body):
    joints = named_set(body, "smplx_55")
    bare = make_set(
        "mine", ["neck", "x"], canonical_points(body, np.array([[0, 0, 0], [0.1, 0, 0]])), [(0, 1)], True
    )
    both = join_sets([joints, bare], "both")
    assert both.name == "both" and both.labels == (*JOINT_NAMES, "neck_2", "x")
    assert np.array_equal(both.edges[-1], [55, 56]) and np.array_equal(both.edges[:54], joints.edges)
    assert both.raw.tolist() == [False] * 55 + [True] * 2
    alone, together = moved(body, bare.points), moved(body, both.points)
    assert (alone.points - together.points[:, 55:]).abs().max() < 1e-6


@given(st.lists(st.sampled_from(["a", "a_2", "a_3", "a_2_2", "b"]), max_size=12))
def test_labels_become_unique(labels):
    out = unique_labels(labels)
    assert len(set(out)) == len(out) == len(labels)
    for i, (label, new) in enumerate(zip(labels, out, strict=True)):
        assert new == label if label not in labels[:i] else re.fullmatch(rf"{label}_\d+", new)


def test_a_set_whose_parts_do_not_fit_is_refused(open_body):
    points = joint_points(open_body, ["neck", "head"])
    good = {"name": "x", "labels": ("a", "b"), "points": points}
    good |= {"edges": np.zeros((0, 2), np.int32), "raw": np.zeros(2, bool)}
    assert len(PointSet(**good)) == 2
    for wrong in ({"labels": ("a",)}, {"raw": np.zeros(3, bool)}, {"raw": np.zeros(2)},
                  {"edges": np.array([[0, 2]])}, {"edges": np.array([0, 1])}):  # fmt: skip
        with pytest.raises(ValueError):
            PointSet(**good | wrong)


# --- points by place ---------------------------------------------------------------------------------------------


def test_vertex_points_are_the_vertices(body):
    rows = np.random.default_rng(1).choice(len(body.v_template), 50)
    out = moved(body, vertex_points(body, rows))
    assert (out.points - out.vertices[:, rows]).abs().max() < 5e-6
    refused("no vertex -1", vertex_points, body, [0, -1])
    refused(f"numbered from 0 to {len(body.v_template) - 1}", vertex_points, body, [len(body.v_template)])
    refused("whole numbers", vertex_points, body, [0.5])
    refused("whole numbers", vertex_points, body, [])


def places_on(body, count, seed=2):
    rng = np.random.default_rng(seed)
    return rng.choice(len(body.faces), count), rng.dirichlet([1, 1, 1], count)


def test_a_point_on_the_skin_is_the_mix_of_its_corners(body):
    """Exactly so under any shape, expression, place and turn of the whole body."""
    face, share = places_on(body, 60)
    points = surface_points(body, face, share)
    out = moved(body, points, pose_scale=2.0, parts=slice(0, 1))
    skin = (out.vertices.numpy()[:, body.faces[face]] * share[None, ..., None]).sum(2)
    assert np.abs(out.points.numpy() - skin).max() < 1e-5
    corner = surface_points(body, face, np.tile([0, 0, 1.0], (60, 1)))
    out = moved(body, corner)
    assert np.abs(out.points.numpy() - out.vertices.numpy()[:, body.faces[face, 2]]).max() < 5e-6


def test_a_posed_point_stays_on_its_triangle(open_body):
    """Linear skinning of the mix is not quite the mix of the skinned corners; on this mesh the difference is a
    fraction of a millimetre, and nothing where the corners hang on the same bones."""
    face, share = places_on(open_body, 3000)
    out = moved(open_body, surface_points(open_body, face, share))
    skin = (out.vertices.numpy()[:, open_body.faces[face]] * share[None, ..., None]).sum(2)
    apart = np.linalg.norm(out.points.numpy() - skin, axis=2)
    assert np.median(apart) < 0.0001 and np.percentile(apart, 99) < 0.002
    corners = open_body.weights[open_body.faces[face]]
    same = np.ptp(corners, 1).max(1) < 1e-6
    assert same.sum() > 100 and apart[:, same].max() < 1e-5


def test_depth_goes_inward_and_up_to_the_other_side(open_body):
    """On the thigh: as deep as said, carried like any canonical point there; the limit that the refusal names
    holds to the millimetre."""
    J = open_body.joints_template
    middle = 0.5 * (J[JOINT["left_hip"]] + J[JOINT["left_knee"]])
    surface = surface_of(open_body)
    near, face, share = surface.nearest(middle[None] + [[0, 0, 0.2]])
    for depth in (0.003, 0.02, 0.05):
        points = surface_points(open_body, face, share, depth)
        assert np.linalg.norm(points.positions[0] - near[0]) == pytest.approx(depth, abs=1e-5)
        assert points.positions[0, 2] < near[0, 2]
        same = canonical_points(open_body, points.positions)
        assert np.abs(points.weights - same.weights).max() < 1e-4
    said = refused("come out on the other side", surface_points, open_body, face, share, 0.5)
    most = float(re.search(r"at most ([\d.]+) there", said)[1])
    assert 0.1 < most < 0.25
    back = surface_points(open_body, face, share, most)
    assert np.linalg.norm(back.positions[0] - surface.nearest(back.positions.astype(float))[0]) < 0.001
    refused("other side", surface_points, open_body, face, share, most + 0.001)


def test_a_slightly_raised_point_keeps_its_triangle(body):
    face, share = places_on(body, 30, seed=5)
    skin, raised = surface_points(body, face, share), surface_points(body, face, share, -0.1)
    assert np.allclose(np.linalg.norm(skin.positions - raised.positions, axis=1), 0.1, atol=1e-5)
    assert np.array_equal(skin.weights, raised.weights) and np.array_equal(skin.shapedirs, raised.shapedirs)
    for depth in (-0.101, np.nan, -np.inf):
        refused("Point 3 has the depth", surface_points, body, face[:4], share[:4], [0, 0, 0, depth])
    refused("^Line 7 ", surface_points, body, face[:1], share[:1], -1, names=["Line 7 of x.csv"])


def test_depths_differ_by_point_and_keep_their_order(open_body):
    face, share = places_on(open_body, 40, seed=6)
    room = surface_of(open_body).way_out(
        surface_points(open_body, face, share).positions.astype(float),
        -surface_of(open_body).normals_at(face, share)
        / np.linalg.norm(surface_of(open_body).normals_at(face, share), axis=1, keepdims=True),
    )
    depth = np.where(np.arange(40) % 3 == 0, -0.01, np.where(np.arange(40) % 3 == 1, 0, 0.3 * room))
    points = surface_points(open_body, face, share, depth)
    for i in range(0, 40, 7):
        one = surface_points(open_body, face[[i]], share[[i]], depth[i])
        assert np.abs(points.positions[i] - one.positions[0]).max() < 1e-7
        assert np.abs(points.take([i]).posedirs - one.posedirs).max() < 1e-6


def test_wrong_places_on_triangles_are_refused(body):
    third = np.full((1, 3), 1 / 3)
    refused("no triangle", surface_points, body, [len(body.faces)], third)
    refused("2 triangles need", surface_points, body, [0, 1], third)
    for share in ([[0.5, 0.5, 0.5]], [[1.5, -0.5, 0]], [[np.nan, 0, 1]]):
        refused("sum to 1", surface_points, body, [0], share)


def test_points_by_name(open_body):
    joint, mark = (f(open_body, ["left_hip"]).positions for f in (joint_points, landmark_points))
    assert np.array_equal(joint[0], open_body.joints_template[JOINT["left_hip"]])
    assert not np.array_equal(joint, mark)
    mixed = named_points(open_body, ["nose", "left_hip", "nose"])
    nose = landmark(open_body, "nose").positions
    assert np.array_equal(mixed.positions, np.concatenate([nose, joint, nose]))
    refused("did you mean 'left_elbow'", joint_points, open_body, ["left_elbwo"])
    refused("no joint called 'nose'", joint_points, open_body, ["nose"])
    refused("at least one", landmark_points, open_body, [])

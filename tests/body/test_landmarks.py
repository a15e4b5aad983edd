"""The 33 BlazePose landmarks sit where their names say, on any body of the layout."""

from __future__ import annotations

import numpy as np
import pytest

from backend.body import JOINT, LANDMARK_NAMES, body_landmarks
from backend.body.landmarks import landmark


@pytest.fixture(scope="module")
def at(open_body):
    points, names = body_landmarks(open_body)
    assert names == LANDMARK_NAMES and len(points) == 33
    return dict(zip(names, points.positions, strict=True))


def test_order_is_that_of_mediapipe():
    wanted = {0: "nose", 2: "left_eye", 8: "right_ear", 11: "left_shoulder", 16: "right_wrist"}
    wanted |= {17: "left_pinky", 22: "right_thumb", 24: "right_hip", 29: "left_heel", 32: "right_foot_index"}
    assert all(LANDMARK_NAMES[i] == name for i, name in wanted.items())


def test_left_is_plus_x_and_the_sides_mirror(at):
    for name, p in at.items():
        if "left" in name:
            assert p[0] > 0.01
            assert np.abs(p - at[name.replace("left", "right")] * [-1, 1, 1]).max() < 1e-3, name
    assert abs(at["nose"][0]) < 1e-3


def test_face_reads_from_top_to_bottom_and_from_inside_out(at):
    assert at["left_eye"][1] > at["nose"][1] > at["mouth_left"][1]
    assert at["left_eye_inner"][0] < at["left_eye"][0] < at["left_eye_outer"][0] < at["left_ear"][0]
    assert at["nose"][2] > at["left_eye"][2] > at["left_ear"][2]
    assert 0.036 < np.linalg.norm(at["mouth_left"] - at["mouth_right"]) < 0.065
    assert 0.12 < np.linalg.norm(at["left_ear"] - at["right_ear"]) < 0.19
    assert 0.02 < at["left_eye"][1] - at["nose"][1] < 0.06
    assert 0.01 < at["nose"][1] - at["mouth_left"][1] < 0.05


def test_feet(at, open_body):
    ball = open_body.joints_template[JOINT["left_foot"]]
    floor = open_body.v_template[:, 1].min()
    heel, ankle, toe = at["left_heel"], at["left_ankle"], at["left_foot_index"]
    assert heel[2] < ankle[2] < toe[2]
    assert heel[1] - floor < 0.05 and toe[1] - floor < 0.04
    assert 0.18 < toe[2] - heel[2] < 0.28
    assert toe[0] < ball[0] - 0.01, "the big toe is on the inner side"


def test_hips_are_wider_than_the_joints(at, open_body):
    joint = open_body.joints_template[JOINT["left_hip"]]
    assert joint[0] < at["left_hip"][0] < 0.14
    assert abs(at["left_hip"][1] - joint[1]) < 1e-5


def test_landmarks_lie_on_or_in_the_body(at, open_body):
    v = open_body.v_template
    for name, p in at.items():
        near = np.linalg.norm(v - p, axis=1).min()
        assert near < (0.1 if "hip" in name else 0.065), (name, near)


def test_face_landmarks_ride_on_the_head(open_body):
    points, names = body_landmarks(open_body)
    for i in range(9):
        assert points.weights[i, JOINT["head"]] > 0.9, names[i]


def test_found_once_per_body_and_by_name(open_body):
    assert body_landmarks(open_body)[0] is body_landmarks(open_body)[0]
    by_name = landmark(open_body, "left_heel")
    assert len(by_name) == 1
    assert np.array_equal(by_name.positions[0], body_landmarks(open_body)[0].positions[29])


def test_rules_follow_a_changed_body(open_body):
    """The same rules on a scaled body with its vertices in another order find the same places: nothing hangs on
    vertex numbers or absolute lengths."""
    from dataclasses import replace

    order = np.random.default_rng(0).permutation(len(open_body.v_template))
    back = np.argsort(order)
    scale = np.float32(1.1)
    other = replace(
        open_body,
        v_template=open_body.v_template[order] * scale,
        faces=back[open_body.faces].astype(np.int32),
        weights=open_body.weights[order],
        shapedirs=open_body.shapedirs[order],
        exprdirs=open_body.exprdirs[order],
        posedirs=None,
        J_regressor=open_body.J_regressor[:, order],
        joints_template=open_body.joints_template * scale,
    )
    a, b = body_landmarks(open_body)[0], body_landmarks(other)[0]
    assert np.abs(a.positions * scale - b.positions).max() < 0.004

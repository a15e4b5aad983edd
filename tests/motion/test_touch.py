"""What touches the floor lies where it should on any body."""

from __future__ import annotations

import numpy as np
import pytest
from body.family import person, write

from backend.body.load import load_body
from backend.body.skeleton import JOINT
from backend.motion.touch import SKIN, touching_points
from blender_addon.shared.motion import CONTACTS


@pytest.fixture(scope="module", params=["open", "smplx", "smpl"])
def body(request, tmp_path_factory):
    if request.param == "open":
        return load_body()
    file = tmp_path_factory.mktemp("body") / f"{request.param}.npz"
    return load_body(write(file, person(load_body(), request.param)))


@pytest.fixture(scope="module")
def at(body):
    points = touching_points(body)
    assert len(points) == len(CONTACTS) + 12 + SKIN
    return dict(zip(CONTACTS, points.positions, strict=False))


def test_soles_are_the_lowest_of_the_body(body, at):
    low, high = body.v_template[:, 1].min(), body.v_template[:, 1].max()
    for name in CONTACTS[:4]:
        assert at[name][1] - low < 0.02, name
    for name in CONTACTS[4:]:
        assert at[name][1] - low > 0.15 * (high - low), name


def test_left_is_left(body, at):
    for name in CONTACTS:
        assert (at[name][0] > 0) == name.startswith("left"), name
        other = at[
            name.replace("left", "right") if name.startswith("left") else name.replace("right", "left")
        ]
        np.testing.assert_allclose(at[name] * [-1, 1, 1], other, atol=0.015)


def test_heels_lie_behind_ankles_and_toes_before(body, at):
    for side in ("left", "right"):
        ankle = body.joints_template[JOINT[f"{side}_ankle"]]
        assert at[f"{side}_heel"][2] < ankle[2] + 0.01 < at[f"{side}_toes"][2] - 0.08
        assert 0.18 < at[f"{side}_toes"][2] - at[f"{side}_heel"][2] < 0.26


def test_palms_are_below_the_hand_and_knees_before_the_knee(body, at):
    for side in ("left", "right"):
        wrist, knee = (body.joints_template[JOINT[f"{side}_{j}"]] for j in ("wrist", "knee"))
        palm, cap = at[f"{side}_hand"], at[f"{side}_knee"]
        assert np.linalg.norm(palm - wrist) < 0.16
        assert abs(palm[0]) > abs(wrist[0])
        assert np.linalg.norm(cap - knee) < 0.1
        assert cap[2] > knee[2] + 0.02


def test_it_is_computed_once(body):
    assert touching_points(body) is touching_points(body)

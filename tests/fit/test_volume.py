"""Canonical volumes: the official pose measured on a mesh, against the body's own kinematics, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.body.kinematics import forward
from backend.body.skeleton import JOINT, JOINT_NAMES
from backend.errors import JobError
from backend.volumes.volume import (
    MIRROR,
    SMPL_JOINTS,
    CanonicalVolume,
    mirror_pairs,
    official_pose,
    symmetrise,
    volume_of_body,
    volume_of_smpl,
)


@pytest.fixture(scope="module")
def volume(body):
    return volume_of_body(body)


@pytest.fixture(scope="module")
def smpl(body):
    """The open body's arrays cut down to SMPL's 24 joints: fingers and face follow palms and head."""
    gather = np.zeros((55, 24))
    for j, name in enumerate(JOINT_NAMES):
        side = name.split("_")[0]
        into = name if j < 22 else f"{side}_hand" if j >= 25 else "head"
        gather[j, SMPL_JOINTS.index(into)] = 1
    weights = body.weights @ gather
    palm = [body.joints_template[JOINT[f"{side}_middle1"]] for side in ("left", "right")]
    joints = np.concatenate([body.joints_template[:22], palm])
    parents = np.array([*body.parents[:22], 20, 21])
    return body.v_template, weights, joints, parents


def tilt(v: np.ndarray) -> np.ndarray:
    """Degrees between the long axis of a limb's vertices and straight down, seen from the front, left positive."""
    xy = v[:, :2] - v[:, :2].mean(0)
    axis = np.linalg.svd(xy, full_matrices=False)[2][0]
    axis = axis * -np.sign(axis[1])
    return np.degrees(np.arctan2(axis[0], -axis[1]))


@pytest.mark.parametrize(
    ("limb", "degrees"),
    [("left_knee", 40), ("right_knee", -40), ("left_elbow", 30), ("right_elbow", -30), ("head", 0)],
)
def test_the_mesh_is_turned_as_the_pose_says(body, volume, limb, degrees):
    rows = body.weights[:, JOINT[limb]] > 0.999
    assert rows.sum() > 30
    turned = tilt(volume.vertices[rows]) - tilt(body.v_template[rows])
    # A line has no direction: arms lie across, so their axis may be read the other way round.
    assert abs((turned - degrees + 90) % 180 - 90) < 0.05


def test_the_body_is_posed_as_its_own_kinematics_pose_it(body, volume):
    pose = torch.from_numpy(official_pose()[None]).float()
    zero = torch.zeros(1, body.n_betas), torch.zeros(1, 3)
    posed = forward(body.to("cpu"), pose, *zero, vertices=True)
    np.testing.assert_allclose(volume.vertices, posed.vertices[0].numpy(), atol=2e-6)
    for name, place in volume.joints.items():
        np.testing.assert_allclose(place, posed.joints[0, JOINT[name]].numpy(), atol=2e-6)
    assert len(volume.joints) == 55


def test_smpl_has_no_fingers_and_names_its_other_joints_as_smplx_does(smpl, volume):
    v = volume_of_smpl(*smpl)
    assert set(v.joints) == set(JOINT_NAMES[:22])
    for name, place in v.joints.items():
        np.testing.assert_allclose(place, volume.joints[name], atol=1e-6)


def test_correctives_count_and_both_layouts_are_read(smpl):
    rng = np.random.default_rng(0)
    posedirs = rng.normal(0, 1e-5, (len(smpl[0]), 3, 207))
    one = volume_of_smpl(*smpl, posedirs).vertices
    flat = volume_of_smpl(*smpl, posedirs.reshape(-1, 207).T).vertices
    np.testing.assert_array_equal(one, flat)
    none = volume_of_smpl(*smpl).vertices
    # By hand at a foot, which hangs on the hip alone: turned and moved, so the added rest offset comes out turned.
    angle = np.deg2rad(40)
    R = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    feature = np.zeros((23, 3, 3))
    for name, degrees in (("hip", 40), ("collar", 15), ("shoulder", 15)):
        for side, sign in (("left", 1), ("right", -1)):
            c, s = np.cos(np.deg2rad(degrees)), sign * np.sin(np.deg2rad(degrees))
            feature[SMPL_JOINTS.index(f"{side}_{name}") - 1] = [[c - 1, -s, 0], [s, c - 1, 0], [0, 0, 0]]
    pair = mirror_pairs(smpl[0])
    foot = int(np.flatnonzero(smpl[1][:, SMPL_JOINTS.index("left_ankle")] > 0.999)[0])
    left = R @ (posedirs[foot] @ feature.ravel())
    right = R.T @ (posedirs[pair[foot]] @ feature.ravel())
    np.testing.assert_allclose(one[foot] - none[foot], (left + right * MIRROR) / 2, atol=3e-7)


def test_symmetrised_vertices_are_each_others_image():
    rng = np.random.default_rng(1)
    half = rng.uniform([0.02, -1, -0.2], [0.8, 1, 0.2], (400, 3))
    exact = np.concatenate([half, half * MIRROR, [[0, 0.5, 0.1]]])
    order = rng.permutation(len(exact))
    noisy = (exact + rng.normal(0, 1e-3, exact.shape))[order]
    pair = mirror_pairs(noisy)
    np.testing.assert_array_equal(pair[pair], np.arange(len(noisy)))
    v = symmetrise(noisy)
    np.testing.assert_allclose(v[pair], v * MIRROR, atol=1e-12)
    assert np.linalg.norm(v - exact[order], axis=1).max() < 5e-3


def test_vertices_without_a_near_partner_stay():
    rng = np.random.default_rng(2)
    half = rng.uniform([0.02, -1, -0.2], [0.8, 1, 0.2], (300, 3))
    lonely = np.array([[0.4, 1.5, 0.0], [-0.6, -1.5, 0.0], [0.9, -1.9, 0.1]])
    v = symmetrise(np.concatenate([half, half * MIRROR, lonely]))
    np.testing.assert_array_equal(v[-3:], lonely)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda a: a.update(v_template=np.full((9000, 3), np.nan)), "not finite"),
        (lambda a: a.update(v_template=a["v_template"][:, :2]), "v_template"),
        (lambda a: a.update(weights=a["weights"][:-1]), "weights"),
        (lambda a: a.update(weights=a["weights"] * 0.5), "sum to 1"),
        (lambda a: a.update(weights=a["weights"][:, :20]), "20 joints"),
        (lambda a: a.update(joints_template=np.zeros((23, 3))), "J_template"),
        (lambda a: a.update(parents=np.full(24, 5)), "parent"),
        (lambda a: a.update(posedirs=np.zeros((7, 7))), "posedirs"),
        (lambda a: a.update(v_template=["?"]), "no numbers"),
    ],
)
def test_junk_is_refused_in_one_sentence(smpl, spoil, says):
    arrays = dict(zip(("v_template", "weights", "joints_template", "parents"), smpl, strict=True))
    spoil(arrays)
    with pytest.raises(JobError, match=says) as e:
        volume_of_smpl(**arrays)
    assert e.value.code == "bad_volume" and str(e.value).endswith(".")


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"vertices": np.zeros((10, 3))}, "10 vertices"),
        ({"vertices": np.zeros((600, 3)), "faces": np.array([[0, 1, 600]])}, "not there"),
        ({"vertices": np.zeros((600, 3)), "faces": np.zeros((0, 3), int)}, "triangles"),
        ({"vertices": np.zeros((600, 3)), "joints": {"elbow": np.zeros(3)}}, "elbow"),
        ({"vertices": np.zeros((600, 3)), "joints": {"head": np.full(3, np.inf)}}, "joint head"),
    ],
)
def test_a_volume_checks_itself(arrays, says):
    with pytest.raises(JobError, match=says):
        CanonicalVolume("x", **arrays)

"""The shipped file: layout, orientation, symmetry, and the figures its model card gives."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from backend.body import JOINT, PARENTS, forward, load_body
from backend.body.load import OPEN_BODY
from backend.body.skeleton import mirror_joints


@pytest.fixture(scope="module")
def full():
    return load_body(betas=300, expressions=100)


def test_file_is_small_and_holds_no_objects():
    assert OPEN_BODY.stat().st_size < 25e6
    with np.load(OPEN_BODY, allow_pickle=False) as f:
        assert all(f[name].dtype.kind in "iuf" for name in f.files)


@pytest.mark.slow
def test_sizes(full):
    assert full.name == "open" and full.n_betas >= 16 and full.n_expressions >= 10
    assert len(full.v_template) == 13718 and full.uv.shape[1] == 2
    assert full.uv.min() >= 0 and full.uv.max() <= 1
    assert full.faces_uv.shape == full.faces.shape


def test_weights(full):
    assert np.abs(full.weights.sum(1) - 1).max() < 1e-5 and full.weights.min() >= 0
    assert (full.weights > 0).sum(1).max() <= 8
    assert (full.weights.max(0) > 0.4).all(), "every joint carries some skin"


def test_t_pose_y_up_z_front_x_left(full):
    J, v = full.joints_template, full.v_template
    assert np.allclose(J[JOINT["pelvis"]], [0, -0.35, 0.01], atol=1e-3)
    assert 1.5 < np.ptp(v[:, 1]) < 1.9 and 1.5 < np.ptp(v[:, 0]) < 1.9
    arm = J[[JOINT[f"left_{n}"] for n in ("shoulder", "elbow", "wrist", "middle1")]]
    assert (np.diff(arm[:, 0]) > 0.05).all() and np.ptp(arm[:, 1]) < 0.005 and np.ptp(arm[:, 2]) < 0.005
    assert J[JOINT["left_eye_smplhf"], 2] > J[JOINT["head"], 2] + 0.05
    assert J[JOINT["left_foot"], 2] > J[JOINT["left_ankle"], 2] + 0.08
    # Palms down: the thumb points forward, the index lies before the pinky.
    assert J[JOINT["left_thumb3"], 2] > J[JOINT["left_index1"], 2] > J[JOINT["left_pinky1"], 2]


def test_faces_look_outward(full):
    a, b, c = full.v_template[full.faces].transpose(1, 0, 2).astype(np.float64)
    volume = (np.cross(a, b) * c).sum() / 6
    assert 0.05 < volume < 0.1


def test_symmetric_joints(full):
    swap, flip = mirror_joints(), np.array([-1, 1, 1])
    for J in (
        full.joints_template,
        full.joints_template + full.joints_shapedirs @ np.full(full.n_betas, 1.0),
    ):
        assert np.abs(J - J[swap] * flip).max() < 2e-4


def test_bones_have_human_lengths(full):
    J = full.joints_template
    length = {n: np.linalg.norm(J[j] - J[PARENTS[j]]) for n, j in JOINT.items() if j}
    wanted = {"left_knee": (0.35, 0.48), "left_ankle": (0.36, 0.48), "left_elbow": (0.23, 0.33)}
    wanted |= {"left_wrist": (0.21, 0.29), "left_shoulder": (0.12, 0.2), "left_index2": (0.02, 0.05)}
    for name, (low, high) in wanted.items():
        assert low < length[name] < high, (name, length[name])
    hips = np.linalg.norm(J[JOINT["left_hip"]] - J[JOINT["right_hip"]])
    assert 0.16 < hips < 0.2


def test_joints_lie_inside_the_body(full):
    """Winding number of the surface around each joint of the body (the hands' are checked by their distance)."""
    a, b, c = full.v_template[full.faces].transpose(1, 0, 2).astype(np.float64)
    for name, j in JOINT.items():
        if j > 24:
            continue
        x, y, z = (p - full.joints_template[j] for p in (a, b, c))
        lx, ly, lz = (np.linalg.norm(p, axis=1) for p in (x, y, z))
        top = (x * np.cross(y, z)).sum(1)
        low = lx * ly * lz + (x * y).sum(1) * lz + (y * z).sum(1) * lx + (z * x).sum(1) * ly
        winding = np.arctan2(top, low).sum() / (2 * np.pi)
        assert winding > 0.9, (name, winding)


def test_a_positive_first_beta_makes_the_body_taller(full):
    grown = full.v_template + full.shapedirs[:, :, 0] * 2
    assert 0.05 < np.ptp(grown[:, 1]) - np.ptp(full.v_template[:, 1]) < 0.4


def test_regressor_agrees_with_the_joints_fitted_directly(full):
    """J_template and J_shapedirs of the file were fitted to the joints themselves, not through the skin."""
    with np.load(OPEN_BODY) as f:
        template, directions = f["J_template"], f["J_shapedirs"]
    betas = np.random.default_rng(0).normal(size=(200, full.n_betas)).astype(np.float32)
    exact = template + np.einsum("jck,nk->njc", directions, betas)
    ours = full.joints_template + np.einsum("jck,nk->njc", full.joints_shapedirs, betas)
    error = np.linalg.norm(ours - exact, axis=2) * 1e3
    assert error.mean() < 0.25 and error.mean(0).max() < 1.0 and error.max() < 3.0


def test_expressions_leave_the_skeleton_alone(full):
    assert np.abs(full.joints_exprdirs).max() < 5e-4
    face = np.abs(full.exprdirs).max((1, 2))
    head = full.weights[:, [JOINT["head"], JOINT["jaw"], 23, 24, JOINT["neck"]]].sum(1)
    assert face[head < 0.5].max() < 1e-3 and face.max() > 5e-3


def test_card_holds_the_figures_of_the_build():
    """The card's held-out errors are those that the build measured, and meet what we promise."""
    card = OPEN_BODY.with_suffix(".md").read_text(encoding="utf-8")
    report = json.loads(re.search(r"```json\n(.*?)```", card, re.S).group(1))
    assert report["held_out_bodies"] >= 100
    assert report["J_regressor_mm"]["mean"] < 0.3
    assert max(report["J_regressor_mm"]["worst_joint"].values()) < 1.0
    assert report["vertex_mm_by_components"]["16"] < 2.5
    assert abs(report["megabytes"] - OPEN_BODY.stat().st_size / 1e6) < 0.02


def _bent(angles: dict[str, tuple[float, float, float]]) -> torch.Tensor:
    pose = torch.zeros(1, 55, 3)
    for name, degrees in angles.items():
        pose[0, JOINT[name]] = torch.deg2rad(torch.tensor(degrees))
    return pose


def test_a_mirrored_pose_gives_the_mirrored_body(full):
    """Skinning, correctives and joints alike."""
    rng = np.random.default_rng(4)
    pose = torch.from_numpy(rng.normal(0, 0.4, (1, 55, 3)).astype(np.float32))
    flip = torch.tensor([-1.0, 1, 1])
    mirrored = (pose * torch.tensor([1.0, -1, -1]))[:, mirror_joints()]
    v = full.v_template
    _, twin = cKDTree(v).query(v * [-1, 1, 1])
    betas, trans = torch.ones(4), torch.zeros(1, 3)
    a = forward(full.to(), pose, betas, trans, vertices=True).vertices
    b = forward(full.to(), mirrored, betas, trans, vertices=True).vertices
    assert (b[:, twin] * flip - a).norm(dim=-1).max() < 2e-3


def test_correctives_keep_a_twisted_wrist_thick(full):
    """Plain skinning wrings the wrist out when the hand turns; the correctives spread the turn over the forearm."""
    J, v, w = full.joints_template, full.v_template, full.weights
    wrist = JOINT["left_wrist"]
    ring = (np.abs(v[:, 0] - J[wrist, 0]) < 0.015) & (w[:, [wrist, JOINT["left_elbow"]]].sum(1) > 0.8)
    pose = _bent({"left_wrist": (75, 0, 0)})

    def radius(correctives: bool) -> float:
        posed = forward(
            full.to(), pose, torch.zeros(1), torch.zeros(1, 3), vertices=True, correctives=correctives
        )
        return float(np.linalg.norm((posed.vertices[0].numpy()[ring] - J[wrist])[:, 1:], axis=1).mean())

    rest = float(np.linalg.norm((v[ring] - J[wrist])[:, 1:], axis=1).mean())
    assert ring.sum() > 15
    assert radius(False) < 0.87 * rest < 0.9 * rest < radius(True) < 1.05 * rest


def test_arms_hanging_down_need_hardly_any_correction(full):
    """MakeHuman's sculpt hangs its arms at 45 degrees; there, plain skinning of the T-pose gives it back."""
    pose = _bent({"left_shoulder": (0, 0, -45), "right_shoulder": (0, 0, 45)})
    a, b = (
        forward(full.to(), pose, torch.zeros(1), torch.zeros(1, 3), vertices=True, correctives=c).vertices
        for c in (True, False)
    )
    assert (a - b).norm(dim=-1).max() < 0.02 and (a - b).norm(dim=-1).mean() < 1e-3

"""SMPL and SMPL-X tensors inside the weights: as arrays, as a body, and as the canonical volume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from backend.body.kinematics import forward
from backend.errors import JobError
from backend.localizers.nlf.weights import add, open_weights
from backend.localizers.nlf.weights.bodies import body_arrays, body_of, rest_template
from backend.volumes.volume import volume_of_smpl

from .release import Recipe, made_up_body, make_torchscript, release_tensors, subset, thin

pytestmark = pytest.mark.slow


def arrays(kind: str, **options) -> dict[str, np.ndarray]:
    return {n: t.numpy() for n, t in made_up_body(kind, **options).items()}


def true_template(kind: str) -> np.ndarray:
    return made_up_body(kind, shifted=False)["v_template"].numpy()


def lean(path: Path, bodies: dict, places: dict | None = None) -> Path:
    """A light release with bodies; the constants of its field are real, so that it passes as a whole."""
    real = {n: t for n, t in release_tensors().items() if "gps_net.m" in n or "permutation" in n}
    tensors = thin(release_tensors()) | {n: t for n, t in real.items() if t.numel() < 1000}
    return make_torchscript(path, Recipe(tensors, bodies=bodies, places=places))


@pytest.mark.parametrize("kind", ["smpl", "smplx"])
def test_embedded_tensors_come_out(release, kind):
    got = open_weights(release.info.name, release.home).embedded(kind)
    want = arrays(kind)
    assert set(got) == set(want)
    for name, value in got.items():
        if name != "v_template":
            assert np.array_equal(value, want[name]), name
            assert value.dtype == (np.int32 if name == "kintree_parents_tensor" else np.float32)
    assert np.allclose(got["v_template"], true_template(kind), atol=1e-5)


@pytest.mark.parametrize("shifted", [True, False])
def test_rest_pose_is_found_in_either_convention(shifted):
    given = arrays("smpl", shifted=shifted)
    assert np.allclose(rest_template(given), true_template("smpl"), atol=1e-5)
    assert np.abs(arrays("smpl")["v_template"] - true_template("smpl")).max() > 0.01, "the conventions differ"


def test_volume_of_the_embedded_body(release):
    opened = open_weights(release.info.name, release.home)
    volume = opened.volume("smpl")
    made = arrays("smpl")
    want = volume_of_smpl(
        true_template("smpl"),
        made["weights"],
        made["J_template"],
        made["kintree_parents_tensor"],
        made["posedirs"],
    )
    assert np.allclose(volume.vertices, want.vertices, atol=1e-5) and volume.faces is None
    # The release's own places of joints win over those worked out here.
    assert np.allclose(volume.joints["left_knee"], made["J_template"][4] + [0, 0.007, 0], atol=1e-6)
    assert len(volume.joints) == 22
    assert opened.volume("smplx") is None, "its canonical volume is made of SMPL's"


def test_a_body_elsewhere_than_the_canonical_points_is_refused(tmp_path, home):
    body = made_up_body("smpl")
    moved = subset(body) + torch.tensor([0, 0.3, 0])
    info = add([lean(tmp_path / "nlf_s.torchscript", {"smpl": body}, {"smpl": moved})], home)
    with pytest.raises(JobError, match=r"lies \d+ mm away from their own canonical points: add them again"):
        open_weights(info.name, home).volume()


def test_no_triangles_no_body(release):
    opened = open_weights(release.info.name, release.home)
    with pytest.raises(
        JobError, match=r"have no triangles: .* for a mesh give SMPLX_NEUTRAL.npz with --body\.$"
    ) as caught:
        opened.body()
    assert caught.value.code == "bad_body"
    with pytest.raises(JobError, match="came without SMPL-X"):
        opened.body("smpl")


def test_embedded_body_with_triangles(tmp_path, home):
    file = lean(tmp_path / "nlf_s.torchscript", {"smplx": made_up_body("smplx", faces=True)})
    opened = open_weights(add([file], home).name, home)
    body = opened.body()
    assert (
        body.name == "smplx"
        and body.faces.shape == (200, 3)
        and body.n_betas == 10
        and body.n_expressions == 0
    )
    assert np.allclose(body.v_template, true_template("smplx"), atol=1e-5)
    assert np.abs(body.J_regressor @ body.v_template - body.joints_template).max() < 1e-4
    assert opened.volume("smplx").faces.shape == (200, 3), "the only body there is"


def test_embedded_body_poses_as_the_tensors_say():
    """Against the plain formula: template + shape + correctives of (R - I), then skinning."""
    made = body_arrays(arrays("smplx", faces=True))
    body = body_of(made, "x")
    rng = np.random.default_rng(0)
    pose, betas = 0.3 * rng.standard_normal((1, 55, 3)), rng.standard_normal((1, 10))
    got = forward(
        body.to(), torch.tensor(pose, dtype=torch.float32), torch.tensor(betas, dtype=torch.float32),
        torch.zeros(1, 3), vertices=True,
    )  # fmt: skip
    R = Rotation.from_rotvec(pose[0]).as_matrix()
    shaped = made["v_template"] + made["shapedirs"] @ betas[0]
    joints = made["J_template"] + made["J_shapedirs"] @ betas[0]
    bent = shaped + made["posedirs"] @ (R[1:] - np.eye(3)).ravel()
    G = np.zeros((55, 4, 4))
    for j, parent in enumerate(made["kintree_parents_tensor"]):
        local = np.eye(4)
        local[:3, :3], local[:3, 3] = R[j], joints[j] - (joints[parent] if parent >= 0 else 0)
        G[j] = G[parent] @ local if parent >= 0 else local
    G[:, :3, 3] -= np.einsum("jab,jb->ja", G[:, :3, :3], joints)
    T = np.einsum("vj,jab->vab", made["weights"], G)
    want = np.einsum("vab,vb->va", T[:, :3, :3], bent) + T[:, :3, 3]
    assert np.abs(got.vertices[0].numpy() - want).max() < 1e-4


def nan(body: dict) -> None:
    body["shapedirs"].view(-1)[7] = float("nan")


def far_face(body: dict) -> None:
    body["faces"].view(-1)[7] = 600


DAMAGE = {
    "no weights": lambda body: body.pop("weights"),
    "few joints": lambda body: body.update(J_template=body["J_template"][:20]),
    "other vertices": lambda body: body.update(posedirs=body["posedirs"][:50]),
    "whole numbers": lambda body: body.update(v_template=body["v_template"].long()),
    "NaN": nan,
    "faces beyond": far_face,
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_body_is_left_out_and_the_weights_kept(tmp_path, home, case):
    body = made_up_body("smplx", faces=True)
    DAMAGE[case](body)
    notes = []
    info = add([lean(tmp_path / "nlf_s.torchscript", {"smplx": body}, {})], home, note=notes.append)
    assert info.bodies == () and not list(info.folder.glob("body_*"))
    assert [n for n in notes if n.startswith("The smplx tensors in the file are")] == notes and len(
        notes
    ) == 1
    assert open_weights(info.name, home).embedded("smplx") is None

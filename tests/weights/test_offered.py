"""The SMPL-X body inside a release, given without triangles, becomes a file for `--body`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.body import load_body
from backend.localizers.nlf.weights import add, open_weights
from backend.localizers.nlf.weights.offered import offer_body, offered_body

from .release import Recipe, make_torchscript, release_tensors

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source():
    """A person to put into the release."""
    return load_body()


@pytest.fixture(scope="module")
def opened(tmp_path_factory, source):
    folder = tmp_path_factory.mktemp("offered")
    rng = np.random.default_rng(0)
    keep = np.sort(rng.permutation(len(source.v_template))[:9000])
    regressor = np.abs(source.J_regressor[:, keep]) + 1e-9
    body = {
        "v_template": source.v_template[keep],
        "shapedirs": source.shapedirs[keep][:, :, :10],
        "posedirs": np.zeros((9000, 3, 486)),
        "J_template": source.joints_template,
        "J_shapedirs": source.joints_shapedirs[:, :, :10],
        "J_regressor_post_lbs": regressor / regressor.sum(1, keepdims=True),
        "weights": source.weights[keep],
        "kid_shapedir": np.zeros((9000, 3)),
        "kid_J_shapedir": np.zeros((55, 3)),
    }
    tensors = {n: torch.tensor(a, dtype=torch.float32) for n, a in body.items()}
    tensors["kintree_parents_tensor"] = torch.tensor(source.parents.astype(np.int64))
    file = make_torchscript(
        folder / "nlf_s_multi_0.2.2.torchscript", Recipe(release_tensors(), bodies={"smplx": tensors})
    )
    add([file], folder / "home")
    file.unlink()
    return open_weights("nlf-s-0.2.2", folder / "home")


def test_it_is_a_body_file_with_the_releases_joints(opened, source):
    notes: list[str] = []
    file = offer_body(opened, notes.append)
    assert file is not None, notes
    assert file == offered_body(opened.info.folder) and opened.info.folder in file.parents
    body = load_body(file)
    arrays = opened.embedded("smplx")
    np.testing.assert_array_equal(body.v_template, arrays["v_template"])
    np.testing.assert_allclose(body.joints_template, arrays["J_template"], atol=1e-5)
    np.testing.assert_allclose(body.joints_shapedirs, arrays["J_shapedirs"], atol=1e-5)
    assert body.n_betas == 10

    # The triangles close over the whole skin: nearly the area of the body that the vertices were taken from.
    assert area(body.v_template, body.faces) == pytest.approx(area(source.v_template, source.faces), rel=0.1)
    volume = signed_volume(body.v_template, body.faces)
    assert volume == pytest.approx(signed_volume(source.v_template, source.faces), rel=0.1)


def test_a_body_that_is_no_person_is_left_out_with_a_sentence(release):
    notes: list[str] = []
    assert offer_body(open_weights(release.info.name, release.home), notes.append) is None
    assert "left out" in notes[-1] and offered_body(release.info.folder) is None


def area(v: np.ndarray, f: np.ndarray) -> float:
    a, b, c = v[f].transpose(1, 0, 2)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def signed_volume(v: np.ndarray, f: np.ndarray) -> float:
    a, b, c = v[f].astype(float).transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6)

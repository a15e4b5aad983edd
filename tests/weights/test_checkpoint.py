"""A checkpoint of the crop model together with nlf_data_files.zip."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch

from backend.body.skeleton import JOINT_NAMES
from backend.errors import JobError
from backend.files.pickles.inert import Refusal
from backend.localizers.nlf.crop_model import CONSTANTS
from backend.localizers.nlf.weights import add, open_weights
from backend.localizers.nlf.weights.archive import Archive, TorchArchive
from backend.localizers.nlf.weights.blank import blank_model
from backend.localizers.nlf.weights.datafiles import is_hand_joint, joint_order, read_data_files
from backend.localizers.nlf.weights.official import expected_shapes, recognise

from .release import SKELETONS, data_members, joint_names, make_zip, npy, rounded_model, thin

pytestmark = pytest.mark.slow


def state(size: str = "s") -> dict[str, torch.Tensor]:
    return thin(blank_model(size).state_dict())


@pytest.fixture(scope="module")
def data_zip(tmp_path_factory):
    return make_zip(tmp_path_factory.mktemp("data") / "nlf_data_files.zip", data_members())


def test_checkpoint_and_zip_make_weights(tmp_path, home, data_zip):
    """Trained numbers, wrapped as the trainer saves them, with the extra statistics of its norm."""
    wanted = {n: v.half() if "gps_net" in n else v for n, v in rounded_model().state_dict().items()}
    saved = {n: torch.nn.Parameter(v) if v.is_floating_point() else v for n, v in wanted.items()}
    del saved["heatmap_head.layer.1.num_batches_tracked"]
    saved["heatmap_head.layer.1.rmax"] = torch.tensor(3.0)
    torch.save({"model_state_dict": saved, "step": 1_600_000, "lr": 1e-4}, tmp_path / "nlf_s_crop_0.3.2.pt")
    notes = []
    info = add([data_zip, tmp_path / "nlf_s_crop_0.3.2.pt"], home, note=notes.append)
    assert info.name == "nlf-s-0.3.2" and not info.white and not info.fix_uncert_factor and info.bodies == ()
    assert notes == ["The file does not say how pictures are padded: black is taken."]
    opened = open_weights("nlf-s-0.3.2", home)
    model = opened.model()
    for name, value in model.state_dict().items():
        assert torch.equal(value, wanted[name].float() if value.is_floating_point() else wanted[name]), name

    nodes = np.load(io.BytesIO(data_members()["canonical_nodes3.npy"]))
    constants = {k: v.numpy() for k, v in model.constants().items()}
    assert np.allclose(constants["mini"], nodes.min(0)) and np.allclose(constants["maxi"], nodes.max(0))
    assert np.allclose(constants["center"], (nodes.min(0) + nodes.max(0)) / 2)
    assert np.allclose(constants["r_sqrt_eigva"], 1 / np.sqrt(7.0 * np.arange(1, 1025)), rtol=1e-6)

    # The order and the mask as the training code makes them, from the names alone.
    names = joint_names()
    left = [i for i, n in enumerate(names) if n[0] == "l"]
    right = [names.index("r" + names[i][1:]) for i in left]
    order = left + right + [i for i in range(867) if i not in left + right]
    assert np.array_equal(np.array(order)[constants["inv_permutation"]], np.arange(867))
    offset = (model.canonical_locs() - model.canonical_locs_init).detach()
    for k, (i, j) in enumerate(zip(left, right, strict=True)):
        moves = 0 if is_hand_joint(names[i]) else 1
        assert torch.allclose(offset[i], moves * model.canonical_lefts[k], atol=1e-6)
        assert torch.allclose(offset[j], offset[i] * torch.tensor([-1, 1, 1]), atol=1e-6)

    for name, (labels, indices, edges) in SKELETONS.items():
        skeleton = opened.skeletons[name or "all_555"]
        assert skeleton.labels == labels and skeleton.indices.tolist() == list(indices)
        assert skeleton.edges.tolist() == [list(e) for e in edges]
    for kind, count in (("smpl", 22), ("smplx", 55)):
        volume = opened.volume(kind)
        assert np.allclose(
            volume.vertices, np.load(io.BytesIO(data_members()[f"canonical_verts/{kind}.npy"]))
        )
        joints = np.load(io.BytesIO(data_members()[f"canonical_joints/{kind}.npy"]))
        assert list(volume.joints) == list(JOINT_NAMES[:count])
        assert np.allclose(np.stack(list(volume.joints.values())), joints[:count])
    assert opened.embedded("smplx") is None
    with pytest.raises(JobError, match=r"give SMPLX_NEUTRAL.npz with --body\."):
        opened.body()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_data_files_of_every_pickle_protocol(tmp_path, protocol):
    path = make_zip(tmp_path / "d.zip", data_members(protocol), folder="a/b/")
    with Archive(path) as archive:
        found = read_data_files(archive)
    assert (found.lefts, found.centers) == (360, 147) and len(found.skeletons) == 4


@pytest.mark.parametrize(
    ("name", "hand"),
    [
        ("lhan_smpl", False),
        ("rhan", False),
        ("lhand_x", True),
        ("rhanthumb_y", True),
        ("lindex3", True),
        ("bellringer", True),
        ("pelv_thumb", False),
        ("lkne", False),
    ],
)
def test_hand_joints(name, hand):
    assert is_hand_joint(name) is hand


def test_joint_order_of_a_few():
    names = ["neck", "rkne", "lkne", "lhip", "rhip", "pelv"]
    assert joint_order(names, {n: i for i, n in enumerate(names)}) == ([2, 3, 1, 4, 0, 5], 2)
    with pytest.raises(Refusal, match="rhip is missing"):
        joint_order(["lhip"], {"lhip": 0})


def test_large_weights_are_recognised(tmp_path):
    """NLF-L: 1563 tensors, none of which is written."""
    torch.save(state("l"), tmp_path / "nlf_l_crop_0.3.2.pt")
    with Archive(tmp_path / "nlf_l_crop_0.3.2.pt") as archive:
        found = recognise(TorchArchive(archive))
    assert found.size == "l" and len(found.tensors) == 1563 == len(expected_shapes("l"))
    assert {n: t.shape for n, t in found.tensors.items()} == expected_shapes("l")
    assert set(found.missing_constants) == set(CONSTANTS.values()) and found.white is None


def test_one_file_alone_is_refused_with_what_to_do(tmp_path, home, data_zip):
    torch.save(state(), tmp_path / "nlf_s_crop.pt")
    with pytest.raises(
        JobError, match=r"nlf_s_crop.pt .*and 6 more .*nlf_data_files.zip: give both files in the same"
    ):
        add([tmp_path / "nlf_s_crop.pt"], home)
    with pytest.raises(
        JobError, match=r"nlf_data_files.zip holds no weights: give nlf_l_crop_0.3.2.pt with it"
    ):
        add([data_zip], home)
    with pytest.raises(JobError, match=r"No file was given"):
        add([], home)
    torch.save(state(), tmp_path / "b.pt")
    with pytest.raises(JobError, match=r"b.pt are both weights: give one at a time"):
        add([tmp_path / "nlf_s_crop.pt", tmp_path / "b.pt"], home)


def refused(tmp_path, home, members, match):
    torch.save(state(), tmp_path / "nlf_s_crop.pt")
    path = make_zip(tmp_path / "data.zip", members)
    with pytest.raises(JobError, match=match) as caught:
        add([tmp_path / "nlf_s_crop.pt", path], home)
    assert str(caught.value).startswith(f"{tmp_path}") and str(caught.value).count(". ") == 0
    assert not list((home / "weights").iterdir()) if (home / "weights").is_dir() else True


DAMAGE = {
    "no nodes": (("canonical_nodes3.npy", None), "data.zip .* holds no canonical_nodes3.npy, which belongs"),
    "no names": (("joint_info_866.pkl", None), "holds no joint_info_866.pkl"),
    "few eigenvalues": (("canonical_eigval3.npy", npy(np.arange(1000.0))), "does not hold 1025 growing eigenvalues"),
    "NaN": (("canonical_nodes3.npy", npy(np.full((9, 3), np.nan))), "nodes3.npy holds numbers that are not finite"),
    "flat": (("canonical_nodes3.npy", npy(np.zeros((9, 3)))), "mini is not below .*maxi"),
    "other joints": (("canonical_loc_symmetric_init_866.npy", npy(np.zeros((800, 3)))), "867 x 3 numbers"),
    "far joints": (("canonical_loc_symmetric_init_866.npy", npy(np.full((867, 3), 900.0))), "not those of a body"),
    "objects": (("canonical_nodes3.npy", pickle.dumps(1)), "canonical_nodes3.npy is damaged"),
    "cut in its head": (("canonical_nodes3.npy", npy(np.zeros((9, 3)))[:11]), "canonical_nodes3.npy is damaged"),
    "too large": (("canonical_nodes3.npy", npy(np.eye(3) * 1e300)), "maxi holds numbers that are not finite"),
    "cut": (("canonical_nodes3.npy", npy(np.zeros((9, 3)))[:-8]), "canonical_nodes3.npy is damaged"),
    "text": (("canonical_eigval3.npy", npy(np.array(["a"] * 1030))), "does not hold the any numbers"),
    "no joint info": (("joint_info_866.pkl", pickle.dumps({"a": 1})), "joint_info_866.pkl holds no names of joints"),
    "fewer names": (("joint_info_866.pkl", pickle.dumps({"names": ["lhip", "rhip", "neck"]})), "3 x 3 numbers"),
    "bad skeleton": (
        ("skeleton_types_huge8.pkl", pickle.dumps({"a": {"indices": [867], "names": ["x"], "edges": []}})),
        "skeleton 'a' is damaged",
    ),
    "escape": (
        ("skeleton_types_huge8.pkl", pickle.dumps({"\x1b[2Ja": {"indices": [1], "names": ["x"], "edges": []}})),
        r"skeleton '\?\[2Ja' is damaged",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_data_files_are_refused(tmp_path, home, case):
    (name, data), match = DAMAGE[case]
    members = data_members()
    if data is None:
        del members[name]
    else:
        members[name] = data
    refused(tmp_path, home, members, match)


def test_other_number_of_joints_than_the_checkpoint(tmp_path, home):
    names = ["lhip", "rhip", "neck"]
    members = data_members() | {
        "joint_info_866.pkl": pickle.dumps({"names": names}),
        "skeleton_types_huge8.pkl": pickle.dumps({"a": {"indices": [2], "names": ["x"], "edges": []}}),
        "canonical_loc_symmetric_init_866.npy": npy(np.zeros((3, 3))),
    }
    refused(tmp_path, home, members, r"it has 360 \+ 147 joints, but nlf_data_files.zip 1 \+ 1")


def test_zip_without_skeletons_and_vertices_is_enough(tmp_path, home):
    needed = {
        "canonical_nodes3.npy", "canonical_eigval3.npy", "joint_info_866.pkl", "canonical_loc_symmetric_init_866.npy",
    }  # fmt: skip
    path = make_zip(tmp_path / "d.zip", {k: v for k, v in data_members().items() if k in needed})
    torch.save(state(), tmp_path / "nlf_s_crop.pt")
    notes = []
    info = add([tmp_path / "nlf_s_crop.pt", path], home, note=notes.append)
    assert info.name == "nlf-s" and info.skeletons == () and "without named skeletons" in notes[0]
    assert open_weights("nlf-s", home).volume() is None
    assert "SMPL" not in info.licence

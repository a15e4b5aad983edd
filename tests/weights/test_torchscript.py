"""A TorchScript of the release becomes weights that give exactly its outputs."""

import enum
import json
import zipfile
from typing import Optional

import numpy as np
import pytest
import torch
from nlf.golden_weights import tensors
from safetensors import safe_open

from backend.localizers.nlf.crop_model import CONSTANTS, CropModel
from backend.localizers.nlf.weights import open_weights
from backend.localizers.nlf.weights.archive import Archive, TorchArchive
from backend.localizers.nlf.weights.tree import tensors as tensors_of

from .release import SKELETONS, release_tensors, rounded_model


@pytest.fixture(scope="module")
def opened(release):
    return open_weights("nlf-s-0.2.2", release.home)


@pytest.mark.slow
def test_every_tensor_is_taken_over_bit_by_bit(release):
    with safe_open(release.info.folder / "model.safetensors", "pt") as file:
        names = set(file.keys())
        assert names == {*CropModel("s").state_dict(), *CONSTANTS.values()}
        for name in names:
            want = release_tensors()[name]
            got = file.get_tensor(name)
            assert got.dtype == want.dtype, name
            assert torch.equal(got, want), name


@pytest.mark.slow
def test_the_converted_model_gives_the_outputs_of_the_source(opened):
    golden = tensors("net_s")
    images = golden["images"].permute(0, 3, 1, 2) / 255
    got, want = opened.model(), rounded_model()
    with torch.inference_mode():
        ours, theirs = (m.forward_points(images, golden["intrinsics"], golden["points"]) for m in (got, want))
    for name in ("points3d", "points2d", "uncertainty"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    assert torch.equal(got.canonical_locs(), want.canonical_locs())
    # Half precision moves points, but they are still the golden ones.
    off = (ours.points2d - golden["coords2d"]).norm(dim=-1)
    assert off.median() < 0.5


def test_model_is_ready_to_run(opened):
    model = opened.model()
    assert not model.training and model.size == "s" and model.side == 256
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    everything = {*model.state_dict(), *CONSTANTS.values()}
    assert {n for n, _ in model.named_buffers()} <= everything, "a buffer that would stay uninitialised"


def test_flags_names_and_licence(release):
    info = release.info
    assert (info.name, info.size, info.source) == ("nlf-s-0.2.2", "s", "nlf_s_multi_0.2.2.torchscript")
    assert info.white is True and info.fix_uncert_factor is False
    assert info.bodies == ("smpl", "smplx")
    assert info.licence.startswith("NLF weights: non-commercial research use, by their authors' terms")
    assert "SMPL" in info.licence and info.licence.endswith(".") and release.notes == []
    assert info.bytes == sum(p.stat().st_size for p in info.folder.iterdir() if p.name != "info.json")


def test_progress_counts_to_the_end(release):
    done, totals = zip(*release.progress, strict=True)
    assert done[0] == 0 and list(done) == sorted(done) and set(totals) == {done[-1]}
    assert done[-1] > 60e6


def test_skeletons(opened, release):
    assert set(opened.skeletons) == {"smpl_24", "coco_19", "lone", "all_555"} == set(release.info.skeletons)
    for name, (labels, indices, edges) in SKELETONS.items():
        got = opened.skeletons[name or "all_555"]
        assert got.labels == labels
        assert got.indices.tolist() == list(indices) and got.indices.dtype == np.int32
        assert got.edges.tolist() == [list(e) for e in edges] and got.edges.shape[1] == 2


def test_the_detector_is_never_copied(release):
    with zipfile.ZipFile(release.file) as archive:
        assert any(
            "detector" in n or "Detector" in archive.read(n).decode()
            for n in archive.namelist()
            if n.endswith(".py")
        )
    for path in release.info.folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            assert not [n for n in set(file.keys()) if "detector" in n]
    assert "detector" not in (release.info.folder / "info.json").read_text()


def test_names_are_those_of_torchs_own_state_dict(release):
    with Archive(release.file) as archive:
        ours = tensors_of(TorchArchive(archive).root)
    theirs = torch.jit.load(str(release.file)).state_dict()
    assert set(theirs) <= set(ours)
    for name, tensor in theirs.items():
        assert ours[name].shape == tuple(tensor.shape) and ours[name].dtype == tensor.dtype, name


def test_numbers_are_those_that_torch_reads(tmp_path):
    """Views, transposed and shared tensors, zero strides, all kinds of numbers, empty and single ones."""
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    made = {
        "view": base[1:, ::2, 1],
        "turned": base.transpose(0, 2),
        "shared": base,
        "spread": torch.tensor([3.0]).expand(4, 6),
        "empty": torch.zeros(0, 3),
        "one": torch.tensor(-2.5, dtype=torch.float64),
        "parameter": torch.nn.Parameter(base[0].half()),
        **{
            str(d): torch.tensor([0, 1, 1]).to(d)
            for d in (torch.int8, torch.uint8, torch.int16, torch.bfloat16)
        },
        "bool": torch.tensor([True, False]),
        "nested": {"deep": torch.tensor([7], dtype=torch.int32)},
    }
    made["marked"] = torch.tensor([4.0])
    made["marked"].origin = "somewhere"
    torch.save(made, tmp_path / "x.pt")
    with Archive(tmp_path / "x.pt") as archive:
        reader = TorchArchive(archive)
        assert not reader.is_script
        found = tensors_of(reader.root)
        made |= {"nested.deep": made.pop("nested")["deep"]}
        assert set(found) == set(made)
        for name, want in made.items():
            got = reader.load(found[name])
            assert got.dtype == want.dtype and got.is_contiguous() and torch.equal(got, want), name


class Shade(enum.Enum):
    DARK = 2


class Odd(torch.nn.Module):
    """Attributes of all kinds that TorchScript writes."""

    texts: list[str]
    maybe: list[Optional[torch.Tensor]]  # noqa: UP045 - TorchScript reads no other way of saying it
    pair: tuple[torch.Tensor, Optional[int]]  # noqa: UP045
    by_number: dict[int, torch.Tensor]

    def __init__(self):
        super().__init__()
        self.texts, self.maybe, self.by_number = ["a"], [None], {3: torch.zeros(1)}
        self.pair, self.shade, self.number, self.kind = (
            (torch.ones(2), None),
            Shade.DARK,
            1 + 2j,
            torch.float16,
        )
        self.device, self.far, self.low = torch.device("cpu"), float("inf"), -(2**62)
        self.register_buffer("thin", torch.eye(3).to_sparse())
        self.register_buffer("turning", torch.zeros(2, dtype=torch.complex64))
        self.register_buffer("short", torch.zeros(2, dtype=torch.uint16))
        self.register_buffer(
            "last", torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def test_attributes_of_all_kinds_do_not_stand_in_the_way(tmp_path):
    torch.jit.script(Odd()).save(str(tmp_path / "x.torchscript"))
    with Archive(tmp_path / "x.torchscript") as archive:
        reader = TorchArchive(archive)
        found = tensors_of(reader.root)
        assert set(found) == {"by_number.3", "last"}, "kinds that no weights have are passed over"
        assert torch.equal(reader.load(found["last"]), torch.arange(24.0).reshape(1, 2, 3, 4))
        value = reader.root.attributes
        assert value["texts"] == ["a"] and value["maybe"] == [None] and value["low"] == -(2**62)
        assert value["number"] is None and value["shade"].cls.endswith("Shade")
        assert reader.load(value["pair"][0]).tolist() == [1, 1]


def test_what_is_written_is_plain_json(release):
    data = json.loads((release.info.folder / "info.json").read_text())
    assert data["format"] == 1 and data["name"] == "nlf-s-0.2.2" and "folder" not in data

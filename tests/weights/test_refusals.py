"""Files that are not weights: one sentence that says which file and what is wrong, nothing run, nothing left."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from backend.errors import JobError
from backend.localizers.nlf.crop_model import CONSTANTS
from backend.localizers.nlf.weights import add, installed
from backend.localizers.nlf.weights.archive import Archive, TorchArchive
from backend.localizers.nlf.weights.official import recognise

from .handmade import archive_of, tensor_pickle
from .release import Recipe, make_torchscript, release_tensors, thin

pytestmark = pytest.mark.slow

LAYER = "heatmap_head.layer.0.weight"


@pytest.fixture(scope="module")
def thin_file(tmp_path_factory):
    """A TorchScript of NLF-S in which every tensor is one number, repeated."""
    return make_torchscript(
        tmp_path_factory.mktemp("thin") / "nlf_s.torchscript", Recipe(thin(release_tensors()))
    )


def refuse(home: Path, files: list[Path], match: str, code: str = "bad_weights") -> str:
    with pytest.raises(JobError, match=match) as caught:
        add(files, home)
    text = str(caught.value)
    assert caught.value.code == code
    assert text.startswith(str(files[0])) and text.endswith(".") and ". " not in text and len(text) < 500
    assert installed(home) == []
    assert not (home / "weights").is_dir() or list((home / "weights").iterdir()) == []
    return text


def test_thin_release_is_recognised(thin_file):
    """What the other tests break is whole before they do."""
    with Archive(thin_file) as archive:
        found = recognise(TorchArchive(archive))
    assert found.size == "s" and set(found.constants) == set(CONSTANTS)


@pytest.mark.parametrize("keep", [0, 3, 100, 0.3, 0.9, 0.999])
def test_truncated(tmp_path, home, thin_file, keep):
    data = thin_file.read_bytes()
    file = tmp_path / "cut.torchscript"
    file.write_bytes(data[: keep if isinstance(keep, int) else int(keep * len(data))])
    refuse(home, [file], "not complete: download it again" if keep else "not a file that torch wrote")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"hello", r"cannot be used as weights: it is not a file that torch wrote"),
        (b"\n<!DOCTYPE html><html>", "it is a web page and no weights"),
        (b"\x80\x02}q\x00.", "it is a bare pickle"),
        (b"PK\x03\x04" + bytes(60), "it is damaged or not complete"),
    ],
)
def test_no_archive(tmp_path, home, data, match):
    (tmp_path / "nlf.torchscript").write_bytes(data)
    refuse(home, [tmp_path / "nlf.torchscript"], match)


def test_no_file(tmp_path, home):
    refuse(home, [tmp_path / "x.pt"], "there is no such file")
    refuse(home, [tmp_path], "there is no such file")


def test_some_other_zip(tmp_path, home):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("a.jpg", b"x")
    refuse(home, [tmp_path / "photos.zip"], "neither one that torch wrote nor nlf_data_files.zip")


def broken(tmp_path: Path, change, script: bool = False) -> Path:
    """The thin release after `change`; without `script` saved as a state dict with the same names, which is faster."""
    tensors = thin(release_tensors())
    change(tensors)
    if script:
        return make_torchscript(tmp_path / "nlf_s_multi.torchscript", Recipe(tensors))
    torch.save({f"crop_model.{n}": t for n, t in tensors.items()}, tmp_path / "nlf_s_multi.pt")
    return tmp_path / "nlf_s_multi.pt"


def test_renamed_tensor(tmp_path, home):
    def rename(tensors):
        tensors["backbone.1.1.0.block.0.0.wait"] = tensors.pop("backbone.1.1.0.block.0.0.weight")
        del tensors["backbone.1.2.0.block.0.0.weight"]

    refuse(
        home, [broken(tmp_path, rename, script=True)],
        r"its backbone\.1\.1\.0\.block\.0\.0\.weight is missing \(and 1 more of its tensors do not fit\)",
    )  # fmt: skip


def test_wrong_size(tmp_path, home):
    def narrow(tensors):
        tensors[LAYER] = torch.zeros(()).expand(512, 1280, 1, 2)

    refuse(
        home,
        [broken(tmp_path, narrow, script=True)],
        "its heatmap_head.layer.0.weight has the size 512 x 1280 x 1 x 2, not 512",
    )


def test_whole_numbers(tmp_path, home):
    def whole(tensors):
        tensors["canonical_centers"] = torch.zeros((), dtype=torch.int64).expand(147, 2)

    refuse(home, [broken(tmp_path, whole)], "its canonical_centers holds whole numbers")


def test_a_layer_too_many(tmp_path, home):
    def more(tensors):
        tensors["backbone.1.8.0.weight"] = torch.zeros(3)

    refuse(home, [broken(tmp_path, more)], r"its backbone\.1\.8\.0\.weight is no part of NLF-S")


@pytest.mark.parametrize("short", ["mini", "inv_permutation"])
def test_missing_constant(tmp_path, home, short):
    file = broken(tmp_path, lambda tensors: tensors.pop(CONSTANTS[short]))
    refuse(home, [file], f"it lacks {CONSTANTS[short]} .*nlf_data_files.zip")


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        (CONSTANTS["maxi"], torch.full((3,), float("nan")), "maxi holds numbers that are not finite"),
        (CONSTANTS["maxi"], torch.tensor([1.0, -9, 1]), "mini is not below"),
        (CONSTANTS["inv_permutation"], torch.zeros(867, dtype=torch.int64), "no order of the joints"),
        (CONSTANTS["r_sqrt_eigva"], torch.zeros(1024), "not those of a body"),
        (CONSTANTS["mini"], torch.zeros(4), "has the size 4, not 3"),
        ("canonical_lefts", torch.full((), float("inf")).expand(360, 3), "canonical_lefts holds numbers that are not"),
        ("heatmap_head.layer.1.running_var", -torch.ones(512), "running_var holds variances below zero"),
        (LAYER, torch.full((), float("nan")).half().expand(512, 1280, 1, 1), f"{LAYER} holds numbers that are not"),
    ],
)  # fmt: skip
def test_senseless_numbers(tmp_path, home, name, value, match):
    good = release_tensors()

    def spoil(tensors):
        tensors.update({constant: good[constant] for constant in CONSTANTS.values()})
        tensors[name] = value

    refuse(home, [broken(tmp_path, spoil)], match)


@pytest.mark.parametrize(
    ("name", "value"), [("proc_side", 384), ("box_size_m", 2.0), ("depth", 72), ("centered_stride", False)]
)
def test_another_training(tmp_path, home, name, value):
    recipe = Recipe(thin(release_tensors()), settings={name: value})
    file = make_torchscript(tmp_path / "nlf_x.torchscript", recipe)
    refuse(home, [file], f"it was trained with heatmap_head.{name} = {value}, not")


def test_another_network(tmp_path, home):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    torch.jit.script(net).save(str(tmp_path / "other.torchscript"))
    refuse(
        home,
        [tmp_path / "other.torchscript"],
        f"it holds 7 tensors of another network than NLF .{LAYER} is missing",
    )
    torch.save({"a": [1, 2]}, tmp_path / "list.pt")
    refuse(home, [tmp_path / "list.pt"], "it holds no tensors")
    torch.save(net, tmp_path / "whole.pt")
    refuse(
        home,
        [tmp_path / "whole.pt"],
        r"it makes an object of torch\.nn\.modules\.container\.Sequential, which could",
    )


def test_shared_objects_without_end(tmp_path, home):
    """Forty levels of pairs that share their parts have 2^40 paths to one tensor."""
    one = tensor_pickle()[2:-1]
    levels = b"".join(b"2q\x010}X\x01\x00\x00\x00ah\x01sX\x01\x00\x00\x00bh\x01s" for _ in range(40))
    refuse(
        home, [archive_of(tmp_path / "x.pt", b"\x80\x02" + one + levels + b".", {"0": bytes(16)})],
        "nested beyond all bounds",
    )  # fmt: skip


def test_code_in_an_archive_is_not_run(tmp_path, home):
    """The attack stands where a checkpoint, a TorchScript and the data files have their pickles."""
    mark = tmp_path / "ran"

    class Attack:
        def __reduce__(self):
            return exec, (f"open({str(mark)!r}, 'w').close()",)

    data = pickle.dumps({"model_state_dict": {"weight": Attack()}}, 2)
    file = archive_of(tmp_path / "nlf_l_crop_0.3.2.pt", data)
    refuse(home, [file], "it calls builtins.exec, which could run code; nothing was run")
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("x/constants.pkl", pickle.dumps(Attack(), 2))
        archive.writestr("x/code/__torch__.py", f"open({str(mark)!r}, 'w').close()")
    refuse(home, [file], "it calls builtins.exec")
    zipped = tmp_path / "nlf_data_files.zip"
    with zipfile.ZipFile(zipped, "w") as archive:
        for name in ("canonical_nodes3.npy", "canonical_eigval3.npy", "canonical_loc_symmetric_init_866.npy"):
            archive.writestr(name, b"")
        archive.writestr("joint_info_866.pkl", pickle.dumps(Attack(), 4))
    good = archive_of(tmp_path / "good.pt", tensor_pickle(), {"0": bytes(16)})
    refuse(home, [zipped, good], "it calls builtins.exec")
    assert not mark.exists()


def test_names_with_path_parts_go_nowhere(tmp_path, home):
    file = archive_of(tmp_path / "x.pt", tensor_pickle(), {"0": bytes(16), "../../../../escaped": b"x"})
    refuse(home, [file], "another network")
    assert not list(tmp_path.parent.rglob("escaped"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the super-user reads everything")
def test_unreadable_file(tmp_path, home):
    (tmp_path / "x.pt").write_bytes(b"PK")
    (tmp_path / "x.pt").chmod(0)
    refuse(home, [tmp_path / "x.pt"], "it cannot be read")

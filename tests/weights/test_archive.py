"""Archives written by hand: views, sizes and members that are not what they say."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest
import torch

from backend.files.pickles.inert import Refusal
from backend.localizers.nlf.weights import archive as archives
from backend.localizers.nlf.weights.archive import Archive, TorchArchive

from .handmade import archive_of, tensor_pickle


def load(path: Path) -> torch.Tensor:
    with Archive(path) as archive:
        reader = TorchArchive(archive)
        return reader.load(reader.root["a"])


def test_a_tensor_written_by_hand(tmp_path):
    data = struct.pack("<4f", 1, 2, 3, 4)
    got = load(archive_of(tmp_path / "x.pt", tensor_pickle(stride=(1, 2)), {"0": data}))
    assert got.tolist() == [[1, 3], [2, 4]]


@pytest.mark.parametrize(
    ("view", "match"),
    [
        ({"offset": 1}, "reaches outside of its storage"),
        ({"shape": (3, 2)}, "reaches outside of its storage"),
        ({"stride": (3, 1)}, "reaches outside of its storage"),
        ({"offset": -1}, "impossible size"),
        ({"shape": (-2, -2)}, "impossible size"),
        ({"stride": (-1, 1)}, "impossible size"),
        ({"stride": (1,)}, "impossible size"),
        ({"shape": (1,) * 9, "stride": (1,) * 9}, "impossible size"),
        ({"offset": 2**62}, "impossible size"),
        ({"shape": (2**20, 2**20), "stride": (0, 0)}, "reaches outside"),
        ({"shape": (2**30,), "stride": (0,)}, "4295 MB, more than 1074"),
        ({"numel": 5}, "its storage 0 is shorter than it says"),
        ({"numel": 2**34, "offset": 2**33}, "its storage 0 is shorter than it says"),
        ({"kind": "DoubleStorage"}, "its storage 0 is shorter than it says"),
        ({"key": "1"}, "it holds no x/data/1"),
        ({"key": "../../../../etc/passwd"}, "it holds no x/data/../../../../etc/passwd"),
    ],
)
def test_tensors_that_point_outside(tmp_path, view, match):
    path = archive_of(tmp_path / "x.pt", tensor_pickle(**view), {"0": struct.pack("<4f", 1, 2, 3, 4)})
    with pytest.raises(Refusal, match=match):
        load(path)


def test_big_endian(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", tensor_pickle())
        archive.writestr("x/byteorder", "big")
    with pytest.raises(Refusal, match="big-endian"):
        load(tmp_path / "x.pt")


@pytest.mark.slow
def test_members_that_unpack_to_too_much(tmp_path):
    """73 MB of zeros in 70 kB, as a tensor and as the pickle."""
    zeros = bytes(70 << 20)
    bomb = archive_of(
        tmp_path / "a.pt", tensor_pickle(numel=17 << 20), {"0": zeros}, compression=zipfile.ZIP_DEFLATED
    )
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(Refusal, match="its x/data/0 says that it unpacks to more than is there"):
        load(bomb)
    with zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", zeros)
    with pytest.raises(Refusal, match=r"its x/data\.pkl has 73 MB, more than 67"):
        load(tmp_path / "b.pt")


def patched(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert data.count(old) >= 1
    path.write_bytes(data.replace(old, new))
    return path


def test_sizes_that_are_not_there(tmp_path):
    data = struct.pack("<4f", 1, 2, 3, 4)
    path = archive_of(tmp_path / "x.pt", tensor_pickle(numel=5), {"0": data})
    patched(path, struct.pack("<II", 16, 16), struct.pack("<II", 16, 20))
    with pytest.raises(Refusal, match="says that it unpacks to more than is there"):
        load(path)
    path = archive_of(tmp_path / "y.pt", tensor_pickle(), {"0": data})
    patched(path, data, data[:-1] + b"\x00")
    with pytest.raises(Refusal, match="its x/data/0 is damaged: download the file again"):
        load(path)


def test_locked_twice_there_and_oddly_packed(tmp_path):
    path = archive_of(tmp_path / "x.pt", tensor_pickle(), {"0": bytes(16)}, compression=zipfile.ZIP_BZIP2)
    with pytest.raises(Refusal, match="packed in a way that weights never are"):
        load(path)
    with pytest.warns(UserWarning), zipfile.ZipFile(tmp_path / "y.pt", "w") as archive:
        for _ in range(2):
            archive.writestr("x/data.pkl", tensor_pickle())
    with pytest.raises(Refusal, match="two of its entries have the same name"):
        load(tmp_path / "y.pt")
    path = archive_of(tmp_path / "z.pt", tensor_pickle(), {"0": bytes(16)})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(Refusal, match="locked with a password"):
        load(path)


def test_member_without_a_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", tensor_pickle())
        archive.writestr("Zabc", b"")
    patched(tmp_path / "x.pt", b"Zabc", b"\0abc")
    with Archive(tmp_path / "x.pt") as archive:
        assert set(archive.entries) == {"x/data.pkl", ""}


def test_archives_beyond_the_bounds(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
        for i in range(50):
            archive.writestr(f"x/data/{i}", b"")
    monkeypatch.setattr(archives, "MAX_ENTRIES", 40)
    with pytest.raises(Refusal, match="50 entries, more than 40"):
        Archive(tmp_path / "x.pt")
    monkeypatch.setattr(archives, "_MAX_READ", 1000)
    with pytest.raises(Refusal, match="table of contents is too large"):
        Archive(tmp_path / "x.pt")
    monkeypatch.setattr(archives, "MAX_ARCHIVE", 1000)
    with pytest.raises(Refusal, match="GB, more than"):
        Archive(tmp_path / "x.pt")

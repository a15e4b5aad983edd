"""Files written tensor by tensor are safetensors files like any other."""

from __future__ import annotations

import hashlib
import json
import struct

import pytest
import torch
from safetensors.torch import load_file

from backend.localizers.nlf.weights.tensorfile import Entry, file_digest, write_tensors

TENSORS = {
    "a.half": torch.tensor([1.5, -2, 3]).half(),
    "b.bfloat": torch.tensor([[1.0, 2.0, 3.0]]).bfloat16(),
    "c.single": torch.arange(6.0).reshape(2, 3),
    "d.one": torch.tensor(2**40),
    "e.int": torch.tensor([1, -1], dtype=torch.int32),
    "f.turned": torch.arange(6.0, dtype=torch.float64).reshape(2, 3).T,
    "g.empty": torch.zeros(0, 3),
}


def entries():
    return [Entry(n, tuple(t.shape), t.dtype, lambda t=t: t) for n, t in TENSORS.items()]


def test_the_library_reads_what_was_written(tmp_path):
    path, told = tmp_path / "x.safetensors", []
    digest = write_tensors(path, entries(), told.append)
    assert digest == file_digest(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    found = load_file(path)
    assert set(found) == set(TENSORS)
    for name, want in TENSORS.items():
        assert found[name].dtype == want.dtype and torch.equal(found[name], want), name
    assert sum(told) == sum(t.numel() * t.element_size() for t in TENSORS.values())


def test_every_tensor_is_aligned(tmp_path):
    write_tensors(tmp_path / "x", entries())
    data = (tmp_path / "x").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0
    for name, tensor in TENSORS.items():
        assert header[name]["data_offsets"][0] % tensor.element_size() == 0, name


def test_same_tensors_same_bytes_and_no_overwriting(tmp_path):
    first = write_tensors(tmp_path / "a", entries())
    assert write_tensors(tmp_path / "b", reversed(entries())) == first
    with pytest.raises(FileExistsError):
        write_tensors(tmp_path / "a", entries())


def test_numbers_of_another_kind_are_converted_and_other_sizes_refused(tmp_path):
    write_tensors(
        tmp_path / "a", [Entry("x", (2,), torch.float32, lambda: torch.tensor([1.0, 2.0]).double())]
    )
    assert load_file(tmp_path / "a")["x"].dtype == torch.float32
    with pytest.raises(ValueError, match="x came as"):
        write_tensors(tmp_path / "b", [Entry("x", (3,), torch.float32, lambda: torch.zeros(2))])

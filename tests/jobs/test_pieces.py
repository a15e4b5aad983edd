"""Pieces are found by what they were made of, and cost no more room than they may."""

from __future__ import annotations

import os

import numpy as np

from backend.jobs import pieces as module
from backend.jobs.pieces import PIECES, Pieces, digest


def test_a_piece_comes_back_to_the_last_bit_and_only_by_its_name(tmp_path):
    some = {"a": np.array([0.1, np.nan], np.float32), "b": np.arange(6).reshape(2, 3)}
    Pieces(tmp_path).put("name", some)
    found = Pieces(tmp_path).get("name")
    assert found.keys() == some.keys()
    for name, array in some.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert Pieces(tmp_path).get("other") is None
    Pieces().put("name", some)
    assert Pieces().get("name") is None


def test_names_tell_apart_what_is_not_the_same():
    a = np.arange(6, dtype=np.float32)
    names = [digest(a), digest(a.reshape(2, 3)), digest(a.astype(np.float64)), digest(a, None), digest(a, 1),
             digest(a, 1.0), digest(a, "1"), digest(a + 1e-6)]  # fmt: skip
    assert len(set(names)) == len(names) and digest(a.copy(), 1) == digest(a, 1)
    assert digest("ab", "c") != digest("a", "bc")


def test_what_was_not_used_for_longest_goes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LEAST_BYTES", 3000)
    kept = Pieces(tmp_path)
    for k in range(4):
        kept.put(f"piece{k}", {"a": np.zeros(250, np.float32)})
        os.utime(tmp_path / PIECES / f"piece{k}.npz", (1000 + k, 1000 + k))
    assert kept.get("piece0") is not None
    kept.tidy()
    assert sorted(p.stem for p in (tmp_path / PIECES).iterdir()) == ["piece0", "piece3"]


def test_a_folder_that_cannot_be_written_keeps_nothing_and_says_nothing(tmp_path):
    (tmp_path / PIECES).write_text("in the way")
    kept = Pieces(tmp_path)
    kept.put("name", {"a": np.zeros(1)})
    assert kept.get("name") is None
    kept.tidy()

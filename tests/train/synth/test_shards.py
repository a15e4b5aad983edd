"""Shards: written whole, read back, taken up again after a stop."""

from __future__ import annotations

import json
import runpy
import sys

import cv2
import numpy as np
import pytest

from backend.errors import JobError
from backend.synth.shards import Recipe, Shard, fill, prepare_folder, run, shard_name

COUNT = 5


@pytest.fixture(scope="module")
def recipe(motion_file):
    return Recipe(str(motion_file), "", "train", 11, 96, 2)


@pytest.fixture(scope="module")
def folder(recipe, tmp_path_factory):
    out = tmp_path_factory.mktemp("shards")
    run(out, recipe, COUNT, 1)
    return out


@pytest.mark.slow
def test_what_is_read_is_what_was_drawn(folder, recipe):
    files = sorted(p.name for p in folder.glob("*.npz"))
    assert files == [shard_name(i) for i in range(3)]
    assert [len(Shard(folder / f)) for f in files] == [2, 2, 1]
    got = Shard(folder / files[1])[1]
    expected = recipe.picture(recipe.world(), 3)
    assert got.kind == expected.kind
    assert np.array_equal(got.visible, expected.visible)
    assert np.array_equal(got.K, expected.K)
    assert np.array_equal(got.person.pose, expected.person.pose)
    assert np.array_equal(got.person.trans, expected.person.trans)
    assert np.abs(got.image.astype(int) - expected.image).mean() < 4
    with pytest.raises(IndexError):
        Shard(folder / files[2])[1]


@pytest.mark.slow
def test_a_stopped_run_goes_on(folder, recipe):
    kept, lost = folder / shard_name(0), folder / shard_name(1)
    before, mine = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    prepare_folder(folder, recipe)
    fill(folder, recipe, [0, 1, 2], COUNT)
    assert kept.stat().st_mtime_ns == before
    a = np.load(lost)
    assert np.array_equal(a["pose"], Shard(lost).arrays["pose"])
    assert len(lost.read_bytes()) == len(mine)
    assert not list(folder.glob("*.part"))


@pytest.mark.slow
def test_another_recipe_is_refused(folder, recipe):
    other = Recipe(recipe.motion, "", "train", 12, 96, 2)
    with pytest.raises(JobError, match="another folder"):
        prepare_folder(folder, other)
    assert json.loads((folder / "recipe.json").read_text())["seed"] == 11


def test_a_broken_shard_is_refused(tmp_path):
    bad = tmp_path / shard_name(0)
    bad.write_bytes(b"PK no")
    with pytest.raises(JobError) as e:
        Shard(bad)
    assert e.value.code == "bad_shard"


@pytest.mark.slow
def test_the_contact_sheet(tmp_path, motion_file, monkeypatch):
    out = tmp_path / "sheet.png"
    arguments = ["--motion", str(motion_file), "--count", "3", "--columns", "2", "--side", "64", "--dots"]
    monkeypatch.setattr(sys, "argv", ["synth", str(out), *arguments])
    with pytest.raises(SystemExit) as e:
        runpy.run_module("backend.synth", run_name="__main__")
    assert e.value.code in (0, None)
    image = cv2.imread(str(out))
    assert image.shape == (128, 128, 3)
    assert image[:64].std() > 5
    assert not image[64:, 64:].any()

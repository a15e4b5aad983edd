"""Features on disk: the first thing to give up, and never more than their share."""

import errno

import numpy as np
import pytest

from backend.errors import JobError
from backend.jobs.features import FeatureKeeper, load_features, to_arrays
from backend.jobs.folder import JobStore
from backend.records import Features

from .test_store import chunk


def features(first, tracks=(2,), size=4000):
    rng = np.random.default_rng(first)
    frames = {t: np.arange(first, first + 4, dtype=np.int32) for t in tracks}
    arrays = {
        t: {"cells": rng.integers(0, 255, (4, size), np.uint8), "made_by": np.full(4, 7, np.uint64)}
        for t in tracks
    }
    return Features(first, first + 3, frames, arrays)


@pytest.fixture
def folder(tmp_path):
    return JobStore(tmp_path).create({}, {})


def refuse(monkeypatch, number, times=10**6, after=0):
    """Let the `after`-th and the following `times` writes fail."""
    count = [0]

    def fsync(_):
        count[0] += 1
        if after < count[0] <= after + times:
            raise OSError(number, "refused")

    monkeypatch.setattr("os.fsync", fsync)


def test_they_come_back_person_by_person(folder):
    keeper, made = FeatureKeeper(folder), features(0, (2, 5))
    assert keeper.save(0, made) is None
    for track in (2, 5):
        frames, arrays = load_features(folder, 0, track)
        np.testing.assert_array_equal(frames, made.frames[track])
        assert arrays.keys() == {"cells", "made_by"}
        np.testing.assert_array_equal(arrays["cells"], made.arrays[track]["cells"])
    assert load_features(folder, 0, 3) is None and load_features(folder, 1, 2) is None
    wrong = to_arrays(made)
    wrong["2/features/cells"] = wrong["2/features/cells"][:3]
    folder.save_features(0, wrong)
    assert load_features(folder, 0, 2) is None and load_features(folder, 0, 5) is not None


def test_no_more_than_their_share_also_after_a_resume(folder):
    keeper = FeatureKeeper(folder, most=40_000)
    assert [keeper.save(i, features(4 * i)) for i in range(2)] == [None, None]
    assert keeper.save(1, features(4)) is None  # the same once more takes no more room
    later = FeatureKeeper(folder, most=40_000)
    for one in (keeper, later):
        said = one.save(2, features(8))
        assert "the job goes on" in said and said.endswith(".")
        assert one.save(3, features(12)) is None  # said once
    assert list(folder.features()) == [0, 1]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_where_nothing_can_be_written_the_job_is_told_once(folder, monkeypatch, number):
    keeper = FeatureKeeper(folder)
    keeper.save(0, features(0))
    refuse(monkeypatch, number)
    said = keeper.save(1, features(4))
    assert "the job goes on" in said and said.count(".") == 1
    monkeypatch.undo()
    assert keeper.save(2, features(8)) is None
    # A full disk gets its room back at once; otherwise what is there stays.
    assert list(folder.features()) == ([] if number == errno.ENOSPC else [0])
    assert not list(folder.path.glob(".*"))


def test_a_chunk_that_finds_no_room_takes_theirs(folder, monkeypatch):
    keeper = FeatureKeeper(folder)
    keeper.save(0, features(0))
    refuse(monkeypatch, errno.ENOSPC, times=1)
    folder.save_chunk(0, chunk(0, 3))
    assert len(folder.load_chunks()) == 1 and not folder.features()
    said = keeper.save(1, features(4))
    assert said.startswith("The disk is full") and not folder.features()
    refuse(monkeypatch, errno.ENOSPC)
    with pytest.raises(JobError) as caught:
        folder.save_chunk(1, chunk(4, 7))
    assert caught.value.code == "disk_full"

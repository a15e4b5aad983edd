"""Points thought of after the clip was done: found with what the localizer kept of it, on the real road."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from backend.body.load import load_body
from backend.jobs.features import FeatureKeeper, load_features
from backend.jobs.folder import DONE, JobFolder, JobStore
from backend.localizers.choose import create_localizer
from backend.localizers.contract import LocalizerOptions, Recalls
from backend.options import MocapOptions
from backend.pipeline import mocap
from backend.recall.track import PointBlock, track_points
from backend.records import Chunk, Features, Notice, TrackMotion

pytestmark = pytest.mark.slow

OPTIONS = MocapOptions(localizer="field", chunk=5, max_people=1, device="cpu")
ENTRIES = [
    {"name": "knee", "joint": "left_knee"},
    {"name": "skin", "vertex": 4000},
    {"name": "deep", "face": 9000, "barycentric": [0.2, 0.3, 0.5], "depth": 0.02},
    {"name": "tip", "landmark": "nose"},
]


def keep(folder: JobFolder, events) -> list:
    """What a worker does with the events of a job; all but what it saves."""
    keeper, saved, others = FeatureKeeper(folder), len(folder.load_chunks()), []
    for event in events:
        if isinstance(event, Features):
            assert keeper.save(saved, event) is None
        elif isinstance(event, Chunk):
            folder.save_chunk(saved, event)
            saved += 1
        elif isinstance(event, TrackMotion) and event.final:
            folder.save_final(event)
        else:
            others.append(event)
    folder.update(state=DONE)
    return others


def new_job(home) -> JobFolder:
    return JobStore(home).create(OPTIONS.to_dict(), {"name": "demo", "width": 1080, "height": 1920})


@pytest.fixture(scope="module")
def job(frames, tmp_path_factory) -> JobFolder:
    folder = new_job(tmp_path_factory.mktemp("job"))
    keep(folder, mocap(frames, OPTIONS))
    return folder


@pytest.fixture
def mine(job, tmp_path) -> JobFolder:
    """A copy that may be damaged."""
    shutil.copytree(job.path, tmp_path / job.path.name)
    return JobFolder(tmp_path / job.path.name, job.record)


def answer(folder: JobFolder, kept: bool = True, options: MocapOptions = OPTIONS):
    """Positions (n, P, 3), uncertainty (n, P) and notices of a pass over the only person."""
    events = list(track_points(options, ENTRIES, "open", folder.load_finals(), folder if kept else None))
    blocks = [e for e in events if isinstance(e, PointBlock)]
    assert [b.last for b in blocks] == [False] * (len(blocks) - 1) + [True]
    positions = np.concatenate([b.positions for b in blocks])
    return (
        positions,
        np.concatenate([b.uncertainty for b in blocks]),
        [e.text for e in events if isinstance(e, Notice)],
    )


def test_what_was_kept_says_what_the_picture_said(job):
    localizer = create_localizer("field", load_body(), LocalizerOptions("cpu"))
    assert isinstance(localizer, Recalls)
    native, frames = localizer.prepare(localizer.native), []
    for number in (0, 1, 2):
        (track,) = job.load_chunk(number).tracks
        seen, features = load_features(job, number, track.track)
        frames += seen.tolist()
        again = localizer.recall(features, native)
        assert np.linalg.norm(again.points3d - track.points3d, axis=-1).max() < 1e-3
        assert np.linalg.norm(again.points2d - track.points2d, axis=-1).max() < 0.1
        assert np.abs(again.uncertainty - track.uncertainty).max() < 5e-4
        # Other points are placed as the native ones were, however few are asked for.
        one = localizer.recall(features, localizer.prepare(localizer.native.take(np.array([40]))))
        np.testing.assert_allclose(one.points3d[:, 0], again.points3d[:, 40], atol=1e-4)
        assert job.features()[number].stat().st_size < 75_000 * len(seen)
    assert frames == list(range(12))


def test_added_points_are_found_near_the_body_and_steadier_than_the_pictures_word(job):
    found, unsure, said = answer(job)
    carried, alone, why = answer(job, kept=False)
    assert said == [] and len(why) == 1 and "import the clip once more" in why[0]
    off = np.linalg.norm(found - carried, axis=-1)
    assert 0.0005 < off.mean() < 0.03 and off.max() < 0.08
    shake = [np.linalg.norm(np.diff(x, 2, axis=0), axis=-1).mean() for x in (found, carried)]
    assert shake[0] < 1.1 * shake[1]
    assert (unsure > 0.005).all() and (unsure < 0.2).all() and not np.allclose(unsure, alone)
    # Another set, the same answer: no point minds what else is asked for.
    (block,) = track_points(OPTIONS, ENTRIES[1:2], "open", job.load_finals(), job)
    np.testing.assert_allclose(block.positions[:, 0], found[:, 1], atol=2e-5)


def test_a_job_that_was_interrupted_answers_the_same(job, frames, tmp_path):
    folder = new_job(tmp_path)
    events = mocap(frames, OPTIONS)
    keeper, chunks = FeatureKeeper(folder), []
    for event in events:
        if isinstance(event, Features):
            keeper.save(len(chunks), event)
        elif isinstance(event, Chunk):
            if chunks:
                break  # killed between the second chunk's features and the chunk
            folder.save_chunk(0, event)
            chunks.append(event)
    events.close()
    assert list(folder.features()) == [0, 1] and len(folder.load_chunks()) == 1
    keep(folder, mocap(frames[5:], OPTIONS, resume=folder.load_chunks()))
    for ours, theirs in zip(answer(folder), answer(job), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("damage", ["cut", "missing", "other weights", "no chunk"])
def test_where_features_are_damaged_the_body_carries(mine, damage):
    whole, _, _ = answer(mine)
    carried, alone, _ = answer(mine, kept=False)
    path = mine.features()[2]
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:50_000])
    elif damage == "missing":
        path.unlink()
    elif damage == "no chunk":
        (mine.path / "chunk_00002.npz").unlink()
    else:
        with np.load(path) as z:
            arrays = dict(z)
        arrays = {n: a + 1 if n.endswith("made_by") else a for n, a in arrays.items()}
        mine.save_features(2, arrays)
    found, unsure, said = answer(mine)
    assert len(said) == 1 and "missing or damaged" in said[0] and said[0].endswith(".")
    # A moment reaches over the edge; the start is as it was, the end nearer to the body than it was.
    assert np.isfinite(found).all() and np.isfinite(unsure).all()
    near, far = (np.linalg.norm(x[10:] - carried[10:], axis=-1).mean() for x in (found, whole))
    assert near < far
    assert np.abs(unsure[11] - alone[11]).max() < 0.02


def test_without_any_features_it_is_the_body_alone(mine):
    assert mine.clear_features() and not mine.clear_features()
    found, unsure, said = answer(mine)
    carried, alone, _ = answer(mine, kept=False)
    np.testing.assert_array_equal(found, carried)
    np.testing.assert_array_equal(unsure, alone)
    assert len(said) == 1 and "import the clip once more" in said[0]


def test_a_localizer_that_is_gone_is_no_error(mine):
    found, _, (said,) = answer(mine, options=replace(OPTIONS, localizer="nlf-l-0.3.2"))
    np.testing.assert_array_equal(found, answer(mine, kept=False)[0])
    assert "cannot be asked" in said and "nlf-l-0.3.2" in said


def test_nothing_is_kept_when_that_is_not_wanted_or_not_possible(frames):
    for options in (replace(OPTIONS, keep_features=False), replace(OPTIONS, localizer="landmarks-lite")):
        kinds = {type(e) for e in mocap(frames[:5], options)}
        assert Chunk in kinds and Features not in kinds

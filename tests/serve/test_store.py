"""Jobs on disk: whole files or none, and nothing read from them that is not what was written."""

import errno
import json

import numpy as np
import pytest

from backend.errors import JobError
from backend.jobs import folder as jobs
from backend.jobs.folder import JobStore
from backend.records import Chunk, TrackChunk, TrackMotion
from backend.serve.eta import Eta
from backend.serve.messages import sparse_weights


def chunk(first, last):
    n = last - first + 1
    rng = np.random.default_rng(first)
    arrays = [rng.normal(size=(n, *shape)).astype(np.float32) for shape in ((4,), (5, 3), (5, 2), (5,), ())]
    times = np.arange(first, last + 1) / 30
    track = TrackChunk(2, np.arange(first, last + 1, dtype=np.int32), times, *arrays)
    return Chunk(first, last, 640, 480, [track] if first else [])


def motion(track, n=4):
    rng = np.random.default_rng(track)
    shapes = [(n,), (n,), (n, 4), (n, 55, 3), (n, 3), (16,), (n, 20), (n, 55, 3), (n, 55)]
    return TrackMotion(track, *(rng.normal(size=shape) for shape in shapes), final=True)


@pytest.fixture
def folder(tmp_path):
    return JobStore(tmp_path).create({"chunk": 4}, {"name": "a.mp4", "width": 640, "height": 480})


def test_a_job_comes_back_as_it_was_written(folder, tmp_path):
    for number, (first, last) in enumerate([(0, 3), (4, 7), (8, 8)]):
        folder.save_chunk(number, chunk(first, last))
    for track in (10, 2):
        folder.save_final(motion(track))
    folder.update(state=jobs.DONE, frames=9, summary={"frames": 9})
    again = JobStore(tmp_path).open(folder.record.id)
    assert again.record == folder.record
    loaded = again.load_chunks()
    assert [(c.first, c.last, c.width, c.height, len(c.tracks)) for c in loaded] == [
        (0, 3, 640, 480, 0),
        (4, 7, 640, 480, 1),
        (8, 8, 640, 480, 1),
    ]
    for name, array in chunk(4, 7).to_arrays().items():
        np.testing.assert_array_equal(loaded[1].to_arrays()[name], array)
    finals = again.load_finals()
    assert [m.track for m in finals] == [2, 10] and all(m.final for m in finals)
    for name, array in motion(10).arrays().items():
        np.testing.assert_array_equal(getattr(finals[1], name), array)


def test_ids_differ_and_the_newest_is_listed_first(tmp_path):
    store = JobStore(tmp_path)
    made = [store.create({}, {}) for _ in range(5)]
    for age, job in enumerate(made):
        job.update(created=1000.0 - age)
    (store.path / "not a job").mkdir()
    (store.path / "torn").mkdir()
    (store.path / "torn" / "job.json").write_text('{"id": "torn"')
    (store.path / "list").mkdir()
    (store.path / "list" / "job.json").write_text("[]")
    assert [r.id for r in store.list()] == [job.record.id for job in made]
    assert [r.id for r in store.list(2)] == [job.record.id for job in made[:2]]
    assert JobStore(tmp_path / "nothing").list() == []


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "missing", "gap", "pickle"])
def test_chunks_end_before_the_first_that_is_not_whole(folder, damage):
    for number in range(4):
        folder.save_chunk(number, chunk(4 * number, 4 * number + 3))
    path = folder.path / "chunk_00002.npz"
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:500])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("Disk quota exceeded")
        case "missing":
            path.unlink()
        case "gap":
            folder.save_chunk(2, chunk(9, 11))
        case "pickle":
            arrays = chunk(8, 11).to_arrays()
            np.savez(path, **{**arrays, "first": np.array([{}], object)})
    assert [c.last for c in folder.load_chunks()] == [3, 7]


def test_leftovers_of_interrupted_writing_are_no_chunks(folder):
    (folder.path / ".chunk_00000.npz.tmp").write_bytes(b"half")
    assert folder.load_chunks() == []
    folder.save_final(motion(1))
    folder.clear_finals()
    assert [p.name for p in folder.path.iterdir()] == ["job.json"]


@pytest.mark.parametrize(
    "number, code", [(errno.ENOSPC, "disk_full"), (errno.EFBIG, "disk_full"), (errno.EACCES, "cannot_write")]
)
def test_a_disk_that_takes_nothing(folder, monkeypatch, number, code):
    folder.save_chunk(0, chunk(0, 3))
    before = json.loads((folder.path / "job.json").read_text())

    def refuse(_):
        raise OSError(number, "refused")

    monkeypatch.setattr("os.fsync", refuse)
    for write in (lambda: folder.save_chunk(1, chunk(4, 7)), lambda: folder.update(state="done")):
        with pytest.raises(JobError) as caught:
            write()
        assert caught.value.code == code and str(caught.value).endswith(".")
    assert sorted(p.name for p in folder.path.iterdir()) == ["chunk_00000.npz", "job.json"]
    assert json.loads((folder.path / "job.json").read_text()) == before
    assert len(folder.load_chunks()) == 1


@pytest.mark.parametrize("job_id", ["..", "", ".", "a/b", "/etc", "nobody"])
def test_no_way_out_of_the_folder_of_jobs(tmp_path, job_id):
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(JobError) as caught:
        JobStore(tmp_path).open(job_id)
    assert caught.value.code == "no_job"


@pytest.mark.parametrize(
    "change", [{"id": "other"}, {"options": []}, {"frames": "9"}, {"clip": None}, {"created": "x"}]
)
def test_a_wrong_description_is_refused(folder, tmp_path, change):
    path = folder.path / "job.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(JobError) as caught:
        JobStore(tmp_path).open(folder.record.id)
    assert caught.value.code == "damaged_job"


def test_eta_goes_by_the_rate_of_the_stage():
    now = [0.0]
    eta = Eta(lambda: now[0])
    assert eta.seconds_left("localize", 1, 101) is None
    now[0] = 2.0
    assert eta.seconds_left("localize", 11, 101) == pytest.approx(18)
    assert eta.seconds_left("localize", 11, None) is None
    now[0] = 4.0
    assert eta.seconds_left("localize", 101, 101) == 0
    assert eta.seconds_left("body", 0, 3) is None
    now[0] = 5.0
    assert eta.seconds_left("body", 1, 3) == pytest.approx(2)


def test_sparse_weights_keep_the_heaviest():
    weights = np.zeros((3, 55), np.float32)
    weights[0, 7] = 1
    weights[1, [3, 50]] = 0.25, 0.75
    weights[2, 10:22] = np.arange(1, 13) / 78
    index, value = sparse_weights(weights)
    assert index.shape == value.shape == (3, 8) and index.dtype == np.int16 and value.dtype == np.float32
    dense = np.zeros((3, 55))
    np.put_along_axis(dense, index.astype(int), value, 1)
    np.testing.assert_allclose(dense[:2], weights[:2])
    np.testing.assert_allclose(dense[2, 14:22], np.arange(5, 13) / np.arange(5, 13).sum(), rtol=1e-6)
    np.testing.assert_allclose(value.sum(1), 1, rtol=1e-6)
    assert sparse_weights(weights[:2])[0].shape == (2, 2)

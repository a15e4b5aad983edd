"""The list of jobs, read from what the backend's own code has written."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from backend.jobs.folder import INTERRUPTED, RUNNING, JobStore
from backend.records import Chunk
from blender_addon.link import jobstore
from blender_addon.link.jobstore import StoreError, remove, stored_job, stored_jobs
from blender_addon.shared.frames import ClipError

CLIP = {
    "name": "walk.mp4",
    "width": 640,
    "height": 480,
    "fps": 25.0,
    "frame_count": 100,
    "source": "clips/walk.mp4",
}


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path))
    return JobStore(tmp_path)


def states():
    return {job.id: job.state for job in stored_jobs()}


def test_what_the_backend_wrote_is_listed_the_newest_first(store):
    assert stored_jobs() == []
    made = [store.create({"chunk": 8}, CLIP | {"name": f"{i}.mp4"}) for i in range(4)]
    for age, state in enumerate(["interrupted", "cancelled", "failed", "done"]):
        made[age].update(state=state, created=1000.0 - age)
    made[3].update(frames=90)
    for number in range(3):
        made[1].save_chunk(number, Chunk(8 * number, 8 * number + 7, 640, 480))
    found = stored_jobs()
    assert [job.id for job in found] == [one.record.id for one in made]
    assert [job.resumable for job in found] == [True, True, False, False]
    assert [job.finished for job in found] == [False, False, False, True]
    assert [(job.done, job.total) for job in found] == [(0, 100), (24, 100), (0, 100), (90, 90)]
    assert found[0].source.as_posix() == "clips/walk.mp4" and found[0].created == 1000.0
    made[2].save_chunk(0, Chunk(0, 7, 640, 480))
    assert stored_jobs()[2].resumable


def test_a_chunk_that_is_not_whole_does_not_count(store):
    job = store.create({}, CLIP)
    for number in range(2):
        job.save_chunk(number, Chunk(8 * number, 8 * number + 7, 640, 480))
    (job.path / "chunk_00001.npz").write_bytes(b"PK half")
    np.savez(job.path / "chunk_00002.npz", other=1)
    assert stored_jobs()[0].done == 8


def test_who_is_at_work_says_the_endpoint_file(store, monkeypatch):
    job = store.create({}, CLIP)
    assert states() == {job.record.id: "interrupted"}
    monkeypatch.setattr(jobstore.process, "running_endpoint", lambda: "somebody listens")
    assert states() == {job.record.id: "running"} and not stored_jobs()[0].resumable
    with pytest.raises(StoreError, match="cancel it"):
        remove(job.record.id)
    # A backend that begins knows that none of these is its own.
    store.settle()
    assert states() == {job.record.id: "interrupted"}
    assert json.loads((job.path / "job.json").read_text())["state"] == INTERRUPTED != RUNNING


@pytest.mark.parametrize(
    "change",
    [
        None,
        [],
        {"clip": None},
        {"clip": {}},
        {"created": "x"},
        {"clip": CLIP | {"width": "w"}},
        {"frames": {}},
    ],
)
def test_what_is_damaged_is_left_out(store, change):
    good, bad = store.create({}, CLIP), store.create({}, CLIP)
    path = bad.path / "job.json"
    text = "{" if change is None else json.dumps(change)
    if isinstance(change, dict):
        text = json.dumps({**json.loads(path.read_text()), **change})
    path.write_text(text)
    (store.path / ".hidden").mkdir()
    (store.path / "file").write_text("")
    listed = [job.id for job in stored_jobs()]
    assert good.record.id in listed and (len(listed) == 1 or change == {"frames": {}})


def test_a_job_of_a_backend_that_kept_no_source(store):
    job = store.create({}, {k: v for k, v in CLIP.items() if k != "source"})
    assert stored_job(job.record.id).source is None


def test_only_the_newest_are_read(store, monkeypatch):
    monkeypatch.setattr(jobstore, "NEWEST", 2)
    for day in range(1, 5):
        job = store.create({}, CLIP)
        job.update(id=f"2026010{day}-000000-aa")
        job.path.rename(store.path / job.record.id)
    assert [job.id[:8] for job in stored_jobs()] == ["20260104", "20260103"]


def test_removing_takes_one_job_and_nothing_else(store, tmp_path):
    one, other = store.create({}, CLIP), store.create({}, CLIP)
    one.save_chunk(0, Chunk(0, 7, 640, 480))
    (tmp_path / "job.json").write_text((one.path / "job.json").read_text())
    remove(one.record.id)
    assert [p.name for p in store.path.iterdir()] == [other.record.id]
    for name in (one.record.id, "..", "", ".", "a/b", str(tmp_path)):
        with pytest.raises(StoreError, match=r"no job .*import the video once more\.$"):
            remove(name)
    assert (tmp_path / "job.json").exists() and len(stored_jobs()) == 1


def test_a_job_that_cannot_be_removed_is_told_and_stays(store):
    job = store.create({}, CLIP)
    in_the_way = store.path / f".{job.record.id}" / "x"
    in_the_way.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"delete .* yourself\.$"):
        remove(job.record.id)
    assert states() == {job.record.id: "interrupted"}


@pytest.mark.parametrize(
    ("clip", "told"),
    [
        ((640, 480, 100), None),
        ((640, 480, None), None),
        ((480, 640, 100), "480 x 640"),
        ((640, 480, 99), "99 frames"),
    ],
)
def test_another_video_is_refused(store, clip, told):
    job = stored_job(store.create({}, CLIP).record.id)
    width, height, count = clip
    opened = SimpleNamespace(name="other.mp4", width=width, height=height, frame_count=count)
    if told is None:
        return job.check_clip(opened)
    with pytest.raises(ClipError, match=told) as caught:
        job.check_clip(opened)
    assert "walk.mp4" in str(caught.value) and str(caught.value).endswith(".")

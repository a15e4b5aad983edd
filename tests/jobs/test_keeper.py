"""One keeper of results for the server and the command line: numbers, resuming, states, what the add-on then lists."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from backend.batch.clip import run_clip
from backend.errors import JobError
from backend.jobs import folder as jobs
from backend.jobs.folder import JobStore
from backend.jobs.keeper import Keeper
from backend.options import MocapOptions
from backend.records import Chunk, Features, Notice, Progress, Summary, TrackChunk, TrackMotion
from blender_addon.link.jobstore import stored_job, stored_jobs
from blender_addon.shared.frames import clip_facts, open_clip

DEMO = Path(__file__).resolve().parents[1] / "data" / "demo.mp4"
CLIP = {"name": "a.mp4", "width": 64, "height": 48, "fps": 30.0, "frame_count": 9, "source": "/films/a.mp4"}


def chunk(first: int, last: int) -> Chunk:
    n = last - first + 1
    ones = np.ones((n, 5), np.float32)
    frames, points = np.arange(first, last + 1, dtype=np.int32), np.ones((n, 5, 3), np.float32)
    track = TrackChunk(
        1, frames, frames / 30, np.ones((n, 4), np.float32), points, points[..., :2], ones, ones[:, 0]
    )
    return Chunk(first, last, 64, 48, [track])


def features(first: int, last: int) -> Features:
    n = last - first + 1
    return Features(
        first, last, {1: np.arange(first, last + 1, dtype=np.int32)}, {1: {"code": np.ones((n, 2))}}
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path))
    return JobStore(tmp_path).create({"chunk": 4}, CLIP)


def test_chunks_are_numbered_in_the_order_they_come_whatever_their_length(folder):
    keeper = Keeper(folder)
    for first, last in ((0, 3), (4, 5), (6, 8)):
        assert keeper.keep(Progress("localize", last, 9)) is None
        assert keeper.keep(features(first, last)) is None
        assert keeper.keep(chunk(first, last)) is None
    assert folder.numbers() == [0, 1, 2] and sorted(folder.features()) == [0, 1, 2]
    assert [(c.first, c.last) for c in folder.load_chunks()] == [(0, 3), (4, 5), (6, 8)]


def test_a_resumed_job_goes_on_after_the_last_whole_chunk(folder):
    first = Keeper(folder)
    first.keep(chunk(0, 3))
    first.keep(chunk(4, 7))
    first.end(jobs.INTERRUPTED)
    (folder.path / "final_001.npz").write_bytes(b"of an earlier end")
    (folder.path / ".final_001.77.part.npz").write_bytes(b"half")
    (folder.path / ".chunk_00002.npz.tmp").write_bytes(b"half, by release 0.1")
    again = Keeper(folder, resume=True)
    assert again.next_frame == 8 and not again.seen and folder.record.state == jobs.RUNNING
    again.keep(features(8, 8))
    again.keep(chunk(8, 8))
    assert sorted(p.name for p in folder.path.iterdir()) == [
        "chunk_00000.npz", "chunk_00001.npz", "chunk_00002.npz", "features_00002.npz", "job.json",
    ]  # fmt: skip
    again.ended(9, None)
    assert Keeper(folder, resume=True).seen


@pytest.mark.parametrize(
    ("raised", "state", "error"),
    [
        (
            JobError("no_person", "No person was found: choose another clip."),
            jobs.FAILED,
            "No person was found",
        ),
        (KeyboardInterrupt(), jobs.CANCELLED, None),
        (ZeroDivisionError("ours"), jobs.INTERRUPTED, None),
    ],
)
def test_how_a_job_ended_is_written_whatever_ends_it(folder, raised, state, error):
    keeper = Keeper(folder)
    with pytest.raises(type(raised)), keeper.watch():
        keeper.keep(chunk(0, 3))
        raise raised
    record = JobStore(folder.path.parent.parent).open(folder.record.id).record
    assert record.state == state and (record.error or "").startswith(error or "")
    assert stored_job(record.id).resumable and stored_job(record.id).done == 4


def test_a_summary_is_json_also_where_a_number_is_none(folder):
    keeper = Keeper(folder)
    keeper.keep(Notice("Nothing to keep."))
    with pytest.raises(RuntimeError):
        keeper.done()
    keeper.keep(Summary(9, 1, {"people": np.float32(0.5)}, float("nan"), "torch"))
    said = keeper.done()
    assert said == {
        "frames": 9,
        "people": 1,
        "seconds": {"people": 0.5},
        "mean_uncertainty": None,
        "engine": "torch",
    }
    assert json.loads((folder.path / "job.json").read_text())["summary"] == said


def finished(folder) -> bytes:
    """The job finished with a result; what its result's file holds."""
    keeper = Keeper(folder)
    keeper.keep(chunk(0, 8))
    keeper.ended(9, None)
    keeper.keep(motion(1.0))
    keeper.keep(Summary(9, 1, {}, 0.1, "torch"))
    keeper.done()
    return (folder.path / "final_001.npz").read_bytes()


def motion(value: float) -> TrackMotion:
    n = 9
    frames, joints = np.arange(n, dtype=np.int32), np.full((n, 55, 3), value, np.float32)
    return TrackMotion(
        1, frames, frames / 30, np.ones((n, 4)), joints, joints[:, 0], np.zeros(4), np.zeros((n, 5)), joints,
        joints[..., 0], True,
    )  # fmt: skip


@pytest.mark.parametrize("way", ["whole", "cancelled", "disk"])
def test_an_end_done_anew_counts_when_it_is_whole(folder, way, monkeypatch):
    before = finished(folder)
    store = JobStore(folder.path.parent.parent)
    record = store.open(folder.record.id).record
    again = Keeper(store.open(folder.record.id), resume=True, changes={"smooth": 0.5})
    assert again.renews and again.seen and again.options == {"chunk": 4, "smooth": 0.5}
    again.keep(motion(2.0))
    again.keep(Summary(9, 1, {}, 0.2, "torch"))
    # Nothing counts yet.
    assert (
        store.open(folder.record.id).record == record
        and (folder.path / "final_001.npz").read_bytes() == before
    )
    if way == "whole":
        again.done()
        now = store.open(folder.record.id)
        assert (now.record.options, now.record.revision, now.record.state) == (again.options, 1, jobs.DONE)
        assert now.load_finals()[0].joints[0, 0, 0] == 2 and not (folder.path / "final_001.npz").exists()
        return
    with pytest.raises((KeyboardInterrupt, JobError)), again.watch():
        if way == "cancelled":
            raise KeyboardInterrupt
        monkeypatch.setattr("backend.jobs.folder.write_whole", full)
        again.done()
    now = store.open(folder.record.id)
    assert now.record == record and now.load_finals()[0].joints[0, 0, 0] == 1
    assert [p.name for p in folder.path.glob("final*")] == ["final_001.npz"]


def full(*_args, **_more):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.slow
def test_a_job_begun_on_the_command_line_is_listed_with_its_video(tmp_path, monkeypatch):
    """By the real road on real pictures, and stopped by Ctrl-C in its middle."""
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path))

    def stop(event):
        if isinstance(event, Chunk):
            seen.append((event.first, event.last))
        if len(seen) == 2:
            raise KeyboardInterrupt

    seen: list[tuple[int, int]] = []
    with pytest.raises(KeyboardInterrupt):
        run_clip(DEMO, MocapOptions(localizer="landmarks-lite", max_people=1, chunk=3, device="cpu"), stop)
    (job,) = stored_jobs()
    assert job.source == DEMO.absolute() and job.state == "cancelled" and job.resumable
    assert (job.done, job.total, job.name) == (3, open_clip(DEMO).frame_count, DEMO.name)
    with open_clip(job.source) as clip:
        job.check_clip(clip)
        assert clip_facts(clip) == JobStore(tmp_path).open(job.id).record.clip


def test_a_job_of_release_0_1_from_the_command_line_is_listed_with_its_video(folder):
    path = folder.path / "job.json"
    record = json.loads(path.read_text())
    record["clip"]["path"] = record["clip"].pop("source")
    path.write_text(json.dumps(record))
    assert str(stored_job(folder.record.id).source).replace("\\", "/").endswith("/films/a.mp4")

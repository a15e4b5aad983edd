"""The end of a finished job done anew with other options: from its chunks, and nothing is lost on the way."""

import json
import os

import numpy as np
import pytest

from backend.jobs.folder import JobStore

from .helpers import Synthetic, run, wait_for
from .toy_backend import CRASH, FIT


def no_frames():
    pytest.fail("no frames are needed")


def finished(toy, options=None):
    """A finished job of 20 frames: client, job, its final motion."""
    toy.start()
    client = toy.client()
    job = client.open(Synthetic(20), {"chunk": 8} | (options or {}))
    (motion,) = (r for r in run(client, job) if r.final)
    return client, job, motion


def kept(toy, job):
    """Record and finals as they lie on the disk."""
    folder = JobStore(toy.home).open(job.id)
    return folder.record, folder.load_finals()


def files(toy, job):
    return sorted(p.name for p in toy.folder(job.id).glob("*final*"))


def test_other_options_give_another_result_without_a_frame(toy):
    client, job, first = finished(toy)
    chunks = {p.name: p.read_bytes() for p in toy.folder(job.id).glob("chunk_*.npz")}
    for smooth in (0.5, 3.0):
        again = client.resume(job.id, no_frames, {"smooth": smooth})
        (motion,) = run(client, again)
        assert again.state == "done" and again.frames_sent == 0 and motion.final
        np.testing.assert_allclose(motion.trans, smooth * first.trans, rtol=1e-6)
        record, (on_disk,) = kept(toy, job)
        assert record.state == "done" and record.options == {"chunk": 8, "smooth": smooth}
        np.testing.assert_array_equal(on_disk.trans, motion.trans)
        # What it had before is not kept besides.
        assert len(files(toy, job)) == 1
    assert {p.name: p.read_bytes() for p in toy.folder(job.id).glob("chunk_*.npz")} == chunks
    # The job has the new options and results from now on.
    (replayed,) = run(client, client.resume(job.id, no_frames))
    np.testing.assert_array_equal(replayed.trans, motion.trans)
    (same,) = run(client, client.resume(job.id, no_frames, {}))
    np.testing.assert_array_equal(same.trans, motion.trans)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"smooth": 0.5, "localizer": "field"},
            "'localizer' of a job cannot be changed any more, only floor",
        ),
        ({"chunk": 4}, "'chunk' of a job cannot be changed"),
        ({"smooth": -1.0}, "'smooth' must not be negative"),
        ({"height": 1.8}, "There is no such option"),
    ],
)
def test_options_that_concern_more_than_the_end_are_refused(toy, changes, words):
    client, job, first = finished(toy)
    before, names = kept(toy, job)[0], files(toy, job)
    refused = client.resume(job.id, no_frames, changes)
    run(client, refused)
    assert (refused.state, refused.error_code) == ("failed", "bad_options")
    assert words in refused.error and refused.error.endswith(".") and "\n" not in refused.error
    record, (on_disk,) = kept(toy, job)
    assert record == before and files(toy, job) == names
    np.testing.assert_array_equal(on_disk.trans, first.trans)
    # The backend goes on.
    assert run(client, client.resume(job.id, no_frames, {"smooth": 2.0}))[0].final


def test_options_that_are_no_object_are_malformed(toy, raw):
    raw.hello()
    raw.say("resume", "20200101-000000-none", options=[1])
    assert raw.hear().fields["code"] == "malformed"
    raw.say("ping")
    assert raw.hear().type == "pong"


def at_the_end(client, toy, job):
    """An update of `job` that is in the middle of its end."""
    again = client.resume(job.id, no_frames, {"smooth": float(FIT)})
    wait_for(lambda: (client.pump(0.05), (toy.home / "steps").exists())[1], "the end")
    return again


def assert_as_before(toy, job, first, before):
    record, (on_disk,) = kept(toy, job)
    assert record == before
    np.testing.assert_array_equal(on_disk.trans, first.trans)


def test_cancelling_leaves_the_job_as_it_was(toy):
    client, job, first = finished(toy)
    before = kept(toy, job)[0]
    again = at_the_end(client, toy, job)
    assert_as_before(toy, job, first, before)
    again.cancel()
    client.pump(0.05)
    # It comes when the cancelled one has ended, and is of the earlier result.
    (replayed,) = run(client, client.resume(job.id, no_frames))
    np.testing.assert_array_equal(replayed.trans, first.trans)
    assert_as_before(toy, job, first, before)
    assert len(files(toy, job)) == 1


def test_an_update_that_fails_leaves_the_job_as_it_was(toy):
    client, job, first = finished(toy)
    before = kept(toy, job)[0]
    again = client.resume(job.id, no_frames, {"smooth": float(CRASH)})
    run(client, again)
    assert (again.state, again.error_code) == ("failed", "internal")
    assert_as_before(toy, job, first, before)
    assert len(files(toy, job)) == 1


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_backend_killed_meanwhile_leaves_the_job_as_it_was(toy):
    client, job, first = finished(toy)
    before = kept(toy, job)[0]
    at_the_end(client, toy, job)
    toy.kill()
    # As if it had died between the new results and the word that they count.
    old = toy.folder(job.id) / "final_001.npz"
    old.with_name("final_001_1.npz").write_bytes(b"of an update that was cut short")
    assert_as_before(toy, job, first, before)
    toy.start()
    client = toy.client()
    wait_for(lambda: (client.pump(0.05), client.capabilities)[1])
    assert client.capabilities["jobs"][0]["state"] == "done"
    (replayed,) = run(client, client.resume(job.id, no_frames))
    np.testing.assert_array_equal(replayed.trans, first.trans)
    (motion,) = run(client, client.resume(job.id, no_frames, {"smooth": 2.0}))
    np.testing.assert_allclose(motion.trans, 2 * first.trans, rtol=1e-6)
    assert files(toy, job) == ["final_001_1.npz"]


def test_an_update_that_waits_in_line_may_be_cancelled(toy):
    client, job, first = finished(toy)
    before = kept(toy, job)[0]
    other = client.open(Synthetic(4, commands={1: 201}), {"chunk": 8})
    wait_for(lambda: (client.pump(0.05), other.progress.done >= 1)[1], "the other job")
    waits = client.resume(job.id, no_frames, {"smooth": 2.0})
    wait_for(lambda: (client.pump(0.05), waits.progress.stage == "queued")[1], "its place in line")
    waits.cancel()
    toy.release()
    run(client, other)
    assert_as_before(toy, job, first, before)


def test_a_finished_job_that_lost_a_chunk_keeps_its_result(toy):
    client, job, first = finished(toy)
    (toy.folder(job.id) / "chunk_00001.npz").write_bytes(b"PK")
    before = kept(toy, job)[0]
    again = client.resume(job.id, no_frames, {"smooth": 2.0})
    run(client, again)
    assert (again.state, again.error_code) == ("failed", "damaged_job")
    assert "import the clip once more" in again.error
    assert_as_before(toy, job, first, before)


def test_an_interrupted_job_takes_the_options_along(toy):
    toy.start()
    client = toy.client()
    job = client.open(Synthetic(20, commands={12: 201}), {"chunk": 8})
    wait_for(lambda: (client.pump(0.05), job.progress.done >= 12)[1], "frame 12")
    job.cancel()
    toy.release()
    resumed = client.resume(job.id, lambda: Synthetic(20), {"smooth": 2.0})
    (motion,) = (r for r in run(client, resumed) if r.final)
    straight = client.open(Synthetic(20), {"chunk": 8, "smooth": 2.0})
    (same,) = (r for r in run(client, straight) if r.final)
    np.testing.assert_allclose(motion.trans, same.trans, rtol=1e-6)
    assert toy.record(job.id)["options"] == {"chunk": 8, "smooth": 2.0}


def test_a_job_of_an_earlier_release_can_be_updated(toy):
    client, job, first = finished(toy)
    record = toy.record(job.id)
    del record["revision"]
    (toy.folder(job.id) / "job.json").write_text(json.dumps(record))
    (replayed,) = run(client, client.resume(job.id, no_frames))
    np.testing.assert_array_equal(replayed.trans, first.trans)
    (motion,) = run(client, client.resume(job.id, no_frames, {"smooth": 2.0}))
    np.testing.assert_allclose(motion.trans, 2 * first.trans, rtol=1e-6)

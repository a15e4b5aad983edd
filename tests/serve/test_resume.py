"""Nothing finished is lost: the backend is killed in mid-job, and what comes after is the same as without that."""

import os

import numpy as np
import pytest

from backend.jobs.folder import JobStore
from blender_addon.shared import wire

from .helpers import Synthetic, run, wait_for
from .toy_backend import HOLD

pytestmark = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")


def final(results):
    """The one final result of a finished job."""
    (motion,) = [r for r in results if r.final]
    return motion


def assert_same(a, b):
    for name in wire.RESULT:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.track == b.track and a.camera == b.camera


def kill_at(toy, frame):
    """A job of 50 frames whose backend is killed while it works on `frame`."""
    toy.start()
    client = toy.client()
    job = client.open(Synthetic(50, commands={frame: HOLD}), {"chunk": 8})
    wait_for(lambda: (client.pump(0.05), job.body and job.progress.done >= frame)[1], f"frame {frame}")
    toy.kill()
    run(client, job)
    return client, job


@pytest.mark.slow
def test_a_killed_backend_is_noticed_and_said(toy):
    client, job = kill_at(toy, 30)
    assert job.state == "failed"
    assert "ended before the job was done" in job.error and "finished so far are kept" in job.error
    assert f"resume job {job.id}" in job.error and job.error.count(".") == 1
    assert client.error == "The backend ended."
    late = client.open(Synthetic(3), {})
    assert (late.state, late.error) == ("failed", client.error)
    assert client.pump(0) is False


@pytest.mark.slow
@pytest.mark.parametrize("frame", [0, 7, 8, 30, 49])
def test_resuming_gives_what_an_uninterrupted_run_gives(toy, frame):
    _, job = kill_at(toy, frame)
    toy.release()
    toy.start()
    client = toy.client()
    clip = Synthetic(50, commands={frame: HOLD})
    resumed, whole = (
        client.resume(job.id, lambda: clip),
        client.open(Synthetic(50, commands={frame: HOLD}), {}),
    )
    results = run(client, resumed, whole)
    assert (resumed.state, whole.state) == ("done", "done")
    # Chunks of 8 were saved whole or not at all.
    assert resumed.frames_sent == 50 - frame // 8 * 8
    assert_same(final(results), final(whole.take_results()))
    assert resumed.body.name == "open" and clip.closed
    # The disk holds the clip once, in order, so that the job could be killed and resumed again.
    chunks = JobStore(toy.home).open(job.id).load_chunks()
    assert [c.first for c in chunks] == list(range(0, 50, 8)) and chunks[-1].last == 49


@pytest.mark.slow
def test_the_jobs_of_a_dead_backend_are_offered_for_resuming(toy):
    _, job = kill_at(toy, 30)
    assert toy.record(job.id)["state"] == "running"
    toy.start()
    client = toy.client()
    wait_for(lambda: (client.pump(0.05), client.capabilities)[1], "capabilities")
    (known,) = client.capabilities["jobs"]
    assert (known["id"], known["state"], known["name"]) == (job.id, "interrupted", "noise.mp4")


@pytest.mark.slow
def test_a_half_written_chunk_is_computed_anew(toy):
    _, job = kill_at(toy, 30)
    chunks = sorted(toy.folder(job.id).glob("chunk_*.npz"))
    assert len(chunks) == 3
    chunks[2].write_bytes(chunks[2].read_bytes()[:-100])
    (toy.folder(job.id) / ".chunk_00003.npz.tmp").write_bytes(b"half")
    toy.release()
    toy.start()
    client = toy.client()
    resumed, whole = client.resume(job.id, lambda: Synthetic(50)), client.open(Synthetic(50), {})
    results = run(client, resumed, whole)
    assert resumed.frames_sent == 50 - 16
    assert final(results).frames[0] == 0 and len(final(results).frames) == 50
    assert not list(toy.folder(job.id).glob(".*"))


def test_a_finished_job_comes_again_without_frames(toy):
    toy.start()
    client = toy.client()
    job = client.open(Synthetic(20), {})
    first = final(run(client, job))
    again = client.resume(job.id, lambda: pytest.fail("no frames are needed"))
    results = run(client, again)
    assert again.state == "done" and again.summary == job.summary and len(results) == 1
    assert_same(final(results), first)
    np.testing.assert_array_equal(again.body.v_template, job.body.v_template)


def test_a_finished_job_whose_result_was_damaged_is_computed_from_its_chunks(toy):
    toy.start()
    client = toy.client()
    job = client.open(Synthetic(20), {})
    first = final(run(client, job))
    (toy.folder(job.id) / "final_001.npz").write_bytes(b"PK")
    again = client.resume(job.id, lambda: pytest.fail("no frames are needed"))
    assert_same(final(run(client, again)), first)


@pytest.mark.slow
@pytest.mark.parametrize("job_id", ["20200101-000000-none", "..", "a/b", "x" * 100])
def test_a_job_that_is_not_there(toy, job_id):
    toy.start()
    client = toy.client()
    job = client.resume(job_id, lambda: Synthetic(3))
    run(client, job)
    assert job.state == "failed" and job.error.endswith(".")


@pytest.mark.slow
def test_resuming_at_once_after_cancelling_waits_for_the_worker(toy):
    """The old worker is still inside a frame when the job is asked for again."""
    toy.start()
    client = toy.client()
    job = client.open(Synthetic(50, commands={20: 204}), {"chunk": 8})
    wait_for(lambda: (client.pump(0.05), job.progress.done >= 20)[1], "frame 20")
    job.cancel()
    again = client.resume(job.id, lambda: Synthetic(50))
    wait_for(lambda: (client.pump(0.05), client.capabilities)[1])
    toy.release()
    results = run(client, again)
    assert again.state == "done" and again.frames_sent == 34 and len(final(results).frames) == 50

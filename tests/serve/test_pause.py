"""Pausing: the backend stands still and keeps everything, others get their turn, and what comes out is the same."""

import os
import time

import numpy as np
import pytest

from backend.serve.eta import Eta
from blender_addon.shared import wire

from .helpers import Synthetic, run, wait_for
from .toy_backend import FIT, HOLD, STALL

pytestmark = pytest.mark.slow

STILL_S = 0.4
"""How long a job that stands still is watched. One that does not takes milliseconds a frame."""


def until(*clients, what):
    """Pump until `what()` is true."""

    def pumped():
        for client in clients:
            client.pump(0.02)
        return what()

    return wait_for(pumped)


def pause(client, job):
    """Pause, and wait until the backend knows."""
    job.pause()
    until(client, what=lambda: job.progress.stage in ("pausing", "paused"))


def stands_still(client, job):
    """The backend says that it stands still, and so it does."""
    until(client, what=lambda: job.progress.stage == "paused")
    before = (job.progress.done, job.frames_sent)
    end = time.monotonic() + STILL_S
    while time.monotonic() < end:
        client.pump(0.02)
    assert (job.progress.stage, job.progress.done, job.frames_sent) == ("paused", *before)
    assert job.paused and not job.finished


def assert_same_as_never_paused(toy, client, job, results, **clip):
    """The final motion of `job` is that of an uninterrupted run."""
    assert job.state == "done", job.error
    whole = client.open(Synthetic(50, **clip), {"chunk": 8})
    (straight,) = [r for r in run(client, whole) if r.final]
    (after,) = [r for r in results if r.final]
    for name in wire.RESULT:
        np.testing.assert_array_equal(getattr(after, name), getattr(straight, name), err_msg=name)
    assert toy.record(job.id)["frames"] == 50


def at_frame(client, frame, command=STALL, **options):
    """A job of 50 frames whose backend is inside of `frame` until it is released."""
    job = client.open(Synthetic(50, commands={frame: command}), {"chunk": 8, **options})
    until(client, what=lambda: job.body and job.progress.done >= frame)
    return job


def test_a_paused_job_stands_still_with_frames_in_its_queue_and_goes_on_where_it_was(toy):
    toy.start()
    client = toy.client()
    job = at_frame(client, 20)
    until(client, what=lambda: job.frames_sent > 25)
    pause(client, job)
    toy.release()
    stands_still(client, job)
    assert job.progress.done == 21 and job.progress.seconds_left is None
    job.pause(False)
    assert_same_as_never_paused(toy, client, job, run(client, job), commands={20: STALL})


def test_a_job_that_waits_for_frames_can_be_paused(toy):
    toy.start()
    client = toy.client()
    job = at_frame(client, 0)
    pause(client, job)
    toy.release()
    stands_still(client, job)
    job.pause(False)
    job.pause()
    job.pause(False)
    assert_same_as_never_paused(toy, client, job, run(client, job), commands={0: STALL})


def test_the_end_that_needs_no_frames_stands_still_too(toy):
    toy.start()
    client = toy.client()
    job = client.open(Synthetic(50, commands={3: FIT}), {"chunk": 8})
    steps = toy.home / "steps"
    until(client, what=steps.exists)
    job.pause()
    until(client, what=lambda: job.progress.stage == "paused")
    counted = steps.read_text()
    stands_still(client, job)
    assert steps.read_text() == counted
    job.pause(False)
    until(client, what=lambda: steps.read_text() != counted)
    toy.release()
    assert_same_as_never_paused(toy, client, job, run(client, job), commands={3: FIT})


def test_pausing_before_the_backend_has_answered(toy):
    toy.start()
    client = toy.client()
    job = client.open(Synthetic(50), {"chunk": 8})
    job.pause()
    stands_still(client, job)
    assert job.frames_sent == 0 and job.id
    job.pause(False)
    assert_same_as_never_paused(toy, client, job, run(client, job))


def test_cancel_while_paused_keeps_the_chunks(toy):
    toy.start()
    client = toy.client()
    job = at_frame(client, 20)
    pause(client, job)
    toy.release()
    stands_still(client, job)
    job.cancel()
    assert job.state == "cancelled" and not job.paused
    until(client, what=lambda: toy.record(job.id)["state"] == "cancelled")
    again = client.resume(job.id, lambda: Synthetic(50, commands={20: STALL}))
    results = run(client, again)
    assert again.frames_sent == 50 - 16
    assert_same_as_never_paused(toy, client, again, results, commands={20: STALL})


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_a_backend_that_dies_while_paused_is_told_and_the_job_resumes(toy):
    toy.start()
    client = toy.client()
    job = at_frame(client, 20)
    pause(client, job)
    toy.release()
    stands_still(client, job)
    toy.kill()
    run(client, job)
    assert job.state == "failed" and f"resume job {job.id}" in job.error and not job.paused
    toy.start()
    client = toy.client()
    again = client.resume(job.id, lambda: Synthetic(50, commands={20: STALL}))
    assert_same_as_never_paused(toy, client, again, run(client, again), commands={20: STALL})


@pytest.mark.parametrize("fed", [False, True])
def test_a_paused_job_whose_client_goes_is_kept_for_later(toy, fed):
    """Nobody would wake it: so it ends, even where all its frames are there and it could go on by itself."""
    toy.start()
    first, second = toy.client(), toy.client()
    clip = {"commands": {3: FIT} if fed else {20: STALL}}
    if fed:
        job = first.open(Synthetic(50, **clip), {"chunk": 8})
        until(first, what=(toy.home / "steps").exists)
    else:
        job = at_frame(first, 20)
    pause(first, job)
    first.close()
    if not fed:
        toy.release()
    until(second, what=lambda: toy.record(job.id)["state"] == "interrupted")
    toy.release()
    again = second.resume(job.id, lambda: Synthetic(50, **clip))
    results = run(second, again)
    assert again.frames_sent == (0 if fed else 34)
    assert_same_as_never_paused(toy, second, again, results, **clip)


def test_others_get_their_turn_and_the_paused_one_goes_first_after_that(toy):
    toy.start()
    first, second, third = toy.client(), toy.client(), toy.client()
    one = at_frame(first, 20)
    two = second.open(Synthetic(50, commands={30: HOLD}), {})
    until(second, what=lambda: two.progress.stage == "queued")
    three = third.open(Synthetic(20), {})
    until(third, what=lambda: three.progress.stage == "queued")
    one.pause()
    until(first, second, what=lambda: two.progress.done >= 30)
    one.pause(False)
    until(first, second, what=lambda: one.progress.stage == "queued")
    assert one.progress.done == 20 and three.frames_sent == 0 and not one.paused
    toy.release()
    until(first, second, third, what=lambda: three.finished)
    assert (one.state, two.state, three.state) == ("done", "done", "done")
    ended = [(toy.folder(job.id) / "job.json").stat().st_mtime_ns for job in (two, one, three)]
    assert ended == sorted(ended)
    assert_same_as_never_paused(toy, first, one, one.take_results(), commands={20: STALL})


def test_a_paused_job_in_line_is_passed_over(toy):
    toy.start()
    first, second, third = toy.client(), toy.client(), toy.client()
    one = at_frame(first, 20)
    two, three = second.open(Synthetic(10), {}), third.open(Synthetic(10), {})
    until(second, third, what=lambda: two.progress.stage == three.progress.stage == "queued")
    two.pause()
    until(second, what=lambda: two.progress.stage == "paused")
    toy.release()
    until(first, second, third, what=lambda: one.finished and three.finished)
    stands_still(second, two)
    two.cancel()
    until(second, what=lambda: toy.record(two.id)["state"] == "cancelled")
    assert (one.state, three.state, two.frames_sent) == ("done", "done", 0)


def test_patience_is_not_for_paused_jobs(toy, monkeypatch):
    """A silent client loses its turn if another one waits: a paused one has none, and does not wait for any."""
    monkeypatch.setenv("TOY_PATIENCE_S", "0.5")
    toy.start()
    first, second = toy.client(), toy.client()
    one = at_frame(first, 20)
    pause(first, one)
    toy.release()
    two = second.open(Synthetic(50, commands={30: HOLD}), {})
    (toy.home / "release").unlink()
    until(second, what=lambda: two.progress.done >= 30)
    # For four times the patience first one says nothing at all, then the other.
    for talker in (second, first):
        end = time.monotonic() + 2
        while time.monotonic() < end:
            talker.pump(0.02)
            talker._say("ping")
    first.pump(0.1), second.pump(0.1)
    assert (one.state, two.state) == ("running", "running")
    toy.release()
    run(second, two)
    one.pause(False)
    run(first, one)
    assert (one.state, two.state) == ("done", "done")


def test_only_the_jobs_own_client_can_pause_it(toy, raw):
    client = toy.client()
    job = at_frame(client, 20)
    raw.hello()
    raw.say("pause", job.id, on=True)
    raw.say("pause", job.id, on="yes")
    assert raw.expect("error").fields["code"] == "malformed"
    toy.release()
    run(client, job)
    assert job.state == "done"


def test_a_pause_says_nothing_of_the_time_left(toy):
    now = [0.0]
    eta = Eta(lambda: now[0])
    eta.seconds_left("localize", 0, 100)
    now[0] = 1000.0
    eta.restart()
    assert eta.seconds_left("localize", 10, 100) is None
    now[0] = 1001.0
    assert eta.seconds_left("localize", 20, 100) == pytest.approx(8)
    # The whole way: a pause that would make 3 seconds of it.
    toy.start()
    client = toy.client()
    job = client.open(Synthetic(60, commands={20: STALL, 40: HOLD}), {})
    until(client, what=lambda: job.progress.done >= 20)
    job.pause()
    end = time.monotonic() + 3
    while time.monotonic() < end:
        client.pump(0.02)
    toy.release()
    until(client, what=lambda: job.progress.stage == "paused")
    (toy.home / "release").unlink()
    job.pause(False)
    until(client, what=lambda: job.progress.done >= 40)
    assert job.progress.seconds_left < 1.5
    toy.release()
    run(client, job)

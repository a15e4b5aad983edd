"""Jobs through a real backend process: results, credit, cancelling, several clients, failures."""

import sys

import numpy as np
import pytest

from backend.serve.runs import MAX_QUEUED_BYTES, MAX_QUEUED_FRAMES
from blender_addon.shared import wire
from blender_addon.shared.frames import ClipError

from .helpers import Raw, Synthetic, run, wait_for
from .toy_backend import CRASH, HOLD, REFUSE, STALL

pytestmark = pytest.mark.slow


def expected_trans(clip):
    """What the toy makes of a clip."""
    return np.cumsum([f.image.mean((0, 1)).astype(np.float32) for f in clip], 0)


def until(client, job, frames):
    """Pump until the toy has digested so many frames."""
    wait_for(lambda: (client.pump(0.05), job.progress.done >= frames)[1], f"frame {frames}")
    assert not job.finished


def test_a_clip_becomes_results(toy):
    toy.start()
    client, clip = toy.client(), Synthetic(50)
    job = client.open(clip, {"chunk": 16})
    results = run(client, job)
    assert (job.state, job.error, job.warnings, client.ignored) == ("done", None, ["This is a toy."], 0)
    assert [(r.final, len(r.frames)) for r in results] == [(False, 16), (False, 16), (False, 16), (True, 50)]
    np.testing.assert_array_equal(results[-1].frames, np.arange(50))
    np.testing.assert_array_equal(results[-1].times, np.arange(50) / 25)
    np.testing.assert_allclose(results[-1].trans, expected_trans(Synthetic(50)), rtol=1e-6)
    camera = results[-1].camera
    assert (camera.width, camera.height, camera.cx, camera.cy) == (8, 6, 3.5, 2.5)
    assert camera.fx == camera.fy == pytest.approx(4 / np.tan(np.deg2rad(27.5)))
    assert job.body.name == "open" and "CC0" in job.body.licence_note and len(job.body.joint_names) == 55
    np.testing.assert_allclose(job.body.weights_value.sum(1), 1, rtol=1e-6)
    # Not a number cannot travel as JSON.
    assert job.summary == {
        "frames": 50,
        "people": 1,
        "seconds": {"toy": 0.0},
        "mean_uncertainty": None,
        "engine": "toy",
    }
    assert clip.closed and job.take_results() == []
    assert toy.record(job.id)["state"] == "done" and toy.record(job.id)["frames"] == 50


@pytest.mark.parametrize("size, limit, held", [((8, 6), 16, 20), ((1920, 1080), 10, 9), ((4000, 3000), 2, 3)])
def test_credit_is_bounded_in_frames_and_bytes(raw, toy, size, limit, held):
    """While the road stands still in frame `held`, no more than `limit` frames may follow it."""
    width, height = size
    assert limit == max(2, min(MAX_QUEUED_FRAMES, MAX_QUEUED_BYTES // (width * height * 3)))
    raw.hello()
    job = raw.open(width, height, 100)
    image = np.zeros((height, width, 3), np.uint8)
    given = sent = 0
    most = held + 1 + limit
    portion = max(1, limit // 4)
    while given <= most - portion:
        given += raw.expect("credit").fields["frames"]
        assert given <= most
        while sent < given:
            hold = image.copy()
            hold[0, 0, 0] = HOLD
            raw.frame(job, sent, hold if sent == held else image)
            sent += 1
    raw.say("ping")
    while (message := raw.hear()).type != "pong":
        assert message.type != "credit"
    toy.release()
    raw.expect("credit")


def test_more_frames_than_credit_end_the_job(raw, toy):
    raw.hello()
    job = raw.open()
    raw.expect("credit")
    image = np.zeros((6, 8, 3), np.uint8)
    image[0, 0, 0] = STALL
    for index in range(MAX_QUEUED_FRAMES + 5):
        raw.frame(job, index, image)
    # The toy stays inside its first frame; the refusal arrives when it asks for the next one.
    raw.say("ping")
    raw.expect("pong")
    toy.release()
    assert raw.expect("error").fields["code"] == "credit"


def _wrong(**fields):
    return {"index": 0, "time_s": 0.0, **fields}


@pytest.mark.parametrize(
    "fields, shape, dtype",
    [
        (_wrong(index=1), (6, 8, 3), "uint8"), (_wrong(index=-1), (6, 8, 3), "uint8"),
        (_wrong(index="0"), (6, 8, 3), "uint8"), (_wrong(time_s=None), (6, 8, 3), "uint8"),
        (_wrong(), (8, 6, 3), "uint8"), (_wrong(), (6, 8, 4), "uint8"), (_wrong(), (6, 8), "uint8"),
        (_wrong(), (6, 8, 3), "float32"), (_wrong(), (0, 8, 3), "uint8"),
    ],
)  # fmt: skip
def test_a_wrong_frame_ends_its_job_and_only_that(raw, fields, shape, dtype):
    raw.hello()
    job = raw.open()
    raw.expect("credit")
    raw.say("frame", job, {"image": np.zeros(shape, dtype)}, **fields)
    answer = raw.expect("error")
    assert (answer.job, answer.fields["code"]) == (job, "bad_frame")
    # Late frames of a job that is over are no mistake.
    raw.frame(job, 1)
    raw.say("cancel", job)
    raw.say("ping")
    raw.expect("pong")
    assert raw.open() != job


def test_an_end_that_does_not_fit_the_frames(raw):
    raw.hello()
    job = raw.open()
    raw.expect("credit")
    raw.frame(job, 0)
    raw.say("end", job, frames=5, damage=None)
    assert raw.expect("error").fields["code"] == "bad_end"


def test_a_client_takes_frames_only_against_credit(toy):
    toy.start()
    client, clip = toy.client(), Synthetic(500, commands={5: HOLD})
    job = client.open(clip, {})
    until(client, job, 5)
    raw = Raw(toy.endpoint)
    raw.hello()
    # Everything that was said before this pong has been answered: no more credit comes.
    for _ in range(20):
        client.pump(0.01)
    assert 5 < clip.taken == job.frames_sent <= 6 + MAX_QUEUED_FRAMES
    raw.close()
    toy.release()
    run(client, job)
    assert job.state == "done" and clip.taken == 500


def test_cancel_stops_the_work_and_keeps_its_chunks(toy):
    toy.start()
    client, clip = toy.client(), Synthetic(100, commands={20: HOLD})
    job = client.open(clip, {"chunk": 8})
    until(client, job, 20)
    job.cancel()
    assert job.state == "cancelled" and clip.closed
    wait_for(lambda: (client.pump(0.05), toy.record(job.id)["state"] == "cancelled")[1], "the backend")
    assert sorted(p.name for p in toy.folder(job.id).glob("chunk*")) == ["chunk_00000.npz", "chunk_00001.npz"]
    assert [r.final for r in job.take_results()] == [False, False] and job.error is None
    again = client.open(Synthetic(10), {})
    run(client, again)
    assert again.state == "done"


def test_cancel_before_the_backend_has_answered(toy):
    toy.start()
    client = toy.client()
    job = client.open(Synthetic(100, commands={0: HOLD}), {})
    job.cancel()
    other = client.open(Synthetic(5), {})
    run(client, other)
    assert (job.state, other.state) == ("cancelled", "done")
    assert toy.record(job.id)["state"] == "cancelled"


def test_a_second_client_waits_for_its_turn(toy):
    toy.start()
    first, second = toy.client(), toy.client()
    one = first.open(Synthetic(30, commands={20: HOLD}), {})
    until(first, one, 20)
    two, three = (second.open(Synthetic(10), {}) for _ in range(2))
    wait_for(lambda: (second.pump(0.05), two.progress.stage == three.progress.stage == "queued")[1])
    assert two.frames_sent == three.frames_sent == 0
    two.cancel()
    wait_for(lambda: (second.pump(0.05), toy.record(two.id)["state"] == "cancelled")[1])
    toy.release()
    run(first, one)
    run(second, three)
    assert (one.state, two.state, three.state) == ("done", "cancelled", "done")


def test_a_client_that_vanishes_frees_the_worker(toy):
    toy.start()
    raw, client = Raw(toy.endpoint), toy.client()
    raw.hello()
    gone = raw.open(frames=100, chunk=4)
    raw.expect("credit")
    for index in range(10):
        raw.frame(gone, index)
    raw.expect("result")
    raw.expect("result")
    job = client.open(Synthetic(10), {})
    wait_for(lambda: (client.pump(0.05), job.progress.stage == "queued")[1])
    raw.close()
    run(client, job)
    assert job.state == "done" and toy.record(gone)["state"] == "interrupted"
    # Whoever comes back goes on behind the last whole chunk.
    clip = Synthetic(100)
    resumed = client.resume(gone, lambda: clip)
    run(client, resumed)
    assert resumed.state == "done" and resumed.frames_sent == 92


def test_a_job_that_has_all_its_frames_goes_on_without_its_client(toy):
    toy.start()
    raw, client = Raw(toy.endpoint), toy.client()
    raw.hello()
    job = raw.open(frames=6)
    raw.expect("credit")
    for index in range(6):
        image = np.full((6, 8, 3), index, np.uint8)
        image[0, 0, 0] = HOLD if index == 5 else 0
        raw.frame(job, index, image)
    raw.say("end", job, frames=6, damage=None)
    raw.say("ping")
    raw.expect("pong")
    raw.close()
    again = client.resume(job, lambda: pytest.fail("no frames are needed"))
    wait_for(lambda: (client.pump(0.05), again.state == "running" and again.body)[1], "the job")
    toy.release()
    results = run(client, again)
    assert again.state == "done" and [len(r.frames) for r in results if r.final] == [6]


def test_a_job_at_work_cannot_be_taken_over(toy):
    toy.start()
    first, second = toy.client(), toy.client()
    job = first.open(Synthetic(30, commands={5: HOLD}), {})
    until(first, job, 5)
    other = second.resume(job.id, lambda: Synthetic(30))
    run(second, other)
    assert other.state == "failed" and other.error_code == "job_busy"
    toy.release()
    run(first, job)
    assert job.state == "done"


def test_an_error_of_the_road_is_one_sentence(toy):
    toy.start()
    client = toy.client()
    refused, empty = client.open(Synthetic(5, commands={3: REFUSE}), {}), client.open(Synthetic(0), {})
    options = client.open(Synthetic(5), {"colour": "red"})
    run(client, refused, empty, options)
    assert (refused.state, refused.error_code) == ("failed", "no_person")
    assert refused.error == "No person was found: choose another clip."
    assert empty.error_code == "no_frames" and options.error_code == "bad_options"
    assert toy.record(refused.id)["error"] == refused.error


def test_a_mistake_of_ours_is_one_sentence_and_a_traceback_in_the_log(toy):
    toy.start()
    client = toy.client()
    job = client.open(Synthetic(40, commands={33: CRASH}), {"chunk": 8})
    run(client, job)
    assert (job.state, job.error_code) == ("failed", "internal")
    assert "\n" not in job.error and str(toy.folder(job.id) / "log.txt") in job.error
    text = (toy.folder(job.id) / "log.txt").read_text()
    assert "ZeroDivisionError: on purpose" in text and "Traceback" in text
    # What was finished is not lost with it.
    toy.release()
    again = client.resume(job.id, lambda: Synthetic(40))
    run(client, again)
    assert again.state == "done" and again.frames_sent == 8


def test_a_damaged_clip_is_used_up_to_the_damage(toy):
    toy.start()
    client = toy.client()
    job = client.open(Synthetic(10, damage="The clip is cut off after 10 frames."), {})
    run(client, job)
    assert job.state == "done" and "The clip is cut off after 10 frames." in job.warnings
    assert toy.record(job.id)["damage"] == "The clip is cut off after 10 frames."


class Broken(Synthetic):
    """Fails while it is read."""

    error: Exception = ClipError("The film is torn: mend it.")

    def __iter__(self):
        yield from list(super().__iter__())[:7]
        raise self.error


def test_a_clip_that_breaks_ends_the_job_at_both_ends(toy):
    toy.start()
    client = toy.client()
    job = client.open(Broken(10), {"chunk": 4})
    run(client, job)
    assert (job.state, job.error) == ("failed", "The film is torn: mend it.")
    wait_for(lambda: (client.pump(0.05), toy.record(job.id)["state"] == "cancelled")[1], "the backend")
    Broken.error = OSError("No medium found")
    other = client.open(Broken(10), {})
    run(client, other)
    assert other.state == "failed" and "No medium found" in other.error and "\n" not in other.error


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file size are POSIX")
def test_a_full_disk_ends_the_job_and_keeps_earlier_chunks(toy):
    """The chunks fit under the limit; the final motion does not."""
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    toy.start(preexec_fn=limit)
    client = toy.client()
    job = client.open(Synthetic(64), {"chunk": 32})
    run(client, job)
    assert (job.state, job.error_code) == ("failed", "disk_full")
    assert "free some space" in job.error and job.id in job.error
    assert sorted(p.name for p in toy.folder(job.id).iterdir()) == [
        "chunk_00000.npz",
        "chunk_00001.npz",
        "job.json",
        "log.txt",
    ]
    toy.kill()
    toy.start()
    client = toy.client()
    again = client.resume(job.id, lambda: pytest.fail("all frames were finished"))
    run(client, again)
    assert again.state == "done" and again.summary["frames"] == 64


def test_messages_for_jobs_of_others_are_not_obeyed(toy, raw):
    client = toy.client()
    job = client.open(Synthetic(30, commands={5: HOLD}), {})
    until(client, job, 5)
    raw.hello()
    raw.say("cancel", job.id)
    raw.say("end", job.id, frames=0, damage=None)
    raw.frame(job.id, 6)
    raw.say("ping")
    raw.expect("pong")
    toy.release()
    run(client, job)
    assert job.state == "done" and wire.is_job_id(job.id)

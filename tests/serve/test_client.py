"""The add-on's client against a backend that misbehaves: a real socket that says what a test wants said."""

import threading
import time

import numpy as np
import pytest
import zmq

from blender_addon.link.client import Client
from blender_addon.shared import wire
from blender_addon.shared.home import Endpoint

from .helpers import DEADLINE_S, Synthetic, wait_for


class Backend:
    """A ROUTER whose side of the talk is spoken by hand."""

    def __init__(self) -> None:
        self.context = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        self.router.setsockopt(zmq.LINGER, 0)
        port = self.router.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = Endpoint(f"tcp://127.0.0.1:{port}", "token", 1, wire.VERSION)
        self.client: bytes = b""
        self.seq = 0

    def hear(self, kind) -> wire.Message:
        """The next message of this kind."""
        while True:
            assert self.router.poll(DEADLINE_S * 1000), f"no '{kind}' came"
            self.client, *frames = self.router.recv_multipart()
            if (message := wire.unpack(frames)).type == kind:
                return message

    def say(self, kind, job="j1", arrays=None, seq=None, **fields):
        self.seq += 1
        self.send(wire.pack(kind, job, self.seq if seq is None else seq, arrays, **fields))

    def send(self, frames):
        self.router.send_multipart([self.client, *frames])

    def close(self):
        self.context.destroy(0)


@pytest.fixture
def backend():
    spoken = Backend()
    yield spoken
    spoken.close()


@pytest.fixture
def client(backend):
    with_backend = Client(backend.endpoint)
    yield with_backend
    with_backend.close()


def opened(backend, client, clip=None, **options):
    """A running job and the number that answers to it carry."""
    job = client.open(clip or Synthetic(5), options)
    asked = backend.hear("open").seq
    backend.say("opened", reply=asked, next_frame=0, complete=False)
    wait_for(lambda: (client.pump(0.01), job.state == "running")[1])
    return job, asked


def settle(backend, client):
    """Pump until all that the backend has said was heard."""
    backend.say("pong", None)
    last = backend.seq
    wait_for(lambda: (client.pump(0.01), client._last_heard >= last)[1])


def result_arrays(n=2):
    sizes = {"n": n, "b": 16, "e": 20}
    return {
        name: np.zeros([sizes.get(d, d) for d in dims], dtype) for name, (dtype, dims) in wire.RESULT.items()
    }


CAMERA = {"width": 8, "height": 6, "fx": 10, "fy": 10.5, "cx": 3.5, "cy": 2.5}


def test_what_the_client_says_first(backend, client):
    hello = backend.hear("hello")
    assert hello.fields["token"] == "token" and hello.seq == 1
    client.open(Synthetic(5), {"chunk": 4})
    said = backend.hear("open")
    assert said.fields["options"] == {"chunk": 4}
    assert said.fields["clip"] == {
        "name": "noise.mp4", "width": 8, "height": 6, "fps": 25.0, "frame_count": 5, "source": None,
        "focal_35mm": None,
    }  # fmt: skip


def test_frames_are_sent_one_by_one_against_credit(backend, client):
    clip = Synthetic(5)
    job, asked = opened(backend, client, clip)
    settle(backend, client)
    assert clip.taken == 0
    backend.say("credit", reply=asked, frames=2)
    settle(backend, client)
    assert clip.taken == job.frames_sent == 2
    backend.say("credit", reply=asked, frames=9)
    settle(backend, client)
    frames = [backend.hear("frame") for _ in range(5)]
    assert [f.fields["index"] for f in frames] == [0, 1, 2, 3, 4]
    for sent, meant in zip(frames, Synthetic(5), strict=True):
        np.testing.assert_array_equal(sent.arrays["image"], meant.image)
        assert sent.fields["time_s"] == meant.time_s
    assert backend.hear("end").fields == {"frames": 5, "damage": None}


def test_resume_sends_from_the_frame_that_is_asked_for(backend, client):
    job = client.resume("old-job", lambda: Synthetic(5))
    said = backend.hear("resume")
    backend.say("opened", said.job, reply=said.seq, next_frame=3, complete=False)
    backend.say("credit", said.job, reply=said.seq, frames=9)
    wait_for(lambda: (client.pump(0.01), job.frames_sent == 2)[1])
    assert [backend.hear("frame").fields["index"] for _ in range(2)] == [3, 4]
    assert backend.hear("end").fields["frames"] == 5


def test_a_clip_that_can_skip_is_asked_to(backend, client):
    class Skipping(Synthetic):
        def frames(self, start):
            return (f for f in list(self)[start:])

    job = client.resume("old-job", lambda: Skipping(5))
    said = backend.hear("resume")
    backend.say("opened", said.job, reply=said.seq, next_frame=4, complete=False)
    backend.say("credit", said.job, reply=said.seq, frames=9)
    wait_for(lambda: (client.pump(0.01), job.frames_sent == 1)[1])
    assert backend.hear("frame").fields["index"] == 4


def test_results_and_progress(backend, client):
    job, asked = opened(backend, client)
    backend.say("progress", reply=asked, stage="localize", done=3, total=5, seconds_left=1.5)
    backend.say("result", reply=asked, arrays=result_arrays(), track=3, final=True, camera=CAMERA)
    settle(backend, client)
    assert (job.progress.stage, job.progress.done, job.progress.total) == ("localize", 3, 5)
    assert job.progress.seconds_left == 1.5
    (result,) = job.take_results()
    assert (result.track, result.final, result.camera.fx) == (3, True, 10.0)
    assert result.pose.shape == (2, 55, 3) and not result.pose.flags.writeable
    assert job.take_results() == []
    backend.say("done", reply=asked, summary={"frames": 5})
    settle(backend, client)
    assert job.state == "done" and job.summary == {"frames": 5} and client.ignored == 0


def bad_messages(asked):
    """Each of these must be ignored."""
    lens = {**CAMERA, "fx": "wide"}
    yield "result", {"reply": asked, "arrays": result_arrays(), "track": "3", "final": True, "camera": CAMERA}
    yield "result", {"reply": asked, "arrays": result_arrays(), "track": 3, "final": 1, "camera": CAMERA}
    yield "result", {"reply": asked, "arrays": result_arrays(), "track": 3, "final": True, "camera": lens}
    yield "result", {"reply": asked, "arrays": result_arrays(), "track": 3, "final": True, "camera": None}
    yield "result", {"reply": asked, "track": 3, "final": True, "camera": CAMERA}
    yield "credit", {"reply": asked, "frames": -1}
    yield "credit", {"reply": asked, "frames": 10**9}
    yield "credit", {"reply": asked, "frames": "all"}
    yield "credit", {"frames": 1}
    yield "credit", {"reply": asked + 1, "frames": 1}
    yield "credit", {"reply": asked, "frames": 1, "job": "another"}
    yield "opened", {"reply": asked, "next_frame": 3, "complete": False}
    yield "opened", {"reply": asked, "next_frame": 0, "complete": False, "job": "another"}
    yield "progress", {"reply": asked, "stage": 3, "done": 0, "total": 1}
    yield "body", {"reply": asked, "name": "open", "licence_note": "x", "joint_names": ["a"] * 55}
    yield "done", {"reply": asked}
    yield "error", {"reply": asked, "code": 3, "text": "x"}
    yield "fail", {"reply": asked, "reason": "x"}
    yield "over", {"reply": asked}
    yield "frame", {"reply": asked}


def test_malformed_foreign_and_unknown_messages_are_ignored(backend, client):
    clip = Synthetic(5)
    job, asked = opened(backend, client, clip)
    count = 0
    for kind, fields in bad_messages(asked):
        backend.say(kind, **fields)
        count += 1
    for garbage in ([b""], [b"{"], [b"\0" * 100], [wire.pack("pong", None, 10**6)[0], b"more"]):
        backend.send(garbage)
        count += 1
    settle(backend, client)
    assert (job.state, clip.taken, job.take_results(), job.body) == ("running", 0, [], None)
    assert client.ignored == count and client.error is None and job.progress.stage == "opening"


def test_doubled_and_late_messages_are_ignored(backend, client):
    job, asked = opened(backend, client)
    backend.say("result", reply=asked, arrays=result_arrays(), track=1, final=False, camera=CAMERA)
    again = backend.seq
    backend.say("result", reply=asked, arrays=result_arrays(), track=1, final=False, camera=CAMERA, seq=again)
    backend.say("done", reply=asked, summary={})
    backend.say("result", reply=asked, arrays=result_arrays(), track=1, final=True, camera=CAMERA)
    backend.say("error", reply=asked, code="late", text="Too late.")
    backend.say("done", reply=asked, summary={"late": True})
    settle(backend, client)
    assert (job.state, job.summary, len(job.take_results()), client.ignored) == ("done", {}, 1, 4)


def test_another_version_of_the_backend(backend, client):
    job = client.open(Synthetic(5), {})
    backend.hear("open")
    own = f'"v":{wire.VERSION}'.encode()
    header = wire.pack("opened", "j1", 1)[0].replace(own, b'"v":7')
    backend.send([header])
    wait_for(lambda: (client.pump(0.01), job.finished)[1])
    assert job.state == "failed" and "version 7" in job.error and "same release" in job.error


def test_a_backend_that_says_nothing_any_more(backend):
    """Only time spent pumping counts, so a Blender that stood still does not give up."""
    now = [0.0]
    client = Client(backend.endpoint, silence_s=10, clock=lambda: now[0])
    job = client.open(Synthetic(5), {})
    now[0] += 1000
    client.pump(0)
    assert client.error is None
    for _ in range(9):
        now[0] += 1
        client.pump(0)
    assert client.error is None and not job.finished
    now[0] += 1
    client.pump(0)
    assert client.error == "The backend gave no answer for 10 seconds."
    assert job.state == "failed" and "start the backend again" in job.error
    client.close()


def test_a_backend_that_answers_pings_is_alive(backend):
    now = [0.0]
    client = Client(backend.endpoint, silence_s=10, clock=lambda: now[0])
    for _ in range(10):
        now[0] += 3
        client.pump(0)
        heard = client._last_heard
        backend.say("pong", None, reply=backend.hear("ping").seq)
        # The clock stands still until the answer is there.
        wait_for(lambda before=heard: (client.pump(0), client._last_heard > before)[1])
    assert client.error is None
    client.close()


def test_a_dead_process_is_noticed_before_any_silence(backend):
    alive = [True]
    client = Client(backend.endpoint, alive=lambda: alive[0])
    job, _ = opened(backend, client)
    alive[0] = False
    client.pump(0)
    assert job.state == "failed" and "resume job j1" in job.error
    client.close()


def test_a_closed_connection_is_noticed_without_the_process(backend, client):
    job, asked = opened(backend, client)
    backend.say("warning", reply=asked, text="Last words.")
    settle(backend, client)
    backend.close()
    wait_for(lambda: (client.pump(0.01), job.finished)[1])
    assert job.error.startswith("The backend ended before the job was done") and job.warnings


def test_a_pump_without_news_returns(backend, client):
    backend.hear("hello")
    for _ in range(20):
        assert client.pump(0.001) is False


def test_a_budget_is_not_spent_on_more_than_one_slow_frame(backend, client):
    """Decoding is slow here by a clock that only the clip moves."""
    now = [0.0]
    client._clock = lambda: now[0]

    class Slow(Synthetic):
        def __iter__(self):
            for frame in super().__iter__():
                now[0] += 0.5
                yield frame

    clip = Slow(50)
    job, asked = opened(backend, client, clip)
    backend.say("credit", reply=asked, frames=40)
    wait_for(lambda: (client.pump(0), clip.taken)[1])
    for _ in range(5):
        before = clip.taken
        client.pump(0.01)
        assert clip.taken == before + 1
    job.cancel()


def test_no_thread_is_started(backend):
    before = threading.active_count()
    client = Client(backend.endpoint)
    client.open(Synthetic(5), {})
    client.pump(0.01)
    assert threading.active_count() == before
    client.close()


def test_close_fails_what_runs_and_may_be_called_twice(backend, client):
    clip = Synthetic(5)
    job, asked = opened(backend, client, clip)
    backend.say("credit", reply=asked, frames=1)
    wait_for(lambda: (client.pump(0.01), job.frames_sent)[1])
    client.close(stop=True)
    client.close()
    assert backend.hear("bye").fields == {"stop": True}
    assert job.state == "failed" and "resume job j1" in job.error and clip.closed
    assert client.pump(0.01) is False
    job.cancel()
    assert job.state == "failed"


def test_an_unusable_description_fails_at_once(client):
    job = client.open(Synthetic(5), {"body": object()})
    assert job.state == "failed" and "cannot be described" in job.error
    missing = client.open([1, 2], {}, {"name": float("nan")})
    assert missing.state == "failed"


def test_closing_does_not_wait_for_a_backend_that_is_not_there(backend):
    endpoint = backend.endpoint
    backend.close()
    client = Client(endpoint)
    client.open(Synthetic(5), {})
    client.pump(0)
    start = time.monotonic()
    client.close()
    assert time.monotonic() - start < DEADLINE_S

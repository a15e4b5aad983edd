"""Who may speak: token, version, garbage; and how the backend begins and ends."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys

import pytest

from blender_addon.shared import wire
from blender_addon.shared.alive import pid_alive

from .helpers import DEADLINE_S, PYTHON, TOY, Raw, Synthetic, run, wait_for


def test_hello_is_answered_with_capabilities(raw):
    said = raw.hello().fields
    assert said["version"] == wire.VERSION and said["localizers"] == ["toy"] and said["jobs"] == []


@pytest.mark.slow
@pytest.mark.parametrize("token", ["", "x", "é" * 20, None, 5])
def test_a_wrong_token_is_refused_and_nothing_else_is_heard(raw, token):
    raw.say("hello", token=token, client="raw", version=1)
    answer = raw.hear()
    assert answer.type == "error" and answer.fields["code"] in ("bad_token", "malformed")
    raw.say("open", options={}, clip={"name": "x", "width": 8, "height": 8, "fps": 1, "frame_count": 1})
    assert raw.hear().fields["code"] == "no_hello"


def test_without_hello_nothing_is_done(raw, toy):
    for kind in ("open", "frame", "cancel", "resume", "ping", "bye"):
        raw.say(kind, "some-job")
        answer = raw.hear().fields
        assert answer["code"] == "no_hello" and answer["reply"] == raw.seq
    assert not (toy.home / "jobs").exists()


def test_another_version_is_told_so(raw):
    raw.socket.send(json.dumps({"v": 99, "type": "hello", "job": None, "seq": 1, "arrays": []}).encode())
    answer = raw.hear().fields
    assert answer["code"] == "version" and "version 99" in answer["text"]


def test_garbage_is_answered_and_the_loop_goes_on(raw, toy):
    raw.hello()
    good = wire.pack("ping", None, 9)[0]
    garbage = [[b""], [b"\0" * 1000], [b"{}"], [good, b"too much"], [b"[" * 100_000], [os.urandom(5000)] * 40]
    garbage += [
        wire.pack(kind, "no-such-job", 9) for kind in ("open", "resume", "result", "nonsense", "hello")
    ]
    for frames in garbage:
        raw.socket.send_multipart(frames)
        answer = raw.hear()
        assert answer.type == "error", frames
        assert answer.fields["text"].endswith(".") and "\n" not in answer.fields["text"]
    with socket.create_connection(("127.0.0.1", int(toy.endpoint.endpoint.rpartition(":")[2]))) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
    raw.say("ping")
    assert raw.expect("pong").fields["reply"] == raw.seq
    assert toy.child.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "clip",
    [
        {}, {"name": "x"}, {"name": 3, "width": 8, "height": 8}, {"name": "x", "width": 0, "height": 8},
        {"name": "x", "width": 10**9, "height": 8}, {"name": "x", "width": 16384, "height": 16384},
        {"name": "x", "width": 8.5, "height": 8}, {"name": "x", "width": 8, "height": 8, "fps": "fast"},
    ],
)  # fmt: skip
def test_an_impossible_clip_is_refused(raw, toy, clip):
    raw.hello()
    raw.say("open", options={}, clip=clip)
    answer = raw.hear().fields
    assert (answer["code"], answer["reply"]) == ("malformed", raw.seq)
    assert not (toy.home / "jobs").exists()


def test_the_add_on_is_told_of_a_wrong_token(toy):
    toy.start()
    file = json.loads(toy.endpoint_file.read_text())
    toy.endpoint_file.write_text(json.dumps({**file, "token": "stolen"}))
    client = toy.client()
    job = client.open(Synthetic(3), {})
    run(client, job)
    assert job.state == "failed" and job.error == client.error
    assert "token is wrong" in job.error


def test_the_endpoint_file_is_for_its_user_alone(toy):
    toy.start()
    assert toy.endpoint.pid == toy.child.pid and len(toy.endpoint.token) >= 32
    if os.name == "posix":
        assert stat.S_IMODE(toy.endpoint_file.stat().st_mode) == 0o600


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX; Windows ends the backend by saying bye")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_it_cleanly(toy, name):
    toy.start()
    client = toy.client()
    job = client.open(Synthetic(40, commands={20: 201}), {"chunk": 4})
    wait_for(lambda: client.pump(0.05) and job.progress.done == 20, "frame 20")
    toy.child.send_signal(getattr(signal, name))
    assert toy.child.wait(DEADLINE_S) == 0
    assert not toy.endpoint_file.exists()
    run(client, job)
    assert job.state == "failed" and "stopped" in job.error and f"resume job {job.id}" in job.error
    assert toy.record(job.id)["state"] == "interrupted"


def test_bye_with_stop_ends_it_unless_somebody_else_is_there(toy):
    toy.start()
    first, second = toy.client(), toy.client()
    wait_for(lambda: (first.pump(), second.pump(), first.capabilities and second.capabilities)[-1])
    first.close(stop=True)
    job = second.open(Synthetic(3), {})
    run(second, job)
    assert job.state == "done"
    second.close(stop=True)
    assert toy.child.wait(DEADLINE_S) == 0
    assert not toy.endpoint_file.exists()


def test_a_taken_port_ends_in_one_sentence(toy):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        child = toy.spawn(str(port))
        _, words = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 1
    assert words.count("\n") == 1 and f"Port {port}" in words and "--port" in words
    assert not toy.endpoint_file.exists()


def test_a_chosen_port_is_used(toy):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    toy.start(str(port))
    assert toy.endpoint.endpoint == f"tcp://127.0.0.1:{port}"


def test_a_second_backend_leaves_the_first_alone(toy):
    toy.start()
    before = toy.endpoint
    child = toy.spawn()
    _, words = child.communicate(timeout=DEADLINE_S)
    assert child.returncode == 1 and words.count("\n") == 1 and "already runs" in words
    assert toy.endpoint == before


@pytest.mark.slow
def test_what_a_killed_backend_left_is_replaced(toy):
    toy.start()
    before = toy.endpoint
    toy.kill()
    assert toy.endpoint_file.exists()
    child = toy.spawn()
    wait_for(lambda: toy.endpoint_file.exists() and toy.endpoint != before, "the new endpoint")
    assert toy.endpoint.pid == child.pid
    child.kill()
    child.communicate()


@pytest.mark.slow
def test_an_orphan_ends(toy):
    """The parent starts the backend as Blender would and is killed, so it can tell nobody."""
    code = (
        "import subprocess, sys, time, os\n"
        "subprocess.Popen([*sys.argv[1:], '0', str(os.getpid())])\n"
        "time.sleep(600)\n"
    )
    backend = [PYTHON, str(TOY), str(toy.home)]
    parent = subprocess.Popen([sys.executable, "-c", code, *backend], stderr=subprocess.DEVNULL)
    try:
        wait_for(toy.endpoint_file.exists, "the backend")
        pid = toy.endpoint.pid
        assert pid != parent.pid and pid_alive(pid)
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not pid_alive(pid), "the orphan's end")
    assert not toy.endpoint_file.exists()


@pytest.mark.slow
def test_an_orphan_stays_while_another_add_on_uses_it(toy):
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    toy.start("0", str(parent.pid))
    client = toy.client()
    job = client.open(Synthetic(30, commands={9: 201}), {})
    wait_for(lambda: client.pump(0.05) and job.progress.done == 9, "frame 9")
    parent.communicate()
    raw = Raw(toy.endpoint)
    raw.hello()
    # Two heartbeats later the loop has looked at its parent.
    before = job.progress
    wait_for(lambda: client.pump(0.1) and client.capabilities and job.progress is not before)
    toy.release()
    run(client, job)
    assert job.state == "done"
    raw.close()
    client.close()
    assert toy.child.wait(DEADLINE_S) == 0

"""How commands end, and that a terminal shows a bar on the way: real ones, in child processes.

That there is no bar without a terminal is seen where the commands themselves are tested.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = ROOT / "tests" / "data" / "two_people.mp4"
SMALL = ("--localizer", "landmarks-lite")


def child(*arguments: str | Path, home: Path, **how) -> subprocess.Popen:
    environ = {**os.environ, "BODYFIELD_HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    environ = {k: v for k, v in environ.items() if k not in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE")}
    command = [sys.executable, "-m", "backend", *map(str, arguments)]
    how = {"stderr": subprocess.PIPE, **how}
    return subprocess.Popen(command, cwd=home, env=environ, stdout=subprocess.PIPE, encoding="utf-8", **how)


def run(*arguments: str | Path, home: Path) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    started = child(*arguments, home=home)
    out, err = started.communicate(timeout=300)
    return started.returncode, out, err


def wait_for(met, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
def test_an_error_is_one_sentence_as_it_is_and_exit_code_1(tmp_path):
    code, out, err = run("overlay", "[red]x", "a.mp4", "-o", "b.mp4", home=tmp_path)
    assert (code, out, err) == (1, "", "There is no job [red]x here: import the clip once more.\n")


@pytest.mark.slow
def test_wrong_arguments_are_exit_code_2(tmp_path):
    code, out, err = run("overlay", "job", home=tmp_path)
    assert (code, out) == (2, "") and "Missing argument" in err
    assert run("nonsense", home=tmp_path)[0] == 2


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a terminal and Ctrl-C for one child need POSIX")
def test_a_terminal_shows_a_bar_and_ctrl_c_stops_plainly(tmp_path):
    ours, theirs = os.openpty()
    os.set_blocking(ours, False)
    shown = b""

    def listen(word: bytes):
        def heard() -> bool:
            nonlocal shown
            try:
                shown += os.read(ours, 65536)
            except OSError:
                # Nothing was said, or nobody is left to say anything.
                return started.poll() is not None
            return word in shown

        return heard

    # A suite that was started in the background hands on that Ctrl-C is to be ignored.
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None}
    started = child("mocap", PEOPLE, "-o", "out", *SMALL, home=tmp_path, stderr=theirs, **heed)
    os.close(theirs)
    try:
        wait_for(listen(b"Finding and following people"))
        assert started.poll() is None
        started.send_signal(signal.SIGINT)
        wait_for(listen(b"no such word"))
        out, _ = started.communicate(timeout=60)
    finally:
        started.kill()
        os.close(ours)
    assert (started.returncode, out) == (130, "")
    assert shown.count(b"Stopped.") == 1 and b"Traceback" not in shown
    (job,) = (tmp_path / "jobs").iterdir()
    assert json.loads((job / "job.json").read_text(encoding="utf-8"))["state"] == "cancelled"
    assert not (tmp_path / "out").exists()

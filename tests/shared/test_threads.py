"""Threads that give way: what is set, what a user's own word changes, and that PyTorch really obeys."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blender_addon.link.process import BackendCommand
from blender_addon.shared import threads

ROOT = Path(__file__).resolve().parents[2]


def test_waiting_is_passive_and_a_users_own_word_stays():
    found: dict[str, str] = {}
    threads.give_way(found)
    assert (threads.PASSIVE | threads.BLAS).items() <= found.items()
    for name in threads.PASSIVE:
        own = {name: "mine", threads.COUNT: "7"}
        threads.give_way(own)
        assert own == {name: "mine", threads.COUNT: "7", **threads.BLAS}
    own = {"OPENBLAS_NUM_THREADS": "3"}
    threads.give_way(own)
    assert own["OPENBLAS_NUM_THREADS"] == "3"


def test_a_backend_is_started_with_it(monkeypatch):
    for name in (*threads.PASSIVE, threads.COUNT):
        monkeypatch.delenv(name, raising=False)
    assert threads.PASSIVE.items() <= BackendCommand(Path(sys.executable)).environment().items()


@pytest.mark.parametrize("module", ["backend", "bench"])
def test_whoever_imports_the_package_has_it_before_torch(module):
    free = {k: v for k, v in os.environ.items() if k not in (*threads.PASSIVE, threads.COUNT)}
    code = (
        f"import {module}, sys, os; assert 'torch' not in sys.modules; print(os.environ['OMP_WAIT_POLICY'])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=free, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "PASSIVE"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux tells each thread's time")
def test_nobody_spins_after_a_product():
    """numpy's own threads used up a core for a tenth of a second after each product that they shared out."""
    code = (
        "import backend, numpy as np, time\n"
        "a = np.random.default_rng(0).normal(size=(1500, 1500)); a @ a\n"
        "before = time.process_time(); time.sleep(0.2); print(time.process_time() - before)"
    )
    free = {k: v for k, v in os.environ.items() if k not in (*threads.BLAS, threads.COUNT)}
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=free, capture_output=True, text=True, check=True
    )
    assert float(said.stdout) < 0.03


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", math.inf), ("150000 100000", 1.5), ("x", math.inf), ("1 0", math.inf)]
)
def test_what_a_container_grants(tmp_path, text, cores):
    (tmp_path / "cpu.max").write_text(text)
    assert threads._quota(tmp_path) == cores
    assert threads._quota(tmp_path / "nothing") == math.inf


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux pins a process to cores")
def test_a_pinned_process_counts_its_own_cores():
    one = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, {{{one}}})\n"
        "from blender_addon.shared.threads import usable_cores, give_way\n"
        "found = {}; give_way(found); print(usable_cores(), found.get('OMP_NUM_THREADS'))"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["1", "1" if (os.cpu_count() or 1) > 1 else "None"]

"""Finding, starting, watching and stopping the backend, with the real `python -m backend serve`."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import platformdirs
import pytest

from backend.commands.serve import NICE
from blender_addon.link import process
from blender_addon.link.client import Client
from blender_addon.shared import wire
from blender_addon.shared.alive import pid_alive
from blender_addon.shared.home import home_folder, log_path

from .helpers import DEADLINE_S, PYTHON, ROOT, wait_for


def locate(home, **changes):
    located = {"python": PYTHON, "root": str(ROOT), **changes}
    (home / "backend.json").write_text(json.dumps(located))


def write_endpoint(home, **changes):
    data = {"endpoint": "tcp://127.0.0.1:9", "token": "t", "pid": os.getpid(), "version": wire.VERSION}
    (home / "endpoint.json").write_text(json.dumps({**data, **changes}))


def test_the_folder_is_the_systems_own_for_applications(home, monkeypatch):
    assert home_folder() == home
    monkeypatch.delenv("BODYFIELD_HOME")
    theirs = Path(platformdirs.user_data_dir("bodyfield", appauthor=False))
    assert home_folder() == theirs
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "xdg"))
    assert home_folder() == home / "xdg" / "bodyfield"


def test_a_missing_backend_says_what_to_do(home, monkeypatch):
    monkeypatch.delenv("BODYFIELD_PYTHON", raising=False)
    with pytest.raises(process.BackendMissing, match=r"not installed: run 'python install.py setup'"):
        process.find_backend()
    for changes in ({"python": str(home / "gone")}, {"root": str(home / "moved")}):
        locate(home, **changes)
        with pytest.raises(process.BackendMissing, match=r"python install\.py setup"):
            process.find_backend()
    for text in ("", "{}", "[]", "null", '{"python": 3}', "\0"):
        (home / "backend.json").write_text(text)
        with pytest.raises(process.BackendMissing, match=r"python install\.py setup"):
            process.find_backend()
    with pytest.raises(process.BackendMissing, match="preferences"):
        process.find_backend(home / "gone")
    monkeypatch.setenv("BODYFIELD_PYTHON", str(home / "gone"))
    with pytest.raises(process.BackendMissing, match="BODYFIELD_PYTHON"):
        process.find_backend()
    with pytest.raises(process.BackendMissing):
        process.connect_or_start()


def test_the_order_in_which_it_is_looked_for(home, monkeypatch):
    monkeypatch.delenv("BODYFIELD_PYTHON", raising=False)
    located, preferred, named = (home / name for name in ("located", "preferred", "named"))
    for file in (located, preferred, named):
        file.touch()
    locate(home, python=str(located), root=None)
    assert process.find_backend() == process.BackendCommand(located, None)
    assert process.find_backend(preferred).python == preferred
    monkeypatch.setenv("BODYFIELD_PYTHON", str(named))
    assert process.find_backend(preferred) == process.BackendCommand(named, ROOT)


def test_an_installed_add_on_finds_the_folder_of_the_python_it_was_given(home, monkeypatch):
    """In Blender the add-on lies in Blender's own folders; only the interpreter's place tells where Bodyfield is."""
    monkeypatch.setattr(process, "_source_root", lambda: None)
    monkeypatch.delenv("BODYFIELD_PYTHON", raising=False)
    python = home / "clone" / ".venv" / "bin" / "python"
    (home / "clone" / "backend").mkdir(parents=True)
    (home / "clone" / "backend" / "__main__.py").touch()
    python.parent.mkdir(parents=True)
    python.touch()
    assert process.find_backend(python) == process.BackendCommand(python, home / "clone")
    elsewhere = home / "python"
    elsewhere.touch()
    assert process.find_backend(elsewhere) == process.BackendCommand(elsewhere, None)


def test_the_child_gets_an_environment_of_its_own(monkeypatch):
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "VIRTUAL_ENV"):
        monkeypatch.setenv(name, "/nowhere")
    monkeypatch.setenv("KEPT", "yes")
    alone = process.BackendCommand(Path("python")).environment()
    assert alone["KEPT"] == "yes" and not {"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"} & set(alone)
    assert process.BackendCommand(Path("python"), ROOT).environment()["PYTHONPATH"] == str(ROOT)


@pytest.mark.slow
def test_a_file_that_appears_while_it_is_looked_for_stays(home):
    """While its child starts the add-on looks for the file many thousand times a second."""
    rounds, path, ready = 300, home / "endpoint.json", home / "ready.json"
    with socket.create_server(("127.0.0.1", 0), backlog=2 * rounds) as listening:
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        for _ in range(rounds):
            write_endpoint(home, endpoint=address)
            path.rename(ready)
            backend = threading.Thread(target=ready.rename, args=(path,))
            backend.start()
            while process.running_endpoint() is None and backend.is_alive():
                pass
            backend.join()
            assert path.exists() and process.running_endpoint() is not None


def test_pid_alive():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert pid_alive(os.getpid()) and pid_alive(child.pid)
    # Numbers that no system gives, and that no system call takes.
    for absurd in (0, -1, 1 << 31, 1 << 32, 1 << 64, -(1 << 70)):
        assert not pid_alive(absurd), absurd
    child.stdin.close()
    # Dead but not yet reaped counts as dead where the system tells (Linux); reaped, everywhere.
    if sys.platform == "linux":
        wait_for(lambda: not pid_alive(child.pid))
    child.wait()
    assert not pid_alive(child.pid)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        '{"endpoint": "tcp://127.0.0.1:9"}',
        "\ud800".encode("utf-8", "surrogatepass"),
    ],
)
def test_an_endpoint_file_of_nonsense_is_removed(home, text):
    (home / "endpoint.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert process.running_endpoint() is None and not (home / "endpoint.json").exists()


def test_an_endpoint_file_of_a_dead_backend_is_removed(home):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    for changes in (
        {"pid": child.pid}, {"pid": "1"}, {"pid": 1 << 80}, {"pid": True}, {"pid": -1},
        {"token": 5}, {"endpoint": 3}, {"version": None},
        {"endpoint": "ipc:///endpoint"}, {"endpoint": "tcp://127.0.0.1:port"}, {"endpoint": "tcp://127.0.0.1"},
        # The pid lives (it is ours), but nobody listens there: the pid was given away again.
        {},
    ):  # fmt: skip
        write_endpoint(home, **changes)
        assert process.running_endpoint() is None, changes
        assert not (home / "endpoint.json").exists()


@pytest.fixture
def started(home):
    """The real backend as a child, ready."""
    backend = process.start(process.BackendCommand(Path(PYTHON), ROOT), device="cpu")
    wait_for(backend.poll_ready, "the backend")
    yield backend
    backend.stop()


def test_start_use_and_stop(started, home):
    assert started.alive() and started.endpoint.pid == started.child.pid
    assert os.name != "posix" or os.getpgid(started.child.pid) == started.child.pid
    # It steps back behind the program that started it.
    if os.name == "posix":
        nice = [os.getpriority(os.PRIO_PROCESS, pid) for pid in (os.getpid(), started.child.pid)]
        assert nice[1] == min(nice[0] + NICE, 19)
    # Whoever comes now uses the one that is running.
    other = process.connect_or_start()
    assert other.child is None and other.poll_ready() == started.endpoint and other.alive()
    client = Client(other.endpoint, alive=other.alive)
    wait_for(lambda: (client.pump(0.05), client.capabilities)[1])
    assert client.capabilities["device"] == "cpu"
    assert "landmarks-heavy" in client.capabilities["localizers"]
    other.stop()
    assert started.alive()
    client.close()
    started.stop()
    assert not started.alive() and not other.alive() and started.child.returncode == 0
    assert not (home / "endpoint.json").exists()
    assert "Listens on" in log_path().read_text()
    started.stop()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="stopped with POSIX signals")
def test_a_backend_that_does_not_hear_is_forced(started, home):
    started.child.send_signal(signal.SIGSTOP)
    started.stop(timeout_s=0.2)
    assert started.child.returncode == -signal.SIGKILL
    assert not started.alive() and not (home / "endpoint.json").exists()


def test_a_backend_that_cannot_start_says_why(home):
    with pytest.raises(process.BackendFailed, match=r"could not be started .*python install.py setup"):
        process.start(process.BackendCommand(home / "no-python"))
    (home / "backend").mkdir()
    (home / "backend" / "__init__.py").touch()
    log_path().write_text("What an earlier one said.\n")
    (home / "backend" / "__main__.py").write_text("import sys\nsys.exit(3)\n")
    child = process.start(process.BackendCommand(Path(PYTHON), home))
    with pytest.raises(process.BackendFailed, match=r"exit code 3\): it left no word\."):
        wait_for(child.poll_ready)
    (home / "backend" / "__main__.py").write_text("import sys\nsys.exit('The disk is made of cheese.')\n")
    child = process.start(process.BackendCommand(Path(PYTHON), home))
    with pytest.raises(
        process.BackendFailed, match=r"exit code 1\): The disk is made of cheese\. .*backend.log"
    ):
        wait_for(child.poll_ready)


@pytest.mark.slow
def test_a_device_that_is_not_there(home):
    child = process.start(process.BackendCommand(Path(PYTHON), ROOT), device="abacus")
    with pytest.raises(process.BackendFailed, match="The device 'abacus' is not there"):
        wait_for(child.poll_ready)


def test_a_running_backend_of_another_version(home, toy):
    toy.start()
    write_endpoint(home, **{**vars(toy.endpoint), "version": 99})
    with pytest.raises(process.BackendFailed, match=f"version 99, this add-on version {wire.VERSION}"):
        process.connect_or_start()


def run_backend(*arguments, home, **environment):
    environment = {**os.environ, "BODYFIELD_HOME": str(home), **environment}
    return subprocess.run(
        [PYTHON, "-m", "backend", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=DEADLINE_S,
    )  # fmt: skip


def test_help_imports_nothing_heavy(home):
    code = (
        "import sys, runpy\n"
        "sys.argv = ['backend', '--help']\n"
        "try: runpy.run_module('backend', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'zmq', 'cv2', 'scipy', 'av'} & set(sys.modules), 'heavy'\n"
    )
    done = subprocess.run([PYTHON, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("serve", "mocap", "doctor"):
        assert command in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", ["serve", "mocap", "doctor", "overlay"])
def test_every_command_is_there(home, command):
    done = run_backend(command, "--help", home=home)
    assert done.returncode == 0 and f"backend {command}" in done.stdout


def test_a_missing_package_is_one_sentence(home, tmp_path):
    (tmp_path / "blocker").mkdir()
    (tmp_path / "blocker" / "torch.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
    )
    done = run_backend("serve", home=home, PYTHONPATH=str(tmp_path / "blocker"))
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "The package 'torch' is missing: run 'python install.py setup' in the Bodyfield folder."
    )


@pytest.mark.slow
def test_what_training_alone_needs_has_a_hint_of_its_own(home, tmp_path):
    (tmp_path / "blocker").mkdir()
    (tmp_path / "blocker" / "numba.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'numba'\", name='numba')\n"
    )
    arguments = ("train", "--config", str(tmp_path / "a.toml"), "--out", str(tmp_path / "o"))
    done = run_backend(*arguments, home=home, PYTHONPATH=str(tmp_path / "blocker"))
    assert done.returncode == 1
    assert "'numba' is missing: training needs" in done.stderr
    assert '".[train]"' in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_unknown_commands_end_with_an_error(home):
    assert run_backend("dance", home=home).returncode == 2

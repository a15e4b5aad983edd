"""A home folder, a toy backend that serves it, and a raw socket to that."""

import pytest

from .helpers import Raw, Toy


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty Bodyfield folder, also for what runs in this process."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("BODYFIELD_HOME", str(folder))
    # Tests name the backend's Python themselves (`helpers.PYTHON`).
    monkeypatch.delenv("BODYFIELD_PYTHON", raising=False)
    return folder


@pytest.fixture
def toy(home):
    """A toy backend, not yet started, that is gone after the test."""
    backend = Toy(home)
    yield backend
    for client in backend.clients:
        client.close()
    if backend.child is not None:
        backend.child.kill()
        backend.child.communicate()


@pytest.fixture
def raw(toy):
    """A raw socket to the (started) toy."""
    toy.start()
    socket = Raw(toy.endpoint)
    yield socket
    socket.close()

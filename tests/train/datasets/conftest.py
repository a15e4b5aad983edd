"""Made-up licensed bodies, and a quick map between them and ours (the real one takes half a minute)."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.body.load import load_body
from backend.train.datasets.bodies import licensed_body
from backend.train.streams.points import point_pool
from backend.volumes.map import map_same_mesh

from .makers import write_bodies


@pytest.fixture(scope="session")
def body():
    return load_body()


@pytest.fixture(scope="session")
def pool(body):
    return point_pool(body, 200, 100)


@pytest.fixture(scope="session")
def bodies(body, tmp_path_factory) -> Path:
    """A folder of licensed files."""
    licensed_body.cache_clear()
    return write_bodies(tmp_path_factory.mktemp("bodies"), body)


@pytest.fixture
def quick_map(monkeypatch, tmp_path_factory):
    """The made-up bodies have our mesh, so the map between the volumes is known."""
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setattr(
        "backend.localizers.nlf.space.map_volumes", lambda body, volume: map_same_mesh(body, volume.vertices)
    )

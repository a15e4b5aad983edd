"""Files of the release, made once, and what became of them; all of it is deleted at the end."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from backend.localizers.nlf.weights import Installed, add

from .release import Recipe, made_up_body, make_torchscript, release_tensors


@dataclass
class Release:
    """A TorchScript of NLF-S with bodies, and the home in which it was installed with `notes`."""

    file: Path
    home: Path
    info: Installed
    notes: list[str]
    progress: list[tuple[int, int]]


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    bodies = {kind: made_up_body(kind) for kind in ("smpl", "smplx")}
    file = make_torchscript(
        folder / "nlf_s_multi_0.2.2.torchscript", Recipe(release_tensors(), True, bodies=bodies)
    )
    notes, progress = [], []
    info = add([file], folder / "home", note=notes.append, progress=lambda *done: progress.append(done))
    yield Release(file, folder / "home", info, notes, progress)
    shutil.rmtree(folder)


@pytest.fixture
def home(tmp_path):
    """An empty home, deleted at the end: weights are large."""
    yield tmp_path / "home"
    shutil.rmtree(tmp_path / "home", ignore_errors=True)

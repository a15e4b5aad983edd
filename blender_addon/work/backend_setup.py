# SPDX-License-Identifier: GPL-3.0-or-later
"""*Set Up Backend* at work: a child process whose words are read as they come; where it sets up, and from what."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..languages.words import iface
from ..link import process, setup
from ..link.job import JobProgress
from ..link.process import BackendMissing
from ..shared.home import home_folder
from . import running
from .work import Work

FOLDER = "backend"


class BackendSetup(Work):
    """Sets the backend up, in a child process."""

    name = "Set Up Backend"

    def __init__(self, folder: Path, sources: setup.Sources) -> None:
        """`folder`: where the environment goes. Raises SetupMissing."""
        super().__init__()
        self._process = setup.start(folder, sources)

    @property
    def outcome(self) -> str:
        """What came of it."""
        return iface("ready")

    @property
    def progress(self) -> JobProgress:
        """What the child does right now, in its own words."""
        return JobProgress(f"{self._process.text}  {self._process.detail}".strip())

    def _advance(self, budget_s: float) -> bool:
        news = self._process.poll()
        self._warn(self._process.notes)
        if self._process.state != "running":
            self._end(self._process.state, self._process.error)
        return news

    def _let_go(self) -> None:
        """End the child; what is finished stays."""
        self._process.cancel()


def backend_folder() -> Path:
    """Where the environment goes: the extension's own folder, which Blender deletes when the add-on is uninstalled;
    below Bodyfield's folder when the add-on is no extension."""
    package = __package__.rpartition(".")[0]
    try:
        return Path(bpy.utils.extension_path_user(package, path=FOLDER)) / "environment"
    except ValueError:
        return home_folder() / FOLDER / "environment"


def sources_of(context: bpy.types.Context) -> setup.Sources:
    """Where packages come from, as the preferences say."""
    preferences = running.preferences_of(context)
    if preferences is None:
        return setup.Sources()
    wheels = bpy.path.abspath(preferences.wheels) if preferences.wheels else ""
    return setup.Sources(preferences.index, preferences.torch_index, wheels)


def installed() -> bool:
    """Whether a backend can be found."""
    try:
        process.find_backend(running.backend.python)
    except BackendMissing:
        return False
    return True

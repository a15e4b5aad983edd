# SPDX-License-Identifier: GPL-3.0-or-later
"""*Set Up Backend* at work: a child process whose words are read as they come."""

from __future__ import annotations

from pathlib import Path

from ..languages.words import iface
from ..link import setup


class SetupWork:
    """The set-up as `running` moves it on."""

    source = waiting = paused = job_id = None
    undo_message, changed_scene = "", False
    name = "Set Up Backend"

    def __init__(self, folder: Path, sources: setup.Sources) -> None:
        self.warnings: list[str] = []
        self._process = setup.start(folder, sources)

    @property
    def state(self) -> str:
        """Of the child."""
        return self._process.state

    @property
    def error(self) -> str | None:
        """One sentence when failed."""
        return self._process.error

    @property
    def outcome(self) -> str:
        """What came of it."""
        return iface("ready")

    @property
    def finished(self) -> bool:
        """True once the child has ended."""
        return self.state != "running"

    @property
    def progress(self) -> tuple[str, int, int | None, float | None]:
        """What it does right now, in the child's own words."""
        words = self._process
        return (f"{words.text}  {words.detail}".strip(), 0, None, None)

    def pump(self, budget_s: float = 0.0) -> bool:
        """Read what the child has said."""
        news = self._process.poll()
        self.warnings = list(self._process.notes)
        return news

    def cancel(self) -> None:
        """End the child; what is finished stays."""
        self._process.cancel()

    def fail(self, error: str) -> None:
        """End with one sentence."""
        self._process.cancel()
        self._process.state, self._process.error = "failed", error

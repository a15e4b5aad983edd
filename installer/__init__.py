"""What stands behind install.py: standard library only, so that it runs before anything is installed."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The repository's folder."""


class SetupError(Exception):
    """The command cannot go on; the message is one sentence that says what to do."""

"""`python -m backend COMMAND`. A command's module is imported only when it is called, so that help is instant."""

from __future__ import annotations

import importlib
import sys

import typer
from typer.core import TyperCommand, TyperGroup

from backend.errors import JobError

COMMANDS = {
    "serve": "Serve the Blender add-on until told to end.",
    "mocap": "Turn a video into motion files, without Blender.",
    "update": "Work out the motion of a finished job anew with other settings, without its clip.",
    "overlay": "Draw the body of a finished job over its footage.",
    "localize": "Localize any points of everyone in pictures, with their uncertainty.",
    "fit": "Fit a body to 3D points of one person.",
    "weights": "Install, list and remove official NLF weights.",
    "train": "Train our own localizer field by a recipe.",
    "train-motion": "Train our own temporal network from motion capture.",
    "doctor": "Say what is installed, which device will be used, and what is missing.",
}
SETUP_HINT = "run 'python install.py setup' in the Bodyfield folder"
FOR_TRAINING = ("numba", "tensorboard")
"""Packages of the extra `train`, which the set-up leaves out."""
TRAIN_HINT = (
    "training needs more than the set-up installs, run 'python -m pip install \".[train]\"' with this Python "
    "in the Bodyfield folder"
)


class LazyCommand(TyperCommand):
    """Stands for the function `<name>` of `backend.commands.<name>` until it is called; a name's `-` is `_` there."""

    def make_context(self, info_name, args, parent=None, **extra):
        """Import the command and let it read its own arguments."""
        name = (self.name or "").replace("-", "_")
        function = getattr(importlib.import_module(f"backend.commands.{name}"), name)
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(name=self.name)(function)
        return typer.main.get_command(app).make_context(info_name, args, parent, **extra)


class LazyGroup(TyperGroup):
    """All commands of `COMMANDS`, none of them imported yet."""

    def list_commands(self, ctx):
        """Their names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx, cmd_name):
        """A stand-in that knows its name and one line of help."""
        if cmd_name not in COMMANDS:
            return None
        return LazyCommand(cmd_name, help=COMMANDS[cmd_name])


app = typer.Typer(cls=LazyGroup, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def backend() -> None:
    """Bodyfield: video in, a body in motion out, on your own machine."""


def run() -> None:
    """The whole program; what the user can mend ends in one sentence and exit code 1."""
    try:
        app(prog_name="python -m backend")
    except JobError as error:
        sys.exit(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("backend", "blender_addon"):
            raise
        missing = (error.name or "").partition(".")[0]
        hint = TRAIN_HINT if missing in FOR_TRAINING else SETUP_HINT
        sys.exit(f"The package '{error.name}' is missing: {hint}.")


if __name__ == "__main__":
    run()

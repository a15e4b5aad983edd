"""What the user of a command sees beside its result: sentences and bars on standard error, and the exit code.

Standard output belongs to the result, so that other programs can read it. Bars show only where standard error is a
terminal.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from backend.errors import JobError

FAILED = 1
"""Exit code of a command that cannot go on, and said so in one sentence. 0: done; 2: wrong arguments, from typer."""
STOPPED = 130
"""Exit code of a command that Ctrl-C ended, as of any program."""

T = TypeVar("T")
_stderr = Console(stderr=True)


def say(text: str, colour: str | None = None) -> None:
    """A sentence on standard error, as it is and on a line of its own, above the bar if one is shown."""
    _stderr.print(text, style=colour, markup=False, soft_wrap=True, highlight=False)


def warn(text: str) -> None:
    """Say what the user should know while the work goes on."""
    say(text, "yellow")


def complain(text: str) -> None:
    """Say what is wrong."""
    say(text, "red")


def ends_plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Let `command` end plainly: a JobError is its sentence and exit code 1, Ctrl-C "Stopped." and exit code 130."""

    @functools.wraps(command)
    def run(*arguments: object, **options: object) -> None:
        try:
            command(*arguments, **options)
        except JobError as error:
            complain(str(error))
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            warn("Stopped.")
            raise typer.Exit(STOPPED) from None

    return run


def bar(*columns: ProgressColumn, transient: bool = False, shown: bool = True) -> Progress:
    """A bar for a `with` block: what is being done, the bar, `columns` (without any: how many of how many), and the
    time that is left.

    `transient`: the bar goes when the block ends; `shown`: False for a process that leaves the terminal to another.
    """
    middle = columns or (MofNCompleteColumn(),)
    hidden = not (shown and _stderr.is_terminal)
    parts = (TextColumn("{task.description}"), BarColumn(), *middle, TimeRemainingColumn())
    return Progress(*parts, console=_stderr, transient=transient, disable=hidden)


def counted(things: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    """The `things`, one by one, under a bar that counts them. `what` is being done; `total`: None if not known."""
    with bar() as shown:
        task = shown.add_task(what, total=total)
        for done, thing in enumerate(things, 1):
            yield thing
            # A movie may hold more frames than it says.
            shown.update(task, completed=done, total=total and max(done, total))


class Stages:
    """A bar for each stage of a long work, one below the other, for a `with` block."""

    def __init__(self) -> None:
        self._bar = bar()
        self._tasks: dict[str, int] = {}

    def __enter__(self) -> Stages:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__(*error)

    def show(self, stage: str, done: int, total: int | None) -> None:
        """How far a stage is; `total`: None while that is not known. A new stage ends all before it."""
        if stage not in self._tasks:
            for task in self._bar.tasks:
                # A stage whose end was not known has ended now.
                self._bar.update(task.id, total=task.total or max(task.completed, 1))
                self._bar.update(task.id, completed=task.total)
            self._tasks[stage] = self._bar.add_task(stage, total=None)
        self._bar.update(self._tasks[stage], completed=done, total=total and max(total, done))

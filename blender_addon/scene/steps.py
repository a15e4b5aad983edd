# SPDX-License-Identifier: GPL-3.0-or-later
"""Work on the scene cut into small steps, between which Blender's window goes on and the user may do anything.

A generator yields wherever it may be left alone for a while. No reference to a data-block survives a yield: an undo or
a loaded file replaces them all. What is written to carries a mark, new at each yield, so that a block which an undo
brought back in an older state is not taken for the one that was left.
"""

from collections.abc import Callable, Generator
from typing import TypeVar
from uuid import uuid4

import bpy

MARK_KEY = "bodyfield_mark"
"""On objects: which of the states that we left it in this is."""

T = TypeVar("T")
Steps = Generator[None, None, T]


class VanishedError(Exception):
    """What was being written is not there any more, or is not as it was left: begin again."""


class Mark:
    """The mark on one data-block, which `find` looks up. `value`: what the block carries now, None before the first
    `put`."""

    def __init__(self, find: Callable[[], bpy.types.ID | None]) -> None:
        self._find, self.value = find, None

    def block(self) -> bpy.types.ID:
        """The block as it was left. Raises VanishedError."""
        block = self._find()
        if block is None or (self.value is not None and block.get(MARK_KEY) != self.value):
            raise VanishedError
        return block

    def put(self) -> str:
        """Mark the block anew; -> the mark. Raises VanishedError."""
        block = self.block()
        block[MARK_KEY] = self.value = uuid4().hex
        return self.value

    def pause(self) -> Steps[None]:
        """Let Blender go on. Raises VanishedError when the block is another one afterwards."""
        self.put()
        yield
        self.block()


def run(steps: Steps[T]) -> T:
    """Do all steps at once; -> what they return."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value

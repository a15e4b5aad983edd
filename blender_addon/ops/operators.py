# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators share: errors as reports of one sentence, starting work, what must be there first."""

import functools
from collections.abc import Callable

import bpy

from ..export.fbx import ExportError
from ..languages.words import iface, said
from ..link.jobstore import StoreError
from ..link.setup import SetupMissing
from ..points.canonical import PointError
from ..scene.points import person_of
from ..shared.frames import ClipError
from ..work import running
from ..work.work import Work

PUMP_S = 0.2


class Refused(Exception):  # noqa: N818 - read as a sentence
    """The operator cannot do it now. The message is one sentence that says what to do."""


def guarded(execute: Callable) -> Callable:
    """Let an operator's `execute` report our errors in place of a traceback."""

    # Blender counts the arguments of what it calls, so that they must be written out.
    @functools.wraps(execute)
    def wrapped(self: bpy.types.Operator, context: bpy.types.Context) -> set[str]:
        try:
            return execute(self, context)
        except (PointError, ExportError, ClipError, SetupMissing, StoreError, Refused) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}

    return wrapped


def under_way(now: Work) -> Refused:
    """What to raise when something must wait for the work under way."""
    return Refused(said("{name} is under way: wait for its end or cancel it first.", name=now.name))


def put_on_its_way(operator: bpy.types.Operator, make: Callable[[], Work]) -> set[str]:
    """Start the work that `make()` gives, unless something runs; without a window there are no timers, so it runs to
    its end and says what came of it. -> the operator's result. Raises Refused, and what `make` raises."""
    now = running.current()
    if now is not None:
        raise under_way(now)
    running.use_preferences(bpy.context)
    new = make()
    running.start(new)
    if not bpy.app.background:
        return {"FINISHED"}
    while running.tick(PUMP_S):
        pass
    for text in new.warnings:
        operator.report({"WARNING"}, text)
    if new.state != "done":
        raise Refused(new.error or said("{name} was cancelled.", name=new.name))
    return {"FINISHED"}


class NeedsPerson:
    """Operators on points that need a body to put them on."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A person must be there."""
        cls.poll_message_set(iface("Import a video first: points are put on the body of a person"))
        return person_of(context.scene) is not None


class NeedsPoints:
    """Operators that make sense only with a list of points that is not empty."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """There must be a point."""
        cls.poll_message_set(iface("Add a point first"))
        return bool(context.scene.bodyfield_points.items)

# SPDX-License-Identifier: GPL-3.0-or-later
"""What operators share: an error of ours becomes a report of one sentence."""

import functools
from collections.abc import Callable

import bpy

from ..canonical import PointError
from ..scene.fbx import ExportError


def guarded(execute: Callable) -> Callable:
    """Let an operator's `execute` report our errors in place of a traceback."""

    # Blender counts the arguments of what it calls, so that they must be written out.
    @functools.wraps(execute)
    def wrapped(self: bpy.types.Operator, context: bpy.types.Context) -> set[str]:
        try:
            return execute(self, context)
        except (PointError, ExportError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}

    return wrapped

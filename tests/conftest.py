"""For the whole suite: threads give way, and a process that has loaded Blender's module ends without its clean-up."""

from __future__ import annotations

import os
import sys

import pytest

from blender_addon.shared.threads import give_way

# Before any test loads torch.
give_way()

_ended_with: list[int] = []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    """Keep what the session ended with."""
    _ended_with.append(int(exitstatus))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """Where anything still holds bpy when the interpreter ends, Blender 4's static destructors wait for ever for the
    thread that closes its sound device; seen in a run of all tests."""
    if _ended_with and "bpy" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_ended_with[-1])

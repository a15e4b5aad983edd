"""Every test in Blender starts from an empty file."""

import pytest


@pytest.fixture(autouse=True)
def empty_file(request):
    bpy = pytest.importorskip(
        "bpy", reason="these tests need Blender: pip install bpy, or use tests/gui/run_pytest.py"
    )
    # The long style shows arguments; showing a data-block that was removed meanwhile ends the whole process.
    request.config.option.tbstyle = "short"
    bpy.ops.wm.read_factory_settings(use_empty=True)

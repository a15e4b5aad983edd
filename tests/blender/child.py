"""A second Blender for tests that need one: Blender's Python module in another interpreter, or the program itself."""

import sys
from pathlib import Path

import bpy


def blender_command(what: str | Path) -> list[str]:
    """The command line, without arguments, of a module (by name) or a file in a Blender like this one."""
    module = isinstance(what, str)
    if not bpy.app.binary_path:
        return [sys.executable, *(("-m", what) if module else (str(what),))]
    # The program's own Python sees our paths only if it is told.
    run = f"runpy.run_module({what!r}" if module else f"runpy.run_path({str(what)!r}"
    code = f"import sys, runpy; sys.path[:0] = {sys.path!r}; sys.argv[1:] = sys.argv[sys.argv.index('--') + 1:]; "
    fixed = ["-b", "--factory-startup", "--python-exit-code", "1", "--python-expr"]
    return [bpy.app.binary_path, *fixed, f"{code}{run}, run_name='__main__')", "--"]

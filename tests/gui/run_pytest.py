"""Run pytest inside a real Blender: blender -b --python-exit-code 1 --python run_pytest.py -- PACKAGES TESTS...

`PACKAGES`: folder with the packages that this Blender's Python lacks (`install.py demo --blender` makes one).
"""

import sys
from pathlib import Path

folder, *arguments = sys.argv[sys.argv.index("--") + 1 :]
sys.path[:0] = [str(Path(__file__).resolve().parents[2]), folder]

import pytest  # noqa: E402 - it may lie in that folder

sys.exit(pytest.main(["-p", "no:cacheprovider", *arguments]))

"""The first frames of the shipped clip, decoded once."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from blender_addon.shared.frames import open_clip

CLIP = Path(__file__).resolve().parents[1] / "data" / "demo.mp4"


@pytest.fixture(scope="session")
def frames():
    with open_clip(CLIP) as clip:
        return list(islice(clip, 12))

"""Real frames for the tests of this room."""

from functools import cache
from pathlib import Path

import numpy as np

from blender_addon.shared.frames import open_clip

DATA = Path(__file__).resolve().parents[1] / "data"


@cache
def frames(name: str, count: int) -> tuple[np.ndarray, ...]:
    """The first `count` frames of a clip in tests/data, (H, W, 3) uint8 RGB each."""
    out = []
    with open_clip(DATA / name) as clip:
        for f in clip:
            out.append(f.image)
            if len(out) == count:
                break
    return tuple(out)


def frame(name: str, index: int) -> np.ndarray:
    return frames(name, index + 1)[index]

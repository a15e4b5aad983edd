"""What the road notes of pictures, without the end of the job: for benches that look at what comes before it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.errors import JobError
from backend.options import MocapOptions
from backend.pipeline import mocap
from backend.records import Chunk, Notice
from blender_addon.shared.frames import Frame


def noted(
    images: Sequence[np.ndarray], times: Sequence[float], options: MocapOptions
) -> tuple[list[Chunk], list[str]]:
    """Chunks and notices of pictures (H, W, 3) uint8 RGB at these seconds; nothing where the road refuses them."""
    frames = [
        Frame(i, float(t), np.ascontiguousarray(p))
        for i, (t, p) in enumerate(zip(times, images, strict=True))
    ]
    chunks: list[Chunk] = []
    told: list[str] = []
    try:
        for event in mocap(frames, options, previews=False):
            if isinstance(event, Notice):
                told.append(event.text)
            elif isinstance(event, Chunk):
                chunks.append(event)
                if event.last == len(frames) - 1:
                    break
    except JobError:
        return [], told
    return chunks, told

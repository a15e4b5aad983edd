"""Half a body under a long lens: a picture cut from the middle of a wider one. Nobody is thrown away for the lens that
is assumed, and the body is where it is in the whole picture."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from backend.options import MocapOptions
from backend.pipeline import mocap
from backend.records import Chunk, Notice, TrackMotion
from blender_addon.shared.frames import Frame, open_clip

CLIP = Path(__file__).resolve().parents[1] / "data" / "demo.mp4"
LEFT, TOP, WIDTH, HEIGHT = 280, 330, 700, 540
TRUNK = [11, 12, 23, 24]


def followed(frames: list[Frame]) -> tuple[Chunk, list[TrackMotion], list[str]]:
    options = MocapOptions("landmarks-lite", max_people=1, chunk=100, device="cpu", keep_features=False)
    events = list(mocap(frames, options, previews=False))
    return (
        next(e for e in events if isinstance(e, Chunk)),
        [e for e in events if isinstance(e, TrackMotion)],
        [e.text for e in events if isinstance(e, Notice)],
    )


@pytest.mark.slow
def test_half_a_body_is_where_it_is_in_the_whole_picture():
    with open_clip(CLIP) as clip:
        some = list(islice(clip, 20, 44))
    whole = [Frame(i, f.time_s - some[0].time_s, f.image) for i, f in enumerate(some)]
    cut = np.s_[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]
    wide, _, _ = followed(whole)
    near, motions, told = followed(
        [Frame(f.index, f.time_s, np.ascontiguousarray(f.image[cut])) for f in whole]
    )
    assert len(motions) == 1
    assert not any("No person" in text or "left out" in text for text in told)
    want, found = wide.tracks[0], near.tracks[0]
    _, i, j = np.intersect1d(want.frames, found.frames, return_indices=True)
    assert len(i) >= len(whole) - 1
    trunk = want.points2d[i][:, TRUNK]
    size = np.linalg.norm(trunk[:, :2].mean(1) - trunk[:, 2:].mean(1), axis=1)
    off = np.linalg.norm(found.points2d[j][:, TRUNK] + [LEFT, TOP] - trunk, axis=-1).mean(1) / size
    assert np.median(off) < 0.2 and off.max() < 0.6, off.round(2)

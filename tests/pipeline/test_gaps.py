"""Somebody who is not seen for a while, on the real road: the picture goes black, and comes back."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.body.load import load_body
from backend.draw.overlay import OverlayPainter
from backend.motion.amass import amass_arrays
from backend.options import MocapOptions
from backend.pipeline import mocap
from backend.recall.track import PointBlock, track_points
from backend.records import Chunk, TrackMotion
from blender_addon.shared.frames import Frame, open_clip

pytestmark = pytest.mark.slow

CLIP = Path(__file__).resolve().parents[1] / "data" / "demo.mp4"
SHORT, LONG = (0.25, 0.4), (0.6, 1.15)
"""Seconds of `CLIP` that are black: one to be bridged, one to be left empty."""
OPTIONS = MocapOptions("landmarks-lite", max_people=1, chunk=5, fov_deg=55)


def dark(time_s: float) -> bool:
    return any(low - 1e-3 < time_s < high - 1e-3 for low, high in (SHORT, LONG))


@cache
def clip(every: int) -> list[Frame]:
    """Each so many-th frame of the clip, in small."""
    out = []
    with open_clip(CLIP) as opened:
        for frame in opened:
            if frame.index % every == 0:
                image = cv2.resize(frame.image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
                image = np.zeros_like(image) if dark(frame.time_s) else image
                out.append(Frame(len(out), frame.time_s, image))
    return out


@cache
def events(every: int) -> list:
    return list(mocap(clip(every), OPTIONS))


def final(events) -> TrackMotion:
    (motion,) = [e for e in events if isinstance(e, TrackMotion) and e.final]
    return motion


def holes(motion: TrackMotion) -> list[tuple[float, float]]:
    """Seconds of the frames on both sides of each hole."""
    pairs = zip(pairwise(motion.frames), pairwise(motion.times), strict=True)
    return [times for (a, b), times in pairs if b - a > 1]


@pytest.mark.parametrize("every", [1, 2, 4])
def test_a_short_gap_is_bridged_and_marked_and_a_long_one_is_empty(every):
    """At 60, 30 and 15 frames a second alike."""
    motion, step = final(events(every)), every / 60
    assert motion.track == 1
    ((low, high),) = holes(motion)
    # The detector may need a look or two to find somebody again.
    assert LONG[0] - 2 * step < low < LONG[0] and LONG[1] - 1e-3 <= high < LONG[1] + 0.1 + step
    bridged = motion.times[motion.bridged.astype(bool)]
    assert bridged.min() == pytest.approx(SHORT[0], abs=step + 1e-3)
    assert SHORT[1] - step - 1e-3 <= bridged.max() < SHORT[1] + 0.1 + step
    assert all(dark(t) or t > SHORT[1] - 1e-3 for t in bridged)
    seen = motion.times[motion.bridged == 0]
    assert not any(dark(t) for t in seen)
    # Nobody flies in what is bridged, faster than people move.
    speed = np.linalg.norm(np.diff(motion.joints[:, :22], axis=0), axis=-1) / np.diff(motion.times)[:, None]
    within = motion.bridged[1:] | motion.bridged[:-1]
    assert within.sum() >= 3 and speed[within.astype(bool)].max() < 4
    assert np.isfinite(motion.pose).all()


def test_rates_give_the_same_motion():
    whole = final(events(1))
    for every in (2, 4):
        other = final(events(every))
        rows = {round(t, 3): k for k, t in enumerate(whole.times)}
        both = [(rows[round(t, 3)], k) for k, t in enumerate(other.times) if round(t, 3) in rows]
        assert len(both) > 0.9 * len(other.times)
        a, b = (m.joints[list(k), :22] for m, k in zip((whole, other), zip(*both, strict=True), strict=True))
        off = np.linalg.norm((a - a[:, :1]) - (b - b[:, :1]), axis=-1)
        assert np.median(off) < 0.03


def test_a_job_resumed_in_the_middle_of_a_gap_ends_alike():
    whole = final(events(2))
    chunks = [e for e in events(2) if isinstance(e, Chunk)]
    for gap in (SHORT, LONG):
        middle = sum(gap) / 2 * 30
        kept = [Chunk.from_arrays(c.to_arrays()) for c in chunks if c.last < middle]
        assert dark(clip(2)[kept[-1].last + 1].time_s), "the chunk ends inside"
        resumed = final(mocap(clip(2)[kept[-1].last + 1 :], OPTIONS, resume=kept))
        for name in ("frames", "bridged", "pose", "trans", "betas"):
            np.testing.assert_array_equal(getattr(resumed, name), getattr(whole, name))


def test_nothing_is_drawn_or_said_in_the_hole():
    motion, body = final(events(2)), load_body()
    ((low, high),) = holes(motion)
    painter = OverlayPainter(body, OPTIONS.pinhole(540, 960), [motion])
    for frame in (f for f in clip(2) if f.time_s > LONG[0] - 0.1):
        grey = Frame(frame.index, frame.time_s, np.full_like(frame.image, 90))
        picture = painter.paint(grey)[:, : painter.width]
        coloured = np.ptp(picture.astype(int), axis=-1) > 12
        assert coloured.any() == (not low + 1e-3 < frame.time_s < high - 1e-3)
    blocks = list(track_points(OPTIONS, [{"name": "nose", "landmark": "nose"}], "open", [motion]))
    frames = np.concatenate([b.frames for b in blocks if isinstance(b, PointBlock)])
    np.testing.assert_array_equal(frames, motion.frames)
    rows = amass_arrays(motion, body, 30.0, np.zeros(3))
    there = np.isin(rows["frames"], motion.frames)
    assert len(there) == motion.frames[-1] + 1 - motion.frames[0] and not there.all()
    for name in ("trans", "poses", "root_orient", "expressions", "joint_uncertainty"):
        np.testing.assert_array_equal(np.isfinite(rows[name]).all(1), there)
    assert np.isfinite(rows["times"]).all() and rows["bridged"].sum() == motion.bridged.sum() > 0
